"""The child process that reads a circuit file, so that no file can harm the run.

It gets the open file as its standard input and answers on standard output: the circuit as QPY,
normalised on request (exit code 0), or one line that says what is wrong. It never sees the path.
Once it has the bytes, it may open nothing but Python modules, write nothing, start nothing, and use
only a given memory and time. These limits are the main protection; the audit hook is a second one,
as the loaders are not supposed to run code.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

DONE, BAD_INPUT, MISSING, TOO_LARGE = 0, 2, 3, 4  # exit codes of the child

_BASE_BYTES = 512 << 20
"""Part of the memory limit that the libraries take in this process and in its parent."""

_FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill",
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "os.putenv", "shutil.", "subprocess.", "pty.", "socket.", "pickle.",
    "ctypes.dlopen", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.", "sqlite3.",
)  # fmt: skip
_MODULE_SUFFIXES = (".py", ".pyc", ".so", "entry_points.txt")


def pack_contents(contents: Sequence[tuple[str, bytes]]) -> bytes:
    """Return names and byte strings as one byte string; see :func:`unpack_contents`."""
    head = json.dumps([[name, len(data)] for name, data in contents])
    return b"\n".join([head.encode(), b"".join(data for _, data in contents)])


def unpack_contents(data: bytes) -> list[tuple[str, bytes]]:
    """Return the names and byte strings that :func:`pack_contents` packed."""
    head, _, _ = data.partition(b"\n")
    contents, start = [], len(head) + 1
    for name, size in json.loads(head):
        contents.append((name, data[start : start + size]))
        start += size
    return contents


def main(
    name: str, seconds: float, memory_bytes: int, max_bytes: int, *, normalised: bool
) -> NoReturn:
    """Read standard input, answer on standard output, and end the process.

    The answer is the normalised circuit of a file, or all circuits of a result, as they are. The
    limits are on the time and memory of reading, and on the bytes that are read.
    """
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    gc.disable()  # a short process that ends in os._exit needs no collector
    with os.fdopen(os.dup(0), "rb") as source:
        os.dup2(null, 0)
        data = source.read(max_bytes + 1)
    code, reply = _read(data, name, seconds, memory_bytes, max_bytes, normalised=normalised)
    signal.setitimer(signal.ITIMER_REAL, 0)  # a parent may take its time to read the answer
    rest = memoryview(reply)
    while rest:
        rest = rest[os.write(answer, rest) :]
    os._exit(code)


def _read(
    data: bytes, name: str, seconds: float, memory_bytes: int, max_bytes: int, *, normalised: bool
) -> tuple[int, bytes]:
    from qiskit import qpy  # noqa: F401  (before the limits apply)

    from hpcq.circuits import formats
    from hpcq.circuits.loader_errors import one_line
    from hpcq.circuits.normalise import normalise
    from hpcq.circuits.qpy import dump
    from hpcq.core.errors import HpcqError, MissingDependencyError

    formats.import_parser(data)
    os.dup2(1, 2)  # up to here the log says why an import failed; a panic's backtrace is of no use
    _confine(seconds, memory_bytes)
    try:
        if len(data) > max_bytes:
            return BAD_INPUT, f"{name}: is larger than {max_bytes >> 20} MiB".encode()
        if not normalised:
            stored = [formats.parse_stored(part, label) for label, part in unpack_contents(data)]
            return DONE, dump(stored)
        circuit, unique_names = formats.parse(data, name)
        del data
        plain = normalise(circuit, name, unique_names=unique_names, free_parameters=True)
        return DONE, dump(plain)
    except MissingDependencyError as error:
        return MISSING, one_line(error, 500).encode()
    except HpcqError as error:
        return BAD_INPUT, one_line(error, 500).encode()
    except MemoryError:
        return TOO_LARGE, b""
    except RecursionError:
        return BAD_INPUT, f"{name}: is nested too deeply".encode()
    except BaseException as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        return BAD_INPUT, f"{name}: cannot be read ({reason})".encode()


def _confine(seconds: float, memory_bytes: int) -> None:
    """Limit time and memory, and forbid everything but parsing one file."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # kills, even inside compiled code
    signal.setitimer(signal.ITIMER_REAL, seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    _limit(resource.RLIMIT_CPU, int(spent + 2 * seconds) + 1)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    mapped = _mapped_bytes()
    if mapped:
        _limit(resource.RLIMIT_AS, mapped + max(memory_bytes - _BASE_BYTES, 64 << 20))
    os.chdir("/")
    sys.modules["symengine"] = None  # type: ignore[assignment]  # its format holds pickles
    roots = tuple(os.path.realpath(entry) + os.sep for entry in sys.path if entry)
    sys.addaudithook(_Guard(roots))


def _limit(kind: int, value: int) -> None:
    try:
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    except (OSError, ValueError):
        pass  # a system without this limit still has the others


def _mapped_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        return int(pages) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


class _Guard:
    """An audit hook that forbids what reading a circuit never needs."""

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = roots

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._check_open(arguments[0], arguments[2])
        elif event.startswith(_FORBIDDEN):
            if event == "ctypes.dlopen" and arguments[0] is None:
                return  # ctypes.pythonapi, on import of ctypes
            raise PermissionError(f"{event} is not allowed while a circuit is read")

    def _check_open(self, path: Any, flags: Any) -> None:
        writes = flags if isinstance(flags, int) else 0
        if isinstance(path, (str, bytes)) and not writes & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            real = os.path.realpath(os.fsdecode(path))
            if real.endswith(_MODULE_SUFFIXES) and real.startswith(self._roots):
                return
        raise PermissionError("files may not be opened while a circuit is read")
