"""The interface of every farm, and the farm of one process, which needs no MPI."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, Protocol

from hpcq.core.system import usable_cores, usable_memory
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.local_worker import LocalWorker
from hpcq.parallel.tasks import Lease, TaskFunction, TaskResults, WorkerFactory


class Farm(Protocol):
    """Ranks that compute tasks for rank 0.

    Attributes:
        rank: Rank of this process; rank 0 schedules.
        size: Number of ranks.
        keeps_workers: Whether ranks keep their workers for the next coordinator, which saves the
            start of subprocesses. Set it on all ranks, and call :meth:`close` at the end.
    """

    rank: int
    size: int
    keeps_workers: bool

    @property
    def computes(self) -> bool:
        """Whether this rank computes, and does not only schedule."""

    @property
    def has_lost_ranks(self) -> bool:
        """Whether a rank is lost, so that collective calls are no longer possible."""

    def broadcast(self, payload: bytes) -> bytes:
        """Return rank 0's payload on every rank; collective."""

    def allreduce_min(self, value: int) -> int:
        """Return the minimum of the ranks' values on every rank; collective."""

    def gather_names(self, name: str) -> list[str]:
        """Return the ranks' names in order on rank 0, an empty list elsewhere; collective.

        The first word of each name is the rank's host.
        """

    def gather(self, text: str) -> list[str]:
        """Return the ranks' texts in order on rank 0, an empty list elsewhere; collective."""

    def local_resources(self) -> tuple[int, int]:
        """Return this rank's share of its node's cores and bytes of memory; collective."""

    def local_rank_and_size(self) -> tuple[int, int]:
        """Return this rank's index among its node's computing ranks, and how many; collective."""

    def coordinator(self, factory: WorkerFactory) -> AbstractContextManager[Coordinator]:
        """Return the coordinator of all ranks for the duration of a context; on rank 0 only.

        When the context ends, :meth:`run_worker` returns the coordinator's ``closing_message`` on
        the other ranks.

        Args:
            factory: Makes the task function of rank 0's local worker.
        """

    def run_worker(self, factory: WorkerFactory) -> bytes:
        """Compute the leases that rank 0 sends until it ends; on the other ranks only.

        Returns:
            Rank 0's closing message.
        """

    def close(self) -> None:
        """End this rank's worker, if it is kept."""


class SerialFarm:
    """A farm of one process, which computes everything itself.

    Its worker may always be a thread, as for tasks that only wait.
    """

    rank = 0
    size = 1
    computes = True
    has_lost_ranks = False

    def __init__(self, *, thread_only: bool = False) -> None:
        self.keeps_workers = False
        self._worker = LocalWorker(thread_only=thread_only)
        self._run_numbers = count(1)

    def broadcast(self, payload: bytes) -> bytes:
        """Return the payload."""
        return payload

    def allreduce_min(self, value: int) -> int:
        """Return the value."""
        return value

    def gather_names(self, name: str) -> list[str]:
        """Return a list of the one name."""
        return [name]

    def gather(self, text: str) -> list[str]:
        """Return a list of the one text."""
        return [text]

    def local_resources(self) -> tuple[int, int]:
        """Return all usable cores and memory."""
        return len(usable_cores()), usable_memory()

    def local_rank_and_size(self) -> tuple[int, int]:
        """Return index 0 of 1."""
        return 0, 1

    @contextmanager
    def coordinator(self, factory: WorkerFactory) -> Iterator[Coordinator]:
        """Return the coordinator of this process's worker."""
        with closed_unless_kept(self._worker, self):
            yield Coordinator(_LocalTransport(self._worker, factory), self._run_numbers)

    def run_worker(self, factory: WorkerFactory) -> bytes:
        """Raise AssertionError: there is no other rank."""
        raise AssertionError(f"rank 0 coordinates, and does not run the worker of {factory}")

    def close(self) -> None:
        """End the worker."""
        self._worker.close()


@contextmanager
def closed_unless_kept(worker: LocalWorker, farm: Farm) -> Iterator[None]:
    """Close a worker at the end of the context, unless the farm keeps it and all went well.

    Run numbers never repeat, so that late results of a kept worker from an earlier run are ignored.
    """
    try:
        yield
    except BaseException:
        worker.close()
        raise
    if not farm.keeps_workers:
        worker.close()


class _LocalTransport:
    """Transport to the worker of this process; see :class:`hpcq.parallel.coordinator.Transport`."""

    def __init__(self, worker: LocalWorker, factory: WorkerFactory) -> None:
        self.workers: Sequence[int] = (0,)
        self._local, self._factory = worker, factory

    def prepare(self, setup: Any, in_subprocess: bool, function: TaskFunction | None) -> None:
        self._local.prepare(self._factory, setup, in_subprocess=in_subprocess, function=function)

    def send(self, worker: int, lease: Lease) -> None:
        assert worker == 0, "there is no other"
        assert self._local.worker is not None, "prepare() comes first"
        self._local.worker.put(lease)

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        assert self._local.worker is not None, "prepare() comes first"
        batch = self._local.worker.collect(wait)
        return None if batch is None else (0, batch)

    def lost(self) -> dict[int, str]:
        return {}  # this process cannot be lost

    def host(self, worker: int) -> str:
        assert worker == 0, "there is no other"
        return socket.gethostname()
