"""Leases and batches as bytes for the wire: whole numbers in front, the rest behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import Lease, TaskResults

Bytes = NDArray[np.uint8]

_LEASE_NUMBERS = 5
_BATCH_NUMBERS = 4


def lease(lease: Lease) -> bytes:
    """Return a lease as bytes."""
    dtype = lease.dtype.encode()
    flush = round(lease.flush_seconds * 1e6)
    numbers = [lease.run, len(lease.tasks), len(dtype), len(lease.payloads), flush]
    head = np.array(numbers, dtype=np.int64)
    lengths = np.array([len(payload) for payload in lease.payloads], dtype=np.int64)
    tasks = np.ascontiguousarray(lease.tasks, dtype=np.int64)
    parts = [head.tobytes(), tasks.tobytes(), lengths.tobytes(), dtype, *lease.payloads]
    return b"".join(parts)


def read_lease(message: bytes) -> Lease:
    """Return the lease that :func:`lease` wrote."""
    run, tasks, dtype, payloads, flush = np.frombuffer(message, np.int64, _LEASE_NUMBERS).tolist()
    place = 8 * _LEASE_NUMBERS
    numbers = np.frombuffer(message, np.int64, tasks, place).copy()
    place += 8 * tasks
    lengths = np.frombuffer(message, np.int64, payloads, place).tolist()
    place += 8 * payloads
    name = message[place : place + dtype].decode()
    place += dtype
    own = []
    for length in lengths:
        own.append(message[place : place + length])
        place += length
    return Lease(run, numbers, name, tuple(own), flush / 1e6)


def batch_header(batch: TaskResults) -> Bytes:
    """Return all of a batch but its data as bytes."""
    dtype, error = batch.data.dtype.str.encode(), batch.error.encode()
    head = np.array([batch.run, len(batch.tasks), len(dtype), len(error)], dtype=np.int64)
    seconds = np.ascontiguousarray(batch.seconds, dtype=np.float64).view(np.int64)
    numbers = np.concatenate([head, batch.tasks, batch.sizes, seconds])
    return np.frombuffer(numbers.tobytes() + dtype + error, dtype=np.uint8)


def read_batch(header: Bytes) -> TaskResults:
    """Return the batch that a header announces, with room for its data."""
    message = header.tobytes()
    run, count, dtype, error = np.frombuffer(message, np.int64, _BATCH_NUMBERS).tolist()
    numbers = np.frombuffer(message, np.int64, 3 * count, 8 * _BATCH_NUMBERS).copy()
    tasks, sizes, seconds = numbers.reshape(3, count)
    place = 8 * (_BATCH_NUMBERS + 3 * count)
    name = message[place : place + dtype].decode()
    place += dtype
    text = message[place : place + error].decode()
    data = np.empty(int(sizes.sum()), dtype=name)
    return TaskResults(run, tasks, sizes, seconds.view(np.float64), data, text)
