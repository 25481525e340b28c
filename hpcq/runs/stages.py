"""Stages of a run on rank 0: sets of tasks, one after the other, with progress, saves and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hpcq.core.errors import TasksFailedError
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.parallel.task_source import TaskSource
from hpcq.parallel.tasks import Outcome, TaskFunction
from hpcq.results.result import Result
from hpcq.runs.options import RunOptions
from hpcq.runs.output import RunOutput
from hpcq.runs.provenance import RunAccounting

_SUBPROCESS_SECONDS = 2.0
"""Predicted seconds per rank from which ranks compute in separate processes. Shorter tasks would
end before the processes have started."""

_MAX_SHOWN_FAILURES = 3
"""Failures that the message describes; the others are only counted, so that it stays readable."""


class TaskSet(Protocol):
    """Tasks in the form in which rank 0 sends them to all ranks, once."""

    def task_function(self, open_engine: Callable[[], Any]) -> TaskFunction:
        """Return the function that computes any of the tasks, with the engine of this process."""


def no_engine() -> None:
    """Return None, as the engine of tasks that take none."""


@dataclass(frozen=True, eq=False)
class StageRunner:
    """Computes the stages of a run on all ranks.

    Attributes:
        coordinator: Hands tasks to the ranks.
        farm: The ranks.
        accounting: Seconds of each phase.
        options: How to run.
    """

    coordinator: Coordinator
    farm: Farm
    accounting: RunAccounting
    options: RunOptions

    @contextmanager
    def alone(self) -> Iterator[StageRunner]:
        """Return a runner of this process alone, which computes in a thread."""
        farm = SerialFarm(thread_only=True)
        with farm.coordinator(lambda task_set: task_set.task_function(no_engine)) as coordinator:
            coordinator.ledger = self.coordinator.ledger
            yield replace(self, coordinator=coordinator, farm=farm)

    def are_long(self, seconds: float) -> bool:
        """Say whether tasks of this many predicted seconds are worth separate processes."""
        return seconds / self.farm.size > _SUBPROCESS_SECONDS

    def send(
        self, task_set: TaskSet, open_engine: Callable[[], Any], *, in_subprocess: bool
    ) -> None:
        """Send all ranks the set of tasks for the stages that follow.

        Ranks may compute in subprocesses; ``open_engine`` returns the engine of this process.
        """
        function = task_set.task_function(open_engine)
        self.coordinator.prepare(task_set, in_subprocess=in_subprocess, function=function)

    def run(self, source: TaskSource, phase: str, partial: Callable[[], Result]) -> None:
        """Compute the unfinished tasks of a stage that the output returned, which gets the results.

        The phase is named in progress lines and in the accounting; ``partial`` returns the result
        to save while the stage is unfinished.

        Raises:
            HpcqError: If the run is stopped, or tasks fail; the finished tasks are saved.
        """
        monitor = self.options.monitor

        def timed_partial() -> Result:
            self.accounting.end(phase)
            return partial()

        monitor.begin_phase(phase, timed_partial)
        outcome = self.coordinator.run(source, monitor)
        self.accounting.end(phase)
        _check_outcome(outcome, self.options.output, timed_partial)


def _check_outcome(outcome: Outcome, output: RunOutput, partial: Callable[[], Result]) -> None:
    """Make sure that all tasks are done; otherwise save the partial result and raise.

    Raises:
        StoppedError: If the run was stopped; the finished tasks are saved.
        TasksFailedError: If tasks failed.
        HpcqError: If the run was stopped and there is no output to save to.
    """
    if outcome.complete:
        return
    done = f"{outcome.finished.num_done} of {len(outcome.finished)} tasks {output.stop(partial)}"
    if outcome.failures:
        shown = "; ".join(map(str, outcome.failures[:_MAX_SHOWN_FAILURES]))
        more = len(outcome.failures) - _MAX_SHOWN_FAILURES
        shown += f"; and {more} more" if more > 0 else ""
        raise TasksFailedError(f"{shown}. {done}")
    raise output.stopped_error(f"stopped, because {outcome.stopped}: {done}")
