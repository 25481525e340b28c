"""A submitted job: its status, its logs, its result, and how to cancel it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import open_sidecar, printable, printable_path
from hpcq.jobs import local_backend as local
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.job_state import JobStatus, Observations, job_status
from hpcq.jobs.submissions import (
    Submission,
    find_submission,
    mark_canceled,
    record_file,
    submissions_of,
)

if TYPE_CHECKING:
    from hpcq.results.result import Result

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

    @property
    def writes_output(self) -> bool:
        """Whether the job writes the output, which only names it if it runs a script."""
        return self._record.writes_output

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
        tasks: tuple[slurm.Task, ...] = ()
        if record.is_local:
            is_running = local.is_alive(record)
            codes = [None if is_running else local.exit_code(self.output)]
        else:
            try:
                tasks = tuple(task for task in slurm.tasks_of(record.job) if is_counted(task))
            except slurm.SlurmError:
                if output_status.get("state") == "DONE" and not output_status["old"]:
                    return JobStatus("DONE", "", output_status)
                raise
            is_running = any(task.is_running for task in tasks)
            codes = [task.code for task in tasks]
        is_canceled = record.canceled is not None
        return job_status(
            Observations(output_status, tasks, codes, is_running, is_canceled, self._error_line)
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
            if task.uid != user or f"\n{self._record.name}\n" not in f"\n{names}":
                owner = "an unknown user" if task.uid is None else f"user {task.uid}"
                name_shown = f"{printable(names.strip())[:80]!r} " if names else ""
                raise InputError(
                    f"job: {self.id} is {name_shown}of {owner} in SLURM, expected "
                    f"{printable(self._record.name)[:80]!r} of user {user}; nothing is canceled"
                )
        return self._may_be_this_job(task)

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
        if status.over and not self.writes_output:
            raise HpcqError(
                f"job {self.id}: {status}; it runs a script, and hpcq does not know its results"
            )
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
        submission. ``is_script`` says that hpcq does not know what the job writes.
        """
        from hpcq.runs.status import read_run_status

        if not self.writes_output:
            return {"is_script": True}
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
