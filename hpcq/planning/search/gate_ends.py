"""The graph that is partitioned: its nodes are the ends of two-qubit gates on their wires.

An edge joins the two ends of a gate, and two ends that follow each other on a wire. A partition of
the nodes is a cut circuit: gates between parts are cut as gates, wires between parts as wires.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import WIRE_OVERHEAD
from hpcq.cutting.cuts import Cuts, GateCut, WireCut

WIRE_BITS = math.log2(WIRE_OVERHEAD)
"""log2 of the factor gamma squared of a cut wire."""


@dataclass(frozen=True, eq=False)
class EndGraph:
    """The ends of the gates of one connected part of a circuit.

    End 2 g + side belongs to gate g, counted within this part.

    Attributes:
        gates: The gates' numbers in the circuit.
        qubits: The qubits, ascending; wire w is that of ``qubits[w]``.
        wire: Wire of each end.
        place: How many gates of its wire come before the end.
        before: The end before it on its wire, or -1.
        after: The end behind it on its wire, or -1.
        bits: Bits of the dimension of each gate's cut.
        overhead: log2 of the factor gamma squared of each gate's cut.
        run: For each gate a run that may own its cut, or -1.
        owner: The end of each gate that is in that run.
        load: Number of gates that go with each end, a two-qubit gate half with each of its ends.
        strings: How many Pauli strings are asked for on the wire that ends here.
    """

    gates: tuple[int, ...]
    qubits: tuple[int, ...]
    wire: list[int]
    place: list[int]
    before: list[int]
    after: list[int]
    bits: list[int]
    overhead: list[float]
    run: list[int]
    owner: list[int]
    load: list[float]
    strings: list[float]

    @property
    def num_ends(self) -> int:
        """Number of nodes."""
        return len(self.wire)

    @property
    def num_wires(self) -> int:
        """Number of qubits."""
        return len(self.qubits)

    @cached_property
    def likeness(self) -> tuple[object, ...]:
        """Equal for parts that are cut alike."""
        return (
            tuple(self.wire),
            tuple(self.bits),
            tuple(self.run),
            tuple(round(value, 9) for value in self.overhead),
            tuple(self.load),
            tuple(round(value, 9) for value in self.strings),
        )

    def cuts(self, labels: Sequence[int]) -> Cuts:
        """Return the cuts that a partition of the ends makes."""
        gates = []
        for gate, number in enumerate(self.gates):
            a, b = 2 * gate, 2 * gate + 1
            if labels[a] != labels[b]:
                gates.append(
                    GateCut(number, (self.qubits[self.wire[a]], self.qubits[self.wire[b]]))
                )
        wires = [
            WireCut(self.qubits[self.wire[end]], self.place[end])
            for end, before in enumerate(self.before)
            if before >= 0 and labels[before] != labels[end]
        ]
        return Cuts(tuple(gates), tuple(sorted(wires)))

    def overhead_of(self, labels: Sequence[int]) -> float:
        """Return log2 of the factor gamma squared of the cuts that a partition makes."""
        gates = [
            bits
            for gate, bits in enumerate(self.overhead)
            if labels[2 * gate] != labels[2 * gate + 1]
        ]
        wires = [
            WIRE_BITS
            for end, before in enumerate(self.before)
            if before >= 0 and labels[before] != labels[end]
        ]
        return math.fsum(gates + wires)

    def separated(self, labels: Sequence[int]) -> list[int]:
        """Return labels of their own for pieces of a part that nothing joins."""
        found = [-1] * self.num_ends
        for first in range(self.num_ends):
            if found[first] >= 0:
                continue
            found[first] = first
            todo = [first]
            while todo:
                end = todo.pop()
                for other in (end ^ 1, self.before[end], self.after[end]):
                    if other >= 0 and found[other] < 0 and labels[other] == labels[end]:
                        found[other] = first
                        todo.append(other)
        return found

    def from_wires(self, labels: Sequence[int]) -> list[int]:
        """Return the labels of the ends where each wire has one label."""
        return [labels[wire] for wire in self.wire]


def end_graphs(analysis: CircuitAnalysis, strings: Sequence[float]) -> Iterator[EndGraph]:
    """Yield the graph of every connected part of a circuit that has gates.

    Args:
        analysis: The circuit.
        strings: How many Pauli strings are asked for on each qubit.
    """
    root = list(range(analysis.num_qubits))

    def find(qubit: int) -> int:
        while root[qubit] != qubit:
            root[qubit] = root[root[qubit]]
            qubit = root[qubit]
        return qubit

    for a, b in analysis.pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    members: dict[int, list[int]] = {}
    for gate, (a, _) in enumerate(analysis.pairs):
        members.setdefault(find(a), []).append(gate)
    owners = _owners(analysis)
    extra = _one_qubit_gates(analysis)
    for part in sorted(members):
        yield _graph(analysis, members[part], strings, owners, extra)


def _graph(
    analysis: CircuitAnalysis,
    gates: Sequence[int],
    strings: Sequence[float],
    owners: Sequence[tuple[int, int]],
    extra: Sequence[tuple[int, int]],
) -> EndGraph:
    qubits = sorted({qubit for gate in gates for qubit in analysis.pairs[gate]})
    number = {qubit: wire for wire, qubit in enumerate(qubits)}
    runs: dict[int, int] = {}
    last = [-1] * len(qubits)
    wire: list[int] = []
    place: list[int] = []
    before: list[int] = []
    after = [-1] * (2 * len(gates))
    for gate in gates:
        for qubit in analysis.pairs[gate]:
            own = number[qubit]
            end = len(wire)
            wire.append(own)
            before.append(last[own])
            place.append(0 if last[own] < 0 else place[last[own]] + 1)
            if last[own] >= 0:
                after[last[own]] = end
            last[own] = end
    ending = [0.0] * len(wire)
    for own, end in enumerate(last):
        ending[end] = strings[qubits[own]]
    return EndGraph(
        tuple(gates),
        tuple(qubits),
        wire,
        place,
        before,
        after,
        [int(analysis.bits[gate]) for gate in gates],
        [analysis.overheads[gate] for gate in gates],
        [runs.setdefault(owners[g][0], len(runs)) if owners[g][0] >= 0 else -1 for g in gates],
        [2 * local + owners[gate][1] for local, gate in enumerate(gates)],
        [0.5 + count for gate in gates for count in extra[gate]],
        ending,
    )


def _owners(analysis: CircuitAnalysis) -> list[tuple[int, int]]:
    """Choose for each gate the larger of its two runs, as (run, side); -1 for none."""
    size: dict[int, int] = {}
    for runs in analysis.runs:
        for run, _ in runs or ():
            size[run] = size.get(run, 0) + 1
    chosen = []
    for runs in analysis.runs:
        if runs is None:
            chosen.append((-1, 0))
        else:
            side = 0 if size[runs[0][0]] >= size[runs[1][0]] else 1
            chosen.append((runs[side][0], side))
    return chosen


def _one_qubit_gates(analysis: CircuitAnalysis) -> list[tuple[int, int]]:
    """Count the one-qubit gates right before each end of each two-qubit gate."""
    waiting = [0] * analysis.num_qubits
    counts = []
    for _, qubits in analysis.steps:
        if len(qubits) == 1:
            waiting[qubits[0]] += 1
        else:
            counts.append((waiting[qubits[0]], waiting[qubits[1]]))
            waiting[qubits[0]] = waiting[qubits[1]] = 0
    return counts
