"""The engine of weakly entangled circuits: expectation values from matrix product states."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Device, Limits
from hpcq.core.system import blas_threads, format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.chain_plan import ChainPlan, plan_chain
from hpcq.engines.chain_values import values_work
from hpcq.engines.matrix_product_state import simulate_plan
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Values
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
        plan: The steps.
        cap: Maximum bond dimension of requests that have none.
    """

    def __init__(self, plan: ChainPlan, cap: int) -> None:
        self.plan = plan
        self.cap = cap

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

    @property
    def memory_bytes(self) -> int:
        """Bytes of the steps."""
        return _STEP_BYTES * (1 + len(self.plan.bonds))


class MpsEngine(ValuesEngine):
    """Expectation values from matrix product states, with bounds on their errors.

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
        steps = _STEP_BYTES * piece.subcircuit.circuit.num_nonlocal_gates()
        if steps > self._limits.memory_bytes:  # a plan has at least about as many
            return Refusal(
                f"the steps of its gates need {format_bytes(steps)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        prepared = self.prepared(piece)
        assert isinstance(prepared, MpsPiece)
        cap = request.cap or self._default_cap(piece)
        bits, work = prepared.plan.predict(cap)
        bond = int(min(cap, 2.0 ** min(bits, 60.0)))
        size = _memory(piece.subcircuit.num_qubits, bond)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"bonds of {bond} need {format_bytes(size)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        work += values_work(prepared.plan.site_of, request.strings, bond)
        return Cost(WORK_SECONDS * min(work, request.max_work), size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Plan the steps of a piece."""
        assert isinstance(piece, ExactTensor), "templates are refused"
        return MpsPiece(plan_chain(piece.subcircuit.circuit), self._default_cap(piece))

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
