"""Results of some tasks as a file, which other jobs read."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np

from hpcq.core.files import open_sidecar, write_atomic
from hpcq.parallel.tasks import TaskResults

_MARK = b"hpcq part 1\n"
_SEAL_BYTES = 32
_LENGTH = struct.Struct("<q")
_HEADER_NUMBERS = 4


def write_part(place: Path, batch: TaskResults) -> None:
    """Write the results of some tasks, all or nothing.

    Raises:
        NotWrittenError: If they cannot be written.
    """
    header = _header(batch)
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
    batch = _read_header(body[_LENGTH.size : start])
    if batch.data.nbytes != len(body) - start:
        raise ValueError("it announces other data than it holds")
    batch.data[:] = np.frombuffer(body[start:], dtype=batch.data.dtype)
    return batch


def _header(batch: TaskResults) -> bytes:
    """Return all of a batch but its data as bytes."""
    dtype, error = batch.data.dtype.str.encode(), batch.error.encode()
    head = np.array([batch.run, len(batch.tasks), len(dtype), len(error)], dtype=np.int64)
    seconds = np.ascontiguousarray(batch.seconds, dtype=np.float64).view(np.int64)
    numbers = np.concatenate([head, batch.tasks, batch.sizes, seconds])
    return numbers.tobytes() + dtype + error


def _read_header(message: memoryview) -> TaskResults:
    """Return the batch that a header announces, with room for its data."""
    run, count, dtype, error = np.frombuffer(message, np.int64, _HEADER_NUMBERS).tolist()
    numbers = np.frombuffer(message, np.int64, 3 * count, 8 * _HEADER_NUMBERS).copy()
    tasks, sizes, seconds = numbers.reshape(3, count)
    place = 8 * (_HEADER_NUMBERS + 3 * count)
    name = bytes(message[place : place + dtype]).decode()
    place += dtype
    text = bytes(message[place : place + error]).decode()
    data = np.empty(int(sizes.sum()), dtype=name)
    return TaskResults(run, tasks, sizes, seconds.view(np.float64), data, text)
