"""Rank 0's loop of a run: it leases tasks, collects results and calls the monitor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


class Monitor:
    """Called with the progress of a run many times a second; may stop the run."""

    def __call__(self, progress: Progress) -> StopRequest | None:
        """Return a request to stop, or None to continue."""

    @property
    def deadline(self) -> float | None:
        """Time at which all tasks must have ended, on the clock of ``time.monotonic``, if any."""

    def log(self, line: str) -> None:
        """Log a line about failed tasks or lost ranks."""


class NullMonitor(Monitor):
    """A monitor that shows nothing and never stops the run."""

    deadline = None


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


class Coordinator:
    """Leases tasks to the workers and collects their results, on rank 0.

    Args:
        transport: Connects to the workers.
        run_numbers: Yields the number of each run, different from those before.

    Attributes:
        ledger: Busy seconds and timeline of all runs; may be that of another coordinator.
        closing_message: What :meth:`hpcq.parallel.serial.Farm.run_worker` returns on the other
            ranks.
        exit_code: Exit code of the job, if it has to be aborted at the end.
    """

    def __init__(self, transport: Transport, run_numbers: Iterator[int]) -> None:
        self.ledger = Ledger()
        self.closing_message = b""
        self.exit_code = 0
        self._transport = transport
        self._run_numbers = run_numbers

    def prepare(
        self, setup: Any, *, in_subprocess: bool, function: TaskFunction | None = None
    ) -> None:
        """Have every rank make the function that computes the tasks of the runs that follow.

        Args:
            setup: Argument of the ranks' worker factories.
            in_subprocess: Whether ranks compute in subprocesses, which pays where tasks are long.
            function: The function for this rank's worker, if that is a thread; otherwise its
                factory makes it too.
        """
        self._transport.prepare(setup, in_subprocess, function)

    @property
    def has_all_ranks(self) -> bool:
        """Whether no rank is lost, so that :meth:`prepare` reaches all."""
        return not self._transport.lost()

    def run(self, source: TaskSource, monitor: Monitor | None = None) -> Outcome:
        """Compute tasks on all workers.

        Args:
            source: The tasks; results are added to those that are finished already.
            monitor: Called with the progress; may stop the run.

        Returns:
            The outcome: all results, unless the run was stopped or tasks failed.
        """
        run, monitor = next(self._run_numbers), monitor or NullMonitor()
        return _TaskRun(run, source, self._transport, self.ledger, monitor).compute()


class _TaskRun:
    """One run of a coordinator, with a number different from those before."""

    def __init__(
        self, run: int, source: TaskSource, transport: Transport, ledger: Ledger, monitor: Monitor
    ) -> None:
        self.run, self.source, self.transport = run, source, transport
        self.ledger, self.monitor = ledger, monitor
        self.outcome = Outcome(source.finished)
        self.scheduler = Scheduler(
            source.tasks.costs,
            transport.workers,
            done=source.finished.done,
            affinity=source.tasks.affinity,
            admitted=False,
        )
        self._progress = Progress(source.finished, len(source.finished), source.finished.num_done)
        self._stop: StopRequest | None = None
        self._started = self._ticked = self._searched = time.monotonic()
        self._idle, self._straggler_pause = 0.0, _STRAGGLER_SECONDS
        self._reasons: dict[int, list[str]] = {}

    def compute(self) -> Outcome:
        """Compute all tasks, or as many as there is time for; return the outcome."""
        self.scheduler.deadline = self.monitor.deadline
        self.source.begin(self.scheduler)
        self._fill()
        while not self.scheduler.complete:
            self.scheduler.deadline = self.monitor.deadline
            received = self.transport.receive(_WAIT_SECONDS)
            if received is not None:
                worker, batch = received
                self._take(worker, batch)
                self._lease(worker)
            now = time.monotonic()
            if now - self._ticked < _TICK_SECONDS:
                continue
            self._idle += self.scheduler.num_idle * (now - self._ticked)
            self._ticked = now
            # Only if no message is waiting: a worker that looks slow may have sent its results.
            if not self._tend_workers(now, look_for_stragglers=received is None):
                break
            if self._is_over(now):
                break
        else:
            self.outcome.stopped = ""
        self.source.end(complete=self.outcome.complete)
        return self.outcome

    def _tend_workers(self, now: float, *, look_for_stragglers: bool) -> bool:
        """Give tasks to workers that have too few; return whether any worker is left."""
        self._handle_lost_workers()
        if not self.scheduler.workers:
            self.outcome.stopped = "no rank is left to compute"
            return False
        if look_for_stragglers and now - self._searched > self._straggler_pause:
            for worker, tasks in self.scheduler.duplicate_stragglers(now):
                self._send(worker, tasks)
            self._searched = time.monotonic()
            seconds = self._searched - now
            self._straggler_pause = max(_STRAGGLER_SECONDS, _STRAGGLER_PAUSE_FACTOR * seconds)
        if self.source.exchange(self.scheduler, stopping=self._stop is not None):
            self._fill()
        return True

    def _is_over(self, now: float) -> bool:
        """Report the progress; say whether the run is stopped and there is nothing to wait for."""
        scheduler, progress, stop = self.scheduler, self._progress, self._stop
        progress.seconds = now - self._started
        progress.ranks = len(scheduler.workers)
        progress.idle = self._idle / max(progress.seconds * progress.ranks, 1e-9)
        progress.seconds_left = self.source.seconds_left(scheduler)
        progress.failed = len(self.outcome.failures)
        request = self.monitor(progress)
        if request is not None and (stop is None or request.until < stop.until):
            stop = request
        if len(self.outcome.failures) >= _MAX_FAILURES:
            stop = StopRequest("too many tasks failed", now)
        is_stuck = scheduler.all_idle and scheduler.has_waiting_tasks
        if stop is None and is_stuck and scheduler.deadline is not None:
            stop = StopRequest("no task fits into the time that is left", now)
        self._stop = stop
        if stop is None:
            return False
        scheduler.stopped = True
        self.outcome.stopped = stop.reason
        return scheduler.all_idle or now >= stop.until

    def _lease(self, worker: int) -> bool:
        """Send a worker its next lease; return whether there was one."""
        tasks = self.scheduler.lease(worker, time.monotonic())
        if len(tasks):
            self._send(worker, tasks)
        return len(tasks) > 0

    def _take(self, worker: int, batch: TaskResults) -> None:
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
        self.ledger.note(worker, batch, self.source.tasks.owner(batch.tasks))

    def _handle_lost_workers(self) -> None:
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
        self._fill()

    def _fill(self) -> None:
        """Send every worker all the leases that it may hold."""
        has_sent = True
        while has_sent:
            has_sent = False
            for worker in self.scheduler.workers:  # one lease each, so that all can begin
                has_sent |= self._lease(worker)

    def _send(self, worker: int, tasks: Numbers) -> None:
        """Send a worker a lease of these tasks."""
        payload = self.source.tasks.payload
        payloads = () if payload is None else tuple(map(payload, tasks.tolist()))
        dtype = np.dtype(self.source.tasks.dtype).str
        flush = max(FLUSH_SECONDS, self.scheduler.message_interval)
        self.transport.send(worker, Lease(self.run, tasks, dtype, payloads, flush))

    def _handle_failure(self, worker: int, batch: TaskResults, now: float) -> None:
        """Log the failure of a task; lease it again, or give it up."""
        task = int(batch.tasks[0])
        name = self.source.tasks.describe(task)
        reason = f"rank {worker} on {self.transport.host(worker)}: {batch.error}"
        self._reasons.setdefault(task, []).append(reason.split("\n")[0])
        self.monitor.log(f"{name} failed on {reason}")
        if self.scheduler.fail(worker, task, now):
            failure = Failure(task, name, tuple(self._reasons[task]))
            self.outcome.failures = (*self.outcome.failures, failure)
        else:
            self._fill()
