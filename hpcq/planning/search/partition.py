"""A partition of the ends that knows what it costs, and what a move would change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from hpcq.planning.search.contraction_tree import ContractionTree
from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph
from hpcq.planning.search.objective import Objective

_TASTE = 0.01
"""Of plans that are about as quick, the one with fewer cuts: bits for each bit of overhead."""

_QUBITS, _ANCILLAS, _PORTS, _LOAD, _STRINGS = range(5)


class Partition:
    """Labels of all ends, and the counts that the cost of every part follows from.

    Args:
        graph: The ends.
        labels: The part of each end.
        objective: What counts.
    """

    def __init__(self, graph: EndGraph, labels: Sequence[int], objective: Objective) -> None:
        self.graph = graph
        self.objective = objective
        self.labels = [-1] * graph.num_ends
        self._parts: dict[int, list[Any]] = {}
        self._excess: dict[int, int] = {}
        self._seconds: dict[int, float] = {}
        self._stored: dict[int, float] = {}
        self._edges: dict[tuple[int, int, int], int] = {}
        self._owned: dict[tuple[int, int], int] = {}
        self._touched: set[int] = set()
        self.overhead = 0.0
        self.bonds: dict[tuple[int, int], int] = {}
        self._changed: dict[tuple[int, int], int] = {}
        self._tree: ContractionTree | None = None
        self.excess = 0
        self.seconds = 0.0
        self.stored = 0.0
        for end, label in enumerate(labels):
            self._put(end, label)
        self._settle()

    @property
    def energy(self) -> float:
        """What the search makes small, in bits."""
        objective = self.objective
        beyond = objective.excess * self.excess
        if objective.kind == "overhead":
            return self.overhead + beyond
        beyond += objective.storing_bits(self.stored)
        return math.log2(self.seconds) + _TASTE * self.overhead + beyond

    @property
    def fits(self) -> bool:
        """Whether no part is too wide."""
        return self.excess == 0

    def plant(self) -> None:
        """Find an order of contraction for the parts as they are now, and count its cost."""
        bonds = {pair: bits for pair, bits in self.bonds.items() if bits}
        self._tree = ContractionTree(sorted(self._seconds), bonds, self.empty)
        self._settle()

    @property
    def empty(self) -> list[int]:
        """The parts that have no ends."""
        return [label for label, part in self._parts.items() if not part[_QUBITS]]

    def move(self, ends: Iterable[int], label: int) -> None:
        """Put ends into a part."""
        for end in ends:
            self._take(end)
            self._put(end, label)
        self._settle()

    def interval(self, end: int) -> tuple[list[int], list[int]]:
        """Return the ends of its part that lie before and behind an end on its wire."""
        labels, label = self.labels, self.labels[end]
        sides: tuple[list[int], list[int]] = ([], [])
        for side, link in zip(sides, (self.graph.before, self.graph.after), strict=True):
            other = link[end]
            while other >= 0 and labels[other] == label:
                side.append(other)
                other = link[other]
        return sides

    def neighbours(self, end: int) -> list[int]:
        """Return the other parts that an end is joined to."""
        labels, graph = self.labels, self.graph
        own = labels[end]
        found = []
        for other in (end ^ 1, graph.before[end], graph.after[end]):
            if other >= 0 and labels[other] != own and labels[other] not in found:
                found.append(labels[other])
        return found

    def _put(self, end: int, label: int) -> None:
        self.labels[end] = label
        if label not in self._parts:
            self._parts[label] = [0, 0, 0, 0.0, 0.0]
        self._count(end, label, 1)

    def _take(self, end: int) -> None:
        self._count(end, self.labels[end], -1)
        self.labels[end] = -1

    def _count(self, end: int, label: int, sign: int) -> None:
        """Add or remove what an end of a part means for all parts.

        Neighbours without a label do not count; they will when they get theirs.
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
        mine, other = (label, partner) if graph.owner[gate] == end else (partner, label)
        edge = (run, mine, other)
        count = self._edges.get(edge, 0)
        self._edges[edge] = count + sign
        if count + sign == 0:
            del self._edges[edge]
        elif count:
            return
        self._bond(mine, other, sign)
        parts[mine][_PORTS] += sign
        parts[other][_PORTS] += sign
        parts[other][_ANCILLAS] += sign
        # Ports of one run in one part share their ancilla.
        owned = self._owned.get((run, mine), 0)
        self._owned[run, mine] = owned + sign
        if owned + sign == 0:
            del self._owned[run, mine]
        elif owned:
            return
        parts[mine][_ANCILLAS] += sign

    def _bond(self, a: int, b: int, bits: int) -> None:
        pair = (a, b) if a < b else (b, a)
        self._changed[pair] = self._changed.get(pair, 0) + bits

    def _settle(self) -> None:
        """Work out the cost of the parts that have changed."""
        width = self.objective.width
        for label in self._touched:
            part = self._parts[label]
            self.excess += max(0, part[_QUBITS] - width) - self._excess.pop(label, 0)
            if part[_QUBITS] == 0:
                self._parts[label] = [0, 0, 0, 0.0, 0.0]
                self._seconds.pop(label, None)
                self._stored.pop(label, None)
                continue
            self._excess[label] = max(0, part[_QUBITS] - width)
            self._seconds[label] = self.objective.part_seconds(*part)
            self._stored[label] = self.objective.stored(part[_PORTS], part[_STRINGS])
        self._touched.clear()
        self.stored = sum(self._stored.values())
        ranks = self.objective.ranks
        makespan = sum(self._seconds.values()) / ranks
        if ranks > 1 and self._seconds:
            makespan = max(makespan, *self._seconds.values())
        self.seconds = makespan + self.stored * self.objective.speeds.byte
        for pair, bits in self._changed.items():
            if bits:
                self.bonds[pair] = self.bonds.get(pair, 0) + bits
                if self._tree is not None:
                    self._tree.change(*pair, bits)
        self._changed.clear()
        if self._tree is not None:
            self._tree.settle()
            self.stored += self._tree.bytes
            self.seconds += self.objective.contraction_seconds(self._tree.flops, len(self._seconds))
