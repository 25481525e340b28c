"""HDF5 files of hpcq's: opened for reading only if whole, and sealed when written.

A file starts with a user block of 512 bytes, which HDF5 skips: one line of text with the SHA-256 of
all that follows. It is checked before HDF5 opens the file, so a damaged file is refused and never
misread.
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
_USER_BLOCK = 512
_IN_MEMORY = 1 << 28
_ROOM = 1.2
_SEAL = "hpcq result; SHA-256 of all bytes after the first 512: "


def write_sealed(place: Path, fill: Callable[[h5py.File], None], size: int) -> None:
    """Write a file, all or nothing.

    HDF5 does not survive a full disk, so it writes to memory; a large file, for which there may be
    no memory, only where there is room on the disk.

    Args:
        place: Where to.
        fill: Writes the content.
        size: About how many bytes that is.
    """
    with atomic_writer(place, "output") as aside:
        if size < _IN_MEMORY:
            buffer = io.BytesIO()
            with h5py.File(buffer, "w", userblock_size=_USER_BLOCK) as file:
                fill(file)
            aside.write(buffer.getbuffer())
        elif shutil.disk_usage(place.parent).free < _ROOM * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:  # by its descriptor: somebody may have put a link where its name was
            path = f"/proc/self/fd/{aside.fileno()}"
            with h5py.File(path, "w", userblock_size=_USER_BLOCK) as file:
                fill(file)
        aside.seek(_USER_BLOCK)
        seal = _seal(hashlib.file_digest(aside, "sha256").hexdigest())
        aside.seek(0)
        aside.write(seal)


@contextmanager
def open_sealed(path: Path) -> Iterator[PlainGroup]:
    """Open a file of hpcq's for reading; whatever is wrong with it becomes one line.

    The seal is no signature: whoever makes a file can seal it. So nothing in it is believed.
    """
    descriptor = open_regular(path, 1 << 62, "an hpcq result")
    with os.fdopen(descriptor, "rb") as raw:
        _check_seal(raw, printable_path(path))
        try:
            with h5py.File(raw, "r") as file:
                form, number = file.attrs.get("format"), file.attrs.get("format_version")
                if form != FORMAT:
                    shown = str(form)[:40]
                    raise InputError(
                        f"{printable_path(path)}: format is {shown!r}, expected {FORMAT!r}"
                    )
                if number != FORMAT_VERSION:
                    raise InputError(
                        f"{printable_path(path)}: format_version is {str(number)[:40]!r}, "
                        f"expected {FORMAT_VERSION}"
                    )
                yield PlainGroup(file)
        except HpcqError:
            raise
        except Exception as error:  # of h5py, json, numpy, and whoever meets values out of place
            reason = printable(" ".join(str(error).split()))[:100] or type(error).__name__
            raise InputError(
                f"{printable_path(path)}: not a whole hpcq result ({reason})"
            ) from None


def _seal(digest: str) -> bytes:
    """Return the user block of a file: what the file is, and the SHA-256 of the rest."""
    return f"{_SEAL}{digest}\n".encode().ljust(_USER_BLOCK, b"\0")


def _check_seal(raw: io.BufferedReader, name: str) -> None:
    found = raw.read(_USER_BLOCK)
    if not found.startswith(_SEAL.encode()):
        raise InputError(f"{name}: not a whole hpcq result (it does not start like one)")
    if found != _seal(hashlib.file_digest(raw, "sha256").hexdigest()):
        raise InputError(
            f"{name}: not a whole hpcq result (it is damaged, or was changed since hpcq wrote it)"
        )
    raw.seek(0)


def read_seal(path: Path) -> bytes:
    """Return what tells a file from every other version of it; nothing if there is none."""
    try:
        with os.fdopen(open_sidecar(path), "rb") as raw:
            return raw.read(_USER_BLOCK)
    except OSError:
        return b""


def is_result(path: Path) -> bool:
    """Say whether a file is a whole result of hpcq's."""
    try:
        with open_sealed(path):
            return True
    except InputError:
        return False
