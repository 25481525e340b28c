"""Read files of unknown origin, and write files atomically.

Reading never blocks (on a pipe, say) and never reads more than a given number of bytes. Writing
goes to a temporary file, which replaces the old file when it is complete and on the disk.

*Sidecar files* are those that hpcq keeps beside an output or in a shared folder. Their names can be
guessed by anyone who may write there, so :func:`read_sidecar`, :func:`write_sidecar` and
:func:`write_atomic` follow no link and accept nothing but regular files.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hpcq.core.errors import InputError, NotWrittenError

_MAX_SIDECAR_BYTES = 1 << 20
"""Largest sidecar file that is read, in bytes; a status or a claim takes less than 10 kB."""

_NO_FOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags of os.open: a symbolic link is an error, and no child process inherits the file."""


def resolve_path(path: Path) -> Path:
    """Return a path with its links followed, as a run does; unchanged where that is impossible."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def open_regular(path: str | os.PathLike[str], max_bytes: int, expected: str) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    A message says what the file is expected to contain.

    Raises:
        InputError: The file does not exist, cannot be read, is empty, too large or not regular.
    """
    name = printable_path(path)
    if not name:
        raise InputError(f"the path is empty, expected that of {expected}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be opened: {reason}") from None
    status = os.fstat(descriptor)
    problem = ""
    if stat.S_ISDIR(status.st_mode):
        problem = f"is a directory, expected {expected}"
    elif not stat.S_ISREG(status.st_mode):
        problem = f"is a pipe, socket or device, expected {expected} in a regular file"
    elif status.st_size == 0:
        problem = f"is empty, expected {expected}"
    elif status.st_size > max_bytes:
        problem = f"has {status.st_size} bytes, expected at most {max_bytes}"
    if problem:
        os.close(descriptor)
        raise InputError(f"{name}: {problem}")
    return descriptor


def open_sidecar(path: Path) -> int:
    """Open a sidecar file for reading and return its descriptor, which the caller closes.

    Raises:
        OSError: The file does not exist, may not be read, or is a link, a pipe or a folder.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_FOLLOW)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        what = "a link" if error.errno == errno.ELOOP else "a socket"
        raise OSError(error.errno, f"is {what}, not a regular file", str(path)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is a pipe, device or folder, not a regular file", str(path))
    return descriptor


def read_sidecar(path: Path, max_bytes: int = _MAX_SIDECAR_BYTES) -> bytes:
    """Return the content of a sidecar file.

    Raises:
        OSError: As :func:`open_sidecar`, or the file is too large.
    """
    with os.fdopen(open_sidecar(path), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def create_sidecar(path: Path, flags: int = os.O_WRONLY) -> int:
    """Create a sidecar file and return its descriptor, which the caller closes.

    Raises:
        OSError: The name is taken, or the file cannot be written.
    """
    return os.open(path, os.O_CREAT | os.O_EXCL | _NO_FOLLOW | flags, 0o666)


def write_sidecar(path: Path, content: bytes) -> None:
    """Write a sidecar file; readers find either the old content or the new.

    The file replaces whatever has its name, such as a link. It may be lost if the machine crashes;
    use :func:`write_atomic` for what must not be.

    Raises:
        OSError: The file cannot be written, or a folder has its name.
    """
    with _replacement(path) as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o666 & ~_umask())


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[io.BufferedRandom]:
    """Yield a temporary file that replaces another if the block ends without an error."""
    handle, temporary = _open_temporary(path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def printable(text: str) -> str:
    """Replace the characters of a text that a terminal would act on by question marks."""
    return "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """Replace control characters by question marks, except for tabs and line ends."""
    kept = {ord(c): c for c in "\n\r\t"}
    return text.translate(dict.fromkeys((*range(32), *range(127, 160)), "?") | kept)


def printable_path(path: str | os.PathLike[str]) -> str:
    """Return a path that fits on one line of a message."""
    shown = printable(os.fsdecode(path))
    return shown if len(shown) <= 200 else "..." + shown[-197:]


def check_writable(path: Path, option: str, is_ours: Callable[[Path], bool], what: str) -> Path:
    """Check, before any work is done, that a file can be written.

    An existing file may be overwritten only if ``is_ours`` says that hpcq wrote it. Messages name
    the option that gave the path, and what kind of file is to be written.

    Returns:
        The path with all links followed.

    Raises:
        InputError: The file cannot be written, or exists and is not of that kind.
    """
    name = printable_path(path)
    try:
        target = path.resolve()
        folder = target.parent
        if not folder.is_dir():
            raise InputError(f"{option}: {name!r}, expected a path in a folder that exists")
        if target.exists():
            if not target.is_file():
                raise InputError(f"{option}: {name!r} is a folder, pipe or device, expected a file")
            if not os.access(target, os.R_OK | os.W_OK):
                raise InputError(f"{option}: {name!r}, expected a file that you may read and write")
            if not is_ours(target):
                raise InputError(
                    f"{option}: {name!r} exists and is not {what}; it is left as it is, expected "
                    "another file name"
                )
        else:
            with contextlib.suppress(FileNotFoundError):
                target.lstat()  # fails if the name is impossible, and creates nothing
        handle, temporary = _open_temporary(folder)
        os.close(handle)
        temporary.unlink()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        raise InputError(f"{option}: cannot write {name!r}: {reason}") from None
    return target


def write_atomic(
    path: Path, content: bytes | memoryview, option: str, mode: int | None = None
) -> None:
    """Write a file atomically: it holds the old content or the new, never a part.

    The path is as :func:`check_writable` returned it. The mode is permission bits, masked by the
    umask; None keeps those of the old file.

    Raises:
        NotWrittenError: The file cannot be written, because the disk is full, say.
    """
    with atomic_writer(path, option, mode) as temporary:
        temporary.write(content)


@contextlib.contextmanager
def atomic_writer(path: Path, option: str, mode: int | None = None) -> Iterator[io.BufferedRandom]:
    """Yield a temporary file that replaces another when it is complete and on the disk.

    Arguments and errors are those of :func:`write_atomic`.
    """
    _remove_leftovers(path.parent)
    try:
        with _replacement(path) as file:
            yield file
            file.flush()
            handle = file.fileno()
            os.fchmod(handle, _mode_of(path) if mode is None else mode & ~_umask())
            os.fsync(handle)
    except OSError as error:
        name = printable_path(path)
        raise NotWrittenError(f"{option}: cannot write {name!r}: {error.strerror}") from None
    with contextlib.suppress(OSError):  # the file is complete, but a crash may lose its name
        _sync_folder(path.parent)


def _mode_of(path: Path) -> int:
    """Return the permission bits of a file, or those of a new one if it does not exist."""
    with contextlib.suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            return mode & 0o777
    return 0o666 & ~_umask()


def _open_temporary(folder: Path) -> tuple[int, Path]:
    """Create a temporary file and return its descriptor and path.

    Its name holds host and process, by which :func:`_remove_leftovers` tells whether the process
    still runs.
    """
    prefix = f".hpcq-{socket.gethostname()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=folder)
    return handle, Path(name)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes of this host that were killed."""
    with contextlib.suppress(OSError):
        for leftover in folder.glob(f".hpcq-{socket.gethostname()}-*.part"):
            pid = leftover.name.rsplit("-", 2)[1]
            has_ended = Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists()
            if pid.isdecimal() and has_ended:
                leftover.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
