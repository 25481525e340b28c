"""Count the work that a circuit's gates are for a statevector simulator with gate fusion.

Observed with Aer 0.18: up to 14 qubits every gate is applied separately, and passing the gates
to Aer takes the time. Above, one-qubit gates are fused into the two-qubit gates next to them, and
each of these is a pass over the state; a diagonal one that follows another costs far less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_CHEAP_TO_PASS = frozenset(("cx", "cy", "cz", "csx", "swap", "ecr", "rxx", "ryy", "rzz", "rzx"))
"""Two-qubit gates that Aer takes as quickly as a one-qubit gate."""

_COSTLY_GATE = 3.0
"""Time to pass any other two-qubit gate, or a matrix, to Aer, in units of a one-qubit gate's."""

_DIAGONAL = frozenset(("rz", "p", "z", "s", "sdg", "t", "tdg", "u1", "id"))
_DIAGONAL_PAIRS = frozenset(("rzz", "cp", "crz", "cu1", "cs", "csdg"))

_PASS_AFTER_PAIR = 0.5
_PASS_OF_DIAGONAL = 0.25
"""Cost of a two-qubit gate with no rotation on its qubits since the last one, in passes over the
state, if it is not diagonal and if it is."""


@dataclass(frozen=True)
class Load:
    """The work of simulating a circuit's gates.

    Attributes:
        gates: Number of gates to pass to Aer, with those that cost more counted several times.
        passes: Number of passes over the state after gate fusion.
    """

    gates: float
    passes: float

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> Load:
        """Count the work of a circuit of gates on one or two qubits."""
        gates = passes = 0.0
        rotated = set()
        for instruction in circuit.data:
            name, qubits = instruction.name, instruction.qubits
            if len(qubits) < 2:
                gates += _COSTLY_GATE if name == "unitary" else 1
                if name not in _DIAGONAL:
                    rotated.update(qubits)
                continue
            gates += 1 if name in _CHEAP_TO_PASS else _COSTLY_GATE
            if name == "unitary" or not rotated.isdisjoint(qubits):
                passes += 1
            else:
                passes += _PASS_OF_DIAGONAL if name in _DIAGONAL_PAIRS else _PASS_AFTER_PAIR
            rotated.difference_update(qubits)
        return cls(gates, passes)
