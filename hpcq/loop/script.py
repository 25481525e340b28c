"""Run a Python script in this process as ``python SCRIPT [arguments]`` runs it."""

from __future__ import annotations

import builtins
import hashlib
import io
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from weakref import ReferenceType

from hpcq.core.errors import HpcqError, InputError, StoppedError
from hpcq.core.files import printable, printable_path
from hpcq.core.system import write_stderr

_INTERRUPTED = 130
"""Exit code after Ctrl-C, which shells show for a process that SIGINT has ended."""

_MAX_LONG = (1 << 63) - 1
"""Largest number that Python passes on to the system as an exit code."""


@dataclass(frozen=True)
class Script:
    """A script and its arguments.

    Attributes:
        name: Its path, as the user writes it: ``sys.argv[0]``.
        arguments: Its arguments: the rest of ``sys.argv``.
        source: Its text.
    """

    name: str
    arguments: tuple[str, ...]
    source: bytes

    @classmethod
    def read(cls, name: str, arguments: Sequence[str] = (), copy: str | None = None) -> Script:
        """Read a script, or a copy of it.

        Raises:
            InputError: If there is no such file, or it cannot be read.
        """
        path = Path(name if copy is None else copy)
        shown = printable_path(path)
        if path.is_dir():
            raise InputError(f"script: {shown!r} is a folder, expected a Python script")
        try:
            with io.open_code(str(path.absolute())) as file:
                source = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"script: {shown!r}: {reason}, expected a Python script") from None
        return cls(name, tuple(arguments), source)

    def check(self) -> None:
        """Check that the text is Python.

        Raises:
            InputError: If it is not.
        """
        try:
            compile(self.source, self.name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            shown, reason = printable_path(self.name), getattr(error, "msg", error)
            raise InputError(f"script: {shown!r}{line}: {reason}, expected Python") from None

    def path_of_copy(self, folder: Path) -> Path:
        """Return where a job finds this text, whatever becomes of the script while it waits.

        The name of the copy is that of the script and a digest of the text.
        """
        digest = hashlib.sha256(self.source).hexdigest()[:16]
        return folder / f".{Path(self.name).name}.{digest}.py"

    def run(self) -> int:
        """Run the script as the main module of this process, and return its exit code.

        An exception that ends the script is printed as Python prints it. StoppedError takes one
        line, even if a library raises its own error from it, as qiskit-algorithms does. Threads
        that are not daemons are waited for, because they may use ranks. A signal that interrupts
        this ends the process, because the interpreter would wait for them again. A process that
        the script has forked ends here too, without touching MPI.
        """
        process, earlier = os.getpid(), threading.enumerate()
        sys.argv = [self.name, *self.arguments]
        if not sys.flags.safe_path:
            sys.path[0] = str(Path(self.name).resolve().parent)
        file = str(Path(self.name).absolute())
        main = ModuleType("__main__")
        main.__dict__.update(
            __file__=file,
            __builtins__=builtins,
            __loader__=SourceFileLoader("__main__", file),
            __cached__=None,
        )
        sys.modules["__main__"] = main
        # Tracebacks quote the lines that are run, not those of a script that was changed since.
        lines = io.TextIOWrapper(io.BytesIO(self.source), "utf-8", "replace").readlines()
        linecache.cache[file] = len(self.source), None, lines, file
        code = 0
        leaves = False
        try:
            exec(compile(self.source, file, "exec", dont_inherit=True), main.__dict__)
        except BaseException as error:
            code = _exit_code(error)
        try:
            _join_threads(earlier)
        except BaseException as error:
            code = code or _exit_code(error)
            leaves = True
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        if leaves or os.getpid() != process:
            os._exit(code)
        return code


def _join_threads(earlier: Collection[threading.Thread]) -> None:
    """Wait for the threads since then that the interpreter would wait for at its end.

    Idle threads of pools end only with the interpreter, so pools are waited for by their tasks.
    """
    for thread in threading.enumerate():
        if thread.daemon or thread in earlier:
            continue
        # The first argument of a pool's thread is a weak reference to the pool.
        reference = next(iter(getattr(thread, "_args", ())), None)
        pool = reference() if isinstance(reference, ReferenceType) else None
        if isinstance(pool, ThreadPoolExecutor):
            pool.shutdown()
        thread.join()


def _stopped_by(error: BaseException) -> StoppedError | None:
    """Return the StoppedError, even if a library has raised its own error from it.

    hpcq's own errors ``from None`` may stand for it too: foreign code can raise anything.
    """
    seen: list[BaseException] = []  # an error may be its own cause
    cause: BaseException | None = error
    while cause is not None and all(each is not cause for each in seen):
        if isinstance(cause, StoppedError):
            return cause
        seen.append(cause)
        hides = isinstance(cause, HpcqError) and cause.__suppress_context__
        cause = cause.__cause__ or (cause.__context__ if hides else None)
    return None


def _exit_code(error: BaseException) -> int:
    """Print the exception that ended the script, and return the exit code."""
    if isinstance(error, SystemExit):
        return _code_of_exit(error.code)
    stopped = _stopped_by(error)
    if stopped is not None:
        write_stderr(f"hpcq: error: {printable(' '.join(str(stopped).split()))}")
        return stopped.exit_code
    # Without the frame that runs the script.
    frames = error.__traceback__ and error.__traceback__.tb_next
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, frames
    try:
        sys.excepthook(type(error), error.with_traceback(frames), frames)
    except SystemExit as leaving:  # of a hook that the script has set
        return _code_of_exit(leaving.code)
    except BaseException:
        with suppress(OSError, ValueError):  # no stderr to print to
            traceback.print_exception(error)
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1


def _code_of_exit(code: object) -> int:
    """Print what ``sys.exit`` was given, unless it is a number, and return the exit code."""
    if code is None:
        return 0
    if isinstance(code, int):
        return (code if -_MAX_LONG - 1 <= code <= _MAX_LONG else -1) & 0xFF  # as Python shortens it
    try:
        text = str(code)
    except Exception:
        text = object.__repr__(code)
    write_stderr(text)
    return 1
