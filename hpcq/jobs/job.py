"""A submitted job: its status, its logs, its result, and how to cancel it."""

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
from hpcq.jobs.submissions import (
    Submission,
    find_submission,
    mark_canceled,
    record_file,
    submissions_of,
)

if TYPE_CHECKING:
    from hpcq.results.result import Result

STATES = ("QUEUED", "RUNNING", "DONE", "ERROR", "CANCELED", "STOPPED")
"""All states of a job. STOPPED: finished work is saved, and the same command resumes it."""

_STOPPED_EXIT_CODE = 75
"""Exit code of a run that stopped early with everything saved."""

_FIRST_POLL, _MAX_POLL = 0.2, 15.0
"""Seconds between two polls while waiting for a job, doubled each time up to the maximum.

Smaller: results come sooner; larger: fewer calls of squeue, which sites ask users to keep rare.
"""

_MAX_SILENCE = 1800.0
"""Seconds without an answer from SLURM after which waiting for a result fails.

Larger: longer outages of the controller are survived; smaller: a dead one is reported sooner.
"""

_TAIL_BYTES = 4096
"""Bytes at the end of a log that are searched for the line that says what went wrong."""

_ERROR_WORDS = ("error", "not found", "denied")
_LAUNCHER_PREFIXES = ("srun:", "slurmstepd:")
"""Prefixes of lines that say that a rank failed, but not why: such lines may come before or after
the rank's own message."""


@dataclass(frozen=True)
class JobStatus:
    """Status of a job.

    Attributes:
        state: One of :data:`STATES`.
        reason: Why the job waits, stopped or failed; may be empty.
        file: Status of the run according to its files; see
            :func:`hpcq.runs.status.read_run_status`.
        tasks: SLURM's view of the job, or of each task of an array.
    """

    state: str
    reason: str = ""
    file: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[slurm.Task, ...] = ()

    @property
    def over(self) -> bool:
        """Whether the job has ended and will not be started again by itself."""
        return self.state in ("DONE", "ERROR", "CANCELED") or (
            self.state == "STOPPED" and not self.is_with_slurm
        )

    @property
    def is_with_slurm(self) -> bool:
        """Whether SLURM still holds any task of the job, pending or running."""
        return any(task.is_pending or task.is_running for task in self.tasks)

    def __str__(self) -> str:
        return f"{self.state} ({printable(self.reason)})" if self.reason else self.state


class Job:
    """A submitted job, of SLURM or in the background of this machine.

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
        """Return the job with a given number, or the last one submitted for an output.

        Raises:
            InputError: If there is no record of such a job.
        """
        return cls(find_submission(str(where)))

    @property
    def id(self) -> str:
        """The job's number in SLURM, or ``local-`` and a process number."""
        return self._record.job

    @property
    def output(self) -> Path:
        """The HDF5 file that the job writes."""
        return Path(self._record.output)

    def __repr__(self) -> str:
        return f"Job({self.id!r}, output={printable_path(self.output)!r})"

    def status(self) -> JobStatus:
        """Return the job's current status.

        Raises:
            SlurmError: If SLURM does not answer.
        """
        return self._status_from(self._may_be_this_job)

    def _status_from(self, is_counted: Callable[[slurm.Task], bool]) -> JobStatus:
        """Return the status, from the tasks of SLURM under the job's number that are counted."""
        record = self._record
        output_status = self._output_status()
        if record.is_local:
            is_running = local.is_alive(record)
            code = None if is_running else local.exit_code(self.output)
            return self._combine(output_status, (), is_running=is_running, codes=[code])
        try:
            tasks = tuple(task for task in slurm.tasks_of(record.job) if is_counted(task))
        except slurm.SlurmError:
            if output_status.get("state") == "DONE" and not output_status["old"]:
                return JobStatus("DONE", "", output_status)
            raise
        return self._combine(
            output_status,
            tasks,
            is_running=any(task.is_running for task in tasks),
            codes=[task.code for task in tasks],
        )

    def logs(self) -> str:
        """Return the text of the job's logs so far, of all its starts.

        Raises:
            InputError: If a log cannot be read.
        """
        return "".join(_read_log(path) for path in self.log_files())

    def log_files(self) -> list[Path]:
        """Return the job's log files, beside the output; one for each task of an array."""
        name = Path(self._record.log).name.replace("%%", "%")
        folder = self.output.parent
        for pattern in ("%j", "%A"):
            name = name.replace(pattern, self.id)
        if "%a" not in name:
            path = self.output.with_name(name)
            return [path] if os.path.lexists(path) else []
        start, _, end = name.partition("%a")
        try:
            files = sorted(folder.iterdir())
        except OSError:
            return []
        return [
            path
            for path in files
            if path.name.startswith(start)
            and path.name.endswith(end)
            and path.is_file()
            and not path.is_symlink()
        ]

    def cancel(self) -> JobStatus:
        """Cancel the job; finished work is kept, and the same command resumes it.

        Returns:
            The status before; a job that was already over keeps it.

        Raises:
            InputError: If hpcq cannot tell that the job is this user's.
            SlurmError: If SLURM does not answer, or refuses.
        """
        if not self._record.is_ours:
            raise InputError(
                f"job: {self.id} is not known to be yours, because others can write its record "
                f"{printable_path(record_file(self.output))!r}; expected a job that you submitted"
            )
        status = self._status_from(self._check_is_this_job)
        if self._record.is_local or status.is_with_slurm:
            self.end()
        if not status.over:
            with suppress(HpcqError):  # the job is canceled even if its record cannot be updated
                self._record = mark_canceled(self._record)
        return status

    def _may_be_this_job(self, task: slurm.Task) -> bool:
        """Whether SLURM's task can belong to this job; SLURM reuses numbers."""
        return self._record.may_be_of(task.uid)

    def _check_is_this_job(self, task: slurm.Task) -> bool:
        """Return whether SLURM's task can belong to this job.

        Raises:
            InputError: If it is pending or running, but another job's or another user's.
        """
        if task.is_running or task.is_pending:
            user, names = os.geteuid(), ""
            if task.uid == user:
                names = slurm.names_of(self._record.job)
            if task.uid != user or not self._has_name(names):
                owner = "an unknown user" if task.uid is None else f"user {task.uid}"
                name_shown = f"{printable(names.strip())[:80]!r} " if names else ""
                raise InputError(
                    f"job: {self.id} is {name_shown}of {owner} in SLURM, expected "
                    f"{printable(self._record.name)[:80]!r} of user {user}; nothing is canceled"
                )
        return self._may_be_this_job(task)

    def _has_name(self, names: str) -> bool:
        """Whether one of SLURM's lines is the name under which the job was submitted."""
        return f"\n{self._record.name}\n" in f"\n{names}"

    def end(self) -> None:
        """Tell the system to end the job, without any check; see :meth:`cancel`."""
        if not self._record.is_local:
            slurm.cancel(self.id)
        elif local.is_alive(self._record):
            local.stop(self._record)

    def result(self, *, wait: bool = False, timeout: float | None = None) -> Result:
        """Return the result.

        Args:
            wait: Whether to wait until the job is over.
            timeout: Maximum number of seconds to wait; None for no limit.

        Raises:
            InputError: If the timeout is not a number of seconds.
            HpcqError: If there is no result: the job is not over, or ended without one.
        """
        from hpcq.results import load

        if timeout is not None and not timeout >= 0:
            raise InputError(f"timeout: {timeout!r}, expected a number of seconds, or None")
        start = last_answer = time.monotonic()
        pause = _FIRST_POLL
        status = self.status()
        while wait and not status.over:
            if timeout is not None and time.monotonic() - start >= timeout:
                raise HpcqError(f"job {self.id}: {status} after {timeout:g} s")
            time.sleep(pause)
            pause = min(2 * pause, _MAX_POLL)
            status, last_answer = self._status_or_last(status, last_answer)
        if status.state != "DONE" or "later" in status.file:
            raise HpcqError(f"job {self.id}: {status}, it has no result")
        return load(self.output)

    def _status_or_last(self, last: JobStatus, last_answer: float) -> tuple[JobStatus, float]:
        """Return the status and the time of this answer, or the last ones while SLURM is silent."""
        now = time.monotonic()
        try:
            return self.status(), now
        except slurm.SlurmError:
            if now - last_answer > _MAX_SILENCE:
                raise
            return last, last_answer

    def _output_status(self) -> dict[str, Any]:
        """Return the status in the output, if it belongs to this submission.

        Otherwise ``later`` names the job that has written the output since, and ``damage`` says why
        the output cannot be read. ``old`` says that the output was last written before this
        submission.
        """
        from hpcq.runs.status import read_run_status

        try:
            output_status = read_run_status(self.output)
        except InputError as error:
            return {"damage": str(error)} if os.path.lexists(self.output) else {}
        last = max(output_status.get("saved", 0.0), output_status.get("time", 0.0))
        later = [other.job for other in self._later_submissions() if last >= other.submitted]
        if later:
            return {"later": later[-1]}
        return {**output_status, "old": last < self._record.submitted}

    def _later_submissions(self) -> list[Submission]:
        """Return later submissions for the output, except those that share it with this one."""
        later = [
            other
            for other in submissions_of(self.output)
            if other.submitted > self._record.submitted
        ]
        return [other for other in later if not (other.is_shared and self._record.is_shared)]

    def _combine(
        self,
        output_status: dict[str, Any],
        tasks: tuple[slurm.Task, ...],
        *,
        is_running: bool,
        codes: Sequence[int | None],
    ) -> JobStatus:
        """Return the status that follows from the output's and the system's.

        Args:
            output_status: As :meth:`_output_status` returns it.
            tasks: SLURM's tasks of the job; none for a local one.
            is_running: Whether any task, or the local process, is running.
            codes: Exit code of each task, or of the local process; None while there is none.
        """
        pending = [task for task in tasks if task.is_pending]
        ended = [task for task in tasks if task.state not in ("COMPLETED", "FAILED")]
        canceled = self._record.canceled is not None or any(
            task.state == "CANCELLED" for task in ended
        )
        done = output_status.get("state") == "DONE"
        saved = not done and ("saved" in output_status or "members" in output_status)
        if done and output_status["old"]:
            # The result was complete before the job, so the job is done if it ended well.
            succeeded = all(code == 0 for code in codes) if codes else not self._error_line()
            done = succeeded and not (ended or canceled)
            output_status = output_status if done else {}
        if done:
            return JobStatus("DONE", "", output_status, tasks)
        if is_running:
            return JobStatus("RUNNING", "", output_status, tasks)
        if pending and self._record.canceled is None:
            comes_back = (saved and not output_status["old"]) or any(
                task.restarts for task in pending
            )
            reason = pending[0].reason
            if comes_back:
                reason = f"resumes by itself, waits for {reason or 'its turn'}"
            return JobStatus("STOPPED" if comes_back else "QUEUED", reason, output_status, tasks)
        note = (
            "finished work is saved" if saved else output_status.get("damage", "nothing was saved")
        )
        if "later" in output_status:
            note = f"job {output_status['later']} has written its output since"
        if canceled:
            return JobStatus("CANCELED", note, output_status, tasks)
        failed = [code for code in codes if code not in (None, 0, _STOPPED_EXIT_CODE)]
        if "later" in output_status and not failed:
            succeeded = bool(codes) and not any(codes) and not ended
            return JobStatus("DONE" if succeeded else "STOPPED", note, output_status, tasks)
        if saved and (not failed or ended):
            state = ended[0].state.lower().replace("_", " ") if ended else ""
            return JobStatus(
                "STOPPED", "; ".join(filter(None, [state, note])), output_status, tasks
            )
        parts = [f"exit code {failed[0]}"] if failed else []
        parts += [task.state.lower().replace("_", " ") for task in ended[:1]]
        if "damage" not in output_status:
            note = self._error_line() or note
        return JobStatus("ERROR", ", ".join([*parts, note]), output_status, tasks)

    def _error_line(self) -> str:
        """Return the last line of the logs that names an error; empty if there is none."""
        for path in reversed(self.log_files()):
            lines: list[str] = []
            with suppress(OSError), os.fdopen(open_sidecar(path), "rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
            error_lines = [
                line for line in lines if any(word in line.lower() for word in _ERROR_WORDS)
            ]
            from_ranks = [line for line in error_lines if not line.startswith(_LAUNCHER_PREFIXES)]
            if error_lines:
                return printable((from_ranks or error_lines)[-1].strip()[:300])
        return ""


def _read_log(log: Path) -> str:
    """Return the text of a log.

    Raises:
        InputError: If it cannot be read, or is not a regular file.
    """
    try:
        with os.fdopen(open_sidecar(log), "rb") as file:
            return file.read().decode(errors="replace")
    except OSError as error:
        raise InputError(f"{printable_path(log)}: {error.strerror}, expected a log") from None
