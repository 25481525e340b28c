"""Which worker computes which tasks: a pure state machine without processes or clocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcq.parallel.task_queue import LeaseLimits, TaskQueue
from hpcq.parallel.tasks import Numbers

LEASE_SECONDS = 2.0
"""How long a lease of several tasks should take, where workers are few."""

_TURN_SECONDS = 2e-4
"""How often each worker may be heard: with N workers, every N times this."""

_MIN_TURNS = 0.25

_AT_ONCE = 2
_SHARE = 2.0
_FIRST_SECONDS = 0.05
"""The most predicted work of several tasks in one lease while nothing is measured yet."""

_MAX_TASKS = 1 << 16
_MEMORY = 16.0
"""How many leases a worker's pace is remembered for, and the common one for each worker."""

_ATTEMPTS = 2
_WORTH = 0.05
"""Seconds that a second copy of a task must save."""

_LATE = 0.5
"""The share of the time that a task has taken so far that it is thought to take still."""

_COPIES_SECONDS = 0.5
"""How long copies of several tasks for one worker may take, where workers are few."""

_MAX_COPIES = 2


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
        charge: Cost of what is missing of that and no other was given since.
        pace: How fast it is.
    """

    leases: deque[_Held] = field(default_factory=deque)
    since: float = 0.0
    cost: float = 0.0
    charge: float = 0.0
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
    is left, :meth:`duplicate_stragglers` gives tasks of slow workers to idle ones; the first answer
    counts.

    All times are of the caller's clock, in seconds.

    Attributes:
        turn: Seconds after which each worker may be heard again, so that whoever schedules keeps
            up with them.

    Args:
        costs: Predicted seconds of each task, or any other measure; tasks are numbered by place.
        workers: The workers.
        lease_seconds: How long a lease of several tasks should take; longer with many workers.
        done: Which tasks are finished already.
        affinity: A number for each task, the same for neighbours that one worker should compute one
            after the other, because that is quicker; None if none are.
        admitted: Whether all tasks may be handed out; otherwise those that :meth:`admit` names.

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
        affinity: Numbers | None = None,
        *,
        admitted: bool = True,
    ) -> None:
        self.costs = np.maximum(np.asarray(costs, dtype=float), 1e-9)
        self._done = np.zeros(len(self.costs), dtype=bool) if done is None else done.copy()
        self._kin = affinity
        self._queues = [TaskQueue(self.costs, self._done, affinity)] if admitted else []
        self._returned: deque[int] = deque()
        self._returned_cost = self._held_cost = 0.0
        self._workers = {worker: _Worker() for worker in workers}
        self.turn = _TURN_SECONDS * len(self._workers)
        self._lease_seconds = max(lease_seconds, self.turn)
        self._failed_on: dict[int, list[int]] = {}
        self._holders: dict[int, list[int]] = {}
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
        return bool(self._returned) or any(self._queues)

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
        return sum(queue.cost for queue in self._queues) + self._returned_cost

    @property
    def waiting_seconds(self) -> float:
        """Estimate how long what waits for a worker keeps all of them busy."""
        return self.pace * self._waiting_cost / max(1, len(self._workers))

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
            spare = fair - own.cost if own.leases else float("inf")
            limit = self._limit(own, fair, room)
            tasks = self._ahead(worker, LeaseLimits(limit, _MAX_TASKS, room, spare, fair))
        if len(tasks):
            self._hold(own, tasks, now)
        return tasks

    def admit(self, tasks: Numbers) -> None:
        """Hand out these tasks too."""
        others = np.ones(len(self.costs), dtype=bool)
        others[tasks] = False
        if queue := TaskQueue(self.costs, others, self._kin):
            self._queues.append(queue)

    def elsewhere(self, tasks: Numbers) -> None:
        """Note tasks that somebody else has finished."""
        fresh = tasks[~self._done[tasks]]
        self._done[fresh] = True
        self.num_finished += len(fresh)
        self.aside.difference_update(fresh.tolist())

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
            self._release(worker, own, tasks)
            own.since = now
            own.pace.learn(cost, seconds, _MEMORY * self._lease_seconds)
            memory = _MEMORY * self._lease_seconds * len(self._workers)
            self._pace.learn(cost, seconds, memory)
        fresh = tasks[~self._done[tasks]]
        self._done[fresh] = True
        for task in fresh.tolist() if self._holders else ():
            if others := self._holders.pop(task, None):
                self._workers[others[-1]].charge -= float(self.costs[task])
        self.num_finished += len(fresh)
        for task in self.aside.intersection(fresh.tolist()) if self.aside else ():
            self.aside.remove(task)

    def fail(self, worker: int, task: int, now: float) -> bool:
        """Note that a task failed; return whether it is given up."""
        own = self._workers.get(worker)
        if own is not None:
            self._release(worker, own, np.array([task]))
            own.since = now
        if self._done[task] or task in self.aside:
            return False
        failed_on = self._failed_on.setdefault(task, [])
        failed_on.append(worker)
        if len(failed_on) >= _ATTEMPTS:
            self.aside.add(task)
            return True
        if task not in self._holders:
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
                self._unhold(worker, task)
                missing = not self._done[task] and task not in self.aside
                if missing and task not in self._holders:
                    self._give_back(task)

    @property
    def num_idle(self) -> int:
        """Number of workers that have nothing to do."""
        return len(self._workers) - self.num_busy

    def duplicate_stragglers(self, now: float) -> list[tuple[int, Numbers]]:
        """Give idle workers copies of tasks that slower ones are not likely to finish first.

        Returns:
            Workers and tasks; nothing while tasks wait for a worker, or nothing can be won.
        """
        if self.waiting or self.stopped or not self.num_idle:
            return []
        idle = [name for name, own in self._workers.items() if not own.leases]
        idle.sort(key=lambda name: -self._pace_of(self._workers[name]))
        slow = [
            (-remaining, name)
            for name, own in self._workers.items()
            if own.leases and (remaining := self._remaining(own, now)) > _WORTH
        ]
        share = -sum(seconds for seconds, _ in slow) / len(idle)
        share = min(share, max(_COPIES_SECONDS, _MIN_TURNS * self.turn))
        heapify(slow)
        found = []
        while idle and slow:
            remaining, name = heappop(slow)
            own, helper = self._workers[name], idle[-1]
            several = min(-remaining / 2, share)
            tasks = self._worth_copying(name, helper, (-remaining, several), now)
            if tasks:
                found.append((idle.pop(), np.array(tasks)))
                self._hold(self._workers[helper], found[-1][1], now)
                for task in tasks:
                    own.charge -= float(self.costs[task])
                    self._holders.setdefault(task, [name]).append(helper)
                if (remaining := self._remaining(own, now)) > _WORTH:
                    heappush(slow, (-remaining, name))
        return found

    def outstanding(self, worker: int) -> list[int]:
        """Return the tasks that a worker has."""
        own = self._workers.get(worker)
        return [] if own is None else own.tasks()

    def _back(self, name: int, own: _Worker, fair: float, room: float) -> Numbers:
        """Take tasks that came back; one alone if it failed, best elsewhere."""
        alone, limit = len(self._workers) == 1, self._limit(own, fair, room)
        if own.leases:
            room = min(room, fair - own.cost)
        found: list[int] = []
        passed: list[int] = []
        total = 0.0
        while self._returned and total < min(limit, room) and len(found) < _MAX_TASKS:
            task = self._returned.popleft()
            cost, failed_on = float(self.costs[task]), self._failed_on.get(task, ())
            if self._done[task]:
                self._returned_cost -= cost
                continue
            most = min(limit, room) if found else room
            if total + cost > most or (failed_on and (found or (name in failed_on and not alone))):
                passed.append(task)
                continue
            found.append(task)
            total += cost
            if failed_on:
                break
        self._returned.extendleft(reversed(passed))
        self._returned_cost -= total
        return np.array(found, dtype=np.int64)

    def _limit(self, own: _Worker, fair: float, room: float) -> float:
        """Return the most that several tasks in one lease may cost."""
        most, least = _FIRST_SECONDS, min(_FIRST_SECONDS, _MIN_TURNS * self.turn)
        if self._pace.cost:
            pace = self._pace_of(own)
            most, least = self._lease_seconds / pace, _MIN_TURNS * self.turn / pace
        return min(most, max(fair / _SHARE, least), room)

    def _ahead(self, worker: int, room: LeaseLimits) -> Numbers:
        """Take tasks of those that were admitted first, as long as some wait."""
        for queue in self._queues:
            tasks = queue.take(worker, room)
            if len(tasks):
                self._queues = [own for own in self._queues if own]
                return tasks
        return _NONE

    def _hold(self, own: _Worker, tasks: Numbers, now: float) -> None:
        cost = float(self.costs[tasks].sum())
        if not own.leases:
            own.since = now
            self.num_busy += 1
        own.leases.append(_Held(dict.fromkeys(tasks.tolist()), cost))
        own.cost += cost
        own.charge += cost
        self._held_cost += cost

    def _release(self, worker: int, own: _Worker, tasks: Numbers) -> None:
        """Take tasks off a worker's leases."""
        left = set(tasks.tolist())
        charged = tasks[~self._done[tasks]]
        if self._holders:
            chosen = [self._in_charge(worker, task) for task in charged.tolist()]
            charged = charged[np.array(chosen, dtype=bool)]
        own.charge -= float(self.costs[charged].sum())
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
        for task in tasks.tolist() if self._holders else ():
            self._unhold(worker, task)
        while own.leases and not own.leases[0].tasks:
            own.leases.popleft()
        if not own.leases:
            own.cost = own.charge = 0.0
            self.num_busy -= 1

    def _pace_of(self, own: _Worker) -> float:
        return max(own.pace.seconds / own.pace.cost if own.pace.cost else self.pace, 1e-12)

    def _remaining(self, own: _Worker, now: float) -> float:
        """Estimate how long a worker is still busy, if it has what no other was given since."""
        pace, elapsed = self._pace_of(own), now - own.since
        if own.charge <= 0:
            return 0.0
        current = float(self.costs[next(iter(own.leases[0].tasks))])
        rest = max(0.0, own.charge - current) * pace
        return rest + max(current * pace - elapsed, _LATE * elapsed)

    def _worth_copying(
        self, name: int, helper: int, within: tuple[float, float], now: float
    ) -> list[int]:
        """Return tasks from the end of what a worker has that a helper would finish in time.

        Args:
            name: The worker.
            helper: The helper.
            within: How long one task may take there, and several.
            now: The time.
        """
        pace, seconds = self._pace_of(self._workers[helper]), _WORTH
        leases = reversed(self._workers[name].leases)
        room = float("inf") if self.until is None else self.until - now
        found: list[int] = []
        for task in (task for lease in leases for task in reversed(lease.tasks)):
            often = len(self._holders.get(task, ())) > _MAX_COPIES
            if often or not self._in_charge(name, task) or helper in self._failed_on.get(task, ()):
                continue
            seconds += float(self.costs[task]) * pace
            if seconds > min(within[bool(found)], room):
                break
            found.append(task)
        return found[::-1]

    def _in_charge(self, worker: int, task: int) -> bool:
        """Whether a task that a worker has is missing and no other was given it since."""
        holders = self._holders.get(task)
        return (holders is None or holders[-1] == worker) and not self._done[task]

    def _unhold(self, worker: int, task: int) -> None:
        """Note that one of several workers does not have a task any more."""
        holders = self._holders.get(task, [])
        if worker not in holders:
            return
        last = holders[-1]
        holders.remove(worker)
        if not holders:
            del self._holders[task]
        elif last == worker and not self._done[task]:
            self._workers[holders[-1]].charge += float(self.costs[task])

    def _give_back(self, task: int) -> None:
        self._returned.append(task)
        self._returned_cost += float(self.costs[task])


_NONE: Numbers = np.empty(0, dtype=np.int64)
