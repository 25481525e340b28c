"""The graph that is partitioned, whose nodes are the ends of two-qubit gates on their wires.

An edge joins the two ends of a gate, and two ends that follow each other on a wire. A partition of
the nodes is a cut circuit: a gate whose ends lie in two parts is cut as a gate, a wire between two
parts as a wire.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import rustworkx

from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import WIRE_OVERHEAD
from hpcq.cutting.cuts import Cuts, GateCut, WireCut

WIRE_BITS = math.log2(WIRE_OVERHEAD)
"""log2 of the sampling overhead of a cut wire."""


@dataclass(frozen=True, eq=False)
class EndGraph:
    """The gate ends of one connected component of a circuit.

    End 2 g + side belongs to gate g, counted within this component.

    Attributes:
        gates: Numbers of the gates in the circuit.
        qubits: The qubits in ascending order; wire w is that of ``qubits[w]``.
        wire: Wire of each end.
        position: Number of two-qubit gates before each end on its wire.
        before: The end before each end on its wire, or -1.
        after: The end after each end on its wire, or -1.
        bits: Bits of the dimension of each gate's cut.
        overhead: log2 of the sampling overhead of each gate's cut.
        run: The run (see :mod:`hpcq.cutting.analysis`) in which each gate may share a port, or -1.
        run_end: The end of each gate that lies in that run.
        load: Number of gates counted at each end: half a two-qubit gate, and the one-qubit gates
            right before it.
        strings: Number of Pauli strings requested on the wire whose last end this is, else 0.
    """

    gates: tuple[int, ...]
    qubits: tuple[int, ...]
    wire: list[int]
    position: list[int]
    before: list[int]
    after: list[int]
    bits: list[int]
    overhead: list[float]
    run: list[int]
    run_end: list[int]
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
    def num_pairs(self) -> int:
        """Number of pairs of wires that two-qubit gates join."""
        wires = self.wire
        return len({frozenset(pair) for pair in zip(wires[::2], wires[1::2], strict=True)})

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """A value that is equal for components that can be cut alike."""
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
        qubit_of = [self.qubits[wire] for wire in self.wire]
        gates, ends = self._cut(labels)
        return Cuts(
            tuple(GateCut(self.gates[g], (qubit_of[2 * g], qubit_of[2 * g + 1])) for g in gates),
            tuple(sorted(WireCut(qubit_of[end], self.position[end]) for end in ends)),
        )

    def labels_of_cuts(self, cuts: Cuts) -> list[int]:
        """Return labels that differ between the pieces into which cuts divide the component."""
        cut_gates = {cut.gate for cut in cuts.gates}
        cut_wires = {(cut.qubit, cut.after) for cut in cuts.wires}
        gate_is_cut = [gate in cut_gates for gate in self.gates]
        wire_is_cut = [
            (self.qubits[wire], position) in cut_wires
            for wire, position in zip(self.wire, self.position, strict=True)
        ]

        def neighbours(end: int) -> Iterator[int]:
            if not gate_is_cut[end >> 1]:
                yield end ^ 1
            if not wire_is_cut[end]:
                yield self.before[end]
            after = self.after[end]
            if after >= 0 and not wire_is_cut[after]:
                yield after

        return self._connected(neighbours)

    def overhead_of(self, labels: Sequence[int]) -> float:
        """Return log2 of the sampling overhead of the cuts that a partition makes."""
        gates, ends = self._cut(labels)
        return math.fsum([*(self.overhead[gate] for gate in gates), *([WIRE_BITS] * len(ends))])

    def _cut(self, labels: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the gates that a partition cuts, and the ends before which it cuts wires."""
        gates = [g for g in range(len(self.gates)) if labels[2 * g] != labels[2 * g + 1]]
        before = enumerate(self.before)
        return gates, [end for end, b in before if b >= 0 and labels[b] != labels[end]]

    def split_disconnected(self, labels: Sequence[int]) -> list[int]:
        """Return labels that differ between the unconnected pieces of each part."""

        def neighbours(end: int) -> Iterator[int]:
            for other in (end ^ 1, self.before[end], self.after[end]):
                if other >= 0 and labels[other] == labels[end]:
                    yield other

        return self._connected(neighbours)

    def _connected(self, neighbours: Callable[[int], Iterable[int]]) -> list[int]:
        """Return for each end the first one that is connected to it; -1 is no neighbour."""
        first_of = [-1] * self.num_ends
        for first in range(self.num_ends):
            if first_of[first] >= 0:
                continue
            first_of[first] = first
            pending = [first]
            while pending:
                for other in neighbours(pending.pop()):
                    if other >= 0 and first_of[other] < 0:
                        first_of[other] = first
                        pending.append(other)
        return first_of

    def labels_of_wires(self, labels: Sequence[int]) -> list[int]:
        """Return the labels of the ends from one label for each wire."""
        return [labels[wire] for wire in self.wire]


def end_graphs(analysis: CircuitAnalysis, strings: Sequence[float]) -> Iterator[EndGraph]:
    """Yield the graph of every connected component of a circuit that has two-qubit gates.

    ``strings`` counts the Pauli strings that are requested on each qubit.
    """
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(analysis.num_qubits))
    graph.add_edges_from_no_data(list(set(analysis.pairs)))
    components = sorted(rustworkx.connected_components(graph), key=min)
    component_of = {q: number for number, qubits in enumerate(components) for q in qubits}
    gates_of: list[list[int]] = [[] for _ in components]
    for gate, (a, _) in enumerate(analysis.pairs):
        gates_of[component_of[a]].append(gate)
    chosen_runs = _choose_runs(analysis)
    one_qubit_gates = _one_qubit_gates(analysis)
    for gates in filter(None, gates_of):
        yield _graph(analysis, gates, strings, chosen_runs, one_qubit_gates)


def _graph(
    analysis: CircuitAnalysis,
    gates: Sequence[int],
    strings: Sequence[float],
    chosen_runs: Sequence[tuple[int, int]],
    one_qubit_gates: Sequence[tuple[int, int]],
) -> EndGraph:
    qubits = sorted({qubit for gate in gates for qubit in analysis.pairs[gate]})
    wire_of = {qubit: wire for wire, qubit in enumerate(qubits)}
    runs: dict[int, int] = {}
    last = [-1] * len(qubits)
    wire: list[int] = []
    position: list[int] = []
    before: list[int] = []
    after = [-1] * (2 * len(gates))
    for gate in gates:
        for qubit in analysis.pairs[gate]:
            w = wire_of[qubit]
            end = len(wire)
            wire.append(w)
            before.append(last[w])
            position.append(0 if last[w] < 0 else position[last[w]] + 1)
            if last[w] >= 0:
                after[last[w]] = end
            last[w] = end
    end_strings = [0.0] * len(wire)
    for w, end in enumerate(last):
        end_strings[end] = strings[qubits[w]]
    return EndGraph(
        tuple(gates),
        tuple(qubits),
        wire,
        position,
        before,
        after,
        [int(analysis.bits[gate]) for gate in gates],
        [analysis.overheads[gate] for gate in gates],
        [
            runs.setdefault(chosen_runs[gate][0], len(runs)) if chosen_runs[gate][0] >= 0 else -1
            for gate in gates
        ],
        [2 * local + chosen_runs[gate][1] for local, gate in enumerate(gates)],
        [0.5 + count for gate in gates for count in one_qubit_gates[gate]],
        end_strings,
    )


def _choose_runs(analysis: CircuitAnalysis) -> list[tuple[int, int]]:
    """Return the larger of the two runs of each gate as (run, side), with run -1 for none."""
    size = Counter(run for runs in analysis.runs for run, _ in runs or ())
    chosen = []
    for runs in analysis.runs:
        if runs is None:
            chosen.append((-1, 0))
        else:
            side = 0 if size[runs[0][0]] >= size[runs[1][0]] else 1
            chosen.append((runs[side][0], side))
    return chosen


def _one_qubit_gates(analysis: CircuitAnalysis) -> list[tuple[int, int]]:
    """Return the number of one-qubit gates right before each end of each two-qubit gate."""
    waiting = [0] * analysis.num_qubits
    counts = []
    for _, qubits in analysis.steps:
        if len(qubits) == 1:
            waiting[qubits[0]] += 1
        else:
            counts.append((waiting[qubits[0]], waiting[qubits[1]]))
            waiting[qubits[0]] = waiting[qubits[1]] = 0
    return counts
