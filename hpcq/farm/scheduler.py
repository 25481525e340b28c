"""Which worker computes which tasks: a pure state machine that knows no processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

_SHARE = 2.0


class Scheduler:
    """Hands out tasks, largest first, and keeps account of them.

    Workers are any hashable names. A lease is a handful of tasks: one large task, or many small
    ones together, so that neither messages nor the last straggler cost much.

    Args:
        costs: Predicted seconds of each task; tasks are numbered by place.
        workers: The workers.
        lease_seconds: The most predicted work that several tasks in one lease may add up to.

    Example:
        >>> scheduler = Scheduler([1.0, 5.0, 2.0], workers=["a", "b"], lease_seconds=1.0)
        >>> scheduler.lease("a"), scheduler.lease("b"), scheduler.lease("b")
        ((1,), (2,), ())
        >>> scheduler.finish("b", 2)
        True
        >>> scheduler.lease("b")
        (0,)
    """

    def __init__(
        self, costs: Sequence[float], workers: Iterable[object], lease_seconds: float = 2.0
    ) -> None:
        self._costs = list(costs)
        self._waiting = deque(sorted(range(len(self._costs)), key=lambda t: (-self._costs[t], t)))
        self._waiting_cost = sum(self._costs)
        self._leased: dict[object, set[int]] = {worker: set() for worker in workers}
        self._lease_seconds = lease_seconds
        self._finished: set[int] = set()
        if not self._leased:
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
        """Return the next tasks for a worker; none while it still has some or all are out."""
        leased = self._leased[worker]
        if leased or not self._waiting:
            return ()
        share = self._waiting_cost / (_SHARE * len(self._leased))
        limit = min(self._lease_seconds, share)
        tasks = [self._waiting.popleft()]
        cost = self._costs[tasks[0]]
        while self._waiting and cost + self._costs[self._waiting[0]] <= limit:
            task = self._waiting.popleft()
            cost += self._costs[task]
            tasks.append(task)
        self._waiting_cost -= cost
        leased.update(tasks)
        return tuple(tasks)

    def finish(self, worker: object, task: int) -> bool:
        """Note a result.

        Returns:
            Whether the worker has no task left and may be given a new lease.

        Raises:
            ValueError: If the task was not leased to that worker.
        """
        if task not in self._leased[worker]:
            raise ValueError(f"task: {task} is not leased to worker {worker!r}")
        self._leased[worker].remove(task)
        self._finished.add(task)
        return not self._leased[worker]
