"""In which subcircuit each gate of a circuit lies, and where the cuts are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcq.cutting.cut_circuit import subcircuit_segments
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Operation

_MAX_QUBITS = 30
_MAX_GATES = 1000
_MAX_CELLS = 6000


@dataclass(frozen=True)
class PlacedGate:
    """A gate of the circuit.

    Attributes:
        operation: The gate itself.
        qubits: The qubits that it acts on.
        homes: The subcircuit that each of them belongs to at this gate.
        cut: Its place among the two-qubit gates, if it is cut.
    """

    operation: Operation
    qubits: tuple[int, ...]
    homes: tuple[int, ...]
    cut: int | None = None


@dataclass(frozen=True)
class PlacedWireCut:
    """A cut wire.

    Attributes:
        qubits: The one qubit whose wire it is.
        homes: The subcircuits upstream and downstream.
        after: How many two-qubit gates of the qubit come before.
    """

    qubits: tuple[int]
    homes: tuple[int, int]
    after: int


DrawnStep = PlacedGate | PlacedWireCut


@dataclass(frozen=True)
class DrawnBond:
    """All that joins two subcircuits.

    Attributes:
        ends: The two, the lower number first.
        cuts: How many cut gates and wires there are between them.
        dimension: Range of their indices together: the product over the edges.
    """

    ends: tuple[int, int]
    cuts: int
    dimension: int

    def dimension_text(self) -> str:
        """Write the dimension, as a power if it is long."""
        if self.dimension < 1000:
            return str(self.dimension)
        return f"2^{math.log2(self.dimension):.4g}"


def place(circuit: QuantumCircuit, cuts: Cuts) -> list[DrawnStep]:
    """Return the circuit's gates and cut wires in order, each with its subcircuits."""
    home = {
        segment: number
        for number, segments in enumerate(subcircuit_segments(circuit, cuts))
        for segment in segments
    }
    cut_gates = {cut.gate for cut in cuts.gates}
    cut_wires = {(cut.qubit, cut.after) for cut in cuts.wires}
    index = {qubit: position for position, qubit in enumerate(circuit.qubits)}
    passed = [0] * circuit.num_qubits
    segment = [0] * circuit.num_qubits
    steps: list[DrawnStep] = []
    number = -1
    for instruction in circuit.data:
        qubits = tuple(index[qubit] for qubit in instruction.qubits)
        homes = tuple(home[qubit, segment[qubit]] for qubit in qubits)
        if len(qubits) == 1:
            steps.append(PlacedGate(instruction.operation, qubits, homes))
            continue
        number += 1
        cut = number if number in cut_gates else None
        steps.append(PlacedGate(instruction.operation, qubits, homes, cut))
        for qubit in qubits:
            passed[qubit] += 1
            if (qubit, passed[qubit]) in cut_wires:
                before = home[qubit, segment[qubit]]
                segment[qubit] += 1
                sides = (before, home[qubit, segment[qubit]])
                steps.append(PlacedWireCut((qubit,), sides, passed[qubit]))
    return steps


def fits_on_page(steps: Sequence[DrawnStep], num_qubits: int) -> bool:
    """Tell whether a drawing of all gates would still be readable."""
    if num_qubits > _MAX_QUBITS or len(steps) > _MAX_GATES:
        return False
    columns = [0] * num_qubits
    for step in steps:
        span = range(min(step.qubits), max(step.qubits) + 1)
        column = 1 + max(columns[qubit] for qubit in span)
        for qubit in span:
            columns[qubit] = column
    return max(columns) * (num_qubits + 1) <= _MAX_CELLS


def wires_of(steps: Sequence[DrawnStep], num_qubits: int) -> list[list[int]]:
    """Return the subcircuits that each qubit passes through; none for a qubit without gates."""
    homes: list[list[int]] = [[] for _ in range(num_qubits)]
    for step in steps:
        if isinstance(step, PlacedWireCut):
            homes[step.qubits[0]].append(step.homes[1])
        else:
            for qubit, number in zip(step.qubits, step.homes, strict=True):
                homes[qubit] = homes[qubit] or [number]
    return homes


def words(step: DrawnStep) -> str:
    """Say what is cut, as a plan does."""
    if isinstance(step, PlacedWireCut):
        return f"wire of qubit {step.qubits[0]} after its two-qubit gate number {step.after}"
    pair = ", ".join(map(str, step.qubits))
    return f"gate {step.cut}: {step.operation.name} on qubits {pair}"


def is_cut(step: DrawnStep) -> bool:
    """Tell cut gates and cut wires from whole gates."""
    return isinstance(step, PlacedWireCut) or step.cut is not None


def bonds(steps: Sequence[DrawnStep], cut: CutCircuit) -> list[DrawnBond]:
    """Return what joins each pair of different subcircuits, in order."""
    counts: Counter[tuple[int, int]] = Counter()
    for step in steps:
        if is_cut(step):
            counts[min(step.homes), max(step.homes)] += 1
    dimensions: dict[tuple[int, int], list[int]] = {}
    for edge in cut.edges:
        first, second = sorted(number for number, _ in edge.ends)
        dimensions.setdefault((first, second), []).append(edge.dimension)
    return [
        DrawnBond(pair, counts[pair], math.prod(dimensions.get(pair, ())))
        for pair in sorted(counts)
        if pair[0] != pair[1]
    ]


def count(number: int, noun: str) -> str:
    """Write how many there are.

    >>> count(1, "port"), count(2, "port")
    ('1 port', '2 ports')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
