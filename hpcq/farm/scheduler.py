"""Which worker computes which tasks: a pure state machine that knows no processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

_SHARE = 2.0
_LEASES_AT_ONCE = 2


class Scheduler:
    """Hands out tasks, largest first, and keeps account of them.

    Workers are any hashable names. A lease is a handful of tasks: one large task, or many small
    ones together, so that neither messages nor the last straggler cost much. A worker may hold a
    second lease while it computes the first, so that it need not wait for whoever schedules, as
    long as that leaves it no more than its fair share of what is left.

    Args:
        costs: Predicted seconds of each task; tasks are numbered by place.
        workers: The workers.
        lease_seconds: The most predicted work that several tasks in one lease may add up to.

    Example:
        >>> scheduler = Scheduler([1.0, 5.0, 2.0], workers=["a", "b"], lease_seconds=1.0)
        >>> scheduler.lease("a"), scheduler.lease("b"), scheduler.lease("a"), scheduler.lease("b")
        ((1,), (2,), (), (0,))
        >>> scheduler.finish("b", 2)
        >>> scheduler.num_finished
        1
    """

    def __init__(
        self, costs: Sequence[float], workers: Iterable[object], lease_seconds: float = 2.0
    ) -> None:
        self._costs = list(costs)
        self._waiting = deque(sorted(range(len(self._costs)), key=lambda t: (-self._costs[t], t)))
        self._waiting_cost = sum(self._costs)
        self._leases: dict[object, list[set[int]]] = {worker: [] for worker in workers}
        self._leased_cost: dict[object, float] = dict.fromkeys(self._leases, 0.0)
        self._lease_seconds = lease_seconds
        self._finished: set[int] = set()
        if not self._leases:
            raise ValueError("workers: none given, expected at least one")

    @property
    def complete(self) -> bool:
        """Whether every task is finished."""
        return len(self._finished) == len(self._costs)

    @property
    def num_finished(self) -> int:
        """Number of finished tasks."""
        return len(self._finished)

    def lease(self, worker: object) -> tuple[int, ...]:
        """Return the next tasks for a worker; none if it has enough, or all are out."""
        leases = self._leases[worker]
        if not self._waiting or len(leases) >= _LEASES_AT_ONCE:
            return ()
        left = self._waiting_cost + sum(self._leased_cost.values())
        fair = left / len(self._leases)
        tasks = [self._waiting[0]]
        cost = self._costs[tasks[0]]
        if leases and self._leased_cost[worker] + cost > fair:
            return ()
        self._waiting.popleft()
        limit = min(self._lease_seconds, fair / _SHARE)
        while self._waiting and cost + self._costs[self._waiting[0]] <= limit:
            task = self._waiting.popleft()
            cost += self._costs[task]
            tasks.append(task)
        self._waiting_cost -= cost
        self._leased_cost[worker] += cost
        leases.append(set(tasks))
        return tuple(tasks)

    def finish(self, worker: object, task: int) -> None:
        """Note a result.

        Raises:
            ValueError: If the task was not leased to that worker.
        """
        for lease in self._leases[worker]:
            if task in lease:
                lease.remove(task)
                break
        else:
            raise ValueError(f"task: {task} is not leased to worker {worker!r}")
        self._leases[worker] = [lease for lease in self._leases[worker] if lease]
        self._leased_cost[worker] -= self._costs[task]
        self._finished.add(task)
