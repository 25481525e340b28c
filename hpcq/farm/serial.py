"""A farm of one: the same interface as the MPI farm, without MPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpcq.farm.scheduler import Scheduler
from hpcq.machine import usable_cores, usable_memory

Array = NDArray[Any]

Work = Callable[[int], Array]
"""Computes one task and returns an array."""

Progress = Callable[[int, int], None]
"""Is told how many tasks are finished, and of how many."""


def silent(done: int, total: int) -> None:
    """Progress that nobody is shown."""


class Farm(Protocol):
    """Ranks that compute tasks for rank 0.

    Attributes:
        rank: This process's place, 0 for the one that schedules.
        size: Number of ranks.
    """

    rank: int
    size: int

    def share(self, payload: bytes) -> bytes:
        """Give rank 0's payload to every rank, once."""

    def smallest(self, value: int) -> int:
        """Return the smallest of the ranks' values, on every rank."""

    def names(self, name: str) -> list[str]:
        """Return every rank's name, in order, on rank 0 and an empty list elsewhere."""

    def local_share(self) -> tuple[int, int]:
        """Return the cores and the bytes of memory that fall to this rank on its node."""

    def run(
        self, costs: Sequence[float], dtype: DTypeLike, work: Work, progress: Progress
    ) -> list[Array]:
        """Compute all tasks.

        Args:
            costs: Predicted seconds of each task.
            dtype: Type of the numbers that a task gives.
            work: Computes a task; called on any rank.
            progress: Called on rank 0 now and then.

        Returns:
            The tasks' arrays, each of any length and flat, on rank 0; an empty list elsewhere.
        """


class SerialFarm:
    """One process that does all the work itself."""

    rank = 0
    size = 1

    def share(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def smallest(self, value: int) -> int:
        """Return the value."""
        return value

    def names(self, name: str) -> list[str]:
        """Return the one name."""
        return [name]

    def local_share(self) -> tuple[int, int]:
        """Return all usable cores and memory."""
        return len(usable_cores()), usable_memory()

    def run(
        self, costs: Sequence[float], dtype: DTypeLike, work: Work, progress: Progress
    ) -> list[Array]:
        """Compute all tasks, largest first."""
        results: list[Array] = [np.empty(0, dtype)] * len(costs)
        scheduler = Scheduler(costs, [self.rank])
        while not scheduler.complete:
            for task in scheduler.lease(self.rank):
                results[task] = np.asarray(work(task), dtype).reshape(-1)
                scheduler.finish(self.rank, task)
                progress(scheduler.num_finished, len(costs))
        return results
