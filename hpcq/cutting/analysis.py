"""Analyse a circuit for cutting: its two-qubit gates as Pauli sums, and the runs they form.

A **run** is a maximal sequence of two-qubit gates on one wire that are all functions of the same
Pauli there, such as the control side of CX gates, or a layer of RZZ gates; one-qubit gates in
between may rotate that Pauli. The gates of a run commute on the wire, so those of them that are cut
can share one port.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.circuit.library import UGate

from hpcq.cutting.gate_decompositions import (
    PauliSum,
    Vector,
    axis,
    conjugated,
    pauli_sum,
    relative_sign,
)

GateRun = tuple[int, int]
"""The number of a run, counted over all wires, and the sign of a gate's Pauli in it."""


class CircuitAnalysis:
    """Properties of a circuit that cutting needs, each computed at its first use.

    Args:
        circuit: The circuit: unitary gates on one or two qubits.
        numbers: The name of each two-qubit gate; by default its number.
        positions: The name (qubit, two-qubit gates before) of each position on a wire; by default
            the position itself.
    """

    def __init__(
        self,
        circuit: QuantumCircuit,
        numbers: Sequence[str] | None = None,
        positions: Mapping[tuple[int, int], tuple[int, int]] | None = None,
    ) -> None:
        self.circuit = circuit
        self._numbers = numbers
        self._positions = positions or {}
        index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
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
        """Number and name of each two-qubit gate, for messages."""
        kinds = [step.name for step, qubits in self.steps if len(qubits) == 2]
        numbers = self._numbers or [str(number) for number in range(len(kinds))]
        return [f"{number}: {kind}" for number, kind in zip(numbers, kinds, strict=True)]

    def original_position(self, qubit: int, after: int) -> tuple[int, int]:
        """Return the name of a position on a wire: where it is in the original circuit."""
        return self._positions.get((qubit, after), (qubit, after))

    @cached_property
    def bits(self) -> list[float]:
        """Bits of the dimension of each two-qubit gate's cut: 0, 1 or 2."""
        return [math.log2(terms.dimension) for terms in self.sums]

    @cached_property
    def overheads(self) -> list[float]:
        """log2 of the sampling overhead gamma squared of each two-qubit gate's cut."""
        return [math.log2(terms.sampling_overhead) for terms in self.sums]

    @cached_property
    def runs(self) -> list[tuple[GateRun, GateRun] | None]:
        """The runs of each two-qubit gate on its two wires; None unless its dimension is 2."""
        runs: list[tuple[GateRun, GateRun] | None] = []
        current: list[tuple[int, Vector] | None] = [None] * self.num_qubits
        count = 0
        for instruction, qubits in self.steps:
            if len(qubits) == 1:
                run = current[qubits[0]]
                if run is not None:
                    current[qubits[0]] = (run[0], conjugated(run[1], instruction.operation))
                continue
            terms = self.sums[len(runs)]
            if terms.dimension != 2:
                for side, qubit in enumerate(qubits):
                    run = current[qubit]
                    if terms.dimension == 4 or run is None:
                        current[qubit] = None
                    else:
                        current[qubit] = (run[0], _conjugated_by_local_gates(run[1], terms, side))
                runs.append(None)
                continue
            ends = []
            for side, qubit in enumerate(qubits):
                before, after = axis(terms.before[side], True), axis(terms.after[side], False)
                run = current[qubit]
                sign = 0 if run is None else relative_sign(run[1], before)
                if run is None or not sign:
                    run, sign = (count, before), 1
                    count += 1
                current[qubit] = (run[0], (sign * after[0], sign * after[1], sign * after[2]))
                ends.append((run[0], sign))
            runs.append((ends[0], ends[1]))
        return runs


def _conjugated_by_local_gates(vector: Vector, terms: PauliSum, side: int) -> Vector:
    """Return a Pauli vector conjugated by one side of a gate that is a product of local gates."""
    for angles in (terms.before[side], terms.after[side]):
        vector = conjugated(vector, UGate(*angles))
    return vector
