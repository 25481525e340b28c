"""What every farm offers, and a farm of one, without MPI."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from hpcq.core.system import usable_cores, usable_memory
from hpcq.parallel.coordinator import Monitor, NullMonitor, Partner, Transport, conduct
from hpcq.parallel.ledger import Ledger
from hpcq.parallel.local_worker import LocalWorker
from hpcq.parallel.tasks import (
    FinishedTasks,
    Lease,
    Outcome,
    TaskFunction,
    TaskResults,
    Tasks,
    WorkerFactory,
)
from hpcq.parallel.worker import here


class Coordinator:
    """Rank 0's hold on the workers: it opens work for them, and runs tasks.

    Attributes:
        ledger: Account of all runs.
        closing: What the other ranks are told at the end.
        exit_code: What the job ends with.
        partners: Returns by whom the tasks of a stage are shared with other jobs; None for nobody.
    """

    def __init__(self, transport: Transport) -> None:
        self.ledger = Ledger()
        self.closing = b""
        self.exit_code = 0
        self.partners: Callable[[str, Tasks, FinishedTasks], Partner] | None = None
        self._transport = transport
        self._runs = 0
        self._since = time.monotonic()

    def open(self, payload: bytes, *, in_subprocess: bool, own: TaskFunction | None = None) -> None:
        """Open work on every rank.

        Args:
            payload: What the ranks' openers make the work of.
            in_subprocess: Whether ranks compute in processes of their own, which pays where tasks
                are long.
            own: The work, for this rank's thread; otherwise its opener makes it too.
        """
        self._transport.open(payload, in_subprocess, own)

    @property
    def whole(self) -> bool:
        """Whether no rank is lost, so that work can be opened on all."""
        return not self._transport.lost()

    def run(
        self,
        tasks: Tasks,
        finished: FinishedTasks | None = None,
        watch: Monitor | None = None,
        stage: str = "",
    ) -> Outcome:
        """Have tasks computed; see :func:`hpcq.parallel.coordinator.conduct`.

        Args:
            tasks: The tasks.
            finished: Results of those that are finished already.
            watch: Looks on.
            stage: What other jobs that share the tasks know them by.
        """
        if finished is None:
            finished = FinishedTasks(len(tasks.costs), tasks.dtype)
        self._runs += 1
        return conduct(
            self._runs,
            tasks,
            finished,
            self._transport,
            self.ledger,
            self._since,
            watch or NullMonitor(),
            None if self.partners is None else self.partners(stage, tasks, finished),
        )


class Farm(Protocol):
    """Ranks that compute tasks for rank 0.

    Attributes:
        rank: This process's place, 0 for the one that schedules.
        size: Number of ranks.
    """

    rank: int
    size: int

    @property
    def computes(self) -> bool:
        """Whether this rank computes, and does not only schedule."""

    def share(self, payload: bytes) -> bytes:
        """Give rank 0's payload to every rank, once."""

    def smallest(self, value: int) -> int:
        """Return the smallest of the ranks' values, on every rank."""

    def names(self, name: str) -> list[str]:
        """Return every rank's name, in order, on rank 0 and an empty list elsewhere."""

    def gather(self, text: str) -> list[str]:
        """Return every rank's text, in order, on rank 0 and an empty list elsewhere."""

    def local_share(self) -> tuple[int, int]:
        """Return the cores and the bytes of memory that fall to this rank on its node."""

    def local_place(self) -> tuple[int, int]:
        """Return this rank's place among those of its node, and their number."""

    def coordinator(self, factory: WorkerFactory) -> AbstractContextManager[Coordinator]:
        """Lead the other ranks, on rank 0, as long as the context lasts.

        Args:
            factory: Makes rank 0's own work.

        At the end the others' :meth:`follow` returns the lead's ``closing``.
        """

    def follow(self, factory: WorkerFactory) -> bytes:
        """Compute what rank 0 leases, on another rank; return what it says at the end."""


class SerialFarm:
    """One process that does all the work itself."""

    rank = 0
    size = 1
    computes = True

    def share(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def smallest(self, value: int) -> int:
        """Return the value."""
        return value

    def names(self, name: str) -> list[str]:
        """Return the one name."""
        return [name]

    def gather(self, text: str) -> list[str]:
        """Return the one text."""
        return [text]

    def local_share(self) -> tuple[int, int]:
        """Return all usable cores and memory."""
        return len(usable_cores()), usable_memory()

    def local_place(self) -> tuple[int, int]:
        """Return the only place."""
        return 0, 1

    @contextmanager
    def coordinator(self, factory: WorkerFactory) -> Iterator[Coordinator]:
        """Lead nobody but oneself."""
        own = LocalWorker(factory)
        try:
            yield Coordinator(_Alone(own))
        finally:
            own.close()

    def follow(self, factory: WorkerFactory) -> bytes:
        """Follow nobody: there is no other rank."""
        raise AssertionError(f"rank 0 leads, and does not follow {factory}")


class _Alone:
    """The way to oneself."""

    def __init__(self, own: LocalWorker) -> None:
        self.workers: Sequence[int] = (0,)
        self._own = own

    def open(self, payload: bytes, in_subprocess: bool, work: TaskFunction | None) -> None:
        """Open work on the own worker."""
        self._own.open(payload, in_subprocess=in_subprocess, work=work)

    def send(self, worker: int, lease: Lease) -> None:
        """Put a lease on the own worker."""
        assert worker == 0, "there is no other"
        assert self._own.worker is not None, "work is opened first"
        self._own.worker.put(lease)

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return the own worker's results."""
        assert self._own.worker is not None, "work is opened first"
        batch = self._own.worker.collect(wait)
        return None if batch is None else (0, batch)

    def lost(self) -> dict[int, str]:
        """Return nobody."""
        return {}

    def host(self, worker: int) -> str:
        """Return this host."""
        assert worker == 0, "there is no other"
        return here()
