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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import atomic_writer, open_regular, open_sidecar, printable, printable_path
from hpcq.results.hdf5_plain import PlainGroup

FORMAT = "hpcq"
FORMAT_VERSION = 1
"""Version of the files' layout; files of another version are refused."""

_USER_BLOCK = 512
"""Bytes before the HDF5 content; HDF5 allows powers of two from 512."""

_MAX_BYTES_IN_MEMORY = 1 << 28
"""Larger files are written to the disk directly, because they might not fit in memory."""

_FREE_SPACE_FACTOR = 1.2
"""Free disk space that such a file needs, in multiples of its estimated size."""

_SEAL_TEXT = "hpcq result; SHA-256 of all bytes after the first 512: "


def write_sealed(path: Path, fill: Callable[[h5py.File], None], size: int) -> bytes:
    """Write a sealed file, all or nothing, and return its seal.

    HDF5 does not survive a full disk, so it writes to memory; a large file, for which there may
    not be enough memory, is begun only if the disk has room for it.

    Args:
        path: The file.
        fill: Writes the content to an open file.
        size: Estimate of the content's bytes.

    Raises:
        NotWrittenError: If it cannot be written; the old file is kept.
    """
    with atomic_writer(path, "output") as aside:
        if size < _MAX_BYTES_IN_MEMORY:
            buffer = io.BytesIO()
            with h5py.File(buffer, "w", userblock_size=_USER_BLOCK) as file:
                fill(file)
            aside.write(buffer.getbuffer())
        elif shutil.disk_usage(path.parent).free < _FREE_SPACE_FACTOR * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:  # by its descriptor, because a link may have taken its name since
            descriptor = f"/proc/self/fd/{aside.fileno()}"
            with h5py.File(descriptor, "w", userblock_size=_USER_BLOCK) as file:
                fill(file)
        aside.seek(_USER_BLOCK)
        seal = _seal(hashlib.file_digest(aside, "sha256").hexdigest())
        aside.seek(0)
        aside.write(seal)
    return seal


@contextmanager
def open_sealed(path: Path) -> Iterator[PlainGroup]:
    """Open a result file for reading, as a context manager.

    The seal is not a signature: anybody can make a file and seal it. So the content must be
    checked; exceptions within the context are reported as wrong content.

    Raises:
        InputError: If anything is wrong with the file, in one line.
    """
    descriptor = open_regular(path, 1 << 62, "an hpcq result")
    with os.fdopen(descriptor, "rb") as raw:
        _check_seal(raw, printable_path(path))
        try:
            with h5py.File(raw, "r") as file:
                name, version = file.attrs.get("format"), file.attrs.get("format_version")
                if name != FORMAT:
                    shown = str(name)[:40]
                    raise InputError(
                        f"{printable_path(path)}: format is {shown!r}, expected {FORMAT!r}"
                    )
                if version != FORMAT_VERSION:
                    raise InputError(
                        f"{printable_path(path)}: format_version is {str(version)[:40]!r}, "
                        f"expected {FORMAT_VERSION}"
                    )
                yield PlainGroup(file)
        except HpcqError:
            raise
        except Exception as error:  # h5py, json and numpy raise any class for wrong content
            reason = printable(" ".join(str(error).split()))[:100] or type(error).__name__
            raise InputError(
                f"{printable_path(path)}: not a valid hpcq result ({reason})"
            ) from None


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
        with os.fdopen(open_sidecar(path), "rb") as raw:
            return raw.read(_USER_BLOCK)
    except OSError:
        return b""


def is_result(path: Path) -> bool:
    """Say whether a file is a valid hpcq result."""
    try:
        with open_sealed(path):
            return True
    except InputError:
        return False
