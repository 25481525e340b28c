"""A job that was submitted: how it stands, what it says, how it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import open_sidecar, printable, printable_path
from hpcq.jobs import local_backend as local
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.submissions import Submission, find, note_cancel, record_file, records_of

if TYPE_CHECKING:
    from hpcq.results.result import Result

STATES = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELED", "STOPPED")
"""All states of a job. STOPPED: what is done is saved, and the same command goes on."""

_STOPPED_CODE = 75
_FIRST_POLL, _MAX_POLL = 0.2, 15.0
_PATIENCE = 1800.0
"""Seconds of silence after which nobody waits for SLURM any more."""

_TAIL_BYTES = 4096
_BAD = ("error", "not found", "denied")
_LAUNCHERS = ("srun:", "slurmstepd:")
"""What only says that a rank failed, and not why, and may say so before or after the rank."""


@dataclass(frozen=True)
class JobStatus:
    """How a job stands.

    Attributes:
        state: One of :data:`STATES`.
        reason: Why it waits, stopped, or failed; empty if there is nothing to say.
        file: What its output, and what is beside it, say; see
            :func:`hpcq.runs.status.read_run_status`.
        tasks: What SLURM says of the job, or of each task of an array.
    """

    state: str
    reason: str = ""
    file: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[slurm.Task, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in ("DONE", "ERROR", "CANCELED") or (
            self.state == "STOPPED" and not self.is_with_slurm
        )

    @property
    def is_with_slurm(self) -> bool:
        """Whether SLURM still has any of it, in the queue or at work."""
        return any(task.waits or task.runs for task in self.tasks)

    def __str__(self) -> str:
        return f"{self.state} ({printable(self.reason)})" if self.reason else self.state


class Job:
    """A job that was submitted, on SLURM or in the background of this machine.

    Example:
        >>> job = hpcq.submit("circuit.qasm", output="out.h5", nodes=2)  # doctest: +SKIP
        >>> job.status().state  # doctest: +SKIP
        'QUEUED'
        >>> job.result(wait=True).expectation_values  # doctest: +SKIP
        array([0.25])
    """

    def __init__(self, record: Submission) -> None:
        self._record = record

    @classmethod
    def of(cls, where: str | Path) -> Job:
        """Return the job with a number, or the last one submitted for an output.

        Raises:
            InputError: If nothing is known of it.
        """
        return cls(find(str(where)))

    @property
    def id(self) -> str:
        """Its number in SLURM, or ``local-`` and the number of a process."""
        return self._record.job

    @property
    def output(self) -> Path:
        """The HDF5 file that it writes."""
        return Path(self._record.output)

    def __repr__(self) -> str:
        return f"Job({self.id!r}, output={printable_path(self.output)!r})"

    def status(self) -> JobStatus:
        """Ask how the job stands.

        Raises:
            SlurmError: If SLURM does not answer.
        """
        return self._asked(self._is_recorded)

    def _asked(self, counts: Callable[[slurm.Task], bool]) -> JobStatus:
        """Ask how the job stands, by those tasks of SLURM's under its number that count."""
        record = self._record
        told = self._told()
        if record.local:
            runs = local.lives(record)
            code = None if runs else local.exit_code(self.output)
            return self._judged(told, (), runs=runs, codes=[code])
        try:
            tasks = tuple(own for own in slurm.tasks_of(record.job) if counts(own))
        except slurm.SlurmError:
            if told.get("state") == "DONE" and not told["old"]:
                return JobStatus("DONE", "", told)
            raise
        return self._judged(
            told, tasks, runs=any(own.runs for own in tasks), codes=[own.code for own in tasks]
        )

    def logs(self) -> str:
        """Return what the job has said so far, on all its starts.

        Raises:
            InputError: If that cannot be read.
        """
        return "".join(_said(own) for own in self.log_files())

    def log_files(self) -> list[Path]:
        """Return the files with what it said, beside the output; one for each task of an array."""
        name = Path(self._record.log).name.replace("%%", "%")
        place = self.output.with_name(name)
        for sign in ("%j", "%A"):
            name = name.replace(sign, self.id)
        if "%a" not in name:
            return [own for own in [place.with_name(name)] if os.path.lexists(own)]
        start, _, end = name.partition("%a")
        try:
            found = sorted(place.parent.iterdir())
        except OSError:
            return []
        return [
            own
            for own in found
            if own.name.startswith(start)
            and own.name.endswith(end)
            and own.is_file()
            and not own.is_symlink()
        ]

    def cancel(self) -> JobStatus:
        """End the job; what is done is saved, and the same command goes on.

        Returns:
            How it stood; if it was over, it still is what it was.

        Raises:
            InputError: If it is not this user's job, as far as hpcq knows.
            SlurmError: If SLURM does not answer, or refuses it.
        """
        if not self._record.is_ours:
            raise InputError(
                f"job: {self.id} is not known to be yours, because others can write its record "
                f"{printable_path(record_file(self.output))!r}; expected a job that you submitted"
            )
        status = self._asked(self._check)
        if self._record.local or status.is_with_slurm:
            self.end()
        if not status.over:
            with suppress(HpcqError):  # it is canceled anyway, and SLURM says so
                self._record = note_cancel(self._record)
        return status

    def _is_recorded(self, task: slurm.Task) -> bool:
        """Whether what SLURM has under the number can be this job: numbers come again."""
        return self._record.may_be_of(task.uid)

    def _check(self, task: slurm.Task) -> bool:
        """Make sure that what SLURM has under the number, and not yet behind it, is this job."""
        if task.runs or task.waits:
            mine, named = os.geteuid(), ""
            if task.uid == mine:
                named = slurm.names_of(self._record.job)
            if task.uid != mine or not self._is_name(named):
                owner = "an unknown user" if task.uid is None else f"user {task.uid}"
                called = f"{printable(named.strip())[:80]!r} " if named else ""
                raise InputError(
                    f"job: {self.id} is {called}of {owner} in SLURM, expected "
                    f"{printable(self._record.name)[:80]!r} of user {mine}; nothing is canceled"
                )
        return self._is_recorded(task)

    def _is_name(self, named: str) -> bool:
        """Whether a line of SLURM's is what the job was called when it was submitted."""
        return f"\n{self._record.name}\n" in f"\n{named}"

    def end(self) -> None:
        """Ask the system to end the job, and no more; see :meth:`cancel`."""
        if not self._record.local:
            slurm.cancel(self.id)
        elif local.lives(self._record):
            local.stop(self._record)

    def result(self, *, wait: bool = False, timeout: float | None = None) -> Result:
        """Return the result.

        Args:
            wait: Whether to wait until the job is over.
            timeout: How many seconds to wait at most.

        Raises:
            InputError: If the timeout is no number of seconds.
            HpcqError: If there is none: the job is not over, or ended without.
        """
        from hpcq.results import load

        if timeout is not None and not timeout >= 0:
            raise InputError(f"timeout: {timeout!r}, expected a number of seconds, or None")
        begun = heard = time.monotonic()
        pause = _FIRST_POLL
        status = self.status()
        while wait and not status.over:
            if timeout is not None and time.monotonic() - begun >= timeout:
                raise HpcqError(f"job {self.id}: {status} after {timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _MAX_POLL)
            status, heard = self._status_or(status, heard)
        if status.state != "DONE" or "later" in status.file:
            raise HpcqError(f"job {self.id}: {status}, it has no result")
        return load(self.output)

    def _status_or(self, last: JobStatus, heard: float) -> tuple[JobStatus, float]:
        """Return the status and the time; those given while SLURM does not answer for a while."""
        now = time.monotonic()
        try:
            return self.status(), now
        except slurm.SlurmError:
            if now - heard > _PATIENCE:
                raise
            return last, heard

    def _told(self) -> dict[str, Any]:
        """Return what the output says, if it belongs to this submission."""
        from hpcq.runs.status import read_run_status

        try:
            told = read_run_status(self.output)
        except InputError as error:
            return {"damage": str(error)} if os.path.lexists(self.output) else {}
        last = max(told.get("saved", 0.0), told.get("time", 0.0))
        if later := [own.job for own in self._later() if last >= own.submitted]:
            return {"later": later[-1]}
        return {**told, "old": last < self._record.submitted}

    def _later(self) -> list[Submission]:
        """Return the submissions of the same output after this one that do not share it."""
        known = [own for own in records_of(self.output) if own.submitted > self._record.submitted]
        return [own for own in known if not (own.shares and self._record.shares)]

    def _judged(
        self,
        told: dict[str, Any],
        tasks: tuple[slurm.Task, ...],
        *,
        runs: bool,
        codes: Sequence[int | None],
    ) -> JobStatus:
        """Put together what the file and the system say."""
        waits = [own for own in tasks if own.waits]
        ended = [own for own in tasks if own.state not in ("COMPLETED", "FAILED")]
        canceled = self._record.canceled is not None or any(
            own.state == "CANCELLED" for own in ended
        )
        done = told.get("state") == "DONE"
        saved = not done and ("saved" in told or "members" in told)
        if done and told["old"]:
            # It was done before: so the job is if it found that out, and not if it failed.
            well = all(code == 0 for code in codes) if codes else not self._last_words()
            done = well and not (ended or canceled)
            told = told if done else {}
        if done:
            return JobStatus("DONE", "", told, tasks)
        if runs:
            return JobStatus("RUNNING", "", told, tasks)
        if waits and self._record.canceled is None:
            again = (saved and not told["old"]) or any(own.restarts for own in waits)
            reason = waits[0].reason
            if again:
                reason = f"goes on by itself, waits for {reason or 'its turn'}"
            return JobStatus("STOPPED" if again else "QUEUED", reason, told, tasks)
        rest = "what is done is saved" if saved else told.get("damage", "nothing was saved")
        if "later" in told:
            rest = f"its output is that of job {told['later']} since"
        if canceled:
            return JobStatus("CANCELED", rest, told, tasks)
        failed = [code for code in codes if code not in (None, 0, _STOPPED_CODE)]
        if "later" in told and not failed:
            well = bool(codes) and not any(codes) and not ended
            return JobStatus("DONE" if well else "STOPPED", rest, told, tasks)
        if saved and (not failed or ended):
            why = ended[0].state.lower().replace("_", " ") if ended else ""
            return JobStatus("STOPPED", "; ".join(filter(None, [why, rest])), told, tasks)
        words = [f"exit code {failed[0]}"] if failed else []
        words += [own.state.lower().replace("_", " ") for own in ended[:1]]
        if "damage" not in told:
            rest = self._last_words() or rest
        return JobStatus("ERROR", ", ".join([*words, rest]), told, tasks)

    def _last_words(self) -> str:
        """Return the last line of the log that says what is wrong."""
        for place in reversed(self.log_files()):
            lines: list[str] = []
            with suppress(OSError), os.fdopen(open_sidecar(place), "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
            said = [line for line in lines if any(own in line.lower() for own in _BAD)]
            ours = [line for line in said if not line.startswith(_LAUNCHERS)]
            if said:
                return printable((ours or said)[-1].strip()[:300])
        return ""


def _said(log: Path) -> str:
    """Return what is in a log.

    Raises:
        InputError: If it cannot be read, or is no log.
    """
    try:
        with os.fdopen(open_sidecar(log), "rb") as file:
            return file.read().decode(errors="replace")
    except OSError as error:
        raise InputError(f"{printable_path(log)}: {error.strerror}, expected a log") from None
