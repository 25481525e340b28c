"""A partition of the gate ends that keeps its cost up to date as ends move."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from hpcq.planning.search.contraction_tree import ContractionTree
from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph
from hpcq.planning.search.objective import Objective

_OVERHEAD_WEIGHT = 0.01
"""Bits of energy for each bit of sampling overhead where seconds count: it only decides between
partitions that are about equally quick, for the one with fewer cuts."""

_MEMORY_PENALTY = 4.0
"""Bits of energy for each bit by which the tensors exceed the memory. Larger: the search prefers
slower partitions that fit; smaller: it ends at quick ones that do not."""

# Indices of the counts of a part, which are the arguments of Objective.part_seconds.
_QUBITS, _ANCILLAS, _PORTS, _LOAD, _STRINGS = range(5)


class Partition:
    """Labels of all ends, and the counts from which the cost of every part follows.

    Attributes:
        graph: The gate ends.
        objective: What the search minimises.
        labels: The part of each end.
        bonds: Bits of the bond between each pair of parts.
        overhead: log2 of the sampling overhead.
        excess: Number of qubits beyond the width, over all parts.
        seconds: Predicted seconds, with those of the contraction once it is included.
        stored_bytes: Bytes of all tensors, with those of the contraction once it is included.
    """

    def __init__(self, graph: EndGraph, labels: Sequence[int], objective: Objective) -> None:
        self.graph = graph
        self.objective = objective
        self.labels = [-1] * graph.num_ends
        self._parts: dict[int, list[Any]] = {}
        self._excess: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._tensor_bytes: dict[int, float] = {}
        self._edges: dict[tuple[int, int, int], int] = {}
        self._run_edges: dict[tuple[int, int], int] = {}
        self._touched: set[int] = set()
        self.overhead = 0.0
        self.bonds: dict[tuple[int, int], int] = {}
        self._changed: dict[tuple[int, int], int] = {}
        self._tree: ContractionTree | None = None
        self.excess = 0
        self.seconds = 0.0
        self.stored_bytes = 0.0
        for end, label in enumerate(labels):
            self._assign(end, label)
        self._update()

    @property
    def energy(self) -> float:
        """What the search minimises, in bits."""
        objective = self.objective
        penalty = objective.excess_penalty * self.excess
        if objective.kind == "overhead":
            return self.overhead + penalty
        penalty += self.memory_penalty
        return math.log2(self.seconds) + _OVERHEAD_WEIGHT * self.overhead + penalty

    @property
    def memory_penalty(self) -> float:
        """Bits of energy for tensors that exceed the memory; 0 if they fit."""
        excess = math.log2(self.stored_bytes / self.objective.limits.memory_bytes)
        return _MEMORY_PENALTY * max(0.0, excess)

    @property
    def fits(self) -> bool:
        """Whether no part is too wide."""
        return self.excess == 0

    def include_contraction(self) -> None:
        """Find a contraction path for the present parts, and count its cost from now on."""
        bonds = {pair: bits for pair, bits in self.bonds.items() if bits}
        self._tree = ContractionTree(sorted(self._seconds), bonds, self.empty_parts)
        self._update()

    @property
    def empty_parts(self) -> list[int]:
        """The parts without ends."""
        return [label for label, part in self._parts.items() if not part[_QUBITS]]

    def move(self, ends: Iterable[int], label: int) -> None:
        """Move ends to a part and update the cost."""
        for end in ends:
            self._count(end, self.labels[end], -1)
            self.labels[end] = -1
            self._assign(end, label)
        self._update()

    def interval(self, end: int) -> tuple[list[int], list[int]]:
        """Return the ends that follow an end on its wire, backward and forward, within its part."""
        labels, label = self.labels, self.labels[end]
        # Nearest first, up to where the wire leaves the part.
        sides: tuple[list[int], list[int]] = ([], [])
        for side, link in zip(sides, (self.graph.before, self.graph.after), strict=True):
            other = link[end]
            while other >= 0 and labels[other] == label:
                side.append(other)
                other = link[other]
        return sides

    def neighbouring_parts(self, end: int) -> list[int]:
        """Return the other parts to which an end is joined."""
        labels, graph = self.labels, self.graph
        label = labels[end]
        parts = []
        for other in (end ^ 1, graph.before[end], graph.after[end]):
            if other >= 0 and labels[other] != label and labels[other] not in parts:
                parts.append(labels[other])
        return parts

    def _assign(self, end: int, label: int) -> None:
        self.labels[end] = label
        self._parts.setdefault(label, [0, 0, 0, 0.0, 0.0])
        self._count(end, label, 1)

    def _count(self, end: int, label: int, sign: int) -> None:
        """Add (sign 1) or subtract (-1) what an end contributes to the counts of all parts.

        Neighbours without a label are left out; they are counted when they get one.
        """
        graph, labels, parts = self.graph, self.labels, self._parts
        part = parts[label]
        part[_LOAD] += sign * graph.load[end]
        part[_STRINGS] += sign * graph.strings[end]
        part[_QUBITS] += sign
        self._touched.add(label)
        for other, forward in ((graph.before[end], True), (graph.after[end], False)):
            if other < 0 or labels[other] < 0:
                continue
            if labels[other] == label:
                part[_QUBITS] -= sign
            else:
                self.overhead += sign * WIRE_BITS
                self._bond(label, labels[other], sign)
                first, second = (labels[other], label) if forward else (label, labels[other])
                parts[first][_PORTS] += sign
                parts[second][_PORTS] += sign
                parts[second][_ANCILLAS] += sign
                self._touched.add(labels[other])
        partner = labels[end ^ 1]
        if partner >= 0 and partner != label:
            self._count_gate(end, label, partner, sign)

    def _count_gate(self, end: int, label: int, partner: int, sign: int) -> None:
        """Add or subtract a cut gate's contribution; gates of a run share ports."""
        graph, parts = self.graph, self._parts
        gate = end >> 1
        self.overhead += sign * graph.overhead[gate]
        self._touched.add(partner)
        bits = graph.bits[gate]
        run = graph.run[gate]
        if run < 0:
            self._bond(label, partner, sign * bits)
            for touched in (label, partner):
                parts[touched][_PORTS] += sign * bits
                parts[touched][_ANCILLAS] += sign * bits
            return
        run_part, other = (label, partner) if graph.run_end[gate] == end else (partner, label)
        edge = (run, run_part, other)
        count = self._edges.get(edge, 0)
        self._edges[edge] = count + sign
        if count + sign == 0:
            del self._edges[edge]
        elif count:
            return
        self._bond(run_part, other, sign)
        parts[run_part][_PORTS] += sign
        parts[other][_PORTS] += sign
        parts[other][_ANCILLAS] += sign
        # The ports of one run in one part share an ancilla.
        run_edges = self._run_edges.get((run, run_part), 0)
        self._run_edges[run, run_part] = run_edges + sign
        if run_edges + sign == 0:
            del self._run_edges[run, run_part]
        elif run_edges:
            return
        parts[run_part][_ANCILLAS] += sign

    def _bond(self, a: int, b: int, bits: int) -> None:
        pair = (a, b) if a < b else (b, a)
        self._changed[pair] = self._changed.get(pair, 0) + bits

    def _update(self) -> None:
        """Recompute the cost of the parts that have changed."""
        width = self.objective.width
        for label in self._touched:
            part = self._parts[label]
            self.excess += max(0, part[_QUBITS] - width) - self._excess.pop(label, 0)
            if part[_QUBITS] == 0:
                self._parts[label] = [0, 0, 0, 0.0, 0.0]
                self._seconds.pop(label, None)
                self._tensor_bytes.pop(label, None)
                continue
            self._excess[label] = max(0, part[_QUBITS] - width)
            self._seconds[label] = self.objective.part_seconds(*part)
            self._tensor_bytes[label] = self.objective.tensor_bytes(part[_PORTS], part[_STRINGS])
        self._touched.clear()
        self.stored_bytes = sum(self._tensor_bytes.values())
        ranks = self.objective.ranks
        makespan = sum(self._seconds.values()) / ranks
        if ranks > 1 and self._seconds:
            makespan = max(makespan, *self._seconds.values())
        self.seconds = makespan + self.stored_bytes * self.objective.speeds.byte
        for pair, bits in self._changed.items():
            if bits:
                self.bonds[pair] = self.bonds.get(pair, 0) + bits
                if self._tree is not None:
                    self._tree.add_bits(*pair, bits)
        self._changed.clear()
        if self._tree is not None:
            self._tree.update()
            self.stored_bytes += self._tree.bytes
            self.seconds += self.objective.contraction_seconds(self._tree.flops, len(self._seconds))
