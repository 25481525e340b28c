"""The state of a job: the facts that were observed of it, and the rules that decide from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any

from hpcq.core.files import printable
from hpcq.jobs.slurm_backend import Task

_STOPPED_EXIT_CODE = 75
"""Exit code of a run that stopped early with everything saved."""


@dataclass(frozen=True)
class JobStatus:
    """Status of a job.

    Attributes:
        state: QUEUED, RUNNING, DONE, ERROR, CANCELED, or STOPPED: finished work is saved, and the
            same command resumes it.
        reason: Why the job waits, stopped or failed; may be empty.
        file: Status of the run according to its files; see
            :func:`hpcq.runs.status.read_run_status`.
        tasks: SLURM's view of the job, or of each task of an array.
    """

    state: str
    reason: str = ""
    file: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()

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


class Output(Flag):
    """What the output holds; *earlier* means last written before the job was submitted."""

    NOTHING = auto()  # neither a result nor a part of one
    DAMAGED = auto()  # a file that cannot be read
    OF_LATER_JOB = auto()  # what another job, submitted later, has written
    EARLIER_RESULT = auto()
    EARLIER_PROGRESS = auto()
    RESULT = auto()  # a complete one
    PROGRESS = auto()  # a part of a result, in the file or in the folder of jobs that share it
    OF_SCRIPT = auto()  # of a script, whose files are unknown to hpcq


_PROGRESS = Output.PROGRESS | Output.EARLIER_PROGRESS


class Execution(Flag):
    """Whether the job is running, and if not, why: the first of these that is true."""

    RUNNING = auto()  # at least one task, or the process
    REQUEUED = auto()  # a task waits in SLURM's queue, and has run before
    WAITING = auto()  # a task waits in SLURM's queue
    CANCELED = auto()  # with hpcq, even if tasks are still in the queue, or a task with scancel
    CUT_SHORT = auto()  # SLURM ended a task: at its time limit, because a node failed, ...
    ENDED = auto()  # by itself, or SLURM knows nothing of it


class Exit(Flag):
    """The exit codes of the tasks, or of the process: the first of these that is true."""

    LOGGED_ERROR = auto()  # SLURM knows no task, only the logs tell, and they name an error
    FORGOTTEN = auto()  # SLURM knows no task
    FAILED = auto()  # at least one code is that of a failure
    STOPPED = auto()  # at least one run stopped early with everything saved
    UNKNOWN = auto()  # at least one code is not known, and all others are 0
    SUCCESS = auto()  # all codes are 0


@dataclass(frozen=True)
class Facts:
    """The facts that decide the state of a job; in a rule, each may be one of several."""

    output: Output = ~Output(0)
    execution: Execution = ~Execution(0)
    exit: Exit = ~Exit(0)

    def __contains__(self, facts: Facts) -> bool:
        return (
            facts.output in self.output
            and facts.execution in self.execution
            and facts.exit in self.exit
        )


@dataclass(frozen=True)
class Observations:
    """What was observed of a job, and texts that reasons quote.

    Attributes:
        file: Status of the run as :func:`hpcq.runs.status.read_run_status` returns it, and ``old``
            if the output was last written before the job was submitted; or only ``later``, the
            number of the job that has written the output since; or only ``damage``, why the output
            cannot be read; or only ``is_script``; or empty without an output.
        tasks: SLURM's tasks of the job; none for a process.
        codes: Exit code of each task, or of the process; None while there is none.
        is_running: Whether any task, or the process, is running.
        is_canceled: Whether ``hpcq cancel`` was called for the job.
        error_line: Returns the line of the logs that says what went wrong; empty if none does.
    """

    file: dict[str, Any]
    tasks: tuple[Task, ...]
    codes: Sequence[int | None]
    is_running: bool
    is_canceled: bool
    error_line: Callable[[], str]

    @property
    def facts(self) -> Facts:
        """The facts, one of each kind."""
        return Facts(self._output, self._execution, self._exit)

    @property
    def _output(self) -> Output:
        if "is_script" in self.file:
            return Output.OF_SCRIPT
        if "damage" in self.file:
            return Output.DAMAGED
        if "later" in self.file:
            return Output.OF_LATER_JOB
        if self.file.get("state") == "DONE":
            return Output.EARLIER_RESULT if self.file["old"] else Output.RESULT
        if "saved" in self.file or "members" in self.file:
            return Output.EARLIER_PROGRESS if self.file["old"] else Output.PROGRESS
        return Output.NOTHING

    @property
    def _execution(self) -> Execution:
        if self.is_running:
            return Execution.RUNNING
        if self.pending and not self.is_canceled:
            has_run = any(task.restarts for task in self.pending)
            return Execution.REQUEUED if has_run else Execution.WAITING
        if self.is_canceled or any(task.state == "CANCELLED" for task in self.tasks):
            return Execution.CANCELED
        return Execution.CUT_SHORT if self.cut_short else Execution.ENDED

    @property
    def _exit(self) -> Exit:
        if not self.codes:
            only_logs_tell = self._output in Output.EARLIER_RESULT | Output.OF_SCRIPT
            return Exit.LOGGED_ERROR if only_logs_tell and self.error_line() else Exit.FORGOTTEN
        if self.failures:
            return Exit.FAILED
        if _STOPPED_EXIT_CODE in self.codes:
            return Exit.STOPPED
        return Exit.UNKNOWN if None in self.codes else Exit.SUCCESS

    @property
    def pending(self) -> list[Task]:
        """The tasks in SLURM's queue."""
        return [task for task in self.tasks if task.is_pending]

    @property
    def failures(self) -> list[int]:
        """The exit codes of failures."""
        return [code for code in self.codes if code and code != _STOPPED_EXIT_CODE]

    @property
    def cut_short(self) -> list[str]:
        """States such as ``node fail`` of the tasks that have not ended by themselves."""
        states = [task.state for task in self.tasks if task.state not in ("COMPLETED", "FAILED")]
        return [state.lower().replace("_", " ") for state in states]

    @property
    def turn(self) -> str:
        """What the job waits for."""
        return self.pending[0].reason or "its turn"

    @property
    def saved(self) -> str:
        """What has become of the job's work."""
        if self._output in _PROGRESS:
            return "finished work is saved"
        if self._output is Output.OF_LATER_JOB:
            return f"job {self.file['later']} has written its output since"
        if self._output is Output.OF_SCRIPT:
            return "what is saved depends on its script"
        return str(self.file.get("damage", "nothing was saved"))

    @property
    def error(self) -> str:
        """What went wrong."""
        return self.saved if self._output is Output.DAMAGED else self.error_line() or self.saved


RULES = (
    ("DONE", "", Facts(Output.RESULT)),
    # The result was complete before the job, so the job is done if it ended well.
    ("DONE", "", Facts(Output.EARLIER_RESULT, Execution.ENDED, Exit.SUCCESS | Exit.FORGOTTEN)),
    ("DONE", "", Facts(Output.OF_SCRIPT, Execution.ENDED, Exit.SUCCESS | Exit.FORGOTTEN)),
    ("RUNNING", "", Facts(execution=Execution.RUNNING)),
    ("STOPPED", "resumes by itself, waits for {0.turn}", Facts(execution=Execution.REQUEUED)),
    ("STOPPED", "resumes by itself, waits for {0.turn}", Facts(Output.PROGRESS, Execution.WAITING)),
    ("QUEUED", "{0.pending[0].reason}", Facts(execution=Execution.WAITING)),
    ("CANCELED", "{0.saved}", Facts(execution=Execution.CANCELED)),
    ("DONE", "{0.saved}", Facts(Output.OF_LATER_JOB, Execution.ENDED, Exit.SUCCESS | Exit.UNKNOWN)),
    ("STOPPED", "{0.saved}", Facts(Output.OF_LATER_JOB, exit=~Exit.FAILED)),
    ("STOPPED", "{0.cut_short[0]}; {0.saved}", Facts(_PROGRESS, Execution.CUT_SHORT)),
    ("STOPPED", "{0.saved}", Facts(_PROGRESS, exit=~Exit.FAILED)),
    ("STOPPED", "{0.saved}", Facts(Output.OF_SCRIPT, exit=Exit.STOPPED)),
    (
        "ERROR",
        "exit code {0.failures[0]}, {0.cut_short[0]}, {0.error}",
        Facts(execution=Execution.CUT_SHORT, exit=Exit.FAILED),
    ),
    ("ERROR", "exit code {0.failures[0]}, {0.error}", Facts(exit=Exit.FAILED)),
    ("ERROR", "{0.cut_short[0]}, {0.error}", Facts(execution=Execution.CUT_SHORT)),
    ("ERROR", "{0.error}", Facts()),
)
"""State, reason and facts; the first row whose facts include those of the job decides.

The reason quotes attributes of :class:`Observations` in braces.
"""


def job_status(seen: Observations) -> JobStatus:
    """Return the status of a job by the first of the :data:`RULES` that is about its facts."""
    facts = seen.facts
    state, reason = next((state, reason) for state, reason, pattern in RULES if facts in pattern)
    is_of_job = state == "DONE" or facts.output is not Output.EARLIER_RESULT
    return JobStatus(state, reason.format(seen), seen.file if is_of_job else {}, seen.tasks)
