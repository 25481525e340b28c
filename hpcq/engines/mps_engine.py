"""The engine of weakly entangled circuits: values and samples from matrix product states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import bind_slots
from hpcq.core.limits import Device, Limits
from hpcq.core.system import blas_threads, format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.chain_plan import ChainPlan, plan_chain
from hpcq.engines.chain_values import values_work
from hpcq.engines.matrix_product_state import simulate_plan
from hpcq.engines.mps_samples import sample_plan, samples_bytes, samples_work
from hpcq.engines.prepared import circuit_bytes
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Samples, Values
from hpcq.engines.sampled_outcomes import SampledOutcomes
from hpcq.engines.values_engine import ValuesEngine, ValuesPiece

WORK_SECONDS = 1.1e-9
"""Seconds of a unit of work on one thread. Measured: 1.0e-9 to 1.3e-9 with bonds of 7 to 113, and
about 0.5e-9 with bonds of 2, whose decompositions are quick."""

DEFAULT_CAP = 256
"""Maximum bond dimension where a request has none. A step takes 0.3 s with it. Larger: only
circuits of few steps finish in time; smaller: circuits that would take seconds are given up."""

_STEP_BYTES = 1000
"""Bytes of a planned step: 256 of its matrix, 544 of its operator's Schmidt decomposition, and some
of copies."""

_WORKING_BYTES = 64 << 20
"""Bytes of LAPACK's workspace and of one batch of environments, for any circuit."""


class MpsPiece(ValuesPiece):
    """A circuit as the steps of a matrix-product-state simulation.

    Args:
        tensor: The circuit; if its angles are parameters, it is planned with generic ones.
        cap: Maximum bond dimension of requests that have none.
    """

    def __init__(self, tensor: ExactTensor, cap: int) -> None:
        self.plan = plan_chain(tensor.subcircuit.circuit)
        self.cap = cap
        self._tensor = tensor

    def values(self, request: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the request's strings and bounds on their errors."""
        with blas_threads(1):  # several slow down all but the largest bonds
            found = simulate_plan(
                self.plan,
                request.strings,
                cap=request.cap or self.cap,
                tolerance=request.tolerance,
                max_work=request.max_work,
            )
        return found.values, found.bounds

    def samples(
        self, row: NDArray[np.float64], request: Samples, rng: np.random.Generator
    ) -> SampledOutcomes:
        """Draw outcomes for one row of angles."""
        with blas_threads(1):
            return sample_plan(self._bound_plan(row), request, request.cap or self.cap, rng)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the circuit and the steps."""
        steps = _STEP_BYTES * (1 + len(self.plan.bonds))
        return steps + circuit_bytes(self._tensor.subcircuit.circuit)

    def _bound_plan(self, angles: NDArray[np.float64]) -> ChainPlan:
        """Return the plan with the values of the angles that are parameters."""
        slots = self._tensor.slots
        if not slots:
            return self.plan
        return plan_chain(bind_slots(self._tensor.subcircuit.circuit, slots, angles))


@dataclass(frozen=True, eq=False)
class _Bound:
    """Bounds on a simulation.

    Attributes:
        plan: Its steps.
        bond: Bond dimension.
        work: Work, in units of :mod:`hpcq.engines.chain_work`.
        memory_bytes: Bytes.
    """

    plan: ChainPlan
    bond: int
    work: float
    memory_bytes: int


class MpsEngine(ValuesEngine):
    """Expectation values and samples from matrix product states, with bounds on their errors.

    Args:
        limits: Threads and memory; one thread is used, and double precision always.
        device: ``cpu``; a GPU is not used.
    """

    def __init__(self, limits: Limits, device: Device = "cpu") -> None:
        del device
        self.name = "mps"
        self.work_seconds = WORK_SECONDS
        self._limits = limits

    def cost(self, piece: ExactTensor, request: Values) -> Cost | Refusal:
        """Return a bound on the cost of a request, without truncations, or why it is refused."""
        bound = self._simulation(piece, request.cap or self._default_cap(piece))
        if isinstance(bound, Refusal):
            return bound
        work = bound.work + values_work(bound.plan.site_of, request.strings, bound.bond)
        return Cost(WORK_SECONDS * min(work, request.max_work), bound.memory_bytes)

    def samples_cost(self, piece: ExactTensor, request: Samples) -> Cost | Refusal:
        """Return a bound on the cost of samples, without truncations, or why they are refused."""
        bound = self._simulation(piece, request.cap or self._default_cap(piece))
        if isinstance(bound, Refusal):
            return bound
        wires = piece.subcircuit.num_qubits
        size = bound.memory_bytes + samples_bytes(wires, bound.bond, request.shots)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"bonds of {bound.bond} and {request.shots} shots need {format_bytes(size)}, "
                f"a rank has {format_bytes(self._limits.memory_bytes)}"
            )
        work = bound.work + samples_work(wires, bound.bond, request.shots)
        return Cost(WORK_SECONDS * min(work, request.max_work), size)

    def _simulation(self, piece: ExactTensor, cap: int) -> _Bound | Refusal:
        """Return bounds on the simulation of a piece, or why it is refused."""
        steps = _STEP_BYTES * piece.subcircuit.circuit.num_nonlocal_gates()
        if steps > self._limits.memory_bytes:  # a plan has at least about as many
            return Refusal(
                f"the steps of its gates need {format_bytes(steps)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        prepared = self.prepared(piece)
        assert isinstance(prepared, MpsPiece)
        bits, work = prepared.plan.predict(cap)
        bond = int(min(cap, 2.0 ** min(bits, 60.0)))
        size = _memory(piece.subcircuit.num_qubits, bond)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"bonds of {bond} need {format_bytes(size)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        return _Bound(prepared.plan, bond, work, size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Plan the steps of a piece."""
        assert isinstance(piece, ExactTensor), "templates are refused"
        return MpsPiece(piece, self._default_cap(piece))

    def _default_cap(self, piece: ExactTensor) -> int:
        """Return the default cap, or less if the rank's memory is too small for it."""
        wires, memory = piece.subcircuit.num_qubits, self._limits.memory_bytes
        fits = math.isqrt(
            max(0, memory - _memory(wires, 0)) // (_memory(wires, 1) - _memory(wires, 0))
        )
        return max(1, min(DEFAULT_CAP, fits))


def _memory(wires: int, bond: int) -> int:
    """Return bytes of the sites' tensors and environments, and of a step's matrix and factors."""
    tensors = environments = 2 * wires
    return _WORKING_BYTES + 16 * bond**2 * (tensors + environments + 32)
