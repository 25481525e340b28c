"""The farm over MPI ranks: integers out, arrays back by buffer.

Only the main thread of a rank calls MPI. Whoever waits, polls with growing naps, so that a waiting
rank leaves its core alone and still hears signals. While the farm works there are no collective
calls: a rank that is lost can be done without, where MPI allows that (ULFM).
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.system import usable_cores, usable_memory, write_stderr
from hpcq.parallel import messages
from hpcq.parallel.local_worker import LocalWorker
from hpcq.parallel.private_communicator import private_comm
from hpcq.parallel.serial import Coordinator
from hpcq.parallel.tasks import Lease, TaskFunction, TaskResults, WorkerFactory

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

_OPEN, _LEASE, _END, _HEADER, _DATA = range(1, 6)
_SHORTEST_NAP, _LONGEST_NAP = 20e-6, 5e-3
_RANK_0_WORKS_UP_TO = 16
"""Ranks up to which rank 0 computes too; beyond, it only schedules."""

_RANK_0 = "HPCQ_RANK_0"
"""Environment variable: ``schedules`` keeps rank 0 from computing, so that it takes no GPU."""

_LOOK_SECONDS = 0.1
_GOODBYE_SECONDS, _STOP_SECONDS = 30.0, 3.0
_SLAB = 1 << 30
_FAULT_TOLERANT = "OMPI_MCA_mpi_ft_enable"
_losses: list[bool] = []
_BYE = TaskResults(-1, *(np.empty(0, dtype=np.int64),) * 2, np.empty(0), np.empty(0))


class MpiFarm:
    """Rank 0 schedules; all ranks, rank 0 included while they are few, compute.

    Args:
        comm: The communicator; the farm talks on one beside it, so that no message meets the
            caller's.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = private_comm(comm)
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        self._hosts: list[str] = []
        self._lost: dict[int, str] = {}
        self._outbox: list[tuple[Any, Any]] = []
        self._survives = survives_losses()

    def share(self, payload: bytes) -> bytes:
        """Broadcast rank 0's bytes."""
        length = np.array([len(payload)], dtype=np.int64)
        _wait(self._comm.Ibcast(length, root=0))
        data = np.empty(int(length[0]), dtype=np.uint8)
        if self.rank == 0:
            data[:] = np.frombuffer(payload, dtype=np.uint8)
        for start in range(0, len(data), _SLAB):
            _wait(self._comm.Ibcast(data[start : start + _SLAB], root=0))
        return payload if self.rank == 0 else data.tobytes()

    def smallest(self, value: int) -> int:
        """Return the smallest of the ranks' values."""
        from mpi4py import MPI

        result = np.empty(1, dtype=np.int64)
        _wait(self._comm.Iallreduce(np.array([value], dtype=np.int64), result, op=MPI.MIN))
        return int(result[0])

    def names(self, name: str) -> list[str]:
        """Gather every rank's name on rank 0."""
        names = self.gather(name)
        self._hosts = [own.split()[0] for own in names]
        return names

    def gather(self, text: str) -> list[str]:
        """Gather every rank's text on rank 0."""
        return self._comm.gather(text, root=0) or []

    def local_share(self) -> tuple[int, int]:
        """Share cores that several ranks of the node may use, and the node's memory."""
        node = self._ranks_here()
        bindings: list[frozenset[int]] = node.allgather(usable_cores())
        memory = min(node.allgather(usable_memory())) // len(bindings)
        own = bindings[node.Get_rank()]
        node.Free()
        share = sum(1 / sum(core in other for other in bindings) for core in own)
        return max(1, int(share + 1e-9)), memory

    def local_place(self) -> tuple[int, int]:
        """Return this rank's place among the ranks of its node that compute."""
        node = self._ranks_here()
        computing: list[bool] = node.allgather(self.computes)
        place = sum(computing[: node.Get_rank()])
        node.Free()
        return place, sum(computing)

    def _ranks_here(self) -> Comm:
        """Return a communicator of the ranks of this node.

        MPI's own (COMM_TYPE_SHARED) is one rank each where MPICH's ranks are placed arbitrarily.
        """
        kernel = b""
        with suppress(OSError):
            kernel = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        nodes = self._comm.allgather((socket.gethostname(), kernel))
        return self._comm.Split(nodes.index(nodes[self.rank]), self.rank)

    @property
    def computes(self) -> bool:
        """Whether this rank computes, and does not only schedule."""
        return self.rank > 0 or self.rank_0_works

    @property
    def rank_0_works(self) -> bool:
        """Whether rank 0 computes too."""
        only = os.environ.get(_RANK_0) == "schedules" and self.size > 1
        return self.size <= _RANK_0_WORKS_UP_TO and not only

    @property
    def has_losses(self) -> bool:
        """Whether a rank has been lost, so that collective calls are over."""
        return bool(self._lost)

    @contextmanager
    def coordinator(self, factory: WorkerFactory) -> Iterator[Coordinator]:
        """Lead the other ranks; see :class:`hpcq.parallel.serial.Farm`."""
        own = LocalWorker(factory) if self.rank_0_works else None
        transport = _Ranks(self, own, factory)
        coordinator = Coordinator(transport)
        try:
            yield coordinator
        finally:
            transport.close()
        self._dismiss(coordinator.closing, coordinator.exit_code)

    def follow(self, factory: WorkerFactory) -> bytes:
        """Compute what rank 0 leases; see :class:`hpcq.parallel.serial.Farm`."""
        try:
            return self._follow(factory)
        except self._mpi_errors():
            if not self._survives:
                raise
            write_stderr(f"hpcq: rank {self.rank}: rank 0 is lost, and the job with it")
            os._exit(1)

    def _follow(self, factory: WorkerFactory) -> bytes:
        own = LocalWorker(factory)
        nap = _Backoff()
        try:
            while True:
                busy = self._push()
                found = self._hear(0, (_OPEN, _LEASE, _END))
                if found is not None:
                    tag, message = found
                    if tag == _END:
                        self._post(_BYE)
                        self._flush()
                        if message[0]:
                            _never_finalize()
                        return message[1:]
                    if tag == _OPEN:
                        own.open(self.share(b""), in_subprocess=bool(message[0]))
                    elif own.worker is not None:
                        own.worker.put(messages.loads(message))
                batch = own.worker.collect() if own.worker is not None else None
                if batch is not None:
                    self._post(batch)
                if found is None and batch is None and not busy:
                    nap()
                else:
                    nap.reset()
        finally:
            own.close()

    # ------------------------------------------------------------------ messages

    def _say(self, worker: int, tag: int, message: bytes | np.ndarray) -> None:
        """Send bytes without waiting; they are kept until they are on their way."""
        buffer = np.frombuffer(message, dtype=np.uint8)
        with self._losing(worker):
            self._outbox.append((self._comm.Isend(buffer, dest=worker, tag=tag), buffer))

    def _say_all(self, tag: int, message: bytes) -> None:
        for worker in range(1, self.size):
            if worker not in self._lost:
                self._say(worker, tag, message)
        self._flush()

    def _dismiss(self, closing: bytes, exit_code: int) -> None:
        """Tell all ranks that it is over, and take what they still send until they say goodbye.

        If one does not, the job ends without its word, with the exit code that it would have.
        """
        patience = _STOP_SECONDS if exit_code else _GOODBYE_SECONDS
        self._say_all(_END, bytes([self.has_losses]) + closing)
        missing = set(range(1, self.size)) - self._lost.keys()
        nap, last = _Backoff(), time.monotonic()
        while missing:
            found = self._receive_batch()
            if found is None:
                nap()
                self._look_for_losses()
                missing -= self._lost.keys()
                if time.monotonic() - last > patience:
                    names = ", ".join(map(str, sorted(missing)))
                    write_stderr(f"hpcq: ranks that do not answer: {names}; ending without them")
                    self.end_job(exit_code)
            else:
                nap.reset()
                if found[1].run == _BYE.run:
                    missing.discard(found[0])

    def end_job(self, exit_code: int) -> None:
        """End all ranks at once."""
        self._comm.Abort(exit_code)

    def _post(self, batch: TaskResults) -> None:
        """Send results to rank 0: a header, and the numbers in slabs."""
        header = replace(batch, data=np.empty(0, dtype=batch.data.dtype))
        self._say(0, _HEADER, messages.dumps(header))
        data = np.ascontiguousarray(batch.data).view(np.uint8)
        for start in range(0, len(data), _SLAB):
            self._say(0, _DATA, data[start : start + _SLAB])

    def _push(self) -> bool:
        """Drop messages that have left; return whether any has."""
        if not self._outbox:
            return False
        kept = []
        for request, buffer in self._outbox:
            gone = True
            with suppress(*self._mpi_errors()):  # whoever should have it is lost
                gone = request.Test()
            if not gone:
                kept.append((request, buffer))
        left = len(kept) < len(self._outbox)
        self._outbox = kept
        return left

    def _flush(self) -> None:
        nap = _Backoff()
        while self._outbox:
            if not self._push():
                nap()

    def _hear(self, source: int, tags: tuple[int, ...]) -> tuple[int, bytes] | None:
        """Return the next message of some tags, if there is one."""
        from mpi4py import MPI

        status = MPI.Status()
        for tag in (MPI.ANY_TAG,) if len(tags) > 1 else tags:
            if self._comm.Iprobe(source, tag, status):
                buffer = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
                self._comm.Recv(buffer, source=status.Get_source(), tag=status.Get_tag())
                return status.Get_tag(), buffer.tobytes()
        return None

    def _receive_batch(self) -> tuple[int, TaskResults] | None:
        """Take the next results of another rank, if there are any."""
        from mpi4py import MPI

        status = MPI.Status()
        found: list[tuple[int, TaskResults]] = []
        with self._losing(None):
            if not self._comm.Iprobe(MPI.ANY_SOURCE, _HEADER, status):
                return None
            worker = status.Get_source()
            header = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
            self._comm.Recv(header, source=worker, tag=_HEADER)
            batch = messages.loads(header.tobytes())
            whole = np.empty(int(batch.sizes.sum()), dtype=batch.data.dtype)
            data = whole.view(np.uint8)
            for start in range(0, len(data), _SLAB):
                self._comm.Recv(data[start : start + _SLAB], source=worker, tag=_DATA)
            found.append((worker, replace(batch, data=whole)))
        return found[0] if found else None

    # ------------------------------------------------------------------ losses

    @staticmethod
    def _mpi_errors() -> tuple[type[BaseException], ...]:
        from mpi4py import MPI

        return (MPI.Exception,)

    @contextmanager
    def _losing(self, worker: int | None) -> Iterator[None]:
        """Take an error of MPI for the loss of a rank, where that can be outlived."""
        try:
            yield
        except self._mpi_errors() as error:
            if not self._survives:
                raise
            if worker is not None:
                self._lost.setdefault(worker, str(error))
            self._look_for_losses()

    def _look_for_losses(self) -> None:
        """Ask MPI who has failed, and tell it that we know."""
        if not self._survives:
            return
        failed = self._comm.Get_failed()
        if failed.size > len(self._lost):
            for worker in failed.Translate_ranks(None, self._comm.Get_group()):
                self._lost.setdefault(int(worker), "MPI reports it failed")
            _never_finalize()
            self._comm.Ack_failed(failed.size)


class _Ranks:
    """The way to all ranks that compute."""

    def __init__(self, farm: MpiFarm, own: LocalWorker | None, factory: WorkerFactory) -> None:
        self._farm, self._own, self._opener = farm, own, factory
        self.workers: Sequence[int] = range(0 if own else 1, farm.size)
        self._nap = _Backoff()
        self._looked = 0.0

    def open(self, payload: bytes, in_subprocess: bool, work: TaskFunction | None) -> None:
        """Open work on all ranks; once one is lost, on rank 0 alone, as sharing takes all."""
        if self._farm.has_losses:
            self.workers = [0]
            self._own = self._own or LocalWorker(self._opener)
        else:
            self._farm._say_all(_OPEN, bytes([in_subprocess]))
            self._farm.share(payload)
        if self._own:
            self._own.open(payload, in_subprocess=in_subprocess, work=work)

    def send(self, worker: int, lease: Lease) -> None:
        """Send a lease."""
        if worker == 0 and self._own and self._own.worker:
            self._own.worker.put(lease)
        else:
            self._farm._say(worker, _LEASE, messages.dumps(lease))

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return results of any rank; without any, nap a little."""
        farm, self._nap.longest = self._farm, wait
        farm._push()
        found = farm._receive_batch()
        if found is None and self._own and self._own.worker:
            batch = self._own.worker.collect()
            found = None if batch is None else (0, batch)
        if found is None:
            self._nap()
        else:
            self._nap.reset()
        return found

    def close(self) -> None:
        """End the own worker."""
        if self._own:
            self._own.close()

    def lost(self) -> dict[int, str]:
        """Return the ranks that are gone."""
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            self._farm._look_for_losses()
        return self._farm._lost

    def host(self, worker: int) -> str:
        """Return a rank's host."""
        hosts = self._farm._hosts
        return hosts[worker] if worker < len(hosts) else "?"


class _Backoff:
    """Sleeps a little longer each time, so that waiting costs next to nothing."""

    def __init__(self) -> None:
        self.longest = _LONGEST_NAP
        self.reset()

    def reset(self) -> None:
        self._seconds = _SHORTEST_NAP

    def __call__(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(self._seconds * 1.5, self.longest)


def survives_losses() -> bool:
    """Whether MPI goes on when a rank is lost: Open MPI under ``mpirun --with-ft ulfm``."""
    return os.environ.get(_FAULT_TOLERANT, "").lower() in ("1", "true", "yes")


def _never_finalize() -> None:
    """See to it that this process ends without MPI_Finalize, which hangs once a rank is lost."""
    if not _losses:
        _losses.append(True)
        atexit.register(lambda: leave(int(hasattr(sys, "last_value"))))


def leave(exit_code: int) -> None:
    """End this process here and now if a rank was lost; otherwise do nothing."""
    if _losses:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(exit_code)


def _wait(request: Any) -> None:
    nap = _Backoff()
    while not request.Test():
        nap()
