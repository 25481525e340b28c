"""Readers of circuits that start in no time: forks of a process that has imported what they need.

A fork reads in the same sandbox and within the same limits as a reader that is started from
scratch, which takes 0.2 s of processor time for its imports.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

_BOOT = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv[1]); "
    "from hpcq.circuits.reader_forks import serve; serve()"
)
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask a job to stop. Readers ignore them: they end soon, and the process that waits
for them handles the signals."""

_NUMBER = struct.Struct("i")
_MAX_REQUEST_BYTES = 1 << 16
"""Largest request in bytes; it holds a name and a few numbers."""

_PEEK_BYTES = 1 << 16
"""Bytes at the start of a file in which to look for its format, to import a parser only once."""


class ReaderForks:
    """A process that forks readers; the first reader starts it.

    Args:
        path: Its module path.
        environment: Its environment variables.
    """

    def __init__(self, path: Sequence[str], environment: Mapping[str, str]) -> None:
        self._path, self._environment = list(path), dict(environment)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self, options: Mapping[str, Any], file: int) -> ForkedReader | None:
        """Start the reader of an open file; None if there is no process to fork.

        Args:
            options: Arguments of :func:`hpcq.circuits.sandbox.main`.
            file: Descriptor of the file.
        """
        answer, their_answer = os.pipe()
        state, their_state = os.pipe()
        try:
            requests = self._connection()
            message = json.dumps(dict(options)).encode()
            socket.send_fds(requests, [message], [file, their_answer, their_state])
        except OSError:
            os.close(answer)
            os.close(state)
            return None
        finally:
            os.close(their_answer)
            os.close(their_state)
        reader = ForkedReader(answer, state)
        return None if reader.pid is None else reader

    def close(self) -> None:
        """End the process; readers that have started continue."""
        with self._lock:
            if self._requests is not None:
                self._requests.close()
            if self._process is not None:
                self._process.wait()
            self._process = self._requests = None

    def _connection(self) -> socket.socket:
        with self._lock:
            if self._requests is None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(self._path)],
                        stdin=theirs.fileno(),
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        env=self._environment,
                    )
                self._requests = ours
            return self._requests


class ForkedReader:
    """A reader, with the methods of :class:`subprocess.Popen` that its caller needs.

    Attributes:
        pid: Process id; None if it could not be started.
        returncode: Exit code, negative for a signal; None while it runs.
    """

    def __init__(self, answer: int, state: int) -> None:
        self._answer, self._state = answer, state
        self.returncode: int | None = None
        self.pid = self._next()
        if self.pid is None:
            self._close()

    def poll(self) -> int | None:
        """Return how the process ended; None while it runs."""
        if self.returncode is None and select.select([self._state], [], [], 0)[0]:
            self._end()
        return self.returncode

    def kill(self) -> None:
        """Kill the process."""
        assert self.pid is not None, "it has started"
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float = 60.0) -> tuple[bytes, bytes]:
        """Return all that the process writes to its output, and nothing for its errors.

        Raises:
            subprocess.TimeoutExpired: If it runs longer than ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        parts: list[bytes] = []
        while not parts or parts[-1]:
            if not select.select([self._answer], [], [], max(end - time.monotonic(), 0))[0]:
                raise subprocess.TimeoutExpired("reader", timeout)
            parts.append(os.read(self._answer, 1 << 16))
        if self.returncode is None:
            self._end()
        self._close()
        return b"".join(parts), b""

    def _end(self) -> None:
        code = self._next()
        self.returncode = -signal.SIGKILL if code is None else code

    def _next(self) -> int | None:
        """Return the next number that the process reports; None if it was killed before."""
        data = os.read(self._state, _NUMBER.size)
        return int(_NUMBER.unpack(data)[0]) if len(data) == _NUMBER.size else None

    def _close(self) -> None:
        os.close(self._answer)
        os.close(self._state)


def serve() -> None:
    """Fork a reader for each request on standard input, until it is closed."""
    import gc

    import qiskit.qasm2  # noqa: F401  (imported once, before the forks)

    from hpcq.circuits import formats, normalise, qpy, sandbox  # noqa: F401

    gc.freeze()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    requests = socket.socket(fileno=os.dup(0))
    while True:
        options, files, *_ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 3)
        if not options:
            return
        with suppress(OSError):
            formats.import_parser(os.pread(files[0], _PEEK_BYTES, 0))
        if not os.fork():
            _run_reader(requests, json.loads(options), *files)
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # counts their CPU time, and leaves no zombie
                pass


def _run_reader(
    requests: socket.socket, options: dict[str, Any], file: int, answer: int, state: int
) -> None:
    """Run a reader in another fork; report its process id, and then its exit code."""
    from hpcq.circuits import sandbox

    requests.close()
    child = os.fork()
    if not child:
        os.close(state)  # a reader can write nothing but its answer
        os.dup2(file, 0)
        os.dup2(answer, 1)
        os.close(file)
        os.close(answer)
        try:
            sandbox.main(**options)
        finally:
            os._exit(1)
    os.close(answer)
    os.write(state, _NUMBER.pack(child))
    os.write(state, _NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    os._exit(0)
