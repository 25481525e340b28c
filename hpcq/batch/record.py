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

from hpcq.errors import InputError
from hpcq.farm.worker import here
from hpcq.files import open_regular, printable_path, resolved, write_whole
from hpcq.machine import complain

_FORMAT = "hpcq job 1"
_MAX_BYTES = 64 << 20
_NUMBER = re.compile("([0-9]+|local-[0-9]+)(_[0-9]+)?")


@dataclass(frozen=True)
class Record:
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


def keep(record: Record) -> None:
    """Add a submission to those of its output.

    Raises:
        HpcqError: If that cannot be written.
    """
    output = Path(record.output)
    known = [own for own in records_of(output) if own.job != record.job]
    content = {"format": _FORMAT, "jobs": [asdict(own) for own in (*known, record)]}
    write_whole(record_file(output), f"{json.dumps(content, indent=1)}\n".encode(), "record")
    place = _index() / record.job
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.fsencode(record.output))
    except OSError as error:
        complain(
            f"hpcq: warning: {printable_path(place)}: {error.strerror}, so that the job is known "
            "by its output here, and not by its number"
        )


def note_cancel(record: Record) -> Record:
    """Note that a job was canceled."""
    canceled = replace(record, canceled=time.time())
    with locked(Path(record.output)):
        keep(canceled)
    return canceled


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Let nobody else look at the submissions of an output and add one meanwhile."""
    place = record_file(output).with_suffix(".lock")
    handle = None
    with suppress(OSError):  # a file system without locks: it is only for who submits at once
        while handle is None:
            handle = os.open(place, os.O_CREAT | os.O_RDONLY, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
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


def records_of(output: Path) -> list[Record]:
    """Return all submissions for an output, the last one at the end.

    Those of a file that was moved or copied here, with all that lies beside it, are none of them.

    Raises:
        InputError: If the file that says so is damaged.
    """
    place = record_file(output)
    if not os.path.lexists(place):
        return []
    with os.fdopen(open_regular(place, _MAX_BYTES, "a record of hpcq's"), "rb") as file:
        data = file.read()
    try:
        content = json.loads(data)
        if content["format"] != _FORMAT:
            raise ValueError
        records = [_read(own) for own in content["jobs"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{printable_path(place)}: it is no record of hpcq's") from None
    return [own for own in records if own.output == str(output)]


def find(where: str) -> Record:
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
        with suppress(OSError):
            output = Path(os.fsdecode((_index() / job).read_bytes()))
            for record in records_of(output):
                if record.job == job:
                    return record
        raise InputError(f"job: {where[:40]!r} is none that `hpcq submit` submitted from here")
    records = records_of(resolved(Path(where)))
    if not records:
        raise InputError(
            f"job: nothing was submitted for {printable_path(where)!r}, expected a job's number or "
            "an output that `hpcq submit` knows"
        )
    return records[-1]


def _is_at(handle: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), place.stat())
    except FileNotFoundError:
        return False


def _read(content: dict[str, Any]) -> Record:
    record = Record(**{**content, "command": tuple(content["command"])})
    texts = (*record.command, record.job, record.output, record.log, record.script)
    times = (record.submitted, record.canceled or 0.0)
    plain = all(isinstance(own, str) for own in (*texts, record.born, record.host))
    plain &= all(isinstance(own, (int, float)) for own in times)
    if not plain or not _NUMBER.fullmatch(record.job) or not Path(record.log).name:
        raise ValueError
    return record


def _index() -> Path:
    """Return the folder that leads from numbers to outputs."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "hpcq" / "jobs"
