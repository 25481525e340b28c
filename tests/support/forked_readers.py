"""Circuit readers that start at once: forks of one process that has imported what they need.

A reader takes half a second to import Qiskit, and hundreds of tests read a circuit. A fork reads
the same way and within the same limits. This module stands in for `subprocess` in
`hpcq.circuits.reader`.
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
import time
from collections.abc import Sequence
from functools import cache
from subprocess import PIPE, TimeoutExpired

from hpcq.circuits import reader

__all__ = ["PIPE", "Popen", "TimeoutExpired"]

_SERVER = """
import json, os, signal, socket, struct, sys
sys.path[:0] = json.loads(sys.argv[1])
import qiskit.qasm2, qiskit.qpy, qiskit_qasm3_import
from hpcq.circuits import formats, normalise, sandbox
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
requests = socket.socket(fileno=os.dup(0))
while True:
    options, files, *_ = socket.recv_fds(requests, 1 << 16, 3)
    if not options:
        break
    if not os.fork():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        given, answer, state = files
        if not (child := os.fork()):
            os.dup2(given, 0)
            os.dup2(answer, 1)
            try:
                sandbox.main(**json.loads(options))
            finally:
                os._exit(1)
        os.close(answer)
        os.write(state, struct.pack("i", child))
        os.write(state, struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        os._exit(0)
    for file in files:
        os.close(file)
"""
"""The process that forks: a fork of it starts the reader, says its id, and then how it ended."""


@cache
def _server() -> socket.socket:
    """Start the process that forks; return the socket that takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = json.dumps(reader._module_path())
    command = [sys.executable, "-I", "-S", "-c", _SERVER, path]
    subprocess.Popen(command, stdin=theirs, env=reader._environment())
    theirs.close()
    return ours


class Popen:
    """The part of `subprocess.Popen` that `hpcq.circuits.reader` uses."""

    def __init__(self, command: Sequence[str], *, stdin: int, **_: object) -> None:
        options = json.loads(command[-1])
        del options["path"]
        self._answer, answer = os.pipe()
        self._state, state = os.pipe()
        socket.send_fds(_server(), [json.dumps(options).encode()], [stdin, answer, state])
        os.close(answer)
        os.close(state)
        self.pid = self._next()
        self.returncode: int | None = None

    def _next(self) -> int:
        return int(struct.unpack("i", os.read(self._state, 4))[0])

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._state], [], [], 0)[0]:
            self.returncode = self._next()
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float = 60.0) -> tuple[bytes, bytes]:
        end, parts = time.monotonic() + timeout, []
        while not parts or parts[-1]:
            if not select.select([self._answer], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutExpired("a reader", timeout)
            parts.append(os.read(self._answer, 1 << 16))
        if self.returncode is None:
            self.returncode = self._next()
        os.close(self._answer)
        os.close(self._state)
        return b"".join(parts), b""
