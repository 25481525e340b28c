"""A worker in a subprocess that knows nothing of MPI.

The subprocess is a fresh Python interpreter, which receives its work and returns results through a
socket. It ends when its rank does, however the rank ends, and ignores stop signals, which are for
the rank to handle. If it dies, of memory for example, its current task has failed, and a new
subprocess computes the remaining ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from hpcq.parallel.messages import dumps, loads
from hpcq.parallel.tasks import Lease, TaskFunction, TaskResults, WorkerFactory
from hpcq.parallel.worker import compute, format_error

_LAUNCHERS = ("PMI", "OMPI_", "PMIX", "MPI_LOCAL", "HYDI", "PALS_", "FLUX_")
"""Prefixes of the launchers' variables, without which the subprocess is not mistaken for a rank."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpcq.parallel.subprocess_worker import main; main(*map(int, sys.argv[2:]))"
)
_MAX_IDLE_DEATHS = 3
"""Deaths in a row outside of any task, since the task function was last made, after which the rank
fails: a new start would not help."""

_PR_SET_PDEATHSIG = 1
"""Option of prctl(2), from <linux/prctl.h>: send a signal when the parent dies."""

_NO_RUN = -1
"""Stands for the number of the current run while there is none, so that no lease belongs to it."""

_MARK = struct.Struct("qq")


class ProcessWorker:
    """Computes in a subprocess; see :class:`hpcq.parallel.worker.Worker`."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._preparation: tuple[WorkerFactory, bytes] | None = None
        self._leases: list[Lease] = []
        self._deaths = 0

    def prepare(self, factory: WorkerFactory, setup: Any) -> None:
        """Make the task function in the subprocess, which is started if there is none."""
        self._preparation = factory, dumps(setup)
        self._leases.clear()
        self._deaths = 0
        if self._child is None:
            self._start()
        else:
            self._child.send(self._preparation)

    def put(self, lease: Lease) -> None:
        """Add a lease; a subprocess that still computes an earlier run abandons it."""
        self._leases = [pending for pending in self._leases if pending.run == lease.run]
        self._leases.append(lease)
        assert self._child is not None, "prepare() comes first"
        self._child.send(lease)

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return the next batch of results; after a death, the failure of the current task."""
        if self._child is None:
            return None
        answer = self._child.receive(wait)
        if answer is None:
            return None
        if isinstance(answer, TaskResults):
            self._remove_finished(answer)
            return answer
        return self._handle_death(str(answer))

    def close(self) -> None:
        """Kill the subprocess."""
        self._end_child()
        self._leases.clear()

    def _remove_finished(self, batch: TaskResults) -> None:
        """Remove finished tasks from the leases."""
        self._deaths = 0
        finished = set(batch.tasks.tolist())
        for index, lease in enumerate(self._leases):
            if lease.run == batch.run:
                self._leases[index] = lease.without(finished)
        self._leases = [lease for lease in self._leases if len(lease.tasks)]

    def _handle_death(self, reason: str) -> TaskResults | None:
        """Start a new subprocess; return the failure of the task that the old one computed.

        Results that it had not sent yet are computed again.
        """
        assert self._child is not None, "only a child that was started can die"
        run, task = self._child.marker.read()
        self._end_child()
        self._deaths += 1
        failed = [lease for lease in self._leases if lease.run == run and task in lease.tasks]
        if not failed and self._deaths >= _MAX_IDLE_DEATHS:
            raise RuntimeError(f"the worker process {reason}, {self._deaths} times")
        self._leases = [
            lease.without({task}) if lease in failed else lease for lease in self._leases
        ]
        self._leases = [lease for lease in self._leases if len(lease.tasks)]
        self._start()
        for lease in self._leases:
            self._child.send(lease)
        return TaskResults.failed(run, task, 0.0, f"its process {reason}") if failed else None

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None

    def _start(self) -> None:
        assert self._preparation is not None, "prepare() comes first"
        self._child = _Child()
        self._child.send(self._preparation)


class _TaskMarker:
    """Shared memory in which the subprocess marks its current run and task.

    The parent, which allocates it, can read it after the subprocess was killed, which no message
    would survive.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("hpcq-task") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, _MARK.size)
        self._memory = mmap.mmap(self.descriptor, _MARK.size)
        if descriptor is None:
            self.write(-1, -1)

    def write(self, run: int, task: int) -> None:
        """Mark the current run and task."""
        _MARK.pack_into(self._memory, 0, run, task)

    def read(self) -> tuple[int, int]:
        """Return the run and task that were marked last."""
        run, task = _MARK.unpack_from(self._memory, 0)
        return run, task


class _Child:
    """The subprocess as its parent sees it, with one thread to write to it and one to read."""

    def __init__(self) -> None:
        self.marker = _TaskMarker()
        ours, theirs = socket.socketpair()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHERS)}
        descriptors = [theirs.fileno(), self.marker.descriptor]
        command = [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, descriptors)]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(os.getpid())],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        os.close(self.marker.descriptor)
        self._connection = Connection(ours.detach())
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._incoming: queue.Queue[Any] = queue.Queue()  # its timeout ends, as in ThreadWorker
        for loop in (self._write, self._read):
            threading.Thread(target=loop, name="hpcq-pipe", daemon=True).start()

    def send(self, message: Any) -> None:
        """Send a message; never blocks."""
        self._outgoing.put(message)

    def receive(self, wait: float) -> Any:
        """Return the next message, or how the subprocess ended; None if there is neither."""
        try:
            return self._incoming.get(timeout=wait) if wait > 0 else self._incoming.get_nowait()
        except queue.Empty:
            return None

    def end(self) -> None:
        """Kill the subprocess."""
        self._outgoing.put(None)
        self._process.kill()
        self._process.wait()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (message := self._outgoing.get()) is not None:
                self._connection.send(message)

    def _read(self) -> None:
        try:
            while True:
                self._incoming.put(self._connection.recv())
        except (EOFError, OSError):
            code = self._process.wait()
            if code >= 0:
                self._incoming.put(f"ended with code {code}")
            else:
                name = signal.Signals(-code).name
                memory = " (out of memory?)" if -code == signal.SIGKILL else ""
                self._incoming.put(f"was ended by {name}{memory}")
        with contextlib.suppress(OSError):
            self._connection.close()


def main(descriptor: int, memory: int, parent: int) -> None:
    """Run the subprocess: compute leases until the parent closes the connection or kills it.

    The arguments are the file descriptors of the socket to the parent and of the memory in which to
    mark the current task, and the parent's process id.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl
        return
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")  # its threads would wait for each other
    connection = Connection(descriptor)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    newest_run = [_NO_RUN]

    def read() -> None:
        try:
            while True:
                message = connection.recv()
                newest_run[0] = message.run if isinstance(message, Lease) else _NO_RUN
                messages.put(message)
        except (EOFError, OSError):
            os._exit(0)
        except BaseException:  # a message that cannot be unpickled: no lease could be computed
            traceback.print_exc()
            os._exit(1)

    def begin_task(run: int, task: int) -> bool:
        marker.write(run, task)
        return run == newest_run[0]

    marker = _TaskMarker(memory)
    threading.Thread(target=read, name="hpcq-pipe", daemon=True).start()
    function: TaskFunction | None = None
    while True:
        message = messages.get()
        if not isinstance(message, Lease):
            function = _make_function(*message)
            continue
        assert function is not None, "prepare() comes first"
        compute(message, function, connection.send, begin_task)


def _make_function(factory: WorkerFactory, setup: bytes) -> Any:
    """Make the task function; if that fails, return one that raises the error for every task."""
    try:
        return factory(loads(setup))
    except Exception as error:
        text = format_error(error)

        def fail(_task: int, _payload: bytes) -> Any:
            raise RuntimeError(text)

        return fail
