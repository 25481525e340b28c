"""Represent a circuit as a list of steps that know the gates they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.circuit.library import UGate, UnitaryGate

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.gate_decompositions import PauliSum

WirePosition = tuple[int, int]
"""The position right after a qubit's n-th two-qubit gate, as (qubit, n) of the original circuit."""

_NO_ROTATION = 1e-15
"""Angle in radians below which a one-qubit gate is left out."""


@dataclass(frozen=True, slots=True)
class GateStep:
    """One gate.

    Attributes:
        operation: The gate.
        qubits: The one or two qubits that it acts on.
        origin: The two-qubit gates of the original circuit that it stands for, counted from 0.
        ends: For a two-qubit gate the position in the original circuit behind it on either qubit.
    """

    operation: Any
    qubits: tuple[int, ...]
    origin: tuple[int, ...] = ()
    ends: tuple[WirePosition, ...] = ()

    @property
    def is_pair(self) -> bool:
        """Whether it acts on two qubits."""
        return len(self.qubits) == 2


def steps_of(circuit: QuantumCircuit) -> list[GateStep]:
    """Return the steps of a circuit of one- and two-qubit gates."""
    passed = [0] * circuit.num_qubits
    steps, count = [], 0
    for instruction, qubits in CircuitAnalysis(circuit).steps:
        if len(qubits) == 1:
            steps.append(GateStep(instruction.operation, qubits))
            continue
        for qubit in qubits:
            passed[qubit] += 1
        ends = tuple([(qubit, passed[qubit]) for qubit in qubits])
        steps.append(GateStep(instruction.operation, qubits, (count,), ends))
        count += 1
    return steps


def circuit_of(steps: Sequence[GateStep], num_qubits: int) -> QuantumCircuit:
    """Return the circuit of some steps."""
    circuit = QuantumCircuit(num_qubits)
    wires = circuit.qubits
    for step in steps:
        qubits = tuple([wires[q] for q in step.qubits])
        circuit._append(CircuitInstruction(step.operation, qubits))
    return circuit


def matrix_of(operation: Any) -> NDArray[np.complex128]:
    """Return a gate's unitary matrix; the gate's first qubit is the lowest bit."""
    return np.asarray(operation.to_matrix(), dtype=complex)


def unitary(matrix: NDArray[np.complex128]) -> Any:
    """Return the gate of a unitary matrix."""
    return UnitaryGate(matrix, check_input=False)


def local_steps(step: GateStep, terms: PauliSum) -> list[GateStep]:
    """Return a two-qubit gate's one-qubit gates before and after its Pauli sum."""
    return [
        GateStep(UGate(*angles), (qubit,))
        for side, qubit in enumerate(step.qubits)
        for angles in (terms.before[side], terms.after[side])
        if abs(angles[0]) > _NO_ROTATION or abs(angles[1] + angles[2]) > _NO_ROTATION
    ]
