"""Workers compute a rank's leases, in a thread or in a subprocess.

Aer holds Python's lock while it simulates. A rank computes in a subprocess if it is to receive
messages and signals during a simulation, and to survive one that the system kills for its memory.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from hpcq.core.system import redact_secrets
from hpcq.parallel.tasks import Array, Lease, TaskFunction, TaskResults, WorkerFactory

_FLUSH_BYTES = 8 << 20
"""Bytes of results that a worker collects at most; larger: fewer messages, more memory."""

_MAX_JOIN_SECONDS = 10.0
"""Longest wait for a thread's current task at the end, in seconds. SLURM kills a job 30 s after it
asked it to stop."""

_FLUSH_TASKS = 1 << 13
"""Tasks whose results a worker collects at most, with the same trade-off where results are tiny."""


class Worker(Protocol):
    """Computes leases one after the other, alongside the rank's main thread."""

    def prepare(self, factory: WorkerFactory, setup: Any) -> None:
        """Make the function for the tasks that follow; earlier leases are dropped."""

    def put(self, lease: Lease) -> None:
        """Add a lease; leases of earlier runs are dropped."""

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return the next batch of results, waiting up to ``wait`` seconds; None without one."""

    def close(self) -> None:
        """End the worker; unfinished leases are dropped."""


class ThreadWorker:
    """Computes in a thread: starts at once, and shares the rank's memory."""

    def __init__(self) -> None:
        self._leases: queue.SimpleQueue[tuple[TaskFunction, Lease] | None] = queue.SimpleQueue()
        # A SimpleQueue's timeout never ends if a signal's handler runs beyond it (Python 3.11).
        self._results: queue.Queue[TaskResults] = queue.Queue()
        self._run = -1
        self._function: TaskFunction | None = None
        self._thread = threading.Thread(target=self._loop, name="hpcq-work", daemon=True)
        self._thread.start()

    def prepare(self, factory: WorkerFactory, setup: Any) -> None:
        """Make the task function."""
        self._run = -1
        self._function = factory(setup)

    def put(self, lease: Lease) -> None:
        """Add a lease."""
        assert self._function is not None, "prepare() comes first"
        self._run = lease.run
        self._leases.put((self._function, lease))

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return the next batch of results."""
        try:
            return self._results.get(timeout=wait) if wait > 0 else self._results.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the thread once the current task is done; its result is dropped."""
        self._run = -1
        self._leases.put(None)
        # Python aborts if it ends while a thread is inside a simulator: exit code 134, not 75.
        self._thread.join(_MAX_JOIN_SECONDS)

    def _loop(self) -> None:
        while (item := self._leases.get()) is not None:
            function, lease = item
            compute(lease, function, self._results.put, lambda run, _task: run == self._run)


def compute(
    lease: Lease,
    function: TaskFunction,
    emit: Callable[[TaskResults], None],
    begin_task: Callable[[int, int], bool],
) -> None:
    """Compute the tasks of a lease.

    ``emit`` is called with results now and then, and with each failure; ``begin_task`` with the run
    and the task that begins, and returns False if the rest of the lease is out of date.
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
    for index, task in enumerate(lease.tasks.tolist()):
        if not begin_task(lease.run, task):
            return
        try:
            result = function(task, payloads[index] if payloads else b"")
        except (Exception, SystemExit) as error:  # a thread would end, and the run wait for it
            flush()
            emit(TaskResults.failed(lease.run, task, clock() - last, format_error(error)))
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


def format_error(error: BaseException) -> str:
    """Return an error's class and message, and its traceback in the lines below."""
    lines = traceback.format_exception(error)
    return redact_secrets(f"{type(error).__name__}: {error}\n{''.join(lines)}")
