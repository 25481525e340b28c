"""Records of submissions: a file beside each output, and an index from job numbers to outputs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
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

_FORMAT = "hpcq job 1"
_MAX_FILE_BYTES = 64 << 20
"""Bytes of a record file that are read; bounds the memory that a planted file takes."""

_OWNER_WRITES, _OTHERS_WRITE = 0o644, 0o022
"""Mode of a new record file, and the mode bits with which others can write one."""

_NOBODY = -1
"""User number of a submission in a file that this user owns and others can write."""

_JOB_NUMBER = re.compile("([0-9]{1,10}|local-[0-9]{1,10})(_[0-9]+)?")
_LOG_PATTERN = re.compile(r"(.*)-%(?:j|A_%a)\.log", re.DOTALL)
FIRST_PID = 2
"""Smallest process number of a run; signals to the groups 0 and 1 reach other processes."""


_LOCK_SECONDS, _LOCK_POLL = 120.0, 0.05
"""Seconds to wait for the lock, and between tries; its holder may wait 60 s for ``sbatch``."""


@dataclass(frozen=True)
class Submission:
    """Record of a submission; field names are those of the record file.

    Attributes:
        job: Number of the SLURM job, or ``local-`` and the number of a process.
        output: Path of the file that the job writes.
        log: Path of the log, with SLURM's patterns.
        command: The arguments of the command that the job runs, but for its output.
        script: The job script; of a process, its command.
        submitted: Time of submission, in seconds since 1970.
        canceled: Time of cancellation; None if the job was not canceled.
        born: Start time of a process in clock ticks since boot, which tells it from a later one.
        host: Host of a process.
        name: Name of the SLURM job; empty for a process.
        uid: User number of the submitter, as far as it is known; see :attr:`is_ours`.
        writes_output: Whether it writes the output, which otherwise only names the job.
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
    writes_output: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether this user submitted the job.

        The record is proof if nobody else can write it; otherwise this user's index is, which leads
        from the job's number to the output.
        """
        return self.uid == os.geteuid() or _output_of(self.job) == self.output

    def may_be_of(self, uid: int | None) -> bool:
        """Whether SLURM's job of a user can be this one; True where a user is unknown."""
        users = (None, self.uid, *([os.geteuid()] if self.is_ours else []))
        return self.uid == _NOBODY or uid in users

    @property
    def is_shared(self) -> bool:
        """Whether other jobs may work on the same result."""
        return "--shared" in self.command

    @property
    def is_on_another_host(self) -> bool:
        """Whether it is a process on another host, which cannot be watched from here."""
        return self.is_local and self.host != socket.gethostname()

    @property
    def is_local(self) -> bool:
        """Whether it is a process rather than a SLURM job."""
        return self.job.startswith("local-")


def record_file(output: Path) -> Path:
    """Return the path of the record file beside an output.

    Raises:
        InputError: If the output's path has no name, as ``/`` has none.
    """
    if not output.name:
        raise InputError(f"job: {printable_path(output)!r}, expected a job's number, or an output")
    return output.with_name(f".{output.name}.jobs")


def save_submission(record: Submission) -> None:
    """Write a submission to its output's record file, and its number to the index.

    Raises:
        HpcqError: If the record file cannot be written.
    """
    output = Path(record.output)
    others = [other for other in submissions_of(output) if other.job != record.job]
    content = {"format": _FORMAT, "jobs": [asdict(each) for each in (*others, record)]}
    data = f"{json.dumps(content, indent=1)}\n".encode()
    write_atomic(record_file(output), data, "record", _OWNER_WRITES)
    path = _index_folder() / record.job
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sidecar(path, os.fsencode(record.output))
    except OSError as error:
        write_stderr(
            f"hpcq: warning: {printable_path(path)}: {error.strerror}, so that the job is known "
            "by its output here, and not by its number"
        )


def mark_canceled(record: Submission) -> Submission:
    """Record that a job was canceled, and return its new record."""
    canceled = replace(record, canceled=time.time())
    with locked(Path(record.output)):
        save_submission(canceled)
    return canceled


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the lock on an output's submissions, so that check and submission are one step.

    Raises:
        HpcqError: If another process keeps the lock for too long.
    """
    path = record_file(output).with_suffix(".lock")
    flags = os.O_CREAT | os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = None
    # On a file system without locks, simultaneous submissions are not detected.
    with suppress(OSError):
        while handle is None:
            handle = os.open(path, flags, 0o666)
            _wait_for_lock(handle, path)
            if not _is_file_at(handle, path):  # the last holder has removed the file
                os.close(handle)
                handle = None
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        if handle is not None:
            os.close(handle)


def _wait_for_lock(handle: int, path: Path) -> None:
    """Lock a file as soon as it is free."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise HpcqError(
                    f"{printable_path(path)}: another process has locked it for "
                    f"{_LOCK_SECONDS:g} s; expected it to end, or the file to be removed"
                ) from None
            time.sleep(_LOCK_POLL)


def submissions_of(output: Path) -> list[Submission]:
    """Return all submissions for an output, oldest first.

    Records of other outputs are left out: the record file may have been moved or copied here.

    Raises:
        InputError: If the record file is damaged.
    """
    path = record_file(output)
    if not os.path.lexists(path):
        return []
    try:
        with os.fdopen(open_sidecar(path), "rb") as file:
            file_status = os.fstat(file.fileno())
            data = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise InputError(f"{printable_path(path)}: {error.strerror}") from None
    if not data:
        raise InputError(f"{printable_path(path)}: is empty, expected a record of hpcq")
    is_trusted = file_status.st_uid == os.geteuid() and not file_status.st_mode & _OTHERS_WRITE
    try:
        content = json.loads(data)
        if content["format"] != _FORMAT:
            raise ValueError
        records = [
            _parse_submission(entry, None if is_trusted else file_status.st_uid)
            for entry in content["jobs"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{printable_path(path)}: it is not a record of hpcq") from None
    return [record for record in records if record.output == str(output)]


def find_submission(where: str) -> Submission:
    """Return the submission with a job number, or an output's last one; or raise an InputError."""
    number = _JOB_NUMBER.fullmatch(where)
    if number is not None:
        job = number[1]
        if number[2]:
            raise InputError(f"job: {where[:40]!r} is one task of an array, expected {job}")
        output = _output_of(job)
        for record in submissions_of(Path(output)) if output else ():
            if record.job == job:
                return record
        raise InputError(
            f"job: {where[:40]!r}, expected the number of a job that `hpcq submit` submitted from "
            "here"
        )
    records = submissions_of(resolve_path(Path(where)))
    if not records:
        raise InputError(
            f"job: nothing was submitted for {printable_path(where)!r}, expected a job's number or "
            "the output of a job"
        )
    return records[-1]


def _is_file_at(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _parse_submission(content: dict[str, Any], uid: int | None) -> Submission:
    """Return a submission from the values of a record file.

    ``uid`` is the owner of the file if other users can write it, so that it proves nothing; else
    None. Damaged values raise ValueError, KeyError or TypeError.
    """
    record = Submission(**{**content, "command": tuple(content["command"])})
    if uid is not None:
        record = replace(record, uid=_NOBODY if uid == os.geteuid() else uid)
    texts = (*record.command, record.job, record.output, record.log, record.script)
    texts += (record.born, record.host, record.name)
    numbers = (record.submitted, record.canceled or 0.0, record.uid)
    has_valid_types = all(isinstance(text, str) for text in texts)
    has_valid_types &= all(isinstance(number, (int, float)) for number in numbers)
    number = _JOB_NUMBER.fullmatch(record.job) if has_valid_types else None
    if number is None or number[2]:
        raise ValueError
    log = Path(record.log).name
    first_job = FIRST_PID if record.is_local else 1  # 0 names no job of SLURM
    if not log or int(record.job.removeprefix("local-")) < first_job:
        raise ValueError
    log_name = _LOG_PATTERN.fullmatch(log)  # of an older hpcq, whose records have no name
    return record if record.name or log_name is None else replace(record, name=log_name[1])


def _output_of(job: str) -> str:
    """Return the output of a job that this user submitted, from the index; empty if not in it."""
    try:
        return os.fsdecode(read_sidecar(_index_folder() / job))
    except OSError:
        return ""


def _index_folder() -> Path:
    """Return the folder of the index: a file per job number, which holds the output's path."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "hpcq" / "jobs"
