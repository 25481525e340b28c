"""The end of a stage: the run continues if all tasks are done; otherwise it saves and raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hpcq.core.errors import TasksFailedError

if TYPE_CHECKING:
    from hpcq.parallel.tasks import Outcome
    from hpcq.results.result import Result
    from hpcq.runs.output import RunOutput

_MAX_SHOWN_FAILURES = 3
"""Failures that the message describes; the others are only counted, so that it stays readable."""


def check_outcome(outcome: Outcome, output: RunOutput, partial: Callable[[], Result]) -> None:
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
