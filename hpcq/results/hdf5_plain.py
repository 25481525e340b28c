"""Safe reading of HDF5 files that anybody may have made.

In HDF5 a dataset's content may be in another file, such as a private key, or take a thousand times
more memory than space on the disk. hpcq writes no such dataset and refuses to read one.
"""

from __future__ import annotations

from typing import Any

import h5py


class PlainGroup:
    """An HDF5 group that returns only content of the file itself, at its size on the disk.

    Attributes:
        attrs: Attributes of the group.
        name: Path of the group in the file.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self.attrs: h5py.AttributeManager = group.attrs
        self.name = str(group.name)

    def __len__(self) -> int:
        """Return the number of groups and datasets in the group."""
        return len(self._group)

    def __contains__(self, name: str) -> bool:
        """Say whether there is an entry with a name; its content may still be in another file."""
        return name in self._group

    def __getitem__(self, name: str) -> Any:
        """Return a group or a dataset, by its path from here, or from the root after a slash.

        Raises:
            KeyError: If there is none.
            ValueError: If it is in another file, or larger than its space in the file.
        """
        entry: Any = self._group.file if name.startswith("/") else self._group
        for part in name.removeprefix("/").split("/"):
            link = entry.get(part, getlink=True) if isinstance(entry, h5py.Group) else None
            if link is None:
                raise KeyError(f"there is no {name} in {self.name}")
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{part} is not in the file itself")
            entry = entry[part]
        if isinstance(entry, h5py.Group):
            return PlainGroup(entry)
        if entry.is_virtual or entry.external:
            raise ValueError(f"{entry.name} is not in the file itself")
        if entry.nbytes > entry.id.get_storage_size():  # compressed or incomplete
            raise ValueError(f"{entry.name} is larger than the file has room for")
        return entry
