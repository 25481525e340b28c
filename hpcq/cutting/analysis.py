"""A circuit as cutting sees it: its two-qubit gates as Pauli sums, and the runs they form.

A **run** is a longest row of two-qubit gates on one wire that are all functions of one and the
same Pauli there, such as the control side of CX gates, or a layer of RZZ gates; one-qubit gates
in between may turn that Pauli. Gates of a run commute on the wire, so whatever is cut of them can
share one port.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from hpcq.cutting.gate_decompositions import PauliSum, Vector, axis, pauli_sum, turned

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction

GateRun = tuple[int, int]
"""A run, counted over all wires, and the sign with which a gate takes its Pauli."""

_SAME_AXIS = 1e-12


class CircuitAnalysis:
    """What is known of a circuit before it is cut; all of it is worked out when first asked for.

    Args:
        circuit: The circuit: unitary gates on one or two qubits.
        numbers: What to call each two-qubit gate; its number if nothing is said.
        places: What to call the places on the wires, (qubit, gates before); likewise.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        numbers: Sequence[str] | None = None,
        places: Mapping[tuple[int, int], tuple[int, int]] | None = None,
    ) -> None:
        self.circuit = circuit
        self._numbers = numbers
        self._places = places or {}
        index = {qubit: position for position, qubit in enumerate(circuit.qubits)}
        self.steps: list[tuple[CircuitInstruction, tuple[int, ...]]] = [
            (instruction, tuple([index[q] for q in instruction.qubits]))
            for instruction in circuit.data
        ]

    @property
    def num_qubits(self) -> int:
        """Number of qubits of the circuit."""
        return int(self.circuit.num_qubits)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Qubits of each two-qubit gate."""
        return [(qubits[0], qubits[1]) for _, qubits in self.steps if len(qubits) == 2]

    @cached_property
    def sums(self) -> list[PauliSum]:
        """Pauli sum of each two-qubit gate."""
        return [pauli_sum(step.operation) for step, qubits in self.steps if len(qubits) == 2]

    @cached_property
    def names(self) -> list[str]:
        """Number and kind of each two-qubit gate, in words."""
        kinds = [step.name for step, qubits in self.steps if len(qubits) == 2]
        numbers = self._numbers or [str(number) for number in range(len(kinds))]
        return [f"{number}: {kind}" for number, kind in zip(numbers, kinds, strict=True)]

    def place(self, qubit: int, after: int) -> tuple[int, int]:
        """Return what to call a place on a wire."""
        return self._places.get((qubit, after), (qubit, after))

    @cached_property
    def bits(self) -> list[float]:
        """Bits of the dimension of each two-qubit gate's cut: 0, 1 or 2."""
        return [math.log2(terms.dimension) for terms in self.sums]

    @cached_property
    def overheads(self) -> list[float]:
        """log2 of the factor gamma squared of each two-qubit gate's cut."""
        return [math.log2(terms.sampling_overhead) for terms in self.sums]

    @cached_property
    def runs(self) -> list[tuple[GateRun, GateRun] | None]:
        """The runs of each two-qubit gate on its two wires; None unless its dimension is 2."""
        found: list[tuple[GateRun, GateRun] | None] = []
        current: list[tuple[int, Vector] | None] = [None] * self.num_qubits
        count = 0
        for instruction, qubits in self.steps:
            if len(qubits) == 1:
                run = current[qubits[0]]
                if run is not None:
                    current[qubits[0]] = (run[0], turned(run[1], instruction.operation))
                continue
            terms = self.sums[len(found)]
            if terms.dimension != 2:
                for side, qubit in enumerate(qubits):
                    run = current[qubit]
                    if terms.dimension == 4 or run is None:
                        current[qubit] = None
                    else:
                        current[qubit] = (run[0], _turned_alone(run[1], terms, side))
                found.append(None)
                continue
            ends = []
            for side, qubit in enumerate(qubits):
                before, after = axis(terms.before[side], True), axis(terms.after[side], False)
                run = current[qubit]
                sign = 0 if run is None else _sign(run[1], before)
                if run is None or not sign:
                    run, sign = (count, before), 1
                    count += 1
                current[qubit] = (run[0], (sign * after[0], sign * after[1], sign * after[2]))
                ends.append((run[0], sign))
            found.append((ends[0], ends[1]))
        return found


def _turned_alone(vector: Vector, terms: PauliSum, side: int) -> Vector:
    """Turn a Pauli vector as a gate does that acts on each of its qubits alone."""
    from qiskit.circuit.library import UGate

    for angles in (terms.before[side], terms.after[side]):
        vector = turned(vector, UGate(*angles))
    return vector


def _sign(a: Vector, b: Vector) -> int:
    """Return 1 or -1 if two unit vectors are equal or opposite, else 0."""
    if math.dist(a, b) < _SAME_AXIS:
        return 1
    return -1 if math.dist(a, (-b[0], -b[1], -b[2])) < _SAME_AXIS else 0
