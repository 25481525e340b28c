"""The farm over MPI ranks: pickled leases and headers, and results by buffer.

Only the main thread of a rank calls MPI. All waiting is polling with growing pauses, so that a rank
that waits leaves its core idle and still handles signals. Runs make no collective calls: where MPI
tolerates failures (ULFM), the farm continues without a lost rank.
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
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.system import usable_cores, usable_memory, write_stderr
from hpcq.parallel import messages
from hpcq.parallel.backoff import Backoff
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.local_worker import LocalWorker
from hpcq.parallel.object_store import ObjectStore
from hpcq.parallel.private_communicator import private_calls
from hpcq.parallel.serial import Farm, closed_unless_kept
from hpcq.parallel.tasks import Lease, TaskFunction, TaskResults, WorkerFactory

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


_PREPARE, _LEASE, _END, _HEADER, _DATA = range(1, 6)  # MPI tags: three from rank 0, two to it

_RANK_0_COMPUTES_UP_TO = 16
"""Number of ranks up to which rank 0 computes too; beyond, it only schedules: with few ranks its
share of the work is large, with many its time is better spent on messages."""

_RANK_0 = "HPCQ_RANK_0"
"""Environment variable: ``schedules`` keeps rank 0 from computing, so that it takes no GPU."""

_LOSS_CHECK_SECONDS = 0.1
"""Minimum pause between questions to MPI about lost ranks; shorter: more of rank 0's time."""

_END_SECONDS, _STOP_SECONDS = 30.0, 3.0
"""How long rank 0 waits for the ranks' last messages before it aborts: after a run that finished,
and after one that failed or was stopped, when the batch system may be about to kill the job."""

_CHUNK_BYTES = 1 << 30
"""Bytes of the largest message: counts in MPI are 32 bit integers."""

_FAULT_TOLERANT = "OMPI_MCA_mpi_ft_enable"
"""Variable that Open MPI's launcher sets under ``--with-ft ulfm``: MPI survives lost ranks."""

_losses: list[bool] = []
_GOODBYE = TaskResults(-1, *(np.empty(0, dtype=np.int64),) * 2, np.empty(0), np.empty(0))
"""The last message of a worker; the only one with this run."""


class MpiFarm:
    """Rank 0 schedules; all ranks compute, rank 0 included while there are few.

    Args:
        comm: The communicator; the farm uses a private duplicate of it, so that its messages cannot
            be mistaken for the caller's.

    Attributes:
        calls: The calls that all ranks make together.
        store: What rank 0 has sent to all ranks, and does not send again.
    """

    def __init__(self, comm: Comm) -> None:
        self.calls = private_calls(comm)
        self._comm = self.calls.comm
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        self._hosts: list[str] = []
        self._lost: dict[int, str] = {}
        self._is_told_of_losses = False
        self._outbox: list[tuple[Any, Any]] = []
        self._survives = os.environ.get(_FAULT_TOLERANT, "").lower() in ("1", "true", "yes")
        self.keeps_workers = False
        self._worker = LocalWorker()
        self._run_numbers = count(1)
        self.store = ObjectStore()

    def broadcast(self, payload: bytes) -> bytes:
        """Return rank 0's payload on every rank; collective."""
        length = np.array([len(payload)], dtype=np.int64)
        _wait(self._comm.Ibcast(length, root=0))
        data = np.empty(int(length[0]), dtype=np.uint8)
        if self.rank == 0:
            data[:] = np.frombuffer(payload, dtype=np.uint8)
        for start in range(0, len(data), _CHUNK_BYTES):
            _wait(self._comm.Ibcast(data[start : start + _CHUNK_BYTES], root=0))
        return payload if self.rank == 0 else data.tobytes()

    def allreduce_min(self, value: int) -> int:
        """Return the minimum of the ranks' values on every rank; collective."""
        from mpi4py import MPI

        result = np.empty(1, dtype=np.int64)
        _wait(self._comm.Iallreduce(np.array([value], dtype=np.int64), result, op=MPI.MIN))
        return int(result[0])

    def gather_names(self, name: str) -> list[str]:
        """Return the ranks' names on rank 0; see :class:`hpcq.parallel.serial.Farm`."""
        names = self.gather(name)
        self._hosts = [rank_name.split()[0] for rank_name in names]
        return names

    def gather(self, text: str) -> list[str]:
        """Return the ranks' texts in order on rank 0, an empty list elsewhere; collective."""
        return self._comm.gather(text, root=0) or []

    def local_resources(self) -> tuple[int, int]:
        """Return this rank's share of its node's cores and bytes of memory; collective.

        A core that several ranks are bound to is divided among them, the memory among all.
        """
        node = self._node_comm()
        bindings: list[frozenset[int]] = node.allgather(usable_cores())
        memory = min(node.allgather(usable_memory())) // len(bindings)
        cores = bindings[node.Get_rank()]
        node.Free()
        share = sum(1 / sum(core in other for other in bindings) for core in cores)
        return max(1, int(share + 1e-9)), memory

    def local_rank_and_size(self) -> tuple[int, int]:
        """Return this rank's index among the computing ranks of its node, and their number."""
        node = self._node_comm()
        computing: list[bool] = node.allgather(self.computes)
        index = sum(computing[: node.Get_rank()])
        node.Free()
        return index, sum(computing)

    def _node_comm(self) -> Comm:
        """Return a communicator of the ranks of this node.

        Where MPICH's ranks are placed arbitrarily, MPI's COMM_TYPE_SHARED gives one rank each.
        """
        kernel = b""
        with suppress(OSError):
            kernel = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        nodes = self._comm.allgather((socket.gethostname(), kernel))
        return self._comm.Split(nodes.index(nodes[self.rank]), self.rank)

    @property
    def computes(self) -> bool:
        """Whether this rank computes, and does not only schedule."""
        only_schedules = os.environ.get(_RANK_0) == "schedules" and self.size > 1
        return self.rank > 0 or (self.size <= _RANK_0_COMPUTES_UP_TO and not only_schedules)

    @property
    def has_lost_ranks(self) -> bool:
        """Whether a rank is lost, so that collective calls are no longer possible."""
        return bool(self._lost) or self._is_told_of_losses

    @contextmanager
    def coordinator(self, factory: WorkerFactory) -> Iterator[Coordinator]:
        """Return the coordinator of all ranks; see :class:`hpcq.parallel.serial.Farm`."""
        local = self._worker if self.computes else None
        coordinator = Coordinator(_MpiTransport(self, local, factory), self._run_numbers)
        with closed_unless_kept(self._worker, self):
            yield coordinator
        self._end_workers(coordinator.closing_message, coordinator.exit_code)

    def run_worker(self, factory: WorkerFactory) -> bytes:
        """Compute the leases of rank 0 until it ends; see :class:`hpcq.parallel.serial.Farm`."""
        try:
            return self._run_worker(factory)
        except self._mpi_errors():
            if not self._survives:
                raise
            write_stderr(f"hpcq: rank {self.rank}: rank 0 is lost, and the job with it")
            os._exit(1)

    def _run_worker(self, factory: WorkerFactory) -> bytes:
        local, backoff = self._worker, Backoff()
        with closed_unless_kept(local, self):
            while True:
                has_sent = self._complete_sends()
                received = self._receive_from_rank_0()
                if received is not None:
                    tag, message = received
                    if tag == _END:
                        self._send_results(_GOODBYE)
                        self._wait_for_sends()
                        if message[0]:
                            self._is_told_of_losses = True
                            _never_finalize()
                        return message[1:]
                    if tag == _PREPARE:
                        setup = messages.loads(self.broadcast(b""), self.store)
                        local.prepare(factory, setup, in_subprocess=bool(message[0]))
                    elif local.worker is not None:
                        local.worker.put(messages.loads(message))
                batch = local.worker.collect() if local.worker is not None else None
                if batch is not None:
                    self._send_results(batch)
                if received is None and batch is None and not has_sent:
                    backoff()
                else:
                    backoff.reset()

    def shares_messages_with(self, other: Farm) -> bool:
        """Return whether the farms have the same communicator."""
        return isinstance(other, MpiFarm) and other._comm == self._comm

    def close(self) -> None:
        """End this rank's worker."""
        self._worker.close()

    # ------------------------------------------------------------------ messages

    def _send(self, worker: int, tag: int, message: bytes | np.ndarray) -> None:
        """Begin to send bytes, which are kept until MPI has sent them."""
        buffer = np.frombuffer(message, dtype=np.uint8)
        with self._noting_losses(worker):
            self._outbox.append((self._comm.Isend(buffer, dest=worker, tag=tag), buffer))

    def _send_to_all(self, tag: int, message: bytes) -> None:
        for worker in range(1, self.size):
            if worker not in self._lost:
                self._send(worker, tag, message)
        self._wait_for_sends()

    def _end_workers(self, closing_message: bytes, exit_code: int) -> None:
        """End the loops of all workers, and drop results that arrive before their last message.

        If one does not answer, abort the job with the given exit code.
        """
        patience = _STOP_SECONDS if exit_code else _END_SECONDS
        self._send_to_all(_END, bytes([self.has_lost_ranks]) + closing_message)
        missing = set(range(1, self.size)) - self._lost.keys()
        backoff, last = Backoff(), time.monotonic()
        while missing:
            received = self._receive_results()
            if received is None:
                backoff()
                self._check_for_losses()
                missing -= self._lost.keys()
                if time.monotonic() - last > patience:
                    names = ", ".join(map(str, sorted(missing)))
                    write_stderr(f"hpcq: ranks that do not answer: {names}; ending without them")
                    self.abort(exit_code)
            else:
                backoff.reset()
                if received[1].run == _GOODBYE.run:
                    missing.discard(received[0])

    def abort(self, exit_code: int) -> None:
        """End all ranks at once."""
        self._comm.Abort(exit_code)

    def _send_results(self, batch: TaskResults) -> None:
        """Send results to rank 0: a header without the numbers, then the numbers in chunks."""
        header = replace(batch, data=np.empty(0, dtype=batch.data.dtype))
        self._send(0, _HEADER, messages.dumps(header))
        data = np.ascontiguousarray(batch.data).view(np.uint8)
        for start in range(0, len(data), _CHUNK_BYTES):
            self._send(0, _DATA, data[start : start + _CHUNK_BYTES])

    def _complete_sends(self) -> bool:
        """Free the buffers of messages that MPI has sent; return whether there were any."""
        if not self._outbox:
            return False
        unsent = []
        for request, buffer in self._outbox:
            is_sent = True
            with suppress(*self._mpi_errors()):  # the receiver is lost
                is_sent = request.Test()
            if not is_sent:
                unsent.append((request, buffer))
        any_sent = len(unsent) < len(self._outbox)
        self._outbox = unsent
        return any_sent

    def _wait_for_sends(self) -> None:
        backoff = Backoff()
        while self._outbox:
            if not self._complete_sends():
                backoff()

    def _receive_from_rank_0(self) -> tuple[int, bytes] | None:
        """Return tag and content of the next message of rank 0; None if there is none."""
        from mpi4py import MPI

        status = MPI.Status()
        if not self._comm.Iprobe(0, MPI.ANY_TAG, status):
            return None
        buffer = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
        self._comm.Recv(buffer, source=0, tag=status.Get_tag())
        return status.Get_tag(), buffer.tobytes()

    def _receive_results(self) -> tuple[int, TaskResults] | None:
        """Return the next results of another rank, and the rank; None if there are none."""
        from mpi4py import MPI

        status = MPI.Status()
        received: list[tuple[int, TaskResults]] = []
        with self._noting_losses(None):
            if not self._comm.Iprobe(MPI.ANY_SOURCE, _HEADER, status):
                return None
            worker = status.Get_source()
            header = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
            self._comm.Recv(header, source=worker, tag=_HEADER)
            batch = messages.loads(header.tobytes())
            numbers = np.empty(int(batch.sizes.sum()), dtype=batch.data.dtype)
            data = numbers.view(np.uint8)
            for start in range(0, len(data), _CHUNK_BYTES):
                self._comm.Recv(data[start : start + _CHUNK_BYTES], source=worker, tag=_DATA)
            received.append((worker, replace(batch, data=numbers)))
        return received[0] if received else None

    # ------------------------------------------------------------------ losses

    @staticmethod
    def _mpi_errors() -> tuple[type[BaseException], ...]:
        from mpi4py import MPI

        return (MPI.Exception,)

    @contextmanager
    def _noting_losses(self, worker: int | None) -> Iterator[None]:
        """Treat an error of MPI as the loss of a rank, if MPI tolerates that; else raise it."""
        try:
            yield
        except self._mpi_errors() as error:
            if not self._survives:
                raise
            if worker is not None:
                self._lost.setdefault(worker, str(error))
            self._check_for_losses()

    def _check_for_losses(self) -> None:
        """Ask MPI which ranks have failed, and acknowledge them."""
        if not self._survives:
            return
        failed = self._comm.Get_failed()
        if failed.size > len(self._lost):
            for worker in failed.Translate_ranks(None, self._comm.Get_group()):
                self._lost.setdefault(int(worker), "MPI reports it failed")
            _never_finalize()
            self._comm.Ack_failed(failed.size)


class _MpiTransport:
    """Transport to all ranks that compute; see :class:`hpcq.parallel.coordinator.Transport`."""

    def __init__(self, farm: MpiFarm, local: LocalWorker | None, factory: WorkerFactory) -> None:
        self._farm, self._local, self._factory = farm, local, factory
        self.workers: Sequence[int] = range(0 if local else 1, farm.size)
        self._backoff = Backoff()
        self._checked = 0.0

    def prepare(self, setup: Any, in_subprocess: bool, function: TaskFunction | None) -> None:
        """Make the task function on all ranks; once one is lost, on rank 0 only.

        This is because the broadcast of the set-up takes all ranks.
        """
        if self._farm.has_lost_ranks:
            self.workers = [0]
            self._local = self._local or self._farm._worker
        else:
            self._farm._send_to_all(_PREPARE, bytes([in_subprocess]))
            self._farm.broadcast(messages.dumps(setup, self._farm.store))
        if self._local:
            self._local.prepare(
                self._factory, setup, in_subprocess=in_subprocess, function=function
            )

    def send(self, worker: int, lease: Lease) -> None:
        if worker == 0 and self._local and self._local.worker:
            self._local.worker.put(lease)
        else:
            self._farm._send(worker, _LEASE, messages.dumps(lease))

    def receive(self, wait: float) -> tuple[int, TaskResults] | None:
        """Return the next results of any rank; if there are none, sleep up to ``wait`` seconds."""
        farm, self._backoff.max_seconds = self._farm, wait
        farm._complete_sends()
        received = farm._receive_results()
        if received is None and self._local and self._local.worker:
            batch = self._local.worker.collect()
            received = None if batch is None else (0, batch)
        if received is None:
            self._backoff()
        else:
            self._backoff.reset()
        return received

    def lost(self) -> dict[int, str]:
        now = time.monotonic()
        if now - self._checked > _LOSS_CHECK_SECONDS:
            self._checked = now
            self._farm._check_for_losses()
        return self._farm._lost

    def host(self, worker: int) -> str:
        hosts = self._farm._hosts
        return hosts[worker] if worker < len(hosts) else "?"


def _never_finalize() -> None:
    """Have this process end without MPI_Finalize, which hangs once a rank is lost."""
    if not _losses:
        _losses.append(True)
        atexit.register(lambda: exit_after_loss(int(hasattr(sys, "last_value"))))


def exit_after_loss(exit_code: int) -> None:
    """End this process at once if a rank was lost; otherwise do nothing."""
    if _losses:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(exit_code)


def _wait(request: Any) -> None:
    backoff = Backoff()
    while not request.Test():
        backoff()
