"""The protocol of engines: pieces are prepared once, then executed for rows of parameters.

A *piece* is what an engine simulates or measures: a subcircuit with its sliced ports, which has no
free parameters, or a template. What is asked of it is a :class:`~hpcq.engines.requests.Request`,
whose class says what :meth:`PreparedPiece.execute` returns. An engine refuses the requests that it
does not know.

A new engine is a subclass of :class:`Engine` and a line in :mod:`~hpcq.engines.registry`. If it
computes whole statevectors, it only has to simulate circuits, and
:class:`~hpcq.engines.statevectors.StatevectorPiece` answers the requests. If it computes values of
whole circuits, it is a subclass of :class:`~hpcq.engines.values_engine.ValuesEngine`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import InputError
from hpcq.core.limits import Device
from hpcq.cutting.subexperiments.device_circuits import Template
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.prepared import PieceCache
from hpcq.engines.requests import Request, Row, ShotCounts

Piece = ExactTensor | Template
"""What an engine prepares; pieces with equal fingerprints are prepared once."""


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a request for one row, on a usual machine.

    Attributes:
        seconds: Seconds, in their order of magnitude; without waiting in queues.
        memory_bytes: Bytes of this rank's memory.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Refusal:
    """An engine's refusal of a request.

    Attributes:
        reason: Why, for messages.
    """

    reason: str


class PreparedPiece(ABC):
    """A piece as an engine runs it, possibly compiled."""

    @abstractmethod
    def execute(self, rows: NDArray[np.float64], request: Request) -> Any:
        """Answer a request that the engine supports for the piece, as the request's class says.

        The rows are values of the piece's parameters, shape (rows, parameters).

        Raises:
            EngineError: If the simulator or device refuses or fails; the message quotes it.
        """

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Approximate bytes that the piece takes while it is kept."""


@dataclass(frozen=True, eq=False)
class ShotRun:
    """Rows of a prepared template to measure.

    Attributes:
        prepared: The template.
        rows: Values of the parameters, shape (rows, parameters).
        shots: Number of shots of each row, at least 1, shape (rows,).
    """

    prepared: PreparedPiece
    rows: NDArray[np.float64]
    shots: NDArray[np.int64]


class Engine(ABC):
    """A simulator or a device.

    Attributes:
        name: Description for messages, such as ``aer cpu, noise fake_brisbane``.
        work_seconds: Seconds that a unit of work of :class:`~hpcq.engines.requests.Values` takes on
            one thread of a usual machine.
        defers_measurements: Whether templates must have deferred measurements, which simulators
            sample faster.
        simulator_device: Where it simulates: ``cpu`` or ``gpu``.
    """

    name: str
    simulator_device: Device = "cpu"
    work_seconds: float = math.inf
    defers_measurements: bool = True

    @abstractmethod
    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused; nothing is computed."""

    @abstractmethod
    def prepare(self, piece: Piece) -> PreparedPiece:
        """Compile or convert a piece; :meth:`prepared` does it once for all rows and requests.

        Raises:
            InputError: If the device or the noise does not support the piece.
        """

    def prepared(self, piece: Piece) -> PreparedPiece:
        """Return a piece as :meth:`prepare` has prepared it, now or at an earlier call."""
        return self._kept.get(piece.fingerprint, lambda: self.prepare(piece))

    @cached_property
    def _kept(self) -> PieceCache[PreparedPiece]:
        return PieceCache()

    def measure(self, runs: Sequence[ShotRun], seed: int) -> list[list[Row]]:
        """Run rows of some templates; on a device with a queue, as one job.

        Each run gets its own seed, from one of up to 63 bits.

        Returns:
            For each template and row, the outcomes with their counts, which add up to the shots.

        Raises:
            EngineError: If the engine refuses or fails.
        """
        seeds = np.random.SeedSequence(seed).generate_state(len(runs), np.uint64) >> 1
        return [
            run.prepared.execute(run.rows, ShotCounts(run.shots, int(run_seed)))
            for run, run_seed in zip(runs, seeds, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Submission:
    """Jobs that were submitted together to a device with a queue.

    Attributes:
        job_ids: Ids that the device gave the jobs; empty for a job without one.
        jobs: The jobs, in the form of the engine.
    """

    job_ids: tuple[str, ...]
    jobs: Any


class QueuedEngine(Engine):
    """A device with a queue: counts are collected some time after their runs were submitted."""

    @abstractmethod
    def submit(self, runs: Sequence[ShotRun], seed: int) -> Submission:
        """Submit runs, as one job where the device allows it; see :meth:`measure`."""

    def reopen(self, runs: Sequence[ShotRun], job_ids: Sequence[str]) -> Submission | None:
        """Return jobs that an earlier process has submitted for these runs.

        None if the device, which gave the jobs their ids, forgot them.
        """
        del runs, job_ids
        return None

    @abstractmethod
    def poll(self, submission: Submission) -> bool:
        """Return whether all jobs have ended, so that :meth:`collect` does not wait."""

    @abstractmethod
    def collect(self, submission: Submission) -> list[list[Row]]:
        """Wait for the jobs and return their counts; see :meth:`measure`."""

    def measure(self, runs: Sequence[ShotRun], seed: int) -> list[list[Row]]:
        """Submit runs and wait for their counts."""
        return self.collect(self.submit(runs, seed))


def check_supported(engine: Engine, piece: Piece, request: Request, name: str) -> None:
    """Check that an engine takes a request; ``name`` is that of the piece in messages.

    Raises:
        InputError: If the engine refuses; the message has its reason.
    """
    answer = engine.supports(piece, request)
    if isinstance(answer, Refusal):
        raise InputError(
            f"engine: {engine.name} refuses {name}: {answer.reason}; expected another engine"
        )
