"""What was submitted for an output: a small file beside it, and a way from a job's number to it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import (
    open_sidecar,
    printable_path,
    read_sidecar,
    resolve_path,
    write_atomic,
    write_sidecar,
)
from hpcq.core.system import write_stderr
from hpcq.parallel.worker import here

_FORMAT = "hpcq job 1"
_MAX_BYTES = 64 << 20
_OWNER_WRITES, _OTHERS_WRITE = 0o644, 0o022
_NOBODY = -1
_NUMBER = re.compile("([0-9]{1,10}|local-[0-9]{1,10})(_[0-9]+)?")
_NAMED = re.compile(r"(.*)-%(?:j|A_%a)\.log", re.DOTALL)
FIRST_PID = 2
"""The first process is the system's; signals to groups 0 and 1 reach other processes than a run."""

FIRST_JOB = 1
"""SLURM takes 0 for no job in particular."""

_LOCK_SECONDS, _LOCK_POLL = 120.0, 0.05
"""Who submits has the lock for as long as ``sbatch`` takes, which is given 60 s."""


@dataclass(frozen=True)
class Submission:
    """One submission.

    Attributes:
        job: Number of the SLURM job, or ``local-`` and that of a process.
        output: The file that it writes.
        log: Where it writes what it says; SLURM's patterns stay in.
        command: The words after ``hpcq run``.
        script: The job script; empty for a process.
        submitted: When, in seconds since 1970.
        canceled: When it was canceled; None if it was not.
        born: When a process was born, as the system counts; it tells it from a later one.
        host: Where a process runs.
        name: Name of the SLURM job; empty for a process.
        uid: Who submitted it, as far as is known; see :attr:`is_ours`.
    """

    job: str
    output: str
    log: str
    command: tuple[str, ...]
    script: str = ""
    submitted: float = field(default_factory=time.time)
    canceled: float | None = None
    born: str = ""
    host: str = ""
    name: str = ""
    uid: int = field(default_factory=os.geteuid)

    @property
    def is_ours(self) -> bool:
        """Whether this user submitted it.

        The file beside the output says so if nobody else could write it. Otherwise this user's own
        folder does, which leads from the job's number to the output.
        """
        return self.uid == os.geteuid() or _noted(self.job) == self.output

    def may_be_of(self, uid: int | None) -> bool:
        """Whether a job of some user can be this one, as far as is known."""
        known = (None, self.uid, *([os.geteuid()] if self.is_ours else []))
        return self.uid == _NOBODY or uid in known

    @property
    def shares(self) -> bool:
        """Whether it lets other jobs work on the same result."""
        return "--shared" in self.command

    @property
    def elsewhere(self) -> bool:
        """Whether it is a process on another machine, of which nothing is seen here."""
        return self.local and self.host != here()

    @property
    def local(self) -> bool:
        """Whether it is a process, and no SLURM job."""
        return self.job.startswith("local-")


def record_file(output: Path) -> Path:
    """Return the file beside an output that says what was submitted for it.

    Raises:
        InputError: If the output's path has no name, as that of / has none.
    """
    if not output.name:
        raise InputError(f"job: {printable_path(output)!r}, expected a job's number, or an output")
    return output.with_name(f".{output.name}.jobs")


def keep(record: Submission) -> None:
    """Add a submission to those of its output.

    Raises:
        HpcqError: If that cannot be written.
    """
    output = Path(record.output)
    known = [own for own in records_of(output) if own.job != record.job]
    content = {"format": _FORMAT, "jobs": [asdict(own) for own in (*known, record)]}
    data = f"{json.dumps(content, indent=1)}\n".encode()
    write_atomic(record_file(output), data, "record", _OWNER_WRITES)
    place = _index() / record.job
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_sidecar(place, os.fsencode(record.output))
    except OSError as error:
        write_stderr(
            f"hpcq: warning: {printable_path(place)}: {error.strerror}, so that the job is known "
            "by its output here, and not by its number"
        )


def note_cancel(record: Submission) -> Submission:
    """Note that a job was canceled."""
    canceled = replace(record, canceled=time.time())
    with locked(Path(record.output)):
        keep(canceled)
    return canceled


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Let nobody else look at the submissions of an output and add one meanwhile.

    Raises:
        HpcqError: If somebody else does not let go of it.
    """
    place = record_file(output).with_suffix(".lock")
    flags = os.O_CREAT | os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = None
    with suppress(OSError):  # a file system without locks: it is only for who submits at once
        while handle is None:
            handle = os.open(place, flags, 0o666)
            _lock(handle, place)
            if not _is_at(handle, place):  # whoever had it has removed it
                os.close(handle)
                handle = None
    try:
        yield
    finally:
        with suppress(OSError):
            place.unlink()
        if handle is not None:
            os.close(handle)


def _lock(handle: int, place: Path) -> None:
    """Take a lock as soon as it is free."""
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(handle)
                raise HpcqError(
                    f"{printable_path(place)}: another process has locked it for "
                    f"{_LOCK_SECONDS:g} s; expected it to end, or the file to be removed"
                ) from None
            time.sleep(_LOCK_POLL)


def records_of(output: Path) -> list[Submission]:
    """Return all submissions for an output, the last one at the end.

    Those of a file that was moved or copied here, with all that lies beside it, are none of them.

    Raises:
        InputError: If the file that says so is damaged.
    """
    place = record_file(output)
    if not os.path.lexists(place):
        return []
    try:
        with os.fdopen(open_sidecar(place), "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise InputError(f"{printable_path(place)}: {error.strerror}") from None
    if not data:
        raise InputError(f"{printable_path(place)}: is empty, expected a record of hpcq's")
    safe = found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE
    try:
        content = json.loads(data)
        if content["format"] != _FORMAT:
            raise ValueError
        records = [_read(own, None if safe else found.st_uid) for own in content["jobs"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{printable_path(place)}: it is no record of hpcq's") from None
    return [own for own in records if own.output == str(output)]


def find(where: str) -> Submission:
    """Return the last submission of an output, or that with a number.

    Args:
        where: An output file, or a job's number.

    Raises:
        InputError: If nothing is known of it.
    """
    number = _NUMBER.fullmatch(where)
    if number is not None:
        job = number[1]
        if number[2]:
            raise InputError(f"job: {where[:40]!r} is one task of an array, expected {job}")
        output = _noted(job)
        for record in records_of(Path(output)) if output else ():
            if record.job == job:
                return record
        raise InputError(f"job: {where[:40]!r} is none that `hpcq submit` submitted from here")
    records = records_of(resolve_path(Path(where)))
    if not records:
        raise InputError(
            f"job: nothing was submitted for {printable_path(where)!r}, expected a job's number or "
            "an output that `hpcq submit` knows"
        )
    return records[-1]


def _is_at(handle: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), place.lstat())
    except FileNotFoundError:
        return False


def _read(content: dict[str, Any], uid: int | None) -> Submission:
    """Read one submission of a file.

    Args:
        content: What the file says.
        uid: Whose the file is, if it is not this user's alone; it may then say anything.
    """
    record = Submission(**{**content, "command": tuple(content["command"])})
    if uid is not None:
        record = replace(record, uid=_NOBODY if uid == os.geteuid() else uid)
    texts = (*record.command, record.job, record.output, record.log, record.script)
    times = (record.submitted, record.canceled or 0.0)
    plain = all(isinstance(own, str) for own in (*texts, record.born, record.host, record.name))
    plain &= all(isinstance(own, (int, float)) for own in (*times, record.uid))
    number = _NUMBER.fullmatch(record.job) if plain else None
    if number is None or number[2]:
        raise ValueError
    if int(record.job.removeprefix("local-")) < (FIRST_PID if record.local else FIRST_JOB):
        raise ValueError
    log = Path(record.log).name
    if not log:
        raise ValueError
    named = _NAMED.fullmatch(log)  # of a record that an older hpcq wrote
    return record if record.name or named is None else replace(record, name=named[1])


def _noted(job: str) -> str:
    """Return the output of a job that this user submitted; empty if there was none."""
    try:
        return os.fsdecode(read_sidecar(_index() / job))
    except OSError:
        return ""


def _index() -> Path:
    """Return the folder that leads from numbers to outputs."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "hpcq" / "jobs"
