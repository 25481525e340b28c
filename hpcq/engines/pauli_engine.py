"""The engine of near-Clifford circuits: Pauli propagation with bounds on the errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Device, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.clifford_frame import GATE_SECONDS, CliffordFrame
from hpcq.engines.gate_rotations import count_rotations
from hpcq.engines.pauli_propagation import (
    SECONDS_PER_WORK,
    check_projectors,
    largest_sums,
    propagate_frame,
)
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Values
from hpcq.engines.values_engine import ValuesEngine, ValuesPiece

DEFAULT_CAP = 1 << 13
"""Maximum number of terms where a request has none: 0.1 s for a string on 127 qubits that many
rotations change."""

_BYTES_PER_TERM = 120
"""Bytes of a term and of the copies made of it, with up to 128 qubits."""


class PauliPiece(ValuesPiece):
    """A circuit as rotations, followed by a Clifford.

    Args:
        frame: The frame.
    """

    def __init__(self, frame: CliffordFrame) -> None:
        self._frame = frame

    def values(self, request: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the request's strings and bounds on their errors."""
        found = propagate_frame(
            self._frame,
            request.strings,
            cap=request.cap or DEFAULT_CAP,
            tolerance=request.tolerance,
            max_work=request.max_work,
        )
        return found.values, found.bounds

    @property
    def memory_bytes(self) -> int:
        """Bytes of the tableau and the rotations."""
        return 4096 + self._frame.num_qubits**2 // 2 + self._frame.rotations.words.nbytes


class PauliEngine(ValuesEngine):
    """Pauli propagation of expectation values.

    Args:
        limits: Threads and memory; one thread is used.
        device: ``cpu``; a GPU is not used.
    """

    def __init__(self, limits: Limits, device: Device = "cpu") -> None:
        del device
        self.name = "pauli"
        self.work_seconds = SECONDS_PER_WORK
        self._limits = limits

    def cost(self, piece: ExactTensor, request: Values) -> Cost | Refusal:
        """Return an upper bound on the cost of a request, or why it is refused.

        The number of terms is not known before they are computed.
        """
        circuit = piece.subcircuit.circuit
        cap = request.cap or DEFAULT_CAP
        rotations = count_rotations(circuit)
        for string in request.strings:
            check_projectors(string, cap)
        terms, work = largest_sums(rotations, request.strings, cap)
        size = int(_BYTES_PER_TERM * max(1.0, circuit.num_qubits / 128) * terms)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"{terms} terms need {format_bytes(size)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        seconds = SECONDS_PER_WORK * min(work, request.max_work)
        return Cost(GATE_SECONDS * circuit.size() + seconds, size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Move the Cliffords of a piece behind its rotations."""
        assert isinstance(piece, ExactTensor), "the engine refuses all others"
        return PauliPiece(CliffordFrame.of(piece.subcircuit.circuit))
