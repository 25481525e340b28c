"""Which worker computes which tasks: a pure state machine without processes or clocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcq.farm.tasks import Numbers

LEASE_SECONDS = 2.0
"""How long a lease of several tasks should take."""

_AT_ONCE = 2
_SHARE = 2.0
_FIRST_SECONDS = 0.05
"""The most predicted work of several tasks in one lease while nothing is measured yet."""

_MOST_TASKS = 1 << 16
_MEMORY = 16.0
"""How many leases a worker's pace is remembered for, and the common one for each worker."""

_ATTEMPTS = 2
_WORTH = 0.05
"""Seconds that a second copy of a task must save."""


@dataclass(eq=False)
class _Held:
    """A lease that is out: the tasks left of it, in order, and their cost."""

    tasks: dict[int, None]
    cost: float


@dataclass(eq=False)
class _Pace:
    """Seconds for a cost of 1, by what was done lately."""

    cost: float = 0.0
    seconds: float = 0.0

    def learn(self, cost: float, seconds: float, memory: float) -> None:
        """Note how long some cost took, and half forget what is longer ago than the memory."""
        self.cost += cost
        self.seconds += seconds
        if self.seconds > memory:
            self.cost /= 2
            self.seconds /= 2


@dataclass(eq=False)
class _Worker:
    """What is known of a worker.

    Attributes:
        leases: Its leases.
        since: When it last showed a sign of life.
        cost: Cost of what it has.
        pace: How fast it is.
    """

    leases: deque[_Held] = field(default_factory=deque)
    since: float = 0.0
    cost: float = 0.0
    pace: _Pace = field(default_factory=_Pace)

    def tasks(self) -> list[int]:
        """Return the tasks that it has, in order."""
        return [task for lease in self.leases for task in lease.tasks]


class Scheduler:
    """Hands out tasks, largest first, and keeps account of them.

    A lease is a handful of tasks: one large task, or many small ones that take about as long as
    asked, by what earlier ones took; so neither messages nor the last straggler cost much. A worker
    may hold a second lease while it computes the first, so that it need not wait for whoever
    schedules, as long as that leaves it no more than its fair share of what is left. When nothing
    is left, :meth:`rescue` gives tasks of slow workers to idle ones; the first answer counts.

    All times are of the caller's clock, in seconds.

    Args:
        costs: Predicted seconds of each task, or any other measure; tasks are numbered by place.
        workers: The workers.
        lease_seconds: How long a lease of several tasks should take.
        done: Which tasks are finished already.

    Example:
        >>> scheduler = Scheduler([1.0, 5.0, 2.0], workers=[0, 1])
        >>> [scheduler.lease(worker, 0.0).tolist() for worker in (0, 1, 0, 1)]
        [[1], [2], [], [0]]
        >>> scheduler.finish(1, np.array([2]), 2.0, now=2.0)
        >>> scheduler.num_finished
        1
    """

    def __init__(
        self,
        costs: ArrayLike,
        workers: Iterable[int],
        lease_seconds: float = LEASE_SECONDS,
        done: NDArray[np.bool_] | None = None,
    ) -> None:
        self.costs = np.maximum(np.asarray(costs, dtype=float), 1e-9)
        self._done = np.zeros(len(self.costs), dtype=bool) if done is None else done.copy()
        left = np.flatnonzero(~self._done)
        self._order = left[np.argsort(-self.costs[left], kind="stable")]
        self._sums = np.concatenate([[0.0], np.cumsum(self.costs[self._order])])
        self._next, self._end = 0, len(self._order)
        self._returned: list[int] = []
        self._returned_cost = self._held_cost = 0.0
        self._workers = {worker: _Worker() for worker in workers}
        self._lease_seconds = lease_seconds
        self._failed_on: dict[int, list[int]] = {}
        self._copied: set[int] = set()
        self._pace = _Pace()
        self.num_finished = int(self._done.sum())
        self.num_busy = 0
        self.aside: set[int] = set()
        self.until: float | None = None
        self.stopped = False
        if not self._workers:
            raise ValueError("workers: none given, expected at least one")

    @property
    def complete(self) -> bool:
        """Whether every task is finished or given up."""
        return self.num_finished + len(self.aside) == len(self.costs)

    @property
    def workers(self) -> list[int]:
        """The workers that are not lost."""
        return list(self._workers)

    @property
    def waiting(self) -> bool:
        """Whether tasks wait for a worker."""
        return bool(self._returned) or self._next < self._end

    @property
    def quiet(self) -> bool:
        """Whether no task is out."""
        return self.num_busy == 0

    @property
    def cost_left(self) -> float:
        """Cost of all tasks that are not finished, copies counted twice."""
        return self._waiting_cost + self._held_cost

    @property
    def _waiting_cost(self) -> float:
        return float(self._sums[self._end] - self._sums[self._next]) + self._returned_cost

    @property
    def pace(self) -> float:
        """Seconds that a task of cost 1 takes, by what was measured; 1 while nothing was."""
        return self._pace.seconds / self._pace.cost if self._pace.cost else 1.0

    def seconds_left(self) -> float:
        """Estimate how long the rest takes."""
        return self.pace * self.cost_left / max(1, len(self._workers))

    def lease(self, worker: int, now: float) -> Numbers:
        """Return the next tasks for a worker; none if it has enough, or all are out."""
        own = self._workers.get(worker)
        if own is None or self.stopped or len(own.leases) >= _AT_ONCE:
            return _NONE
        fair = self.cost_left / len(self._workers)
        room = float("inf") if self.until is None else (self.until - now) / self._pace_of(own)
        room -= own.cost
        tasks = self._back(worker, own, fair, room)
        if not len(tasks):
            tasks = self._ahead(own, fair, room)
        if len(tasks):
            self._hold(own, tasks, now)
        return tasks

    def finish(self, worker: int, tasks: Numbers, seconds: float, now: float) -> None:
        """Note results.

        Args:
            worker: Who computed them.
            tasks: The tasks; some may have been finished by others before.
            seconds: How long they took together.
            now: The time.

        Raises:
            ValueError: If a task was not leased to that worker.
        """
        cost = float(self.costs[tasks].sum())
        own = self._workers.get(worker)
        if own is not None:
            self._release(worker, own, tasks.tolist())
            own.since = now
            own.pace.learn(cost, seconds, _MEMORY * self._lease_seconds)
            memory = _MEMORY * self._lease_seconds * len(self._workers)
            self._pace.learn(cost, seconds, memory)
        fresh = tasks[~self._done[tasks]]
        self._done[fresh] = True
        self.num_finished += len(fresh)
        for task in self.aside.intersection(fresh.tolist()) if self.aside else ():
            self.aside.remove(task)

    def fail(self, worker: int, task: int, now: float) -> bool:
        """Note that a task failed; return whether it is given up."""
        own = self._workers.get(worker)
        if own is not None:
            self._release(worker, own, [task])
            own.since = now
        if self._done[task] or task in self.aside:
            return False
        failed_on = self._failed_on.setdefault(task, [])
        failed_on.append(worker)
        if len(failed_on) >= _ATTEMPTS:
            self.aside.add(task)
            return True
        if not self._is_out(task):
            self._give_back(task)
        return False

    def lose(self, worker: int) -> None:
        """Note that a worker is gone; what it had is given to others."""
        own = self._workers.pop(worker, None)
        if own is None:
            return
        self.num_busy -= bool(own.leases)
        for lease in own.leases:
            self._held_cost -= lease.cost
            for task in lease.tasks:
                self._copied.discard(task)
                if not self._done[task] and task not in self.aside and not self._is_out(task):
                    self._give_back(task)

    @property
    def num_idle(self) -> int:
        """Number of workers that have nothing to do."""
        return len(self._workers) - self.num_busy

    def rescue(self, now: float) -> list[tuple[int, Numbers]]:
        """Give idle workers copies of tasks that slower ones are not likely to finish first.

        Returns:
            Workers and tasks; nothing while tasks wait for a worker, or nothing can be won.
        """
        if self.waiting or self.stopped or not self.num_idle:
            return []
        room = float("inf") if self.until is None else self.until - now
        idle = [name for name, own in self._workers.items() if not own.leases]
        slow = [(-self._remaining(own, now), name) for name, own in self._workers.items()]
        heapify(slow)
        found = []
        while idle and slow and slow[0][0] < -_WORTH:
            remaining, name = heappop(slow)
            tasks = self._copies(self._workers[name], self._workers[idle[-1]], -remaining, room)
            if tasks:
                self._copied.update(tasks)
                found.append((idle.pop(), np.array(tasks)))
                self._hold(self._workers[found[-1][0]], found[-1][1], now)
                heappush(slow, (-self._remaining(self._workers[name], now), name))
        return found

    def outstanding(self, worker: int) -> list[int]:
        """Return the tasks that a worker has."""
        own = self._workers.get(worker)
        return [] if own is None else own.tasks()

    def _back(self, name: int, own: _Worker, fair: float, room: float) -> Numbers:
        """Take one task that came back, best one that failed elsewhere."""
        alone = len(self._workers) == 1
        for place, task in enumerate(self._returned):
            cost = float(self.costs[task])
            if cost > room or (own.leases and own.cost + cost > fair):
                continue
            if alone or name not in self._failed_on.get(task, ()):
                del self._returned[place]
                self._returned_cost -= cost
                return np.array([task])
        return _NONE

    def _ahead(self, own: _Worker, fair: float, room: float) -> Numbers:
        """Take the next tasks: the largest ones, or where none of these fits, the smallest."""
        if self._next >= self._end:
            return _NONE
        limit = self._lease_seconds / self._pace_of(own) if self._pace.cost else _FIRST_SECONDS
        limit = min(limit, fair / _SHARE, room)
        first = float(self.costs[self._order[self._next]])
        if own.leases and own.cost + first > fair:
            return _NONE
        if first <= room:
            start = self._next
            stop = int(np.searchsorted(self._sums, self._sums[start] + limit, "right")) - 1
            self._next = min(max(stop, start + 1), start + _MOST_TASKS, self._end)
            return self._order[start : self._next]
        stop = self._end
        if float(self.costs[self._order[stop - 1]]) > room:
            return _NONE
        start = int(np.searchsorted(self._sums, self._sums[stop] - limit))
        self._end = max(min(start, stop - 1), self._next, stop - _MOST_TASKS)
        return self._order[self._end : stop]

    def _hold(self, own: _Worker, tasks: Numbers, now: float) -> None:
        cost = float(self.costs[tasks].sum())
        if not own.leases:
            own.since = now
            self.num_busy += 1
        own.leases.append(_Held(dict.fromkeys(tasks.tolist()), cost))
        own.cost += cost
        self._held_cost += cost

    def _release(self, worker: int, own: _Worker, tasks: list[int]) -> None:
        """Take tasks off a worker's leases."""
        left = set(tasks)
        for lease in own.leases:
            here = left & lease.tasks.keys()
            for task in here:
                del lease.tasks[task]
            if here:
                left -= here
                cost = float(self.costs[list(here)].sum()) if lease.tasks else lease.cost
                lease.cost -= cost
                own.cost -= cost
                self._held_cost -= cost
            if not left:
                break
        if left:
            raise ValueError(f"task: {min(left)} is not leased to worker {worker!r}")
        while own.leases and not own.leases[0].tasks:
            own.leases.popleft()
        if not own.leases:
            own.cost = 0.0
            self.num_busy -= 1

    def _pace_of(self, own: _Worker) -> float:
        return max(own.pace.seconds / own.pace.cost if own.pace.cost else self.pace, 1e-12)

    def _remaining(self, own: _Worker, now: float) -> float:
        """Estimate how long a worker is still busy with what nobody else has.

        A task that is late is taken to go on for as long as it is late.
        """
        tasks = [task for task in own.tasks() if task not in self._copied]
        if not tasks:
            return 0.0
        pace, elapsed = self._pace_of(own), now - own.since
        current = float(self.costs[tasks[0]]) * pace
        return float(self.costs[tasks].sum()) * pace - current + abs(current - elapsed)

    def _copies(self, slow: _Worker, helper: _Worker, remaining: float, room: float) -> list[int]:
        """Return tasks from the end of what a worker has that a helper would finish earlier."""
        pace, seconds = self._pace_of(helper), _WORTH
        found: list[int] = []
        for task in reversed(slow.tasks()):
            if task in self._copied:
                continue
            seconds += float(self.costs[task]) * pace
            if seconds > min(remaining / 2 if found else remaining, room):
                break
            found.append(task)
        return found[::-1]

    def _is_out(self, task: int) -> bool:
        return any(
            task in lease.tasks for worker in self._workers.values() for lease in worker.leases
        )

    def _give_back(self, task: int) -> None:
        self._returned.append(task)
        self._returned_cost += float(self.costs[task])


_NONE: Numbers = np.empty(0, dtype=np.int64)
