"""Whether a file system does what runs rely on; each thing is tried, on temporary files."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_SECONDS = 5.0
_HELD = "held"
Made = TypeVar("Made")


@dataclass(frozen=True)
class FilesystemTrial:
    """A temporary folder, and in it a file that this process holds locked.

    Attributes:
        place: The folder; empty where none could be made.
        descriptor: Of the locked file; None where there is none.
        faults: What did not work.
    """

    place: str = ""
    descriptor: int | None = None
    faults: tuple[str, ...] = ()

    def end(self) -> None:
        """Take everything away again."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self.place:
            within(lambda: shutil.rmtree(self.place, ignore_errors=True), None)


def begin() -> FilesystemTrial:
    """Try the current folder: exclusive create, rename over a file, lock. It never raises."""
    return within(_begin, FilesystemTrial(faults=(f"no answer within {_SECONDS:g} s",)))


def look(place: str) -> list[str]:
    """Return what does not hold in the folder of a trial, seen from this process's node."""
    return within(lambda: _look(Path(place)), [f"no answer within {_SECONDS:g} s"])


def within(call: Callable[[], Made], otherwise: Made, seconds: float = _SECONDS) -> Made:
    """Return what a call returns, or something else if it takes too long, or fails.

    A call to a file server that is gone cannot be interrupted; it is left behind.
    """
    found: list[Made] = []

    def work() -> None:
        with suppress(OSError, ValueError):
            found.append(call())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else otherwise


def kind_of(folder: str) -> str:
    """Return the kind of file system that a folder is on, such as ``nfs4``; empty if unknown."""
    best, kind = "", ""
    try:
        for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
            words = line.split()
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), words[1])
            inside = f"{folder}/".startswith(f"{place.rstrip('/')}/")
            if inside and len(place) >= len(best):
                best, kind = place, words[2]
    except (OSError, IndexError):
        return ""
    return kind


def _begin() -> FilesystemTrial:
    try:
        place = Path(tempfile.mkdtemp(prefix=".hpcq-doctor-", dir=Path.cwd()))
    except OSError as error:
        return FilesystemTrial(faults=(f"nothing can be written ({error.strerror})",))
    faults: list[str] = []
    descriptor = None
    try:
        descriptor = os.open(place / _HELD, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        name = "exclusive create" if descriptor is None else "flock"
        faults.append(f"{name} fails ({error.strerror})")
    try:
        (place / "new").write_bytes(b"new")
        (place / "old").write_bytes(b"old")
        (place / "new").replace(place / "old")
        if (place / "old").read_bytes() != b"new" or (place / "new").exists():
            faults.append("rename does not replace")
    except OSError as error:
        faults.append(f"rename fails ({error.strerror})")
    faults += _look(place) if not faults else []
    return FilesystemTrial(str(place), descriptor, tuple(faults))


def _look(place: Path) -> list[str]:
    """Try what must be refused while the trial's process holds its file."""
    held = place / _HELD
    if not held.exists():
        return ["the folder is not shared"]
    faults = []
    try:
        os.close(os.open(held, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        faults.append("exclusive create is not exclusive")
    except FileExistsError:
        pass
    except OSError as error:
        faults.append(f"exclusive create fails ({error.strerror})")
    try:
        descriptor = os.open(held, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            faults.append("flock does not keep others out")
        finally:
            os.close(descriptor)
    except BlockingIOError:
        pass
    except OSError as error:
        faults.append(f"flock fails ({error.strerror})")
    return faults
