"""Trials of the operations that runs need of a file system, on temporary files."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_TIMEOUT_SECONDS = 5.0
"""Seconds that an operation may take; larger: a slow file server is not mistaken for a dead one."""

_NO_ANSWER = f"no answer within {_TIMEOUT_SECONDS:g} s"
_LOCKED_NAME = "held"
T = TypeVar("T")


@dataclass(frozen=True)
class FilesystemTrial:
    """A temporary folder, and in it a file that this process holds locked.

    Attributes:
        folder: Path of the folder; empty if it could not be created.
        descriptor: Descriptor of the locked file; None if there is none.
        faults: The operations that failed.
    """

    folder: str = ""
    descriptor: int | None = None
    faults: tuple[str, ...] = ()

    def end(self) -> None:
        """Release the lock and remove the folder."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self.folder:
            call_within(lambda: shutil.rmtree(self.folder, ignore_errors=True), None)


def start_trial() -> FilesystemTrial:
    """Try exclusive create, rename over a file and lock in the current folder; never raises."""
    return call_within(_start_trial, FilesystemTrial(faults=(_NO_ANSWER,)))


def check_from_here(folder: str) -> list[str]:
    """Return the operations that fail in a trial's folder, as seen from this node."""
    return call_within(lambda: _check_refusals(Path(folder)), [_NO_ANSWER])


def call_within(call: Callable[[], T], otherwise: T, seconds: float = _TIMEOUT_SECONDS) -> T:
    """Return the value of a call, or ``otherwise`` if it fails or takes too long.

    A call that waits for a dead file server cannot be interrupted; its thread is left behind.
    """
    results: list[T] = []

    def work() -> None:
        with suppress(OSError, ValueError):
            results.append(call())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else otherwise


def filesystem_type(folder: str) -> str:
    """Return the type of a folder's file system, such as ``nfs4``; empty if it is unknown."""
    longest, kind = "", ""
    try:
        for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
            fields = line.split()
            mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1])
            is_inside = f"{folder}/".startswith(f"{mount.rstrip('/')}/")
            if is_inside and len(mount) >= len(longest):
                longest, kind = mount, fields[2]
    except (OSError, IndexError):
        return ""
    return kind


def _start_trial() -> FilesystemTrial:
    try:
        folder = Path(tempfile.mkdtemp(prefix=".hpcq-doctor-", dir=Path.cwd()))
    except OSError as error:
        return FilesystemTrial(faults=(f"nothing can be written ({error.strerror})",))
    faults: list[str] = []
    descriptor = None
    with _failure_added(faults, "exclusive create"):
        descriptor = os.open(folder / _LOCKED_NAME, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    if descriptor is not None:
        with _failure_added(faults, "flock"):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with _failure_added(faults, "rename"):
        (folder / "new").write_bytes(b"new")
        (folder / "old").write_bytes(b"old")
        (folder / "new").replace(folder / "old")
        if (folder / "old").read_bytes() != b"new" or (folder / "new").exists():
            faults.append("rename does not replace")
    faults += _check_refusals(folder) if not faults else []
    return FilesystemTrial(str(folder), descriptor, tuple(faults))


def _check_refusals(folder: Path) -> list[str]:
    """Try operations that must fail while the trial's process holds its file."""
    locked = folder / _LOCKED_NAME
    if not locked.exists():
        return ["the folder is not shared"]
    faults: list[str] = []
    with _failure_added(faults, "exclusive create"), suppress(FileExistsError):
        os.close(os.open(locked, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        faults.append("exclusive create is not exclusive")
    with _failure_added(faults, "flock"), suppress(BlockingIOError), locked.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        faults.append("flock does not keep others out")
    return faults


@contextmanager
def _failure_added(faults: list[str], operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        faults.append(f"{operation} fails ({error.strerror})")
