"""Tasks that wait for a worker: the largest first, and kin for the same worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import Numbers, Seconds


@dataclass(frozen=True)
class LeaseLimits:
    """What a worker may take; all are costs.

    Attributes:
        several: The most that several tasks may cost.
        tasks: The most tasks.
        one: The most that a single task may.
        spare: The most that the first may before the worker should rather come back later.
        fair: The most that may be kept for it, with what it takes.
    """

    several: float
    tasks: int
    one: float = float("inf")
    spare: float = float("inf")
    fair: float = 0.0


class TaskQueue:
    """Hands out tasks, each once.

    Whoever takes some of a row of kin is kept the rest of that row, as far as its fair share goes,
    and computes it next. When nothing else waits, others take half of what is kept, so that it
    holds up nobody.

    Args:
        costs: Cost of each task; tasks are numbered by place.
        done: Which tasks are not to be handed out.
        affinity: A number for each task, the same for tasks that are quicker one after the other;
            such tasks follow one another and cost the same. None if there are none.

    Example:
        >>> rows = np.array([0, 0, 0, 0, 1])
        >>> queue = TaskQueue(np.ones(5), np.zeros(5, dtype=bool), affinity=rows)
        >>> limits = LeaseLimits(1.0, 9, fair=4.0)
        >>> [queue.take(worker, limits).tolist() for worker in (7, 8, 7, 8)]
        [[0], [4], [1], [3]]
    """

    def __init__(
        self, costs: Seconds, done: NDArray[np.bool_], affinity: Numbers | None = None
    ) -> None:
        left = np.flatnonzero(~done)
        self._costs = costs
        self._order = left[np.argsort(-costs[left], kind="stable")]
        self._sums = np.concatenate([[0.0], np.cumsum(costs[self._order])])
        self._next, self._end = 0, len(self._order)
        self._ends: Numbers | None = None
        if affinity is not None:
            row = affinity[self._order]
            self._ends = np.append(np.flatnonzero(row[1:] != row[:-1]) + 1, self._end)
        self._kept: dict[int, tuple[int, int]] = {}
        self._kept_cost = 0.0
        self._largest: list[tuple[float, int]] = []

    def __bool__(self) -> bool:
        """Return whether any task waits."""
        return self._next < self._end or bool(self._kept)

    @property
    def cost(self) -> float:
        """Cost of all that wait."""
        return self._cost(self._next, self._end) + self._kept_cost

    def take(self, worker: int, room: LeaseLimits) -> Numbers:
        """Return the next tasks for a worker: the largest, or where none fits, the smallest."""
        if self._kept:
            if self._next >= self._end and worker not in self._kept:
                self._share(worker, room)
            kept = self._kept.get(worker)
            if kept is not None and self._first(kept[0]) <= min(room.one, room.spare):
                start, stop = kept
                mid = self._reach(start, stop, room)
                self._keep(worker, mid, stop)
                own = self._order[start:mid]
                several, tasks = room.several - self._cost(start, mid), room.tasks - len(own)
                more = mid == stop and self._next < self._end and tasks > 0
                if not more or self._first(self._next) > several:
                    return own
                rest = replace(room, several=several, tasks=tasks)
                return np.concatenate([own, self._take_largest(worker, rest)])
        if self._next >= self._end or self._first(self._next) > room.spare:
            return self._order[:0]
        if self._first(self._next) <= room.one:
            return self._take_largest(worker, room)
        return self._take_smallest(room)

    def _take_largest(self, worker: int, room: LeaseLimits) -> Numbers:
        start, stop = self._next, self._reach(self._next, self._end, room)
        self._next = stop
        if self._ends is not None and worker not in self._kept:
            end = int(self._ends[np.searchsorted(self._ends, stop)])
            fair = int(np.searchsorted(self._sums, self._sums[start] + room.fair, "right")) - 1
            self._next = max(stop, min(end, fair, self._end))
            self._keep(worker, stop, self._next)
        return self._order[start:stop]

    def _take_smallest(self, room: LeaseLimits) -> Numbers:
        stop = self._end
        if self._first(stop - 1) > room.one:
            return self._order[:0]
        start = int(np.searchsorted(self._sums, self._sums[stop] - room.several))
        self._end = max(min(start, stop - 1), self._next, stop - room.tasks)
        return self._order[self._end : stop]

    def _share(self, worker: int, room: LeaseLimits) -> None:
        """Keep half of what is kept for somebody else, of whom it is most, for this worker."""
        while self._largest:
            cost, other = self._largest[0]
            start, stop = self._kept.get(other, (0, 0))
            if -cost != self._cost(start, stop):
                if start < stop:
                    heapreplace(self._largest, (-self._cost(start, stop), other))
                else:
                    heappop(self._largest)
                continue
            half = self._sums[start] - cost / 2
            mid = min(int(np.searchsorted(self._sums, half)), stop - 1)
            if self._first(mid) <= min(room.one, room.spare):
                self._keep(other, start, mid)
                self._keep(worker, mid, stop)
            return

    def _keep(self, worker: int, start: int, stop: int) -> None:
        """Keep tasks for a worker, and nothing else."""
        self._kept_cost -= self._cost(*self._kept.pop(worker, (0, 0)))
        if start < stop:
            cost = self._cost(start, stop)
            self._kept[worker] = start, stop
            self._kept_cost += cost
            heappush(self._largest, (-cost, worker))

    def _reach(self, start: int, stop: int, room: LeaseLimits) -> int:
        """Return where a lease ends that begins somewhere: behind the first task at least."""
        reach = int(np.searchsorted(self._sums, self._sums[start] + room.several, "right")) - 1
        return min(max(reach, start + 1), start + room.tasks, stop)

    def _first(self, place: int) -> float:
        return float(self._costs[self._order[place]])

    def _cost(self, start: int, stop: int) -> float:
        return float(self._sums[stop] - self._sums[start])
