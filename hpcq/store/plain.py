"""HDF5 files that hold no more than they show.

A file may have datasets whose content is in another file, such as somebody's key, or that take a
thousand times the memory that they take on the disk. hpcq writes nothing of the kind and reads
nothing of it.
"""

from __future__ import annotations

from typing import Any

import h5py


class PlainGroup(h5py.Group):  # type: ignore[misc]  # h5py comes without types
    """A group that gives out only what is in the file itself, and as large as it is there.

    Example:
        >>> import io
        >>> with h5py.File(io.BytesIO(), "w") as file:
        ...     _ = file.create_dataset("key", (9,), "u1", external=[("/etc/passwd", 0, 9)])
        ...     PlainGroup(file.id)["key"]
        Traceback (most recent call last):
        ValueError: /key is not in the file itself
    """

    def __getitem__(self, name: Any) -> Any:
        """Return a group or a dataset.

        Raises:
            KeyError: There is none.
            ValueError: It is elsewhere, or larger than the file has room for.
        """
        group: h5py.Group = self
        *folders, last = str(name).strip("/").split("/")
        for folder in folders:
            group = PlainGroup(group[folder].id)
        if not isinstance(group.get(last, getlink=True), h5py.HardLink):
            raise ValueError(f"{last} is not in the file itself")
        found = h5py.Group.__getitem__(group, last)
        if isinstance(found, h5py.Dataset):
            _check(found)
        return PlainGroup(found.id) if isinstance(found, h5py.Group) else found


def _check(dataset: h5py.Dataset) -> None:
    """Raise ValueError unless a dataset is all there."""
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} is not in the file itself")
    if dataset.nbytes > dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} is larger than the file has room for")
