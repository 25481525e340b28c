"""Rank 0's part: leases go out, results come in, and somebody watches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hpcq.parallel.ledger import Ledger
from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.tasks import (
    FLUSH_SECONDS,
    Failure,
    FinishedTasks,
    Lease,
    Numbers,
    Outcome,
    TaskFunction,
    TaskResults,
    Tasks,
)

_TICK_SECONDS = 0.05
_RESCUE_SECONDS = 0.25
_RESCUE_SHARE = 10.0
"""How many times longer than it took to look for slow workers, it is until the next time."""

_WAIT_SECONDS = 5e-3
_MAX_FAILURES = 20
"""Tasks that are given up before the whole run is."""


@dataclass(frozen=True)
class StopRequest:
    """An order to stop.

    Attributes:
        reason: Why.
        until: By when, on the clock of ``time.monotonic``; what is not finished then is dropped.
    """

    reason: str
    until: float


@dataclass(eq=False)
class Progress:
    """How a run of the farm stands.

    Attributes:
        finished: The results so far.
        total: Number of tasks.
        before: Number of tasks that were finished before the run began.
        seconds: Since the run began.
        seconds_left: Estimate of what is missing.
        ranks: Ranks that are alive.
        idle: Share of the ranks' time without work so far.
        failed: Number of tasks that were given up.
    """

    finished: FinishedTasks
    total: int
    before: int = 0
    seconds: float = 0.0
    seconds_left: float = 0.0
    ranks: int = 1
    idle: float = 0.0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return (self.finished.num_done - self.before) / max(self.seconds, 1e-9)


class Monitor(Protocol):
    """Is shown how a run stands, many times a second, and may stop it."""

    def __call__(self, standing: Progress) -> StopRequest | None:
        """Look; return an order to stop, or None."""

    @property
    def deadline(self) -> float | None:
        """When all must be over (on the clock of ``time.monotonic``): no task goes beyond."""

    def say(self, line: str) -> None:
        """Hear what went wrong on the way."""


class NullMonitor:
    """Nobody looks."""

    deadline = None

    def __call__(self, standing: Progress) -> StopRequest | None:
        """Look away."""

    def say(self, line: str) -> None:
        """Not hear."""


class Partner(Protocol):
    """Shares the tasks of a run with other jobs; see :mod:`hpcq.runs.shared.blocks`."""

    def note(self, batch: TaskResults, new: Numbers) -> None:
        """Note what this job has found, and which of its tasks nobody had found before."""

    def meet(self, scheduler: Scheduler, *, stopping: bool) -> bool:
        """Take in what others found, and claim more; return whether there is more to do."""

    def seconds_left(self, scheduler: Scheduler) -> float:
        """Estimate how long all tasks that are missing take all jobs."""

    def end(self, *, complete: bool) -> None:
        """End: all is done, or this job stops."""


class Transport(Protocol):
    """The way to the workers.

    Attributes:
        workers: The workers, as ranks.
    """

    workers: Sequence[int]

    def open(self, payload: bytes, in_subprocess: bool, work: TaskFunction | None) -> None:
        """Open work on all workers."""

    def send(self, worker: int, lease: Lease) -> None:
        """Send a lease to a worker."""

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return a worker's batch, waiting for some seconds at most."""

    def lost(self) -> dict[int, str]:
        """Return the workers that are gone, and why."""

    def host(self, worker: int) -> str:
        """Return the name of a worker's host."""


@dataclass(eq=False)
class _TaskRun:
    """One run of the farm; see :func:`conduct`."""

    run: int
    tasks: Tasks
    outcome: Outcome
    transport: Transport
    ledger: Ledger
    scheduler: Scheduler
    watch: Monitor
    partner: Partner | None = None
    reasons: dict[int, list[str]] = field(default_factory=dict)

    def lease(self, worker: int) -> bool:
        """Send a worker its next lease, if there is one."""
        own = self.scheduler.lease(worker, time.monotonic())
        return len(own) > 0 and self._send(worker, own)

    def duplicate_stragglers(self) -> None:
        """Send copies of slow workers' tasks to idle ones."""
        for worker, own in self.scheduler.duplicate_stragglers(time.monotonic()):
            self._send(worker, own)

    def take(self, worker: int, batch: TaskResults, since: float) -> None:
        """Take in what a worker sent."""
        if batch.run != self.run:
            return
        now = time.monotonic()
        if batch.error:
            self._failed(worker, batch, now)
            return
        new = self.outcome.finished.add(batch)
        if self.partner is not None:
            self.partner.note(batch, new)
        self.scheduler.finish(worker, batch.tasks, float(batch.seconds.sum()), now)
        self.ledger.note(worker, batch, self.tasks.owner(batch.tasks), now - since)

    def handle_lost_workers(self) -> None:
        """Give the tasks of lost workers to others."""
        lost = self.transport.lost()
        if len(lost) == len(self.outcome.lost):
            return
        for worker, reason in lost.items():
            if worker not in self.outcome.lost:
                self.outcome.lost[worker] = reason
                where = f"rank {worker} on {self.transport.host(worker)}"
                had = self.scheduler.outstanding(worker)
                what = f" at {self.tasks.describe(had[0])}" if had else ""
                self.watch.say(f"{where} is lost{what} ({reason}); the others go on")
                self.scheduler.lose(worker)
        self.fill()

    def fill(self) -> None:
        """Give every worker all the leases that it may hold."""
        more = True
        while more:
            more = False
            for worker in self.scheduler.workers:
                more |= self.lease(worker)

    def _send(self, worker: int, tasks: Numbers) -> bool:
        payload = self.tasks.payload
        payloads = () if payload is None else tuple(map(payload, tasks.tolist()))
        dtype = np.dtype(self.tasks.dtype).str
        flush = max(FLUSH_SECONDS, self.scheduler.turn)
        self.transport.send(worker, Lease(self.run, tasks, dtype, payloads, flush))
        return True

    def _failed(self, worker: int, batch: TaskResults, now: float) -> None:
        task = int(batch.tasks[0])
        what = self.tasks.describe(task)
        reason = f"rank {worker} on {self.transport.host(worker)}: {batch.error}"
        self.reasons.setdefault(task, []).append(reason.split("\n")[0])
        self.watch.say(f"{what} failed on {reason}")
        if self.scheduler.fail(worker, task, now):
            failure = Failure(task, what, tuple(self.reasons[task]))
            self.outcome.failures = (*self.outcome.failures, failure)
        else:
            self.fill()


def conduct(
    run: int,
    tasks: Tasks,
    finished: FinishedTasks,
    transport: Transport,
    ledger: Ledger,
    since: float,
    watch: Monitor,
    partner: Partner | None = None,
) -> Outcome:
    """Have tasks computed.

    Args:
        run: Number of this run.
        tasks: The tasks.
        finished: Results of tasks that are finished already; the others are added.
        transport: The way to the workers.
        ledger: Keeps account.
        since: When the ledger was opened.
        watch: Looks on.
        partner: Says which tasks are for this job; None for all.

    Returns:
        The outcome: all results, unless it was stopped, or tasks failed.
    """
    if len(finished) != len(tasks.costs):
        raise ValueError(f"finished: for {len(finished)} tasks, expected {len(tasks.costs)}")
    outcome = Outcome(finished)
    scheduler = Scheduler(
        tasks.costs,
        transport.workers,
        done=finished.done,
        affinity=tasks.affinity,
        admitted=partner is None,
    )
    own = _TaskRun(run, tasks, outcome, transport, ledger, scheduler, watch, partner)
    standing = Progress(finished, len(finished), finished.num_done)
    stop: StopRequest | None = None
    started = looked = rescued = time.monotonic()
    idle, pause = 0.0, _RESCUE_SECONDS
    scheduler.until = watch.deadline
    own.fill()
    while not scheduler.complete:
        scheduler.until = watch.deadline
        arrived = transport.receive(_WAIT_SECONDS)
        if arrived is not None:
            worker, batch = arrived
            own.take(worker, batch, since)
            own.lease(worker)
        now = time.monotonic()
        if now - looked < _TICK_SECONDS:
            continue
        idle += scheduler.num_idle * (now - looked)
        looked = now
        own.handle_lost_workers()
        if not scheduler.workers:
            outcome.stopped = "no rank is left to compute"
            break
        if arrived is None and now - rescued > pause:  # otherwise answers may be waiting
            own.duplicate_stragglers()
            rescued = time.monotonic()
            pause = max(_RESCUE_SECONDS, _RESCUE_SHARE * (rescued - now))
        if partner is not None and partner.meet(scheduler, stopping=stop is not None):
            own.fill()
        standing.seconds = now - started
        standing.ranks = len(scheduler.workers)
        standing.idle = idle / max(standing.seconds * standing.ranks, 1e-9)
        standing.seconds_left = (
            scheduler.seconds_left() if partner is None else partner.seconds_left(scheduler)
        )
        standing.failed = len(outcome.failures)
        asked = watch(standing)
        if asked is not None and (stop is None or asked.until < stop.until):
            stop = asked
        if len(outcome.failures) >= _MAX_FAILURES:
            stop = StopRequest("too many tasks failed", now)
        stuck = scheduler.quiet and scheduler.waiting
        if stop is None and stuck and scheduler.until is not None:
            stop = StopRequest("no task fits into the time that is left", now)
        if stop is not None:
            scheduler.stopped = True
            outcome.stopped = stop.reason
            if scheduler.quiet or now >= stop.until:
                break
    else:
        outcome.stopped = ""
    if partner is not None:
        partner.end(complete=outcome.complete)
    return outcome
