"""All attempts of a search, as integers to farm out, and as bytes that go to every rank once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError
from hpcq.parallel import messages
from hpcq.parallel.serial import Farm
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.trials import Trial, run_trial

MARK = b"search "
"""What the ranks are told before a search."""

_WORTH_SHARING = 100_000


@dataclass(frozen=True, eq=False)
class SearchTasks:
    """Attempts to cut some graphs; a task is one attempt.

    Attributes:
        graphs: The graphs.
        trials: For each graph its attempts.
        objective: What to look for.
    """

    graphs: tuple[EndGraph, ...]
    trials: tuple[tuple[Trial, ...], ...]
    objective: Objective

    def labels(self, farm: Farm) -> list[list[list[int]]]:
        """Do all attempts on a farm's ranks, and return for each graph the labels found.

        Called on rank 0; the other ranks are in :func:`take_part`.
        """
        effort = [float(trial.steps + graph.num_ends) for graph, trial in self._tasks]
        if farm.size == 1 or sum(effort) <= _WORTH_SHARING:
            return [[self.compute(task).tolist() for task in own] for own in self._numbered()]
        farm.share(MARK)
        with farm.coordinator(_opened) as coordinator:
            coordinator.open(messages.dumps(self), in_subprocess=False)
            outcome = coordinator.run(
                Tasks(np.array(effort), np.int64, describe="attempt {}".format)
            )
        if not outcome.complete:
            raise HpcqError(f"search: {'; '.join(map(str, outcome.failures))}")
        return [[outcome.finished[task].tolist() for task in own] for own in self._numbered()]

    def _numbered(self) -> list[range]:
        """Return the tasks of each graph."""
        ends = list(accumulate((len(own) for own in self.trials), initial=0))
        return [range(*span) for span in pairwise(ends)]

    def compute(self, task: int, _ticket: bytes = b"") -> NDArray[np.int64]:
        """Do one attempt and return the labels."""
        graph, trial = self._tasks[task]
        return np.array(run_trial(graph, self.objective, trial), dtype=np.int64)

    @cached_property
    def _tasks(self) -> list[tuple[EndGraph, Trial]]:
        return [
            (graph, trial)
            for graph, own in zip(self.graphs, self.trials, strict=True)
            for trial in own
        ]


def take_part(farm: Farm) -> None:
    """Do a share of the attempts that rank 0 leases, on a rank other than 0."""
    farm.follow(_opened)


def _opened(payload: bytes) -> TaskFunction:
    tasks: SearchTasks = messages.loads(payload)
    return tasks.compute
