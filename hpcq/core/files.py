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
"""Of a status, a claim, or the like, at most; they take less than 10 kB."""

_NO_LINKS = os.O_NOFOLLOW | os.O_CLOEXEC


def resolve_path(path: Path) -> Path:
    """Follow links, as a run does."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path


def open_regular(path: str | os.PathLike[str], max_bytes: int, expected: str) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Args:
        path: The file.
        max_bytes: Larger files are refused.
        expected: What the file should have been, for the message.

    Raises:
        InputError: It does not exist, is unreadable, empty, too large, or no regular file.
    """
    name = printable_path(path)
    if not name:
        raise InputError(f"the path is empty, expected that of {expected}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be opened: {reason}") from None
    found = os.fstat(descriptor)
    problem = ""
    if stat.S_ISDIR(found.st_mode):
        problem = f"is a directory, expected {expected}"
    elif not stat.S_ISREG(found.st_mode):
        problem = f"is a pipe, socket or device, expected {expected} in a regular file"
    elif found.st_size == 0:
        problem = f"is empty, expected {expected}"
    elif found.st_size > max_bytes:
        problem = f"has {found.st_size} bytes, expected at most {max_bytes}"
    if problem:
        os.close(descriptor)
        raise InputError(f"{name}: {problem}")
    return descriptor


def open_sidecar(place: Path) -> int:
    """Open a file that hpcq keeps and return its descriptor, which the caller closes.

    Raises:
        OSError: It does not exist, may not be read, or is a link, a pipe, or a folder.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | _NO_LINKS)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        what = "a link" if error.errno == errno.ELOOP else "a socket"
        raise OSError(error.errno, f"is {what}, not a regular file", str(place)) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is a pipe, device or folder, not a regular file", str(place))
    return descriptor


def read_sidecar(place: Path, max_bytes: int = _MAX_SIDECAR_BYTES) -> bytes:
    """Return what a file that hpcq keeps says.

    Raises:
        OSError: As :func:`open_sidecar`, or the file is too large.
    """
    with os.fdopen(open_sidecar(place), "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(place))
    return content


def create_sidecar(place: Path, flags: int = os.O_WRONLY) -> int:
    """Create a file that hpcq keeps and return its descriptor, which the caller closes.

    Raises:
        OSError: Something has the name already, or it cannot be written.
    """
    return os.open(place, os.O_CREAT | os.O_EXCL | _NO_LINKS | flags, 0o666)


def write_sidecar(place: Path, content: bytes) -> None:
    """Write a file that hpcq keeps: whoever reads it finds the old content or the new.

    It takes the place of whatever has its name, a link say. It need not outlive a crash of the
    machine; for what must, there is :func:`write_atomic`.

    Raises:
        OSError: It cannot be written, or a folder has its name.
    """
    handle, aside = _open_aside(place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(handle, 0o666 & ~_umask())
        aside.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def printable(text: str) -> str:
    """Return a text without what a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """Return lines of text without what a terminal would act on, but for tabs and line ends."""
    kept = {ord(c): c for c in "\n\r\t"}
    return text.translate(dict.fromkeys((*range(32), *range(127, 160)), "?") | kept)


def printable_path(path: str | os.PathLike[str]) -> str:
    """Return a path fit for one line of a message."""
    shown = printable(os.fsdecode(path))
    return shown if len(shown) <= 200 else "..." + shown[-197:]


def check_writable(path: Path, option: str, ours: Callable[[Path], bool], what: str) -> Path:
    """Make sure, before any work is done, that a file can be written.

    Args:
        path: The file; an existing one is overwritten only if it is ours.
        option: What to call it in messages.
        ours: Tells whether an existing regular file is of the kind that is to be written.
        what: That kind in words.

    Returns:
        The path with all links followed.

    Raises:
        InputError: It cannot be written, or something is there that we did not write.
    """
    name = printable_path(path)
    try:
        place = path.resolve()
        folder = place.parent
        if not folder.is_dir():
            raise InputError(f"{option}: {name!r} is in no existing folder")
        if place.exists():
            if not place.is_file():
                raise InputError(f"{option}: {name!r} is a folder, pipe or device, expected a file")
            if not os.access(place, os.R_OK | os.W_OK):
                raise InputError(f"{option}: {name!r} may not be read and written")
            if not ours(place):
                raise InputError(
                    f"{option}: {name!r} exists and is no {what}; it is left as it is, expected "
                    "another file name"
                )
        else:
            with contextlib.suppress(FileNotFoundError):
                place.lstat()  # says whether the name is possible, and takes nobody's file
        handle, aside = _open_aside(folder)
        os.close(handle)
        aside.unlink()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        raise InputError(f"{option}: cannot write {name!r}: {reason}") from None
    return place


def write_atomic(
    place: Path, content: bytes | memoryview, option: str, mode: int | None = None
) -> None:
    """Write a file all or nothing: it holds the old content or the new, never a part.

    Args:
        place: The file, as :func:`check_writable` returned it.
        content: What it shall hold.
        option: What to call it in messages.
        mode: Who may do what with it, less the umask; None for what holds for the old file.

    Raises:
        NotWrittenError: It cannot be written, for want of room, say.
    """
    with atomic_writer(place, option, mode) as aside:
        aside.write(content)


@contextlib.contextmanager
def atomic_writer(place: Path, option: str, mode: int | None = None) -> Iterator[io.BufferedRandom]:
    """Give a file to write to, which takes another's place when it is whole and on the disk.

    Args:
        place: The file, as :func:`check_writable` returned it.
        option: What to call it in messages.
        mode: As for :func:`write_atomic`.

    Raises:
        NotWrittenError: It cannot be written; the file is as it was.
    """
    aside = None
    _sweep(place.parent)
    try:
        handle, aside = _open_aside(place.parent)
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(handle, _mode_of(place) if mode is None else mode & ~_umask())
            os.fsync(handle)
        aside.replace(place)
        aside = None
    except OSError as error:
        name = printable_path(place)
        raise NotWrittenError(f"{option}: cannot write {name!r}: {error.strerror}") from None
    finally:
        if aside is not None:
            with contextlib.suppress(OSError):
                aside.unlink()
    with contextlib.suppress(OSError):  # the file is there; only its name may not outlive a crash
        _sync_folder(place.parent)


def _mode_of(place: Path) -> int:
    """Return the mode of a file; of one that is not there, what a new one gets."""
    with contextlib.suppress(FileNotFoundError):
        found = place.lstat().st_mode
        if stat.S_ISREG(found):
            return found & 0o777
    return 0o666 & ~_umask()


def _open_aside(folder: Path) -> tuple[int, Path]:
    prefix = f".hpcq-{socket.gethostname()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=folder)
    return handle, Path(name)


def _sweep(folder: Path) -> None:
    """Remove what processes of this host that were killed have left behind."""
    with contextlib.suppress(OSError):
        for left in folder.glob(f".hpcq-{socket.gethostname()}-*.part"):
            pid = left.name.rsplit("-", 2)[1]
            if (
                pid.isdecimal()
                and not Path(f"/proc/{pid}").exists()
                and Path("/proc/self").exists()
            ):
                left.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
