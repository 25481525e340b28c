"""A worker in a process of its own, which never hears of MPI.

It is started as a fresh Python, told by a socket what to do, and answers by the same. It ends when
its rank does, however that ends; stop signals are the rank's business. If it dies, of memory say,
the task that it was at has failed, and another process takes the others.
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

from hpcq.parallel.tasks import Lease, TaskFunction, TaskResults, WorkerFactory
from hpcq.parallel.worker import compute, said

_LAUNCHERS = ("PMI", "OMPI_", "PMIX", "MPI_LOCAL", "HYDI", "PALS_", "FLUX_")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hpcq.parallel.subprocess_worker import main; main(*map(int, sys.argv[2:]))"
)
_DEATHS = 3
_PDEATHSIG = 1
_OUTDATED = -1
_NOTE = struct.Struct("qq")


class ProcessWorker:
    """Computes in another process; see :class:`hpcq.parallel.worker.Worker`."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._opened: tuple[WorkerFactory, bytes] | None = None
        self._leases: list[Lease] = []
        self._deaths = 0

    def open(self, factory: WorkerFactory, payload: bytes) -> None:
        """Start the process, or tell it to do other work."""
        self._opened = factory, payload
        self._leases.clear()
        if self._child is None:
            self._start()
        else:
            self._child.send(self._opened)

    def put(self, lease: Lease) -> None:
        """Take a lease; a process that is busy with an earlier run drops that."""
        self._leases = [own for own in self._leases if own.run == lease.run]
        self._leases.append(lease)
        assert self._child is not None, "it is opened first"
        self._child.send(lease)

    def collect(self, wait: float = 0.0) -> TaskResults | None:
        """Return a batch of results if one is ready; or the failure that a death is."""
        if self._child is None:
            return None
        answer = self._child.receive(wait)
        if answer is None:
            return None
        if isinstance(answer, TaskResults):
            self._note(answer)
            return answer
        return self._buried(str(answer))

    def close(self) -> None:
        """End the process."""
        self._end_child()
        self._leases.clear()

    def _note(self, batch: TaskResults) -> None:
        """Take finished tasks off the leases."""
        self._deaths = 0
        gone = set(batch.tasks.tolist())
        for place, lease in enumerate(self._leases):
            if lease.run == batch.run:
                self._leases[place] = lease.without(gone)
        self._leases = [lease for lease in self._leases if len(lease.tasks)]

    def _buried(self, reason: str) -> TaskResults | None:
        """Start afresh after a death; the task at hand has failed.

        What it had computed and not yet sent is computed again.
        """
        assert self._child is not None, "it was one that died"
        run, task = self._child.at
        self._end_child()
        self._deaths += 1
        failed = [own for own in self._leases if own.run == run and task in own.tasks]
        if not failed and self._deaths >= _DEATHS:
            raise RuntimeError(f"the worker process {reason}, {self._deaths} times")
        self._leases = [own.without({task}) if own in failed else own for own in self._leases]
        self._leases = [own for own in self._leases if len(own.tasks)]
        self._start()
        for lease in self._leases:
            self._child.send(lease)
        return TaskResults.failed(run, task, 0.0, f"its process {reason}") if failed else None

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None

    def _start(self) -> None:
        assert self._opened is not None, "it is opened first"
        self._child = _Child()
        self._child.send(self._opened)


class _Desk:
    """A bit of memory shared with the process: the run and the task that it is at.

    Args:
        descriptor: Of the memory; None for new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("hpcq-desk") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, _NOTE.size)
        self._memory = mmap.mmap(self.descriptor, _NOTE.size)
        if descriptor is None:
            self.note(-1, -1)

    def note(self, run: int, task: int) -> None:
        """Write a note."""
        _NOTE.pack_into(self._memory, 0, run, task)

    def read(self) -> tuple[int, int]:
        """Return the last note."""
        run, task = _NOTE.unpack_from(self._memory, 0)
        return run, task


class _Child:
    """The process, with a thread to write to it and one to listen."""

    def __init__(self) -> None:
        self._desk = _Desk()
        ours, theirs = socket.socketpair()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHERS)}
        means = [theirs.fileno(), self._desk.descriptor]
        command = [sys.executable, "-c", _START, json.dumps(sys.path), *map(str, means)]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(os.getpid())],
                pass_fds=means,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        os.close(self._desk.descriptor)
        self._connection = Connection(ours.detach())
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for loop in (self._write, self._listen):
            threading.Thread(target=loop, name="hpcq-pipe", daemon=True).start()

    @property
    def at(self) -> tuple[int, int]:
        """The run and the task that it is, or was, at."""
        return self._desk.read()

    def send(self, message: Any) -> None:
        """Send a message; never waits."""
        self._outgoing.put(message)

    def receive(self, wait: float) -> Any:
        """Return a message, or how the process ended; None if there is nothing yet."""
        try:
            return self._incoming.get(timeout=wait) if wait > 0 else self._incoming.get_nowait()
        except queue.Empty:
            return None

    def end(self) -> None:
        """End the process at once."""
        self._outgoing.put(None)
        self._process.kill()
        self._process.wait()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (message := self._outgoing.get()) is not None:
                self._connection.send(message)

    def _listen(self) -> None:
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
    """Be the process: compute what the parent sends until it says no more."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")  # its threads would wait for each other
    connection = Connection(descriptor)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    newest = [_OUTDATED]

    def listen() -> None:
        try:
            while True:
                message = connection.recv()
                newest[0] = message.run if isinstance(message, Lease) else _OUTDATED
                messages.put(message)
        except (EOFError, OSError):
            os._exit(0)
        except BaseException:  # a message that cannot be read: nothing will ever come of this
            traceback.print_exc()
            os._exit(1)

    def wanted(run: int, task: int) -> bool:
        desk.note(run, task)
        return run == newest[0]

    desk = _Desk(memory)
    threading.Thread(target=listen, name="hpcq-pipe", daemon=True).start()
    work: TaskFunction | None = None
    while True:
        message = messages.get()
        if not isinstance(message, Lease):
            factory, payload = message
            work = _opened(factory, payload)
            continue
        assert work is not None, "it is opened first"
        compute(message, work, connection.send, wanted)


def _opened(factory: WorkerFactory, payload: bytes) -> Any:
    """Make the work; an error becomes that of every task."""
    try:
        return factory(payload)
    except Exception as error:
        text = said(error)

        def fail(_task: int, _ticket: bytes) -> Any:
            raise RuntimeError(text)

        return fail
