"""Sources of a stage's tasks for one job: all tasks, or those that no other job takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcq.parallel.tasks import FinishedTasks, Numbers, TaskResults, Tasks

if TYPE_CHECKING:
    from hpcq.parallel.scheduler import Scheduler


class TaskSource:
    """The tasks of one stage of a run, such as all simulations, for one of the jobs that run it.

    A coordinator calls :meth:`begin`, then :meth:`note` and :meth:`exchange` many times, then
    :meth:`end`. Without other jobs there is nothing to do in the last three;
    :mod:`hpcq.runs.shared.blocks` has the source of tasks that several jobs share.

    Attributes:
        tasks: All tasks of the stage.
        finished: Results so far, also of earlier starts and of other jobs.
    """

    tasks: Tasks
    finished: FinishedTasks

    def begin(self, scheduler: Scheduler) -> None:
        """Admit the first tasks to a scheduler, which has none yet."""

    def note(self, batch: TaskResults, new: Numbers) -> None:
        """Note results of this job, and which of their tasks no job had finished before."""

    def exchange(self, scheduler: Scheduler, *, stopping: bool) -> bool:  # noqa: ARG002 (no others)
        """Exchange results with other jobs, and admit more tasks; return whether there were any.

        A job that is about to stop takes no more tasks.
        """
        return False

    def seconds_left(self, scheduler: Scheduler) -> float:
        """Return an estimate of the seconds until all tasks are finished."""
        return scheduler.seconds_left()

    def end(self, *, complete: bool) -> None:
        """End this job's part, because all tasks are finished or the job stops."""


class AllTasks(TaskSource):
    """The tasks of a stage that this job computes alone; there is no one to exchange with.

    Args:
        tasks: The tasks.
        finished: Results of tasks that are finished already; by default of none.

    Raises:
        ValueError: If the results are for another number of tasks.
    """

    def __init__(self, tasks: Tasks, finished: FinishedTasks | None = None) -> None:
        total = len(tasks.costs)
        self.tasks = tasks
        self.finished = FinishedTasks(total, tasks.dtype) if finished is None else finished
        if len(self.finished) != total:
            raise ValueError(f"finished: for {len(self.finished)} tasks, expected {total}")

    def begin(self, scheduler: Scheduler) -> None:
        """Admit all tasks that are not finished."""
        scheduler.admit(np.flatnonzero(~self.finished.done))
