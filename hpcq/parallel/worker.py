"""What computes a rank's leases: a thread of the rank, or a process of its own.

Aer keeps Python's lock while it simulates. A rank that should hear messages and signals meanwhile,
and outlive a simulation that the system kills for its memory, computes in another process.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

import numpy as np

from hpcq.core.system import redact_secrets
from hpcq.parallel.tasks import Array, Lease, TaskFunction, TaskResults, WorkerFactory

_FLUSH_BYTES = 8 << 20
_FLUSH_TASKS = 1 << 13


class Worker(Protocol):
    """Computes leases one after the other, beside the rank's main thread."""

    def open(self, factory: WorkerFactory, payload: bytes) -> None:
        """Make ready for work; whatever was leased before is dropped."""

    def put(self, lease: Lease) -> None:
        """Take a lease; those of earlier runs are dropped."""

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return a batch of results if one is ready, or is so within some seconds."""

    def close(self) -> None:
        """Drop everything."""


class ThreadWorker:
    """Computes in a thread: starts at once, and shares the rank's memory."""

    def __init__(self) -> None:
        self._leases: queue.SimpleQueue[tuple[TaskFunction, Lease] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[TaskResults] = queue.SimpleQueue()
        self._run = -1
        self._work: TaskFunction | None = None
        threading.Thread(target=self._loop, name="hpcq-work", daemon=True).start()

    def open(self, factory: WorkerFactory, payload: bytes) -> None:
        """Make ready for work."""
        self._run = -1
        self._work = factory(payload)

    def put(self, lease: Lease) -> None:
        """Take a lease."""
        assert self._work is not None, "it is opened first"
        self._run = lease.run
        self._leases.put((self._work, lease))

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return a batch of results if one is ready."""
        try:
            return self._results.get(timeout=wait) if wait > 0 else self._results.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Drop everything; a task that has begun is finished for nothing."""
        self._run = -1
        self._leases.put(None)

    def _loop(self) -> None:
        while (given := self._leases.get()) is not None:
            work, lease = given
            compute(lease, work, self._results.put, self._wanted)

    def _wanted(self, run: int, _task: int) -> bool:
        return run == self._run


def compute(
    lease: Lease,
    work: TaskFunction,
    emit: Callable[[TaskResults], None],
    wanted: Callable[[int, int], bool],
) -> None:
    """Compute a lease.

    Args:
        lease: The lease.
        work: Computes a task.
        emit: Is given results now and then, and failures.
        wanted: Is told the run and the task that begins; says whether anybody waits for it.
    """
    tasks: list[int] = []
    arrays: list[Array] = []
    seconds: list[float] = []
    size = 0
    clock = time.perf_counter
    last = flushed = clock()

    def flush() -> None:
        nonlocal size, flushed
        if tasks:
            data = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            sizes = np.array([len(array) for array in arrays], dtype=np.int64)
            numbers = np.array(tasks, dtype=np.int64)
            emit(TaskResults(lease.run, numbers, sizes, np.array(seconds), data))
        tasks.clear()
        arrays.clear()
        seconds.clear()
        size, flushed = 0, clock()

    payloads = lease.payloads
    for place, task in enumerate(lease.tasks.tolist()):
        if not wanted(lease.run, task):
            return
        try:
            result = work(task, payloads[place] if payloads else b"")
        except Exception as error:
            flush()
            emit(TaskResults.failed(lease.run, task, clock() - last, said(error)))
            last = clock()
            continue
        array = np.ascontiguousarray(result, lease.dtype).reshape(-1)
        now = clock()
        tasks.append(task)
        arrays.append(array)
        seconds.append(now - last)
        size += array.nbytes
        last = now
        full = size > _FLUSH_BYTES or len(tasks) >= _FLUSH_TASKS
        if full or now - flushed > lease.flush_seconds:
            flush()
            last = clock()
    flush()


def said(error: BaseException) -> str:
    """Return an error with the lines of code that it came from."""
    lines = traceback.format_exception(error)
    return redact_secrets(f"{type(error).__name__}: {error}\n{''.join(lines)}")


def here() -> str:
    """Return this host's name."""
    return socket.gethostname()
