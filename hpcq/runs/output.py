"""Where the results of a run are kept: nowhere, in one file, or in a file that jobs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, StoppedError
from hpcq.parallel.task_source import AllTasks, TaskSource
from hpcq.parallel.tasks import FinishedTasks, Tasks
from hpcq.planning.fingerprint import Fingerprint, RequestSummary
from hpcq.runs.stop_signals import is_script_running

if TYPE_CHECKING:
    from hpcq.planning.kind import Kind
    from hpcq.results.result import Result


class FinishedElsewhereError(Exception):
    """Another job has written the complete result, which is ``previous`` of the output now."""


class RunOutput:
    """The output of a run on rank 0: the earlier result, and the results that the run adds.

    Implemented by :class:`NoOutput`, :class:`hpcq.runs.file_output.FileOutput`, and, for jobs that
    share an output, :class:`hpcq.runs.shared.output.SharedOutput`; methods that one of them does
    not override have nothing to do there. A run calls, in this order:
    :meth:`load_previous`; :meth:`planned_settings` and :meth:`publish_settings` before and after it
    plans; :meth:`agree_on_run`; for each set of tasks :meth:`stage`, then :meth:`update` many times
    a second; and at the end one of :meth:`finish`, :meth:`stop` and :meth:`close`.

    Methods that communicate with other jobs raise :class:`FinishedElsewhereError` if another job
    has finished the run; so do the methods of a stage.

    Attributes:
        previous: The earlier result, which the run resumes or adds shots to; None if there is none.
        may_add_shots: Whether a run may add shots to a complete result. False if jobs share the
            output, because each of them would add the shots.
        save_seconds: Duration of the last save; a run leaves time for another before its deadline.
    """

    previous: Result | None
    may_add_shots = True
    save_seconds = 0.0

    @property
    def stopped_error(self) -> type[HpcqError]:
        """Class of the error of a run that stops; StoppedError if the same command resumes it."""
        return StoppedError

    def load_previous(self, kind: Kind) -> Result | None:
        """Read and return :attr:`previous`.

        Raises:
            InputError: If the result is not of this kind.
        """
        raise NotImplementedError

    def planned_settings(self) -> Mapping[str, Any] | None:
        """Return the configuration of an earlier start or another job, to plan with; or None."""

    def publish_settings(self, config: Mapping[str, Any]) -> None:
        """Tell the other jobs which configuration to plan with."""

    def agree_on_run(self, fingerprint: Fingerprint, request: RequestSummary | None = None) -> None:
        """Make sure that all jobs compute the same run: that of the first job to get here.

        Other jobs can be told from the request how theirs differs.

        Raises:
            InputError: If the first job computes another run.
        """

    def stage(self, name: str, tasks: Tasks) -> TaskSource:
        """Return a set of tasks, with the results that the output already holds.

        The name of the stage is the same in every start and every job of the run.
        """
        return AllTasks(tasks, finished_before(self.previous, name, tasks))

    def update(self, status: Mapping[str, Any], partial: Callable[[], Result] | None) -> None:
        """Write the status and the partial result, each if it is time; failures are warnings.

        The status is JSON values; ``partial`` is None while there is no result.
        """

    def save(self, partial: Callable[[], Result]) -> None:
        """Save the partial result now; a failure is a warning."""

    def save_soon(self) -> None:
        """Have the next update save; any thread may ask for it."""

    def stop(self, partial: Callable[[], Result]) -> str:
        """Save everything, and end a run that is not complete.

        Returns:
            The end of a sentence on the finished tasks, such as ``are saved in out.h5; run the same
            command again to resume``.

        Raises:
            NotWrittenError: If they cannot be saved.
        """
        raise NotImplementedError

    def finish(self, result: Result) -> list[Path]:
        """End the run with its complete result, which is written unless the output held it before.

        Returns:
            The files that hold it, one or none.

        Raises:
            NotWrittenError: If it cannot be written.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End a run that has failed, or does not begin: other jobs take over its tasks."""


class NoOutput(RunOutput):
    """The output of a run that only returns its result; ``previous`` is what it adds shots to."""

    def __init__(self, previous: Result | None = None) -> None:
        self.previous = previous

    @property
    def stopped_error(self) -> type[HpcqError]:
        """StoppedError within a script, which keeps what it has computed by itself."""
        return StoppedError if is_script_running() else HpcqError

    def load_previous(self, kind: Kind) -> Result | None:  # noqa: ARG002 (protocol)
        """Return the result that was given."""
        return self.previous

    def stop(self, partial: Callable[[], Result]) -> str:  # noqa: ARG002 (protocol)
        """Return that the finished tasks are lost."""
        return "were done and are lost, because there is no --output"

    def finish(self, result: Result) -> list[Path]:  # noqa: ARG002 (protocol)
        """Return no files."""
        return []


def finished_before(previous: Result | None, name: str, tasks: Tasks) -> FinishedTasks:
    """Return the results of a stage's tasks in a partial result; there may be none."""
    details = None if previous is None else previous.details
    unfinished = None if details is None else details.unfinished
    total = len(tasks.costs)
    known = None if unfinished is None else unfinished.stage(name, total)
    return FinishedTasks(total, tasks.dtype) if known is None else known


def request_summary(result: Result | None) -> RequestSummary | None:
    """Return a summary of the request that a result answers; None without a result."""
    return None if result is None else RequestSummary(result.names, result.config)
