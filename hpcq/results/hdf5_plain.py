"""HDF5 files that hold no more than they show.

A file may have datasets whose content is in another file, such as somebody's key, or that take a
thousand times the memory that they take on the disk. hpcq writes nothing of the kind and reads
nothing of it.
"""

from __future__ import annotations

from typing import Any

import h5py


class PlainGroup:
    """A group that gives out only what is in the file itself, and as large as it is there.

    Args:
        group: The group of h5py's; whatever is asked of it here is checked first.

    Attributes:
        attrs: Its attributes.
        name: Its path.

    Example:
        >>> import io
        >>> with h5py.File(io.BytesIO(), "w") as file:
        ...     _ = file.create_dataset("key", (9,), "u1", external=[("/etc/passwd", 0, 9)])
        ...     PlainGroup(file)["key"]
        Traceback (most recent call last):
        ValueError: /key is not in the file itself
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self.attrs: h5py.AttributeManager = group.attrs
        self.name = str(group.name)

    def __len__(self) -> int:
        """Return the number of groups and datasets in it."""
        return len(self._group)

    def __contains__(self, name: str) -> bool:
        """Say whether there is something with a name; it may still be elsewhere."""
        return name in self._group

    def get(self, name: str, default: Any) -> Any:
        """Return a group or a dataset, or something else if there is none."""
        return self[name] if name in self else default  # noqa: SIM401  (this is `get`)

    def __getitem__(self, name: str) -> Any:
        """Return a group or a dataset.

        Raises:
            KeyError: There is none.
            ValueError: It is elsewhere, or larger than the file has room for.
        """
        found: Any = self._group
        for part in name.split("/"):
            link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
            if link is None:
                raise KeyError(f"there is no {name} in {self.name}")
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{part} is not in the file itself")
            found = found[part]
        if isinstance(found, h5py.Dataset):
            _check(found)
        return PlainGroup(found) if isinstance(found, h5py.Group) else found


def _check(dataset: h5py.Dataset) -> None:
    """Raise ValueError unless a dataset is all there."""
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} is not in the file itself")
    if dataset.nbytes > dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} is larger than the file has room for")
