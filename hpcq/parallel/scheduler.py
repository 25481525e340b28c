"""The scheduler decides which worker computes which tasks: a pure state machine.

It uses no processes, messages or clocks; all times are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcq.parallel.task_queue import LeaseLimits, TaskQueue
from hpcq.parallel.tasks import Numbers
from hpcq.parallel.worker_state import HeldLease, Pace, WorkerState

LEASE_SECONDS = 2.0
"""Duration of a lease of several tasks, if workers are few; longer: fewer messages, but results
reach the checkpoint later and more is computed again after a loss."""

_SECONDS_PER_WORKER = 2e-4
"""Minimum interval between the messages of one worker, in seconds for each worker there is. Rank 0
takes 75 to 120 µs for a batch (benchmarks/farm.py, 10,000 simulated ranks)."""

_MIN_LEASE_INTERVALS = 0.25
"""Minimum duration of a lease of several tasks, in those intervals; larger: fewer messages near the
end of a run, shorter: a more even end."""

_MAX_LEASES = 2
"""Leases that a worker holds: one to compute, and one so that it need not wait for the next."""

_FAIR_SHARE_DIVISOR = 2.0
"""A lease of several tasks is at most a worker's fair share of the remaining cost, divided by this,
as in factoring (Hummel et al. 1992); larger: a more even end, more messages."""

_FIRST_LEASE_COST = 0.05
"""Maximum predicted cost (nominally in seconds) of several tasks in one lease before anything is
measured; larger: fewer messages at the start, more at stake if predictions are far too small."""

_MAX_LEASE_TASKS = 1 << 16
"""Maximum number of tasks in a lease, which bounds the size of its message."""

_PACE_MEMORY = 16.0
"""Number of leases' worth of measured seconds after which earlier measurements count half; larger:
steadier estimates, but slower to notice that a worker has become slow."""

_MAX_ATTEMPTS = 2
"""Failures after which a task is given up: the second is on another worker, if there is one."""

_MIN_SAVING = 0.05
"""Seconds that a copy of a task must save, so that messages are not spent on nothing."""

_OVERDUE_SHARE = 0.5
"""A task that takes longer than predicted is expected to take this share of the time so far more;
smaller: slow workers get copies later."""

_MAX_COPY_SECONDS = 0.5
"""Maximum duration of copies of several tasks for one worker, if workers are few; longer: fewer
messages, a less even end."""

_MAX_COPIES = 2
"""Maximum number of copies of a task at the same time, in addition to the original."""


class Scheduler:
    """Leases tasks to workers, largest first, until all are finished or given up.

    A lease is one large task, or as many small ones as take about ``lease_seconds`` by the measured
    pace of the worker, so that neither messages nor the last worker to finish cost much. A worker
    may hold a second lease while it computes the first, so that it need not wait for the scheduler,
    as long as it holds no more than its fair share of the remaining cost. When no task waits,
    :meth:`duplicate_stragglers` leases copies of slow workers' tasks to idle ones; the first result
    counts.

    All times are in seconds on the caller's clock.

    Args:
        costs: Predicted seconds of each task, shape (tasks,); measurements correct a common factor.
        workers: The workers.
        lease_seconds: Duration of a lease of several tasks; longer with many workers.
        done: Tasks that are finished already, shape (tasks,).
        affinity: A number for each task, the same for consecutive tasks that are quicker one after
            the other on one worker; None if there are none.
        admitted: Whether all tasks may be leased; otherwise those that :meth:`admit` adds.

    Attributes:
        message_interval: Minimum seconds between messages of one worker that its leases and batches
            should aim at, so that rank 0 keeps up with all workers.
        num_finished: Number of finished tasks.
        num_busy: Number of workers that hold a lease.
        given_up: Tasks that failed too often.
        deadline: Time when all tasks must have ended: no task is leased that is not likely to end
            before it. None without a deadline.
        stopped: Set to True to lease no more tasks.

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
        self._affinity = affinity
        self._queues = [TaskQueue(self.costs, self._done, affinity)] if admitted else []
        self._returned: deque[int] = deque()  # tasks that failed or whose worker is lost
        self._returned_cost = self._held_cost = 0.0
        self._workers = {worker: WorkerState() for worker in workers}
        self.message_interval = _SECONDS_PER_WORKER * len(self._workers)
        self._lease_seconds = max(lease_seconds, self.message_interval)
        self._failed_on: dict[int, list[int]] = {}
        self._holders: dict[int, list[int]] = {}  # of tasks with copies, the latest holder last
        self._pace = Pace()
        self.num_finished = int(self._done.sum())
        self.num_busy = 0
        self.given_up: set[int] = set()
        self.deadline: float | None = None
        self.stopped = False
        if not self._workers:
            raise ValueError("workers: none given, expected at least one")

    @property
    def complete(self) -> bool:
        """Whether every task is finished or given up."""
        return self.num_finished + len(self.given_up) == len(self.costs)

    @property
    def workers(self) -> list[int]:
        """The workers that are not lost."""
        return list(self._workers)

    @property
    def has_waiting_tasks(self) -> bool:
        """Whether tasks wait for a worker."""
        return bool(self._returned) or any(self._queues)

    @property
    def all_idle(self) -> bool:
        """Whether no worker holds a lease."""
        return self.num_busy == 0

    @property
    def cost_left(self) -> float:
        """Cost of all unfinished tasks, with that of each copy added."""
        return self._waiting_cost + self._held_cost

    @property
    def _waiting_cost(self) -> float:
        return sum(queue.cost for queue in self._queues) + self._returned_cost

    @property
    def waiting_seconds(self) -> float:
        """Estimate of the seconds for which the waiting tasks keep all workers busy."""
        return self.pace * self._waiting_cost / max(1, len(self._workers))

    @property
    def pace(self) -> float:
        """Measured seconds of a task of cost 1; 1 before the first result."""
        return self._pace.seconds / self._pace.cost if self._pace.cost else 1.0

    def seconds_left(self) -> float:
        """Return an estimate of the seconds until all tasks are finished."""
        return self.pace * self.cost_left / max(1, len(self._workers))

    def lease(self, worker: int, now: float) -> Numbers:
        """Return the next tasks for a worker; empty if it holds enough, or none can be leased."""
        state = self._workers.get(worker)
        if state is None or self.stopped or len(state.leases) >= _MAX_LEASES:
            return _NO_TASKS
        fair_cost = self.cost_left / len(self._workers)
        cost_in_time = (
            float("inf") if self.deadline is None else (self.deadline - now) / self._pace_of(state)
        )
        cost_in_time -= state.cost
        tasks = self._take_returned(worker, state, fair_cost, cost_in_time)
        if not len(tasks):
            max_first_cost = fair_cost - state.cost if state.leases else float("inf")
            max_cost = self._max_lease_cost(state, fair_cost, cost_in_time)
            tasks = self._take_waiting(
                worker,
                LeaseLimits(max_cost, _MAX_LEASE_TASKS, cost_in_time, max_first_cost, fair_cost),
            )
        if len(tasks):
            self._hold(state, tasks, now)
        return tasks

    def admit(self, tasks: Numbers) -> None:
        """Allow that these tasks are leased too."""
        not_admitted = np.ones(len(self.costs), dtype=bool)
        not_admitted[tasks] = False
        if queue := TaskQueue(self.costs, not_admitted, self._affinity):
            self._queues.append(queue)

    def finish_elsewhere(self, tasks: Numbers) -> None:
        """Note tasks that another job has finished."""
        new = tasks[~self._done[tasks]]
        self._done[new] = True
        self.num_finished += len(new)
        self.given_up.difference_update(new.tolist())

    def finish(self, worker: int, tasks: Numbers, seconds: float, now: float) -> None:
        """Note results of a worker, which took ``seconds`` together.

        Other workers may have finished some of the tasks before.

        Raises:
            ValueError: If a task was not leased to that worker.
        """
        cost = float(self.costs[tasks].sum())
        state = self._workers.get(worker)
        if state is not None:
            self._release(worker, state, tasks)
            state.since = now
            state.pace.learn(cost, seconds, _PACE_MEMORY * self._lease_seconds)
            memory = _PACE_MEMORY * self._lease_seconds * len(self._workers)
            self._pace.learn(cost, seconds, memory)
        new = tasks[~self._done[tasks]]
        self._done[new] = True
        for task in new.tolist() if self._holders else ():
            if others := self._holders.pop(task, None):
                self._workers[others[-1]].awaited_cost -= float(self.costs[task])
        self.num_finished += len(new)
        self.given_up.difference_update(new.tolist())

    def fail(self, worker: int, task: int, now: float) -> bool:
        """Note that a task failed on a worker; return whether it is given up."""
        state = self._workers.get(worker)
        if state is not None:
            self._release(worker, state, np.array([task]))
            state.since = now
        if self._done[task] or task in self.given_up:
            return False
        failed_on = self._failed_on.setdefault(task, [])
        failed_on.append(worker)
        if len(failed_on) >= _MAX_ATTEMPTS:
            self.given_up.add(task)
            return True
        if task not in self._holders:
            self._return(task)
        return False

    def lose(self, worker: int) -> None:
        """Note that a worker is lost; its tasks will be leased to others."""
        state = self._workers.pop(worker, None)
        if state is None:
            return
        self.num_busy -= bool(state.leases)
        for lease in state.leases:
            self._held_cost -= lease.cost
            for task in lease.tasks:
                self._remove_holder(worker, task)
                is_missing = not self._done[task] and task not in self.given_up
                if is_missing and task not in self._holders:
                    self._return(task)

    @property
    def num_idle(self) -> int:
        """Number of workers that hold no lease."""
        return len(self._workers) - self.num_busy

    def duplicate_stragglers(self, now: float) -> list[tuple[int, Numbers]]:
        """Lease copies of tasks of slow workers to idle ones that are likely to finish them first.

        The slowest worker gets help first, and the fastest idle worker helps first.

        Returns:
            Workers and their tasks; empty while tasks wait, or if no copy would save time.
        """
        if self.has_waiting_tasks or self.stopped or not self.num_idle:
            return []
        idle = [worker for worker, state in self._workers.items() if not state.leases]
        idle.sort(key=lambda worker: -self._pace_of(self._workers[worker]))
        stragglers = [
            (-seconds_left, worker)
            for worker, state in self._workers.items()
            if state.leases and (seconds_left := self._seconds_left_of(state, now)) > _MIN_SAVING
        ]
        share = -sum(seconds for seconds, _ in stragglers) / len(idle)
        share = min(share, max(_MAX_COPY_SECONDS, _MIN_LEASE_INTERVALS * self.message_interval))
        heapify(stragglers)
        copies = []
        while idle and stragglers:
            seconds_left, worker = heappop(stragglers)
            state, helper = self._workers[worker], idle[-1]
            max_seconds = min(-seconds_left / 2, share)
            tasks = self._tasks_worth_copying(worker, helper, (-seconds_left, max_seconds), now)
            if tasks:
                copies.append((idle.pop(), np.array(tasks)))
                self._hold(self._workers[helper], copies[-1][1], now)
                for task in tasks:
                    state.awaited_cost -= float(self.costs[task])
                    self._holders.setdefault(task, [worker]).append(helper)
                if (seconds_left := self._seconds_left_of(state, now)) > _MIN_SAVING:
                    heappush(stragglers, (-seconds_left, worker))
        return copies

    def outstanding(self, worker: int) -> list[int]:
        """Return the tasks that a worker holds, in order."""
        state = self._workers.get(worker)
        return [] if state is None else state.tasks()

    def _take_returned(
        self, worker: int, state: WorkerState, fair_cost: float, cost_in_time: float
    ) -> Numbers:
        """Take returned tasks; one that failed alone, and on another worker if there is one."""
        is_only_worker = len(self._workers) == 1
        max_cost = self._max_lease_cost(state, fair_cost, cost_in_time)
        if state.leases:
            cost_in_time = min(cost_in_time, fair_cost - state.cost)
        taken: list[int] = []
        skipped: list[int] = []
        total = 0.0
        while (
            self._returned and total < min(max_cost, cost_in_time) and len(taken) < _MAX_LEASE_TASKS
        ):
            task = self._returned.popleft()
            cost, failed_on = float(self.costs[task]), self._failed_on.get(task, ())
            if self._done[task]:
                self._returned_cost -= cost
                continue
            limit = min(max_cost, cost_in_time) if taken else cost_in_time
            if total + cost > limit or (
                failed_on and (taken or (worker in failed_on and not is_only_worker))
            ):
                skipped.append(task)
                continue
            taken.append(task)
            total += cost
            if failed_on:
                break
        self._returned.extendleft(reversed(skipped))
        self._returned_cost -= total
        return np.array(taken, dtype=np.int64)

    def _max_lease_cost(self, state: WorkerState, fair_cost: float, cost_in_time: float) -> float:
        """Return the maximum cost of several tasks in one lease."""
        max_cost = _FIRST_LEASE_COST
        min_cost = min(_FIRST_LEASE_COST, _MIN_LEASE_INTERVALS * self.message_interval)
        if self._pace.cost:
            pace = self._pace_of(state)
            max_cost = self._lease_seconds / pace
            min_cost = _MIN_LEASE_INTERVALS * self.message_interval / pace
        return min(max_cost, max(fair_cost / _FAIR_SHARE_DIVISOR, min_cost), cost_in_time)

    def _take_waiting(self, worker: int, limits: LeaseLimits) -> Numbers:
        """Take tasks of the first queue that has some for this worker, in order of admission."""
        for queue in self._queues:
            tasks = queue.take(worker, limits)
            if len(tasks):
                self._queues = [queue for queue in self._queues if queue]
                return tasks
        return _NO_TASKS

    def _hold(self, state: WorkerState, tasks: Numbers, now: float) -> None:
        """Add a lease to those that a worker holds."""
        cost = float(self.costs[tasks].sum())
        if not state.leases:
            state.since = now
            self.num_busy += 1
        state.leases.append(HeldLease(dict.fromkeys(tasks.tolist()), cost))
        state.cost += cost
        state.awaited_cost += cost
        self._held_cost += cost

    def _release(self, worker: int, state: WorkerState, tasks: Numbers) -> None:
        """Remove tasks from a worker's leases."""
        remaining = set(tasks.tolist())
        awaited = tasks[~self._done[tasks]]
        if self._holders:
            chosen = [self._is_awaited_from(worker, task) for task in awaited.tolist()]
            awaited = awaited[np.array(chosen, dtype=bool)]
        state.awaited_cost -= float(self.costs[awaited].sum())
        for lease in state.leases:
            released = remaining & lease.tasks.keys()
            for task in released:
                del lease.tasks[task]
            if released:
                remaining -= released
                cost = float(self.costs[list(released)].sum()) if lease.tasks else lease.cost
                lease.cost -= cost
                state.cost -= cost
                self._held_cost -= cost
            if not remaining:
                break
        if remaining:
            raise ValueError(f"task: {min(remaining)} is not leased to worker {worker!r}")
        for task in tasks.tolist() if self._holders else ():
            self._remove_holder(worker, task)
        while state.leases and not state.leases[0].tasks:
            state.leases.popleft()
        if not state.leases:
            state.cost = state.awaited_cost = 0.0
            self.num_busy -= 1

    def _pace_of(self, state: WorkerState) -> float:
        """Return a worker's pace, or that of all workers before its first result."""
        return max(state.pace.seconds / state.pace.cost if state.pace.cost else self.pace, 1e-12)

    def _seconds_left_of(self, state: WorkerState, now: float) -> float:
        """Estimate how long a worker needs for the tasks for which it is the latest holder."""
        pace, elapsed = self._pace_of(state), now - state.since
        if state.awaited_cost <= 0:
            return 0.0
        current = float(self.costs[next(iter(state.leases[0].tasks))])
        rest = max(0.0, state.awaited_cost - current) * pace
        return rest + max(current * pace - elapsed, _OVERDUE_SHARE * elapsed)

    def _tasks_worth_copying(
        self, worker: int, helper: int, max_seconds: tuple[float, float], now: float
    ) -> list[int]:
        """Return tasks from the end of a worker's leases that a helper would finish in time.

        ``max_seconds`` is how long one task may take on the helper, and several.
        """
        pace, seconds = self._pace_of(self._workers[helper]), _MIN_SAVING
        leases = reversed(self._workers[worker].leases)
        until_deadline = float("inf") if self.deadline is None else self.deadline - now
        chosen: list[int] = []
        for task in (task for lease in leases for task in reversed(lease.tasks)):
            has_enough_copies = len(self._holders.get(task, ())) > _MAX_COPIES
            if (
                has_enough_copies
                or not self._is_awaited_from(worker, task)
                or helper in self._failed_on.get(task, ())
            ):
                continue
            seconds += float(self.costs[task]) * pace
            if seconds > min(max_seconds[bool(chosen)], until_deadline):
                break
            chosen.append(task)
        return chosen[::-1]

    def _is_awaited_from(self, worker: int, task: int) -> bool:
        """Return whether a task of a worker is unfinished and this worker its latest holder."""
        holders = self._holders.get(task)
        return (holders is None or holders[-1] == worker) and not self._done[task]

    def _remove_holder(self, worker: int, task: int) -> None:
        """Note that a worker does not hold a task any more, if the task has copies."""
        holders = self._holders.get(task, [])
        if worker not in holders:
            return
        latest = holders[-1]
        holders.remove(worker)
        if not holders:
            del self._holders[task]
        elif latest == worker and not self._done[task]:
            self._workers[holders[-1]].awaited_cost += float(self.costs[task])

    def _return(self, task: int) -> None:
        """Put a task back among those that wait."""
        self._returned.append(task)
        self._returned_cost += float(self.costs[task])


_NO_TASKS: Numbers = np.empty(0, dtype=np.int64)
