"""A worker in a process of its own, which never hears of MPI.

It is started as a fresh Python, told by a socket what to do, and answers by the same. It ends when
its rank does, however that ends; stop signals are the rank's business. If it dies, of memory say,
the task that it was at has failed, and another process takes the others.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from hpcq.farm.tasks import Batch, Lease, Opener, Work
from hpcq.farm.worker import compute, said

_LAUNCHERS = ("PMI", "OMPI_", "PMIX", "MPI_LOCAL", "HYDI", "PALS_", "FLUX_")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from hpcq.farm.process import main; main(int(sys.argv[1]), int(sys.argv[3]))"
)
_DEATHS = 3
_PDEATHSIG = 1
_OUTDATED = -1


class ProcessWorker:
    """Computes in another process; see :class:`hpcq.farm.worker.Worker`."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._opened: tuple[Opener, bytes] | None = None
        self._leases: list[Lease] = []
        self._deaths = 0

    def open(self, opener: Opener, payload: bytes) -> None:
        """Start the process, or tell it to do other work."""
        self._opened = opener, payload
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

    def collect(self, wait: float = 0.0) -> Batch | None:
        """Return a batch of results if one is ready; or the failure that a death is."""
        if self._child is None:
            return None
        answer = self._child.receive(wait)
        if answer is None:
            return None
        if isinstance(answer, Batch):
            self._note(answer)
            return answer
        return self._buried(str(answer))

    def close(self) -> None:
        """End the process."""
        self._end_child()
        self._leases.clear()

    def _note(self, batch: Batch) -> None:
        """Take finished tasks off the leases."""
        self._deaths = 0
        gone = set(batch.tasks.tolist())
        for place, lease in enumerate(self._leases):
            if lease.run == batch.run:
                self._leases[place] = lease.without(gone)
        self._leases = [lease for lease in self._leases if len(lease.tasks)]

    def _buried(self, reason: str) -> Batch | None:
        """Start afresh after a death; the task at hand has failed."""
        self._end_child()
        self._deaths += 1
        if not self._leases:
            if self._deaths >= _DEATHS:
                raise RuntimeError(f"the worker process {reason}, {self._deaths} times")
            self._start()
            return None
        first = self._leases[0]
        task = int(first.tasks[0])
        batch = Batch.failed(first.run, task, 0.0, f"its process {reason}")
        self._leases[0] = first.without({task})
        self._leases = [lease for lease in self._leases if len(lease.tasks)]
        self._start()
        for lease in self._leases:
            assert self._child is not None
            self._child.send(lease)
        return batch

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = None

    def _start(self) -> None:
        assert self._opened is not None, "it is opened first"
        self._child = _Child()
        self._child.send(self._opened)


class _Child:
    """The process, with a thread to write to it and one to listen."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHERS)}
        command = [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self._connection = Connection(ours.detach())
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._incoming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for loop in (self._write, self._listen):
            threading.Thread(target=loop, name="hpcq-pipe", daemon=True).start()

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


def main(descriptor: int, parent: int) -> None:
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

    threading.Thread(target=listen, name="hpcq-pipe", daemon=True).start()
    work: Work | None = None
    while True:
        message = messages.get()
        if not isinstance(message, Lease):
            opener, payload = message
            work = _opened(opener, payload)
            continue
        assert work is not None, "it is opened first"
        compute(message, work, connection.send, partial(_differs, newest, message.run))


def _differs(newest: list[int], run: int) -> bool:
    return newest[0] != run


def _opened(opener: Opener, payload: bytes) -> Any:
    """Make the work; an error becomes that of every task."""
    try:
        return opener(payload)
    except Exception as error:
        text = said(error)

        def fail(_task: int, _ticket: bytes) -> Any:
            raise RuntimeError(text)

        return fail
