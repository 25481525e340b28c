"""Rank 0's loop of a run: it leases tasks, collects results and calls the monitor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hpcq.parallel.ledger import Ledger
from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.task_source import TaskSource
from hpcq.parallel.tasks import (
    FLUSH_SECONDS,
    Failure,
    FinishedTasks,
    Lease,
    Numbers,
    Outcome,
    TaskFunction,
    TaskResults,
)

_TICK_SECONDS = 0.05
"""Pause between calls of the monitor and checks for lost workers; longer: later stops, less of rank
0's time."""

_STRAGGLER_SECONDS = 0.25
"""Minimum pause between searches for stragglers; shorter: earlier copies, more of rank 0's time."""

_STRAGGLER_PAUSE_FACTOR = 10.0
"""Minimum pause between searches for stragglers, in multiples of the last one's duration, so that
they take at most a tenth of the time."""

_WAIT_SECONDS = 5e-3
"""How long rank 0 waits for a message at a time; longer: later ticks, less processor time."""

_MAX_FAILURES = 20
"""Number of failed tasks after which the run stops: the tasks are then unlikely to be the cause."""


@dataclass(frozen=True)
class StopRequest:
    """A request to stop a run.

    Attributes:
        reason: Why the run is to stop.
        until: Time at which to stop, on the clock of ``time.monotonic``; tasks that are being
            computed may finish until then.
    """

    reason: str
    until: float


@dataclass(eq=False)
class Progress:
    """Progress of a run.

    Attributes:
        finished: The results so far.
        total: Number of tasks.
        before: Number of tasks that were finished before the run began.
        seconds: Seconds since the run began.
        seconds_left: Estimate of the seconds until its end.
        ranks: Number of ranks that compute and are not lost.
        idle: Fraction of the ranks' time so far in which they were idle.
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
        """Tasks per second in this run."""
        return (self.finished.num_done - self.before) / max(self.seconds, 1e-9)


class Monitor(Protocol):
    """Called with the progress of a run many times a second; may stop the run."""

    def __call__(self, progress: Progress) -> StopRequest | None:
        """Return a request to stop, or None to go on."""

    @property
    def deadline(self) -> float | None:
        """Time at which all tasks must have ended, on the clock of ``time.monotonic``, if any."""

    def log(self, line: str) -> None:
        """Log a line about failed tasks or lost ranks."""


class NullMonitor:
    """A monitor that shows nothing and never stops the run."""

    deadline = None

    def __call__(self, progress: Progress) -> StopRequest | None:
        """Return None."""

    def log(self, line: str) -> None:
        """Ignore the line."""


class Transport(Protocol):
    """Carries leases to the workers, and results back.

    Attributes:
        workers: The workers, as ranks.
    """

    workers: Sequence[int]

    def prepare(self, setup: Any, in_subprocess: bool, function: TaskFunction | None) -> None:
        """Have all workers make their task function; see ``Coordinator.prepare``."""

    def send(self, worker: int, lease: Lease) -> None:
        """Send a lease to a worker."""

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return a worker and its batch of results; None if none comes within ``wait`` seconds."""

    def lost(self) -> dict[int, str]:
        """Return the workers that are lost, and why."""

    def host(self, worker: int) -> str:
        """Return the name of a worker's host."""


@dataclass(eq=False)
class _TaskRun:
    """State of a run; see :func:`run_tasks`."""

    run: int
    source: TaskSource
    outcome: Outcome
    transport: Transport
    ledger: Ledger
    scheduler: Scheduler
    monitor: Monitor
    reasons: dict[int, list[str]] = field(default_factory=dict)

    def lease(self, worker: int) -> bool:
        """Send a worker its next lease; return whether there was one."""
        tasks = self.scheduler.lease(worker, time.monotonic())
        return len(tasks) > 0 and self._send(worker, tasks)

    def duplicate_stragglers(self) -> None:
        """Send copies of slow workers' tasks to idle workers."""
        for worker, tasks in self.scheduler.duplicate_stragglers(time.monotonic()):
            self._send(worker, tasks)

    def take(self, worker: int, batch: TaskResults, opened: float) -> None:
        """Add results, or handle the failure of a task; batches of an earlier run are ignored."""
        if batch.run != self.run:
            return
        now = time.monotonic()
        if batch.error:
            self._handle_failure(worker, batch, now)
            return
        new = self.outcome.finished.add(batch)
        self.source.note(batch, new)
        self.scheduler.finish(worker, batch.tasks, float(batch.seconds.sum()), now)
        self.ledger.note(worker, batch, self.source.tasks.owner(batch.tasks), now - opened)

    def handle_lost_workers(self) -> None:
        """Log the loss of workers, and lease their tasks to others."""
        lost = self.transport.lost()
        if len(lost) == len(self.outcome.lost):
            return
        for worker, reason in lost.items():
            if worker not in self.outcome.lost:
                self.outcome.lost[worker] = reason
                where = f"rank {worker} on {self.transport.host(worker)}"
                held = self.scheduler.outstanding(worker)
                what = f" at {self.source.tasks.describe(held[0])}" if held else ""
                self.monitor.log(f"{where} is lost{what} ({reason}); the others continue")
                self.scheduler.lose(worker)
        self.fill()

    def fill(self) -> None:
        """Send every worker all the leases that it may hold."""
        has_sent = True
        while has_sent:
            has_sent = False
            for worker in self.scheduler.workers:  # one lease each, so that all can begin
                has_sent |= self.lease(worker)

    def _send(self, worker: int, tasks: Numbers) -> bool:
        """Send a worker a lease of these tasks; return True, for :meth:`lease`."""
        payload = self.source.tasks.payload
        payloads = () if payload is None else tuple(map(payload, tasks.tolist()))
        dtype = np.dtype(self.source.tasks.dtype).str
        flush = max(FLUSH_SECONDS, self.scheduler.message_interval)
        self.transport.send(worker, Lease(self.run, tasks, dtype, payloads, flush))
        return True

    def _handle_failure(self, worker: int, batch: TaskResults, now: float) -> None:
        """Log the failure of a task; lease it again, or give it up."""
        task = int(batch.tasks[0])
        name = self.source.tasks.describe(task)
        reason = f"rank {worker} on {self.transport.host(worker)}: {batch.error}"
        self.reasons.setdefault(task, []).append(reason.split("\n")[0])
        self.monitor.log(f"{name} failed on {reason}")
        if self.scheduler.fail(worker, task, now):
            failure = Failure(task, name, tuple(self.reasons[task]))
            self.outcome.failures = (*self.outcome.failures, failure)
        else:
            self.fill()


def run_tasks(
    run: int,
    source: TaskSource,
    transport: Transport,
    ledger: Ledger,
    opened: float,
    monitor: Monitor,
) -> Outcome:
    """Compute tasks on all workers.

    Args:
        run: Number of this run, different from those before.
        source: The tasks; results are added to those that are finished already.
        transport: Connects to the workers.
        ledger: Busy seconds and timeline are added to it.
        opened: Time when the ledger was opened.
        monitor: Called with the progress.

    Returns:
        The outcome: all results, unless the run was stopped or tasks failed.
    """
    tasks, finished = source.tasks, source.finished
    outcome = Outcome(finished)
    scheduler = Scheduler(
        tasks.costs,
        transport.workers,
        done=finished.done,
        affinity=tasks.affinity,
        admitted=False,
    )
    task_run = _TaskRun(run, source, outcome, transport, ledger, scheduler, monitor)
    progress = Progress(finished, len(finished), finished.num_done)
    stop: StopRequest | None = None
    started = ticked = searched = time.monotonic()
    idle, straggler_pause = 0.0, _STRAGGLER_SECONDS
    scheduler.deadline = monitor.deadline
    source.begin(scheduler)
    task_run.fill()
    while not scheduler.complete:
        scheduler.deadline = monitor.deadline
        received = transport.receive(_WAIT_SECONDS)
        if received is not None:
            worker, batch = received
            task_run.take(worker, batch, opened)
            task_run.lease(worker)
        now = time.monotonic()
        if now - ticked < _TICK_SECONDS:
            continue
        idle += scheduler.num_idle * (now - ticked)
        ticked = now
        task_run.handle_lost_workers()
        if not scheduler.workers:
            outcome.stopped = "no rank is left to compute"
            break
        # Only if no message is waiting: a worker that looks slow may have sent its results.
        if received is None and now - searched > straggler_pause:
            task_run.duplicate_stragglers()
            searched = time.monotonic()
            straggler_pause = max(_STRAGGLER_SECONDS, _STRAGGLER_PAUSE_FACTOR * (searched - now))
        if source.exchange(scheduler, stopping=stop is not None):
            task_run.fill()
        progress.seconds = now - started
        progress.ranks = len(scheduler.workers)
        progress.idle = idle / max(progress.seconds * progress.ranks, 1e-9)
        progress.seconds_left = source.seconds_left(scheduler)
        progress.failed = len(outcome.failures)
        request = monitor(progress)
        if request is not None and (stop is None or request.until < stop.until):
            stop = request
        if len(outcome.failures) >= _MAX_FAILURES:
            stop = StopRequest("too many tasks failed", now)
        is_stuck = scheduler.all_idle and scheduler.has_waiting_tasks
        if stop is None and is_stuck and scheduler.deadline is not None:
            stop = StopRequest("no task fits into the time that is left", now)
        if stop is not None:
            scheduler.stopped = True
            outcome.stopped = stop.reason
            if scheduler.all_idle or now >= stop.until:
                break
    else:
        outcome.stopped = ""
    source.end(complete=outcome.complete)
    return outcome
