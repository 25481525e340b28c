"""Tasks that wait for a worker: the largest first, and tasks of equal affinity for one worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import Numbers, Seconds


@dataclass(frozen=True)
class LeaseLimits:
    """Limits of the next lease of a worker, all but one as costs.

    Attributes:
        max_cost: Maximum cost of several tasks together.
        max_tasks: Maximum number of tasks.
        max_single_cost: Maximum cost of a single task.
        max_first_cost: Maximum cost of the first task; beyond it, the worker is given none yet.
        fair_cost: Maximum cost of the lease and the tasks that are reserved with it.
    """

    max_cost: float
    max_tasks: int
    max_single_cost: float = float("inf")
    max_first_cost: float = float("inf")
    fair_cost: float = 0.0


class TaskQueue:
    """Hands out tasks, each once.

    If a worker takes some tasks of a group of equal affinity, the rest of the group is reserved for
    it, up to its fair share, and is what it takes next. When no other tasks wait, workers take half
    of another's reservation, so that reserved tasks delay nobody.

    Args:
        costs: Cost of each task, shape (tasks,).
        done: Tasks that are not to be handed out, shape (tasks,).
        affinity: A number for each task, the same for tasks that are quicker one after the other;
            such tasks are consecutive and cost the same. None if there are none.

    Example:
        >>> groups = np.array([0, 0, 0, 0, 1])
        >>> queue = TaskQueue(np.ones(5), np.zeros(5, dtype=bool), affinity=groups)
        >>> limits = LeaseLimits(1.0, 9, fair_cost=4.0)
        >>> [queue.take(worker, limits).tolist() for worker in (7, 8, 7, 8)]
        [[0], [4], [1], [3]]
    """

    def __init__(
        self, costs: Seconds, done: NDArray[np.bool_], affinity: Numbers | None = None
    ) -> None:
        waiting = np.flatnonzero(~done)
        self._costs = costs
        # Everything below is a range of indices into this order, largest tasks first. The tasks
        # from _next to _end wait for anybody; small ones are taken from the end if they must fit.
        self._order = waiting[np.argsort(-costs[waiting], kind="stable")]
        self._sums = np.concatenate([[0.0], np.cumsum(costs[self._order])])
        self._next, self._end = 0, len(self._order)
        self._group_ends: Numbers | None = None
        if affinity is not None:
            group = affinity[self._order]
            self._group_ends = np.append(np.flatnonzero(group[1:] != group[:-1]) + 1, self._end)
        self._reserved: dict[int, tuple[int, int]] = {}
        self._reserved_cost = 0.0
        self._largest: list[tuple[float, int]] = []  # heap of (-cost, worker); some are out of date

    def __bool__(self) -> bool:
        """Return whether any task waits."""
        return self._next < self._end or bool(self._reserved)

    @property
    def cost(self) -> float:
        """Cost of all tasks that wait."""
        return self._cost(self._next, self._end) + self._reserved_cost

    def take(self, worker: int, limits: LeaseLimits) -> Numbers:
        """Return the next tasks for a worker: the largest, or if none fits, the smallest."""
        if self._reserved:
            if self._next >= self._end and worker not in self._reserved:
                self._share_largest(worker, limits)
            reserved = self._reserved.get(worker)
            max_cost = min(limits.max_single_cost, limits.max_first_cost)
            if reserved is not None and self._cost_at(reserved[0]) <= max_cost:
                start, stop = reserved
                mid = self._lease_end(start, stop, limits)
                self._reserve(worker, mid, stop)
                tasks = self._order[start:mid]
                cost_left = limits.max_cost - self._cost(start, mid)
                tasks_left = limits.max_tasks - len(tasks)
                has_room = mid == stop and self._next < self._end and tasks_left > 0
                if not has_room or self._cost_at(self._next) > cost_left:
                    return tasks
                rest = replace(limits, max_cost=cost_left, max_tasks=tasks_left)
                return np.concatenate([tasks, self._take_largest(worker, rest)])
        if self._next >= self._end or self._cost_at(self._next) > limits.max_first_cost:
            return self._order[:0]
        if self._cost_at(self._next) <= limits.max_single_cost:
            return self._take_largest(worker, limits)
        return self._take_smallest(limits)

    def _take_largest(self, worker: int, limits: LeaseLimits) -> Numbers:
        start, stop = self._next, self._lease_end(self._next, self._end, limits)
        self._next = stop
        if self._group_ends is not None and worker not in self._reserved:
            group_end = int(self._group_ends[np.searchsorted(self._group_ends, stop)])
            fair_sum = self._sums[start] + limits.fair_cost
            fair_end = int(np.searchsorted(self._sums, fair_sum, "right")) - 1
            self._next = max(stop, min(group_end, fair_end, self._end))
            self._reserve(worker, stop, self._next)
        return self._order[start:stop]

    def _take_smallest(self, limits: LeaseLimits) -> Numbers:
        stop = self._end
        if self._cost_at(stop - 1) > limits.max_single_cost:
            return self._order[:0]
        start = int(np.searchsorted(self._sums, self._sums[stop] - limits.max_cost))
        self._end = max(min(start, stop - 1), self._next, stop - limits.max_tasks)
        return self._order[self._end : stop]

    def _share_largest(self, worker: int, limits: LeaseLimits) -> None:
        """Reserve half of the costliest reservation for this worker."""
        while self._largest:
            cost, other = self._largest[0]
            start, stop = self._reserved.get(other, (0, 0))
            if -cost != self._cost(start, stop):  # out of date
                if start < stop:
                    heapreplace(self._largest, (-self._cost(start, stop), other))
                else:
                    heappop(self._largest)
                continue
            half = self._sums[start] - cost / 2
            mid = min(int(np.searchsorted(self._sums, half)), stop - 1)
            if self._cost_at(mid) <= min(limits.max_single_cost, limits.max_first_cost):
                self._reserve(other, start, mid)
                self._reserve(worker, mid, stop)
            return

    def _reserve(self, worker: int, start: int, stop: int) -> None:
        """Reserve these tasks for a worker, in place of those that were."""
        self._reserved_cost -= self._cost(*self._reserved.pop(worker, (0, 0)))
        if start < stop:
            cost = self._cost(start, stop)
            self._reserved[worker] = start, stop
            self._reserved_cost += cost
            heappush(self._largest, (-cost, worker))

    def _lease_end(self, start: int, stop: int, limits: LeaseLimits) -> int:
        """Return the end of a lease that begins at ``start``; it has at least one task."""
        max_sum = self._sums[start] + limits.max_cost
        end = int(np.searchsorted(self._sums, max_sum, "right")) - 1
        return min(max(end, start + 1), start + limits.max_tasks, stop)

    def _cost_at(self, index: int) -> float:
        return float(self._costs[self._order[index]])

    def _cost(self, start: int, stop: int) -> float:
        return float(self._sums[stop] - self._sums[start])
