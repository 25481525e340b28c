"""A farm of thousands of ranks that are made up, led by hpcq's own rank 0.

:func:`hpcq.parallel.coordinator.run_tasks` runs as it is, on a clock that is made up. That clock
goes by what rank 0's code really takes on this machine (the processor time of its thread), by what
MPI was measured to take for a message, and by what the workers are said to take; they flush their
results and look for messages as :mod:`hpcq.parallel.worker` and :mod:`hpcq.parallel.mpi` do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel import coordinator as conducting
from hpcq.parallel import scheduler as scheduling
from hpcq.parallel.coordinator import run_tasks
from hpcq.parallel.ledger import Ledger
from hpcq.parallel.tasks import FinishedTasks, Lease, Outcome, TaskFunction, TaskResults, Tasks

Seconds = NDArray[np.float64]

_SHORTEST_NAP, _LONGEST_NAP = 20e-6, 5e-3  # as in hpcq.parallel.mpi
_LATENCY = 5e-6, 25e-6
_FLUSH_SECONDS = 0.2
_NOTICED_SECONDS = 1.0


@dataclass(frozen=True)
class Messages:
    """Seconds of rank 0 that MPI takes, without scheduling.

    Attributes:
        receive: For a batch of one task.
        send: For a lease of one task.
        receive_task: For each further task of a batch.
        send_task: For each further task of a lease.
    """

    receive: float = 25e-6
    send: float = 12e-6
    receive_task: float = 20e-9
    send_task: float = 5e-9


@dataclass(frozen=True, eq=False)
class Team:
    """Workers, each with its fate.

    Attributes:
        slow_from: When each becomes slow, shape (workers,); infinite for never.
        dead_from: When each dies.
        slowness: How many times longer the slow ones take.
    """

    slow_from: Seconds
    dead_from: Seconds
    slowness: float = 5.0

    def __len__(self) -> int:
        """Return the number of workers."""
        return len(self.slow_from)

    @classmethod
    def of(
        cls, size: int, slow: float, dead: float, within: float, chance: np.random.Generator
    ) -> Team:
        """Make a team of which some shares become slow, or die, within some seconds."""
        fates = np.full((2, size), np.inf)
        for fate, share in zip(fates, (slow, dead), strict=True):
            chosen = chance.permutation(size)[: round(share * size)]
            fate[chosen] = chance.uniform(0, within, len(chosen))
        return cls(fates[0], fates[1])

    def ends(self, worker: int, begin: float, work: Seconds) -> Seconds:
        """Return when a worker that begins then has done its first tasks, one, two and so on."""
        ends = begin + np.cumsum(work)
        slow = self.slow_from[worker]
        if ends[-1] > slow:
            quick = max(begin, slow)
            ends = np.where(ends > quick, quick + (ends - quick) * self.slowness, ends)
        return ends

    def least_seconds(self, work: float, longest: float) -> float:
        """Return how long work takes at least, on all workers as long as they live.

        Args:
            work: Sum of the tasks' seconds.
            longest: Seconds of the longest task.
        """
        dead = np.sort(self.dead_from[np.isfinite(self.dead_from)])
        slow = np.sort(np.minimum(self.slow_from, self.dead_from)[np.isfinite(self.slow_from)])
        ends_of_slow = np.sort(self.dead_from[np.isfinite(self.slow_from)])

        def done(end: float) -> float:
            lived = len(self) * end - np.clip(end - dead, 0, None).sum()
            late = np.clip(end - slow, 0, None).sum() - np.clip(end - ends_of_slow, 0, None).sum()
            return float(lived - late * (1 - 1 / self.slowness))

        low, high = 0.0, 1.0
        while done(high) < work:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if done(middle) < work else (low, middle)
        return max(high, longest)


@dataclass(eq=False)
class _SimulatedTransport:
    """The way to workers that are made up, and the clock; see :class:`run_tasks.Transport`."""

    team: Team
    seconds: Seconds
    messages: Messages
    chance: np.random.Generator
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
        self._heard = [0.0] * (len(self.team) + 1)
        self._holder = np.zeros(len(self.seconds), dtype=np.int64)
        self._inbox: list[tuple[float, int, int, TaskResults]] = []
        self._nap = _SHORTEST_NAP
        dying = np.flatnonzero(np.isfinite(self.team.dead_from))
        self._deaths = sorted((float(self.team.dead_from[own]), int(own) + 1) for own in dying)
        self._dead: dict[int, str] = {}
        self._left = time.thread_time()

    # ------------------------------------------------------------------ the clock

    def monotonic(self) -> float:
        """Return the time."""
        self._enter()
        self._leave()
        return self.now

    def _enter(self) -> None:
        """Note what rank 0's code took since it left us."""
        if self.handling is None:
            self._spend(time.thread_time() - self._left)

    def _leave(self) -> None:
        self._left = time.thread_time()

    def _spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    # ------------------------------------------------------------------ the way

    def prepare(self, payload: bytes, in_subprocess: bool, function: TaskFunction | None) -> None:
        """Do nothing: there are no processes."""

    def send(self, worker: int, lease: Lease) -> None:
        """Send a lease: the worker's answers are known at once, if not to rank 0."""
        self._enter()
        tasks, own = lease.tasks, worker - 1
        self._spend(self.messages.send + self.messages.send_task * (len(tasks) - 1))
        self.sent += 1
        before = self._holder[tasks]
        self._holder[tasks] = worker
        if before.any():
            alive = self.team.dead_from[before[before > 0] - 1] > self.now
            self.copied += int(alive.sum())
        begin = max(self._free[worker], self.now + self._delay())
        work = self.seconds[tasks]
        ends = self.team.ends(own, begin, work)
        self._free[worker] = float(ends[-1])
        taken = np.diff(ends, prepend=begin)
        first, flushed, death = 0, begin, self.team.dead_from[own]
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
            self._heard[worker] = max(self._heard[worker], flushed + self._delay())
            self.computed += len(ones)
            heappush(self._inbox, (self._heard[worker], self.sent, worker, batch))
        self._leave()

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return what has arrived, or nap."""
        self._enter()
        found = None
        if self._inbox and self._inbox[0][0] <= self.now:
            _, _, worker, batch = heappop(self._inbox)
            self._spend(self.messages.receive + self.messages.receive_task * (len(batch.tasks) - 1))
            self._spend(self.handling or 0.0)
            self.received += 1
            self._nap = _SHORTEST_NAP
            found = worker, batch
        else:
            self.now += self._nap
            self._nap = min(self._nap * 1.5, wait)
        self._leave()
        return found

    def lost(self) -> dict[int, str]:
        """Return the dead, some time after their death."""
        while self._deaths and self._deaths[0][0] + _NOTICED_SECONDS < self.now:
            self._dead[self._deaths.pop(0)[1]] = "died"
        return self._dead

    def host(self, worker: int) -> str:
        """Return a name."""
        return f"host{worker}"

    def _delay(self) -> float:
        """Return how long a message takes until whoever should read it wakes from a nap."""
        return float(self.chance.uniform(*_LATENCY) + self.chance.uniform(0, _LONGEST_NAP))


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came of a farm that is made up.

    Attributes:
        outcome: What hpcq found, as far as it can tell.
        makespan: Seconds on the clock that is made up.
        work: Sum of the tasks' seconds.
        least: Seconds that the workers, with what befalls them, need at least.
        ranks: Ranks, rank 0 included, which only schedules.
        busy: Seconds that rank 0 was busy.
        received: Batches that rank 0 received.
        sent: Leases that it sent.
        computed: Results that workers sent, in number of tasks.
        copied: Tasks that were given to a second worker while the first was alive.
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
        """The tasks' share of all ranks' time."""
        return self.work / (self.ranks * self.makespan)

    @property
    def of_best(self) -> float:
        """The least possible seconds over those that it took."""
        return self.least / self.makespan

    @property
    def busy_share(self) -> float:
        """The share of the time that rank 0 was busy."""
        return self.busy / self.makespan


@dataclass(frozen=True)
class _Allocation:
    """Nobody looks, but there is an end."""

    deadline: float | None

    def __call__(self, progress: object) -> None:
        """Look away."""

    def log(self, line: str) -> None:
        """Not hear."""


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
    """Have tasks computed by workers that are made up.

    Args:
        seconds: What each task takes on a worker that is not slow.
        team: The workers.
        predicted: What hpcq is told of each task; the truth by default.
        messages: What MPI takes.
        most_tasks: The most tasks in a lease; hpcq's own limit by default.
        deadline: When the allocation ends.
        handling: What rank 0 takes for a batch beside MPI; by default what it really takes.
        seed: Of the delays of messages.
    """
    chance = np.random.default_rng(seed)
    far = _SimulatedTransport(team, seconds, messages or Messages(), chance, handling)
    predicted = seconds if predicted is None else predicted
    tasks = Tasks(predicted, np.float64)
    with _on_the_clock_of(far, most_tasks):
        finished = FinishedTasks(len(seconds), np.float64)
        outcome = run_tasks(1, tasks, finished, far, Ledger(), 0.0, _Allocation(deadline))
        makespan = far.monotonic()
    return Simulation(
        outcome=outcome,
        makespan=makespan,
        work=float(seconds.sum()),
        least=team.least_seconds(float(seconds.sum()), float(seconds.max())),
        ranks=len(team) + 1,
        busy=far.busy,
        received=far.received,
        sent=far.sent,
        computed=far.computed,
        copied=far.copied,
    )


@contextmanager
def _on_the_clock_of(far: _SimulatedTransport, most_tasks: int | None) -> Iterator[None]:
    """Let rank 0 go by a clock that is made up."""
    before = conducting.time, scheduling._MAX_LEASE_TASKS
    conducting.time = far
    scheduling._MAX_LEASE_TASKS = most_tasks or scheduling._MAX_LEASE_TASKS
    try:
        far._leave()
        yield
    finally:
        conducting.time, scheduling._MAX_LEASE_TASKS = before
