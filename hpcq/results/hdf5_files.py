"""Sealed HDF5 files: a checksum is written with each file and checked before it is read.

A file starts with a user block of 512 bytes, which HDF5 skips: one line of text with the SHA-256 of
all bytes after the block. Because it is checked before HDF5 opens the file, a damaged file is
refused and never misread.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import h5py

from hpcq.core import files
from hpcq.core.errors import HpcqError, InputError
from hpcq.core.version import __version__
from hpcq.results.hdf5_fields import Layout, Place
from hpcq.results.hdf5_plain import PlainGroup

_HEADER = {"format": "hpcq", "format_version": 1}
"""Format and version of the files' layout; files with others are refused."""

_USER_BLOCK = 512
"""Bytes before the HDF5 content; HDF5 allows powers of two from 512."""

_MAX_BYTES_IN_MEMORY = 1 << 28
"""Larger files are written to the disk directly, because they might not fit in memory."""

_FREE_SPACE_FACTOR = 1.2
"""Free disk space that such a file needs, in multiples of its estimated size."""

_SEAL_TEXT = "hpcq result; SHA-256 of all bytes after the first 512: "


def write_sealed(path: Path, layout: Layout, content: Any) -> bytes:
    """Write a sealed file, all or nothing, and return its seal.

    HDF5 does not survive a full disk, so it writes to memory; a large file, for which there may
    not be enough memory, is begun only if the disk has room for it.

    Args:
        path: The file.
        layout: The fields of the content.
        content: The object to write.

    Raises:
        NotWrittenError: If it cannot be written; the old file is kept.
    """

    def fill(where: Any) -> None:
        with h5py.File(where, "w", userblock_size=_USER_BLOCK) as file:
            file.attrs.update({**_HEADER, "hpcq_version": __version__})
            layout.write(content, Place(None, file))

    size = _num_bytes(content, {})
    with files.atomic_writer(path, "output") as aside:
        if size < _MAX_BYTES_IN_MEMORY:
            buffer = io.BytesIO()
            fill(buffer)
            aside.write(buffer.getbuffer())
        elif shutil.disk_usage(path.parent).free < _FREE_SPACE_FACTOR * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:  # by its descriptor, because a link may have taken its name since
            fill(f"/proc/self/fd/{aside.fileno()}")
        aside.seek(_USER_BLOCK)
        seal = _seal(hashlib.file_digest(aside, "sha256").hexdigest())
        aside.seek(0)
        aside.write(seal)
    return seal


def _num_bytes(value: Any, counted: dict[int, Any]) -> int:
    """Return the bytes of all arrays in an object that are not counted already."""
    if isinstance(value, (tuple, list)):  # there are none in tuples of tuples, such as terms
        return sum(_num_bytes(entry, counted) for entry in value if not isinstance(entry, tuple))
    if is_dataclass(value):
        return sum(_num_bytes(getattr(value, part.name), counted) for part in fields(value))
    if id(value) in counted:
        return 0
    counted[id(value)] = value
    return int(getattr(value, "nbytes", 0))


@contextmanager
def open_sealed(path: Path) -> Iterator[PlainGroup]:
    """Open a result file for reading, as a context manager.

    The seal is not a signature: anybody can make a file and seal it. So the content must be
    checked; exceptions within the context are reported as wrong content.

    Raises:
        InputError: If anything is wrong with the file, in one line.
    """
    name = files.printable_path(path)
    with os.fdopen(files.open_regular(path, 1 << 62, "an hpcq result"), "rb") as raw:
        _check_seal(raw, name)
        try:
            with h5py.File(raw, "r") as file:
                for key, expected in _HEADER.items():
                    if (found := file.attrs.get(key)) != expected:
                        shown = str(found)[:40]
                        raise InputError(f"{name}: {key} is {shown!r}, expected {expected!r}")
                yield PlainGroup(file)
        except HpcqError:
            raise
        except Exception as error:  # h5py, json and numpy raise any class for wrong content
            reason = files.printable(" ".join(str(error).split()))[:100] or type(error).__name__
            raise InputError(f"{name}: not a valid hpcq result ({reason})") from None


def _seal(digest: str) -> bytes:
    """Return the user block of a file whose other bytes have a SHA-256 digest."""
    return f"{_SEAL_TEXT}{digest}\n".encode().ljust(_USER_BLOCK, b"\0")


def _check_seal(raw: io.BufferedReader, name: str) -> None:
    seal = raw.read(_USER_BLOCK)
    if not seal.startswith(_SEAL_TEXT.encode()):
        raise InputError(f"{name}: not a valid hpcq result (it does not start like one)")
    if seal != _seal(hashlib.file_digest(raw, "sha256").hexdigest()):
        raise InputError(
            f"{name}: not a valid hpcq result (it is damaged, or was changed since hpcq wrote it)"
        )
    raw.seek(0)


def read_seal(path: Path) -> bytes:
    """Return the seal, which identifies this version of a file; empty if there is no file."""
    try:
        with os.fdopen(files.open_sidecar(path), "rb") as raw:
            return raw.read(_USER_BLOCK)
    except OSError:
        return b""


def check_output(path: Path) -> Path:
    """Return a path with all links followed, after making sure that a result can be written there.

    Raises:
        InputError: If it cannot, or if there is a file that is not an hpcq result.
    """

    def is_result(existing: Path) -> bool:
        with suppress(InputError), open_sealed(existing):
            return True
        return False

    return files.check_writable(path, "output", is_result, "a valid hpcq result")
