"""What the scheduler knows of a worker: the leases that it holds, and its pace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(eq=False)
class HeldLease:
    """Unfinished tasks of a lease that a worker holds, in order, and their cost."""

    tasks: dict[int, None]
    cost: float


@dataclass(eq=False)
class Pace:
    """Measured seconds for a cost of 1, of which recent ones weigh more."""

    cost: float = 0.0
    seconds: float = 0.0

    def learn(self, cost: float, seconds: float, memory: float) -> None:
        """Add a measurement; once there are more than ``memory`` seconds, halve all weights."""
        self.cost += cost
        self.seconds += seconds
        if self.seconds > memory:
            self.cost /= 2
            self.seconds /= 2


@dataclass(eq=False)
class WorkerState:
    """State of a worker.

    Attributes:
        leases: Its leases, in order.
        since: When it last began, finished or failed a task, as far as the scheduler knows.
        cost: Cost of the unfinished tasks in its leases.
        awaited_cost: Cost of unfinished tasks for which this worker is the latest holder.
        pace: Its measured pace.
    """

    leases: deque[HeldLease] = field(default_factory=deque)
    since: float = 0.0
    cost: float = 0.0
    awaited_cost: float = 0.0
    pace: Pace = field(default_factory=Pace)

    def tasks(self) -> list[int]:
        """Return the tasks that it holds, in order."""
        return [task for lease in self.leases for task in lease.tasks]
