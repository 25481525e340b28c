"""How much work a circuit's gates are for a statevector simulator that fuses them.

Seen with Aer 0.18: up to 14 qubits every gate is applied by itself, and what counts is how long
it takes to hand it over. Above, one-qubit gates disappear in the two-qubit gates next to them, and
each of those is a pass over the state; a diagonal one that follows another costs far less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_QUICK_TO_HAND_OVER = frozenset(
    ("cx", "cy", "cz", "csx", "swap", "ecr", "rxx", "ryy", "rzz", "rzx")
)
_SLOW_TO_HAND_OVER = 3.0
_DIAGONAL = frozenset(("rz", "p", "z", "s", "sdg", "t", "tdg", "u1", "id"))
_DIAGONAL_PAIRS = frozenset(("rzz", "cp", "crz", "cu1", "cs", "csdg"))
_PASS_AFTER_PAIR = 0.5
_PASS_OF_DIAGONAL = 0.25


@dataclass(frozen=True)
class Load:
    """The gates of a circuit, counted by the work that they are.

    Attributes:
        gates: Gates to hand over; those that go as matrices or by detours count several times.
        passes: Passes over the state once gates are fused.
    """

    gates: float
    passes: float

    @classmethod
    def of(cls, circuit: QuantumCircuit) -> Load:
        """Count a circuit of gates on one or two qubits."""
        gates = passes = 0.0
        turned = set()
        for instruction in circuit.data:
            name, qubits = instruction.name, instruction.qubits
            if len(qubits) < 2:
                gates += _SLOW_TO_HAND_OVER if name == "unitary" else 1
                if name not in _DIAGONAL:
                    turned.update(qubits)
                continue
            gates += 1 if name in _QUICK_TO_HAND_OVER else _SLOW_TO_HAND_OVER
            if name == "unitary" or not turned.isdisjoint(qubits):
                passes += 1
            else:
                passes += _PASS_OF_DIAGONAL if name in _DIAGONAL_PAIRS else _PASS_AFTER_PAIR
            turned.difference_update(qubits)
        return cls(gates, passes)
