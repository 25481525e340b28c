"""Read circuit files of unknown origin through a sandboxed child process."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.circuits import qpy
from hpcq.circuits.reader_forks import ForkedReader, ReaderForks
from hpcq.circuits.sandbox import pack_contents
from hpcq.core.errors import InputError, MissingDependencyError
from hpcq.core.files import open_regular, printable_path

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_FILE_BYTES = 256 << 20
"""Largest circuit file in bytes; a bound on the memory of this process, which passes it on."""

MAX_QPY_BYTES = 4 << 30
"""Largest total size in bytes of a result's circuits, each of which was a file or a part of one."""

_QPY_SECONDS, _QPY_BYTE_SECONDS, _QPY_BYTE_BYTES = 10.0, 1e-5, 100
"""Limits on reading a result's circuits: seconds, and further seconds and bytes of memory per byte
of QPY. Measured for circuits of 10^5 gates: 0.5 microseconds and 4 bytes per byte."""

_STARTUP_SECONDS = 120.0
"""Further seconds for importing Qiskit, which may come from a cold parallel file system."""

_BOOT = (
    "import json, sys; options = json.loads(sys.argv[1]); sys.path[:0] = options.pop('path'); "
    "from hpcq.circuits.sandbox import main; main(**options)"
)
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Environment variables that the reader needs to start. Others may hold secrets, or make an MPI
library take the reader for a rank."""

_forks: ReaderForks | None = None
"""The process whose forks read circuits now; None if each reader is started from scratch."""

_THREADED_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "RAYON")


def read_circuit(
    path: str | os.PathLike[str], *, seconds: float = 4.0, memory_bytes: int = 1 << 30
) -> QuantumCircuit:
    """Read one circuit from an OpenQASM 2, OpenQASM 3 or QPY file; the header says which.

    Args:
        path: A regular file.
        seconds: Time limit for reading, after the imports.
        memory_bytes: Memory limit for reading, including the libraries of both processes.

    Returns:
        The circuit as `hpcq.circuits.normalise.normalise` returns it: gates on one or two qubits
        with finite numbers or free parameters, no classical bits, final measurements noted
        in the metadata.

    Raises:
        InputError: The file is not one readable circuit; the message says why.
        MissingDependencyError: The file is OpenQASM 3, and qiskit_qasm3_import is not installed.
    """
    with start_reader(path, seconds=seconds, memory_bytes=memory_bytes) as reader:
        return reader.result()


def start_reader(
    path: str | os.PathLike[str], *, seconds: float = 4.0, memory_bytes: int = 1 << 30
) -> CircuitReader:
    """Start reading a circuit file and return at once; see `read_circuit`.

    The reader imports Qiskit and parses the file in a separate process, so the caller can import
    what it needs in the meantime.

    Raises:
        InputError: The file does not exist, or is a directory, a device, empty or too large.
    """
    if not seconds > 0:
        raise InputError(f"seconds is {seconds}, expected a positive number")
    descriptor = open_regular(path, MAX_FILE_BYTES, "a circuit as OpenQASM or QPY")
    return CircuitReader(descriptor, printable_path(path), seconds, memory_bytes, normalised=True)


def read_qpys(contents: Sequence[tuple[str, bytes]]) -> list[QuantumCircuit]:
    """Read circuits from QPY bytes that hpcq wrote, or that were forged to look so.

    The limits on time and memory grow with the bytes, so that another run can read what one wrote.
    Each circuit has a name for messages.

    Raises:
        InputError: They are not readable circuits such as hpcq writes; the message says why.
    """
    total = sum(len(data) for _, data in contents)
    name = contents[0][0]
    with tempfile.TemporaryFile() as file:
        file.write(pack_contents(contents))
        file.seek(0)
        descriptor = os.dup(file.fileno())
    seconds = _QPY_SECONDS + total * _QPY_BYTE_SECONDS
    memory_bytes = (1 << 30) + total * _QPY_BYTE_BYTES
    with CircuitReader(descriptor, name, seconds, memory_bytes, normalised=False) as reader:
        return reader.results()


class CircuitReader:
    """A child process that reads the circuits of an open file, which is closed in this process.

    It is a context manager that ends the process.
    """

    def __init__(
        self, descriptor: int, name: str, seconds: float, memory_bytes: int, *, normalised: bool
    ) -> None:
        try:
            options = {
                "name": name,
                "seconds": seconds,
                "memory_bytes": memory_bytes,
                "max_bytes": MAX_FILE_BYTES if normalised else MAX_QPY_BYTES,
                "normalised": normalised,
            }
            self._process = _start(options, descriptor)
        except OSError as error:
            raise InputError(f"{name}: cannot start the reader: {error.strerror}") from None
        finally:
            os.close(descriptor)
        self._name, self._seconds, self._memory_bytes = name, seconds, memory_bytes
        self._expected = (
            "a smaller file or a larger --read-seconds" if normalised else "what hpcq wrote"
        )
        self._deadline = time.monotonic() + _STARTUP_SECONDS + seconds

    def result(self) -> QuantumCircuit:
        """Wait for the process and return the circuit, or raise what `read_circuit` raises."""
        return self.results()[0]

    def results(self) -> list[QuantumCircuit]:
        """Wait for the process and return all circuits."""
        try:
            seconds_left = max(self._deadline - time.monotonic(), 1.0)
            answer, log = self._process.communicate(timeout=seconds_left)
        except subprocess.TimeoutExpired:
            self.cancel()
            raise self._too_slow() from None
        code = self._process.returncode
        assert code is not None, "it has ended"
        if code != 0:
            raise self._failure(code, answer, log)
        return qpy.load(answer, self._name)

    def cancel(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def __enter__(self) -> CircuitReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self.cancel()

    def _failure(self, code: int, answer: bytes, log: bytes) -> Exception:
        line = answer.decode("utf-8", "replace")
        if code == 2 and line:
            return InputError(line)
        if code == 3 and line:
            return MissingDependencyError(line)
        if code == 1:  # the reader failed before it opened the file
            reason = log.decode("utf-8", "replace").strip().rpartition("\n")[2]
            return MissingDependencyError(f"the circuit reader does not start: {reason[:300]}")
        if code in (-signal.SIGALRM, -signal.SIGXCPU):
            return self._too_slow()
        mebibytes = self._memory_bytes >> 20
        if code in (4, -signal.SIGKILL):
            return InputError(f"{self._name}: needs more than the {mebibytes} MiB set for reading")
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        return InputError(
            f"{self._name}: the reader broke down ({ended}); the file is malformed, nested too "
            f"deeply, or needs more than the {mebibytes} MiB set for reading"
        )

    def _too_slow(self) -> InputError:
        return InputError(
            f"{self._name}: reading took longer than the {self._seconds:.4g} s set for it, "
            f"expected {self._expected}"
        )


@contextmanager
def forked_readers() -> Iterator[None]:
    """Read circuits in forks of one process within the context, which pays from the second on."""
    global _forks  # a result's reader is started deep in other functions
    if _forks is not None:
        yield
        return
    _forks = ReaderForks(_module_path(), _environment())
    try:
        yield
    finally:
        _forks.close()
        _forks = None


def _start(options: dict[str, Any], file: int) -> subprocess.Popen[bytes] | ForkedReader:
    """Start the process that reads an open file."""
    reader = None if _forks is None else _forks.start(options, file)
    if reader is not None:
        return reader
    options = {"path": _module_path(), **options}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(options)],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    )


def _module_path() -> list[str]:
    """Return the module path of the child, on which it finds the same hpcq and Qiskit."""
    entries = [str(Path(__file__).resolve().parents[2])]
    spec = importlib.util.find_spec("qiskit")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("circuits need Qiskit, which is missing: pip install qiskit")
    entries += [str(Path(entry).absolute()) for entry in sys.path if Path(entry).is_dir()]
    entries.append(str(Path(spec.origin).parents[1]))
    return list(dict.fromkeys(entries))


def _environment() -> dict[str, str]:
    """Return the reader's environment, without secrets and with one thread."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    kept.update((f"{library}_NUM_THREADS", "1") for library in _THREADED_LIBRARIES)
    kept["QISKIT_SETTINGS"] = os.devnull
    kept["MALLOC_ARENA_MAX"] = "2"
    kept["MIMALLOC_ARENA_RESERVE"] = "32MiB"  # Qiskit's 1 GiB would hide the memory in use
    return kept
