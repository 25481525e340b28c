"""The trials of a search as tasks: integers to farm out, and a pickle that every rank gets once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError
from hpcq.parallel.serial import Farm
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.trials import Trial, run_trial, trial_seconds

SEARCH_COMMAND = b"search "
"""Message by which rank 0 calls the other ranks to a search."""

_MIN_SHARED_SECONDS = 0.5
"""Seconds of counted work above which ranks share a search. Below that, rank 0 searches alone,
because opening the search on every rank takes time too."""


@dataclass(frozen=True, eq=False)
class SearchTasks:
    """The trials of each of one or more graphs; a task is one trial."""

    graphs: tuple[EndGraph, ...]
    trials: tuple[tuple[Trial, ...], ...]
    objective: Objective

    def labels(self, farm: Farm) -> list[list[list[int]]]:
        """Run all trials on a farm, and return the labels found for each graph.

        Call it on rank 0; the other ranks call :func:`join_search`.

        Raises:
            HpcqError: If a trial fails.
        """
        work = [trial_seconds(graph, self.objective, trial) for graph, trial in self._tasks]
        if farm.size == 1 or sum(work) <= _MIN_SHARED_SECONDS:
            return [[self.compute(t).tolist() for t in tasks] for tasks in self._tasks_by_graph()]
        farm.broadcast(SEARCH_COMMAND)
        with farm.coordinator(_open_tasks) as coordinator:
            coordinator.prepare(self, in_subprocess=False)
            tasks = Tasks(np.array(work), np.int64, describe="attempt {}".format)
            outcome = coordinator.run(AllTasks(tasks))
        if not outcome.complete:
            raise HpcqError(f"search: {'; '.join(map(str, outcome.failures))}")
        return [[outcome.finished[t].tolist() for t in tasks] for tasks in self._tasks_by_graph()]

    def _tasks_by_graph(self) -> list[range]:
        """Return the tasks of each graph."""
        offsets = list(accumulate((len(trials) for trials in self.trials), initial=0))
        return [range(*span) for span in pairwise(offsets)]

    def compute(self, task: int, _payload: bytes = b"") -> NDArray[np.int64]:
        """Run one trial and return the labels, shape (num_ends,)."""
        graph, trial = self._tasks[task]
        return np.array(run_trial(graph, self.objective, trial), dtype=np.int64)

    @cached_property
    def _tasks(self) -> list[tuple[EndGraph, Trial]]:
        return [
            (graph, trial)
            for graph, trials in zip(self.graphs, self.trials, strict=True)
            for trial in trials
        ]


def join_search(farm: Farm) -> None:
    """Run the trials that rank 0 leases to this rank, which is not rank 0."""
    farm.run_worker(_open_tasks)


def _open_tasks(tasks: SearchTasks) -> TaskFunction:
    return tasks.compute
