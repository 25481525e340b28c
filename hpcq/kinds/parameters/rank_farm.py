"""Evaluations on the ranks of a session: one command, and tasks until rank 0 has its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from hpcq.core.errors import HpcqError, TasksFailedError
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import FinishedTasks, TaskFunction, Tasks, WorkerFactory
from hpcq.parallel.world import abort_on_error
from hpcq.runs.session import Command, Session

T = TypeVar("T")


def on_ranks(
    session: Session,
    command: Command,
    factory: WorkerFactory,
    evaluate: Callable[[Coordinator], T],
    *,
    setup: Any = None,
    function: TaskFunction | None = None,
) -> T:
    """Run a function that hands tasks to all ranks, and return its result; call it on rank 0.

    Args:
        session: The session.
        command: Starts the worker of such a factory on the other ranks.
        factory: Makes the task function of rank 0's worker.
        evaluate: The function; it hands tasks to the coordinator that it is given.
        setup: Argument of the ranks' factories.
        function: The function for rank 0's worker, if that is a thread.

    Raises:
        HpcqError: If the function raises it; the session goes on.
    """
    failure: HpcqError | None = None
    with session.commanding(), abort_on_error(session.farm):
        session.start(command)
        with session.farm.coordinator(factory) as coordinator:
            coordinator.prepare(setup, in_subprocess=False, function=function)
            try:
                result = evaluate(coordinator)
            except HpcqError as error:
                failure = error
                coordinator.exit_code = error.exit_code
    if failure is not None:
        raise failure
    return result


def finish_tasks(
    coordinator: Coordinator,
    payloads: Sequence[bytes],
    seconds: Sequence[float],
    dtype: DTypeLike,
    describe: Callable[[int], str],
) -> FinishedTasks:
    """Return the results of all tasks, each a flat array.

    Args:
        coordinator: Hands tasks to the ranks.
        payloads: The tasks as messages.
        seconds: Predicted seconds of each.
        dtype: Type of the numbers that they return.
        describe: Returns the name of a task in messages.

    Raises:
        HpcqError: If a task fails twice, or no rank is left.
    """
    tasks = Tasks(
        np.array(seconds, dtype=float), dtype, payload=payloads.__getitem__, describe=describe
    )
    outcome = coordinator.run(AllTasks(tasks))
    if outcome.complete:
        return outcome.finished
    if outcome.failures:
        more = len(outcome.failures) - 1
        others = f"; and {more} more tasks" if more else ""
        raise TasksFailedError(f"{outcome.failures[0]}{others}")
    raise HpcqError(f"the evaluation stopped, because {outcome.stopped}")
