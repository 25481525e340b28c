"""The engine of Clifford circuits: exact expectation values and samples from stim's tableaus.

The Paulis of a string are conjugated by the circuit, in time linear in the number of qubits.
Projectors are measured one after the other on the stabilizer state, each with probability 0, 1/2 or
1, so that a string may hold any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.circuits.pauli_text import AXES, PROJECTED_BITS, PauliString
from hpcq.core.errors import InputError
from hpcq.core.limits import Device, Limits
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.clifford_frame import GATE_SECONDS, CliffordFrame, split_projectors
from hpcq.engines.gate_rotations import first_rotating_gate
from hpcq.engines.protocol import Cost, Piece, PreparedPiece, Refusal
from hpcq.engines.requests import Samples, Values
from hpcq.engines.sampled_outcomes import SampledOutcomes
from hpcq.engines.stabilizer_samples import StabilizerSupport
from hpcq.engines.values_engine import ValuesEngine, ValuesPiece

STRING_SECONDS = 1e-5
"""Seconds of one string on 300 qubits, without its projectors."""

PROJECTOR_SECONDS = 1.5e-7
"""Seconds of one projector for each qubit of the circuit; 300 random ones on 300 qubits took 13
ms."""


def stabilizer_values(
    circuit: QuantumCircuit, strings: Sequence[PauliString]
) -> NDArray[np.float64]:
    """Return the expectation values of strings on a Clifford circuit, shape (strings,).

    Raises:
        InputError: If the circuit is not Clifford, or not of one- and two-qubit gates.
    """
    return frame_values(clifford_frame(circuit), strings)


def clifford_frame(circuit: QuantumCircuit) -> CliffordFrame:
    """Return the frame of a Clifford circuit, which has no rotations.

    Raises:
        InputError: If the circuit is not Clifford, or not of one- and two-qubit gates.
    """
    frame = CliffordFrame.of(circuit)
    if len(frame.angles):
        raise InputError(
            f"circuit: {first_rotating_gate(circuit)} is not Clifford, expected Clifford gates"
        )
    return frame


def frame_values(frame: CliffordFrame, strings: Sequence[PauliString]) -> NDArray[np.float64]:
    """Return the expectation values of strings in the state of a frame's Clifford."""
    return np.array([_value(frame, string) for string in strings], dtype=np.float64)


def _value(frame: CliffordFrame, string: PauliString) -> float:
    paulis, projectors = split_projectors(string)
    if not projectors:
        image = frame.observable(paulis)
        x, _ = image.to_numpy(bit_packed=True)
        return 0.0 if x.any() else float(image.sign.real)
    state = frame.simulator.copy()
    probability = 1.0
    for wire, letter in projectors:
        axis, bit = AXES[letter], PROJECTED_BITS[letter]
        peek = getattr(state, f"peek_{axis.lower()}")(wire)
        if peek == (-1 if bit == 0 else 1):
            return 0.0
        if peek == 0:
            probability /= 2
            getattr(state, f"postselect_{axis.lower()}")(wire, desired_value=bool(bit))
    if not paulis:
        return probability
    observable = stim.PauliString(frame.num_qubits)
    for wire, letter in paulis:
        observable[wire] = letter
    return probability * float(state.peek_observable_expectation(observable))


class StabilizerPiece(ValuesPiece):
    """A Clifford circuit as a tableau.

    Args:
        circuit: The circuit.
    """

    def __init__(self, circuit: QuantumCircuit) -> None:
        self._frame = clifford_frame(circuit)

    def values(self, request: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values of the request's strings and bounds on their errors."""
        values = frame_values(self._frame, request.strings)
        return values, np.zeros_like(values)

    def samples(
        self, row: NDArray[np.float64], request: Samples, rng: np.random.Generator
    ) -> SampledOutcomes:
        """Draw outcomes."""
        assert not row.size, "a gate whose angle is a parameter is not Clifford"
        return self.support.sample(request.shots, rng)

    @cached_property
    def support(self) -> StabilizerSupport:
        """The outcomes that the state can have."""
        return StabilizerSupport.of(self._frame.tableau.inverse(), self._frame.simulator)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the tableau, of the simulator's copy, 4 n^2 bits each, and of the support."""
        return 4096 + 9 * self._frame.num_qubits**2 // 8


class StabilizerEngine(ValuesEngine):
    """Expectation values and samples of Clifford circuits.

    Args:
        limits: Threads and memory; one thread is used.
        device: ``cpu``; a GPU is not used.
    """

    def __init__(self, limits: Limits, device: Device = "cpu") -> None:
        del device
        self.name = "stabilizer"
        self._limits = limits

    def cost(self, piece: ExactTensor, request: Values) -> Cost | Refusal:
        """Return the predicted cost of a request, or why it is refused."""
        circuit = piece.subcircuit.circuit
        gate = first_rotating_gate(circuit)
        if gate is not None:
            return Refusal(f"{gate} is not Clifford")
        projectors = sum(len(split_projectors(string)[1]) for string in request.strings)
        seconds = GATE_SECONDS * circuit.size() + STRING_SECONDS * len(request.strings)
        seconds += PROJECTOR_SECONDS * circuit.num_qubits * projectors
        return Cost(seconds, 4096 + 2 * circuit.num_qubits**2)

    def samples_cost(self, piece: ExactTensor, request: Samples) -> Cost | Refusal:
        """Return the predicted cost of samples, or why they are refused."""
        answer = self.cost(piece, Values(()))
        if isinstance(answer, Refusal):
            return answer
        prepared = self.prepared(piece)
        assert isinstance(prepared, StabilizerPiece)
        support = prepared.support
        size = support.sample_bytes(request.shots)
        if size > self._limits.memory_bytes:
            return Refusal(
                f"{request.shots} shots need {format_bytes(size)}, a rank has "
                f"{format_bytes(self._limits.memory_bytes)}"
            )
        return Cost(answer.seconds + support.sample_seconds(request.shots), size)

    def prepare(self, piece: Piece) -> PreparedPiece:
        """Compute the tableau of a piece."""
        assert isinstance(piece, ExactTensor), "the engine refuses all others"
        return StabilizerPiece(piece.subcircuit.circuit)
