"""Parts: sealed files with the results of some tasks, which one job writes for the others."""

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
"""Bytes of a SHA-256 digest."""

_LENGTH = struct.Struct("<q")
_HEADER_NUMBERS = 4
"""Integers at the start of a header: run, tasks, bytes of the dtype, bytes of the error."""


def write_part(path: Path, batch: TaskResults) -> None:
    """Write the results of some tasks to a file, all or nothing.

    Raises:
        NotWrittenError: If it cannot be written.
    """
    header = _header(batch)
    body = _LENGTH.pack(len(header)) + header + np.ascontiguousarray(batch.data).tobytes()
    write_atomic(path, _MARK + hashlib.sha256(body).digest() + body, "shared")


def read_part(path: Path) -> TaskResults | None:
    """Return the results in a file; None if it is damaged or does not exist."""
    try:
        with os.fdopen(open_sidecar(path), "rb") as file:
            content = file.read()
    except OSError:
        return None
    seal = content[len(_MARK) : len(_MARK) + _SEAL_BYTES]
    body = memoryview(content)[len(_MARK) + _SEAL_BYTES :]
    if not content.startswith(_MARK) or hashlib.sha256(body).digest() != seal:
        return None
    try:
        return _decode(body)
    except (ValueError, TypeError, struct.error, MemoryError):  # anybody can seal a file
        return None


def _decode(body: memoryview) -> TaskResults:
    """Return the batch in the bytes after the seal: length of the header, header, data."""
    (length,) = _LENGTH.unpack_from(body)
    start = _LENGTH.size + length
    batch = _read_header(body[_LENGTH.size : start])
    if batch.data.nbytes != len(body) - start:
        raise ValueError("the header announces other data than the file contains")
    batch.data[:] = np.frombuffer(body[start:], dtype=batch.data.dtype)
    return batch


def _header(batch: TaskResults) -> bytes:
    """Return everything but the data of a batch as bytes."""
    dtype, error = batch.data.dtype.str.encode(), batch.error.encode()
    head = np.array([batch.run, len(batch.tasks), len(dtype), len(error)], dtype=np.int64)
    seconds = np.ascontiguousarray(batch.seconds, dtype=np.float64).view(np.int64)
    numbers = np.concatenate([head, batch.tasks, batch.sizes, seconds])
    return numbers.tobytes() + dtype + error


def _read_header(message: memoryview) -> TaskResults:
    """Return the batch of a header; its data are an empty array of the right size."""
    run, count, dtype_bytes, error_bytes = np.frombuffer(
        message, np.int64, _HEADER_NUMBERS
    ).tolist()
    numbers = np.frombuffer(message, np.int64, 3 * count, 8 * _HEADER_NUMBERS).copy()
    tasks, sizes, seconds = numbers.reshape(3, count)
    offset = 8 * (_HEADER_NUMBERS + 3 * count)
    dtype = bytes(message[offset : offset + dtype_bytes]).decode()
    offset += dtype_bytes
    error = bytes(message[offset : offset + error_bytes]).decode()
    data = np.empty(int(sizes.sum()), dtype=dtype)
    return TaskResults(run, tasks, sizes, seconds.view(np.float64), data, error)
