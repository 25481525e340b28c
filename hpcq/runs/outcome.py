"""What happens when a farm has ended: continue if all tasks are done, otherwise save and raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hpcq.core.errors import HpcqError, StoppedError, TasksFailedError
from hpcq.core.files import printable_path
from hpcq.runs.checkpoint import shared_folder

if TYPE_CHECKING:
    from hpcq.parallel.tasks import Outcome
    from hpcq.results.result import Result
    from hpcq.runs.checkpoint import Checkpoint

_MAX_SHOWN_FAILURES = 3
"""Failures that the message describes; the others are only counted, so that it stays readable."""


def check_outcome(
    outcome: Outcome, checkpoint: Checkpoint | None, partial: Callable[[], Result]
) -> None:
    """Make sure that all tasks are done; otherwise save the finished ones and raise.

    Args:
        outcome: How the tasks ended.
        checkpoint: Keeps the output; None without an output.
        partial: Returns the result to save.

    Raises:
        StoppedError: If the run was stopped; the finished tasks are saved.
        TasksFailedError: If tasks failed.
        HpcqError: If the run was stopped and there is no output to save to.
    """
    if outcome.complete:
        return
    done = f"{outcome.finished.num_done} of {len(outcome.finished)} tasks"
    if checkpoint is not None:
        saved = checkpoint.save(partial())
        checkpoint.remove_status()
        again = (
            "" if saved == checkpoint.requested_path else f" with --output {printable_path(saved)}"
        )
        where = shared_folder(saved) if checkpoint.is_shared else saved
        rest = f"{done} are saved in {printable_path(where)}; run the same command again"
        rest += f"{again} to resume"
    else:
        rest = f"{done} were done and are lost, because there is no --output"
    if outcome.failures:
        shown = "; ".join(map(str, outcome.failures[:_MAX_SHOWN_FAILURES]))
        more = len(outcome.failures) - _MAX_SHOWN_FAILURES
        shown += f"; and {more} more" if more > 0 else ""
        raise TasksFailedError(f"{shown}. {rest}")
    kind = HpcqError if checkpoint is None else StoppedError
    raise kind(f"stopped, because {outcome.stopped}: {rest}")
