"""A simulated farm of thousands of ranks, with hpcq's real code on rank 0.

:class:`hpcq.parallel.coordinator.Coordinator` runs unchanged, on a simulated clock. The clock
advances by the processor time that rank 0's code really takes on this machine, by measured
durations of MPI messages, and by the given durations of tasks; the workers flush their results and
poll for messages as :mod:`hpcq.parallel.worker` and :mod:`hpcq.parallel.mpi` do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel import coordinator, scheduler
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import Lease, Outcome, TaskFunction, TaskResults, Tasks

Seconds = NDArray[np.float64]

_MIN_SLEEP, _MAX_SLEEP = 20e-6, 5e-3  # as in hpcq.parallel.mpi
_LATENCY = 5e-6, 25e-6  # bounds of the seconds of a message on the network
_FLUSH_SECONDS = 0.2  # as in hpcq.parallel.tasks
_DETECTION_SECONDS = 1.0  # from the death of a worker until MPI reports it


@dataclass(frozen=True)
class Messages:
    """Rank 0's seconds for messages, without scheduler.

    Attributes:
        receive: To receive a batch of one task.
        send: To send a lease of one task.
        receive_task: More for each further task of a batch.
        send_task: More for each further task of a lease.
    """

    receive: float = 25e-6
    send: float = 12e-6
    receive_task: float = 20e-9
    send_task: float = 5e-9


@dataclass(frozen=True, eq=False)
class Team:
    """Workers, and when they become slow or die.

    Attributes:
        slow_from: When each becomes slow, shape (workers,); infinite for never.
        dead_from: When each dies, shape (workers,); infinite for never.
        slowness: Factor by which tasks take longer on slow workers.
    """

    slow_from: Seconds
    dead_from: Seconds
    slowness: float = 5.0

    def __len__(self) -> int:
        """Return the number of workers."""
        return len(self.slow_from)

    @classmethod
    def of(
        cls, size: int, slow: float, dead: float, within: float, rng: np.random.Generator
    ) -> Team:
        """Return a team of which random shares become slow, or die, within some seconds."""
        times = np.full((2, size), np.inf)
        for row, share in zip(times, (slow, dead), strict=True):
            chosen = rng.permutation(size)[: round(share * size)]
            row[chosen] = rng.uniform(0, within, len(chosen))
        return cls(times[0], times[1])

    def ends(self, worker: int, begin: float, work: Seconds) -> Seconds:
        """Return when a worker that begins at some time ends each task, shape (tasks,)."""
        ends = begin + np.cumsum(work)
        slow = self.slow_from[worker]
        if ends[-1] > slow:
            change = max(begin, slow)
            ends = np.where(ends > change, change + (ends - change) * self.slowness, ends)
        return ends

    def min_seconds(self, work: float, longest: float) -> float:
        """Return a lower bound of the seconds that all workers together need, while they live.

        Args:
            work: Sum of the tasks' seconds.
            longest: Seconds of the longest task.
        """
        dead = np.sort(self.dead_from[np.isfinite(self.dead_from)])
        slow = np.sort(np.minimum(self.slow_from, self.dead_from)[np.isfinite(self.slow_from)])
        ends_of_slow = np.sort(self.dead_from[np.isfinite(self.slow_from)])

        def done(end: float) -> float:
            alive = len(self) * end - np.clip(end - dead, 0, None).sum()
            slowed = np.clip(end - slow, 0, None).sum() - np.clip(end - ends_of_slow, 0, None).sum()
            return float(alive - slowed * (1 - 1 / self.slowness))

        low, high = 0.0, 1.0
        while done(high) < work:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if done(middle) < work else (low, middle)
        return max(high, longest)


@dataclass(eq=False)
class _SimulatedTransport:
    """Simulated workers and clock; see :class:`hpcq.parallel.coordinator.Transport`."""

    team: Team
    seconds: Seconds
    messages: Messages
    rng: np.random.Generator
    handling: float | None
    now: float = 0.0
    busy: float = 0.0
    received: int = 0
    sent: int = 0
    computed: int = 0
    copied: int = 0
    longest: float = 0.0

    def __post_init__(self) -> None:
        self.workers: Sequence[int] = range(1, len(self.team) + 1)
        self._free = [0.0] * (len(self.team) + 1)
        self._arrival = [0.0] * (len(self.team) + 1)
        self._holder = np.zeros(len(self.seconds), dtype=np.int64)
        self._inbox: list[tuple[float, int, int, TaskResults]] = []
        self._sleep = _MIN_SLEEP
        dying = np.flatnonzero(np.isfinite(self.team.dead_from))
        self._deaths = sorted((float(self.team.dead_from[dead]), int(dead) + 1) for dead in dying)
        self._dead: dict[int, str] = {}
        self._last_thread_time = time.thread_time()

    # ------------------------------------------------------------------ the clock

    def monotonic(self) -> float:
        """Return the time."""
        self._enter()
        self._leave()
        return self.now

    def _enter(self) -> None:
        """Advance the clock by the processor time of rank 0's code since :meth:`_leave`."""
        if self.handling is None:
            self._spend(time.thread_time() - self._last_thread_time)

    def _leave(self) -> None:
        self._last_thread_time = time.thread_time()

    def _spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    # ------------------------------------------------------------------ the transport

    def prepare(self, payload: bytes, in_subprocess: bool, function: TaskFunction | None) -> None:
        """Do nothing: there are no processes."""

    def send(self, worker: int, lease: Lease) -> None:
        """Send a lease; schedule the arrival of the worker's results."""
        self._enter()
        tasks, index = lease.tasks, worker - 1
        self._spend(self.messages.send + self.messages.send_task * (len(tasks) - 1))
        self.sent += 1
        previous = self._holder[tasks]
        self._holder[tasks] = worker
        if previous.any():
            alive = self.team.dead_from[previous[previous > 0] - 1] > self.now
            self.copied += int(alive.sum())
        begin = max(self._free[worker], self.now + self._delay())
        work = self.seconds[tasks]
        ends = self.team.ends(index, begin, work)
        self._free[worker] = float(ends[-1])
        taken = np.diff(ends, prepend=begin)
        first, flushed, death = 0, begin, self.team.dead_from[index]
        pause = getattr(lease, "flush_seconds", _FLUSH_SECONDS)
        while first < len(tasks):
            last = int(np.searchsorted(ends, flushed + pause, "right"))
            last = min(last, len(tasks) - 1)
            flushed = float(ends[last])
            if flushed > death:
                break
            part = slice(first, last + 1)
            first = last + 1
            ones = np.ones(first - part.start, dtype=np.int64)
            batch = TaskResults(
                lease.run, tasks[part], ones, taken[part], tasks[part].astype(float)
            )
            self._arrival[worker] = max(self._arrival[worker], flushed + self._delay())
            self.computed += len(ones)
            heappush(self._inbox, (self._arrival[worker], self.sent, worker, batch))
        self._leave()

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return the next batch that has arrived; if there is none, advance the clock."""
        self._enter()
        received = None
        if self._inbox and self._inbox[0][0] <= self.now:
            _, _, worker, batch = heappop(self._inbox)
            self._spend(self.messages.receive + self.messages.receive_task * (len(batch.tasks) - 1))
            self._spend(self.handling or 0.0)
            self.received += 1
            self._sleep = _MIN_SLEEP
            received = worker, batch
        else:
            self.now += self._sleep
            self._sleep = min(self._sleep * 1.5, wait)
        self._leave()
        return received

    def lost(self) -> dict[int, str]:
        """Return the dead workers whose loss MPI reports by now."""
        while self._deaths and self._deaths[0][0] + _DETECTION_SECONDS < self.now:
            self._dead[self._deaths.pop(0)[1]] = "died"
        return self._dead

    def host(self, worker: int) -> str:
        """Return a name of a worker's host."""
        return f"host{worker}"

    def _delay(self) -> float:
        """Return the random seconds until the receiver of a message wakes and reads it."""
        return float(self.rng.uniform(*_LATENCY) + self.rng.uniform(0, _MAX_SLEEP))


@dataclass(frozen=True, eq=False)
class Simulation:
    """Outcome and numbers of a simulated run.

    Attributes:
        outcome: The outcome, as :meth:`Coordinator.run` returned it.
        makespan: Seconds of the run on the simulated clock.
        work: Sum of the tasks' seconds.
        least: Lower bound of the makespan, given the slow and dead workers.
        ranks: Number of ranks, with rank 0, which only schedules.
        busy: Seconds that rank 0 was busy.
        received: Number of batches that rank 0 received.
        sent: Number of leases that it sent.
        computed: Number of results that workers sent, repeated ones counted.
        copied: Number of tasks leased to a second worker while the first was alive.
    """

    outcome: Outcome
    makespan: float
    work: float
    least: float
    ranks: int
    busy: float
    received: int
    sent: int
    computed: int
    copied: int

    @property
    def efficiency(self) -> float:
        """Share of all ranks' time in which they computed tasks."""
        return self.work / (self.ranks * self.makespan)

    @property
    def of_best(self) -> float:
        """Lower bound of the makespan over the makespan."""
        return self.least / self.makespan

    @property
    def busy_share(self) -> float:
        """Share of the time in which rank 0 was busy."""
        return self.busy / self.makespan


@dataclass(frozen=True)
class _Allocation:
    """Monitor that shows nothing; it has the deadline of an allocation."""

    deadline: float | None

    def __call__(self, progress: object) -> None:
        """Return None."""

    def log(self, line: str) -> None:
        """Ignore the line."""


def simulate(
    seconds: Seconds,
    team: Team,
    predicted: Seconds | None = None,
    *,
    messages: Messages | None = None,
    most_tasks: int | None = None,
    deadline: float | None = None,
    handling: float | None = None,
    seed: int = 0,
) -> Simulation:
    """Simulate a run.

    Args:
        seconds: Seconds of each task on a worker that is not slow.
        team: The workers.
        predicted: Predicted seconds of each task; the true ones by default.
        messages: Durations of messages.
        most_tasks: Maximum number of tasks in a lease; hpcq's limit by default.
        deadline: End of the allocation, on the simulated clock.
        handling: Rank 0's seconds for a batch beside MPI; by default they are measured.
        seed: Seed of the delays of messages.
    """
    rng = np.random.default_rng(seed)
    transport = _SimulatedTransport(team, seconds, messages or Messages(), rng, handling)
    predicted = seconds if predicted is None else predicted
    tasks = Tasks(predicted, np.float64)
    with _simulated_clock(transport, most_tasks):
        outcome = Coordinator(transport, count(1)).run(AllTasks(tasks), _Allocation(deadline))
        makespan = transport.monotonic()
    return Simulation(
        outcome=outcome,
        makespan=makespan,
        work=float(seconds.sum()),
        least=team.min_seconds(float(seconds.sum()), float(seconds.max())),
        ranks=len(team) + 1,
        busy=transport.busy,
        received=transport.received,
        sent=transport.sent,
        computed=transport.computed,
        copied=transport.copied,
    )


@contextmanager
def _simulated_clock(transport: _SimulatedTransport, most_tasks: int | None) -> Iterator[None]:
    """Replace the clock of rank 0's code by the simulated one."""
    before = coordinator.time, scheduler._MAX_LEASE_TASKS
    coordinator.time = transport
    scheduler._MAX_LEASE_TASKS = most_tasks or scheduler._MAX_LEASE_TASKS
    try:
        transport._leave()
        yield
    finally:
        coordinator.time, scheduler._MAX_LEASE_TASKS = before
