"""What a drawing shows: gates with their subcircuits, cut wires, and bonds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import subcircuit_segments
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Operation

_MAX_QUBITS = 30
_MAX_GATES = 1000
_MAX_CELLS = 6000
"""Largest circuit that is drawn gate by gate: qubits, steps, and columns times wires. The gates of
a larger one could not be read."""


@dataclass(frozen=True)
class DrawnGate:
    """A gate of the circuit.

    Attributes:
        operation: The gate itself.
        qubits: The qubits that it acts on.
        subcircuits: Number of the subcircuit that each qubit belongs to at this gate.
        cut: The gate's number among the two-qubit gates if it is cut, otherwise None.
    """

    operation: Operation
    qubits: tuple[int, ...]
    subcircuits: tuple[int, ...]
    cut: int | None = None


@dataclass(frozen=True)
class DrawnWireCut:
    """A cut wire.

    Attributes:
        qubits: The qubit whose wire is cut.
        subcircuits: Numbers of the subcircuits before and after the cut.
        after: Number of two-qubit gates on the qubit before the cut.
    """

    qubits: tuple[int]
    subcircuits: tuple[int, int]
    after: int


DrawnStep = DrawnGate | DrawnWireCut


@dataclass(frozen=True)
class DrawnBond:
    """All cuts between two subcircuits.

    Attributes:
        ends: Numbers of the two subcircuits, ascending.
        cuts: Number of cut gates and wires between them.
        dimension: Product of the dimensions of the edges between them.
    """

    ends: tuple[int, int]
    cuts: int
    dimension: int

    def dimension_text(self) -> str:
        """Return the dimension as text, as a power of two from 1000 on."""
        if self.dimension < 1000:
            return str(self.dimension)
        return f"2^{math.log2(self.dimension):.4g}"


def drawn_steps(circuit: QuantumCircuit, cuts: Cuts) -> list[DrawnStep]:
    """Return a circuit's gates and cut wires in order, each with its subcircuits."""
    analysis = CircuitAnalysis(circuit)
    subcircuit_of = {
        segment: number
        for number, segments in enumerate(subcircuit_segments(analysis, cuts))
        for segment in segments
    }
    cut_gates = {cut.gate for cut in cuts.gates}
    cut_wires = {(cut.qubit, cut.after) for cut in cuts.wires}
    passed = [0] * circuit.num_qubits
    segment = [0] * circuit.num_qubits
    steps: list[DrawnStep] = []
    number = -1
    for instruction, qubits in analysis.steps:
        subcircuits = tuple(subcircuit_of[qubit, segment[qubit]] for qubit in qubits)
        if len(qubits) == 1:
            steps.append(DrawnGate(instruction.operation, qubits, subcircuits))
            continue
        number += 1
        cut = number if number in cut_gates else None
        steps.append(DrawnGate(instruction.operation, qubits, subcircuits, cut))
        for qubit in qubits:
            passed[qubit] += 1
            if (qubit, passed[qubit]) in cut_wires:
                before = subcircuit_of[qubit, segment[qubit]]
                segment[qubit] += 1
                sides = (before, subcircuit_of[qubit, segment[qubit]])
                steps.append(DrawnWireCut((qubit,), sides, passed[qubit]))
    return steps


def fits_on_page(steps: Sequence[DrawnStep], num_qubits: int) -> bool:
    """Return whether a drawing of all gates is small enough to be read."""
    if num_qubits > _MAX_QUBITS or len(steps) > _MAX_GATES:
        return False
    columns = [0] * num_qubits
    for step in steps:
        span = range(min(step.qubits), max(step.qubits) + 1)
        column = 1 + max(columns[qubit] for qubit in span)
        for qubit in span:
            columns[qubit] = column
    return max(columns) * (num_qubits + 1) <= _MAX_CELLS


def subcircuits_of_wires(steps: Sequence[DrawnStep], num_qubits: int) -> list[list[int]]:
    """Return the subcircuits along each qubit's wire; none for a qubit without gates."""
    numbers: list[list[int]] = [[] for _ in range(num_qubits)]
    for step in steps:
        if isinstance(step, DrawnWireCut):
            numbers[step.qubits[0]].append(step.subcircuits[1])
        else:
            for qubit, number in zip(step.qubits, step.subcircuits, strict=True):
                numbers[qubit] = numbers[qubit] or [number]
    return numbers


def describe_cut(step: DrawnStep) -> str:
    """Return a description of a cut in the words of a plan."""
    if isinstance(step, DrawnWireCut):
        return f"wire of qubit {step.qubits[0]} after its two-qubit gate number {step.after}"
    pair = ", ".join(map(str, step.qubits))
    return f"gate {step.cut}: {step.operation.name} on qubits {pair}"


def is_cut(step: DrawnStep) -> bool:
    """Return whether a step is a cut gate or a cut wire."""
    return isinstance(step, DrawnWireCut) or step.cut is not None


def bonds(steps: Sequence[DrawnStep], cut: CutCircuit) -> list[DrawnBond]:
    """Return the bond of each pair of joined subcircuits, in order."""
    ends = (step.subcircuits for step in steps if is_cut(step))
    counts = Counter((min(pair), max(pair)) for pair in ends)
    dimensions: dict[tuple[int, int], list[int]] = {}
    for edge in cut.edges:
        first, second = sorted(number for number, _ in edge.ends)
        dimensions.setdefault((first, second), []).append(edge.dimension)
    return [
        DrawnBond(pair, counts[pair], math.prod(dimensions.get(pair, ())))
        for pair in sorted(counts)
        if pair[0] != pair[1]
    ]
