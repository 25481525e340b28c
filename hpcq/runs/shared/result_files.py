"""Results of some tasks as a file, which other jobs read."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np

from hpcq.core.files import open_sidecar, write_atomic
from hpcq.parallel import wire
from hpcq.parallel.tasks import TaskResults

_MARK = b"hpcq part 1\n"
_SEAL_BYTES = 32
_LENGTH = struct.Struct("<q")


def write_part(place: Path, batch: TaskResults) -> None:
    """Write the results of some tasks, all or nothing.

    Raises:
        NotWrittenError: If they cannot be written.
    """
    header = wire.batch_header(batch).tobytes()
    body = _LENGTH.pack(len(header)) + header + np.ascontiguousarray(batch.data).tobytes()
    write_atomic(place, _MARK + hashlib.sha256(body).digest() + body, "shared")


def read_part(place: Path) -> TaskResults | None:
    """Read them; None if they are damaged, or gone."""
    try:
        with os.fdopen(open_sidecar(place), "rb") as file:
            content = file.read()
    except OSError:
        return None
    seal = content[len(_MARK) : len(_MARK) + _SEAL_BYTES]
    body = memoryview(content)[len(_MARK) + _SEAL_BYTES :]
    if not content.startswith(_MARK) or hashlib.sha256(body).digest() != seal:
        return None
    try:
        return _batch(body)
    except (ValueError, TypeError, struct.error, MemoryError):  # sealed, but by whom?
        return None


def _batch(body: memoryview) -> TaskResults:
    (length,) = _LENGTH.unpack_from(body)
    start = _LENGTH.size + length
    batch = wire.read_batch(np.frombuffer(body[_LENGTH.size : start], dtype=np.uint8))
    if batch.data.nbytes != len(body) - start:
        raise ValueError("it announces other data than it holds")
    batch.data[:] = np.frombuffer(body[start:], dtype=batch.data.dtype)
    return batch
