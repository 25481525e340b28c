"""Initial partitions of the gate ends.

The multilevel method (:mod:`hpcq.planning.search.multilevel`) partitions the graph of qubits, where
an edge weighs as much as cutting all gates between two qubits, or the graph of gate ends, which
mixes gate and wire cuts. Groups of closely connected qubits suit circuits made of blocks, whatever
their widths (:mod:`hpcq.planning.search.communities`). Rows of consecutive qubits, and rows halved
in time, suit circuits whose qubits lie on a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from hpcq.planning.search.communities import merge_groups
from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph
from hpcq.planning.search.multilevel import partition
from hpcq.planning.search.objective import ObjectiveName
from hpcq.planning.search.weighted_graph import WeightedGraph

StartKind = Literal["whole", "qubits", "ends", "rows", "slices", "given"]
"""What is partitioned: nothing (``whole``: one part), the graph of ``qubits`` or of gate ``ends``,
or the line of qubits into ``rows`` or into rows halved in time (``slices``); or the partition was
``given``."""

_UNITS_PER_BIT = 8
"""Weights are rounded to eighths of a bit, because the multilevel method takes integers."""

_MAX_WEIGHT = 500
"""Maximum weight of an edge: 62.5 bits, beyond which it makes no difference to what is cut."""

_IMBALANCE_OF_ENDS: dict[ObjectiveName, float] = {"overhead": 0.25, "seconds": 0.15}
"""Fraction by which a part of the graph of ends may exceed the average size, times the number of
parts. The width of a part is its number of wires, about which its number of ends says little. With
the objective overhead, a fixed fraction of 0.5 cut twice as many bits of a 5 x 10 grid into 4
parts; with seconds, 0.25 left parts too wide."""

_NUM_GROUPINGS = 4
"""Maximum number of partitions into natural groups. More: finds smaller blocks within blocks,
but each partition takes a contraction path."""

CYCLES: dict[ObjectiveName, int] = {"overhead": 6, "seconds": 0}
"""Number of V-cycles. On 16 of the circuits in ``benchmarks/circuits.py``, partitions of gate ends
cut 1.8 % less with 6 than with 3. V-cycles do not help the objective seconds, which counts the
contraction of the parts: it is cheap where few bits separate the halves, the quarters and so on.
The energy of 16 parts of a 3-regular graph of 100 qubits was 7 bits higher with 6 than with none,
though they cut 3 % less (mean of 8 seeds)."""


def initial_labels(
    graph: EndGraph, kind: StartKind, parts: int, objective: ObjectiveName, width: int, seed: int
) -> list[int]:
    """Return labels of the ends to start from, for about as many parts, of at most ``width`` wires.

    The objective decides what an edge weighs: the bits of its dimension or, with ``overhead`` and
    an even seed, of its sampling overhead.
    """
    size = -(-graph.num_wires // parts)
    if kind == "whole" or parts == 1:
        return [0] * graph.num_ends
    if kind == "rows":
        return graph.labels_of_wires([wire // size for wire in range(graph.num_wires)])
    if kind == "slices":
        depth = 1 + max(graph.position)
        return [
            2 * (wire // (2 * size)) + (2 * position >= depth)
            for wire, position in zip(graph.wire, graph.position, strict=True)
        ]

    by_overhead = objective == "overhead" and seed % 2 == 0
    cycles = CYCLES[objective]
    if kind == "qubits":
        # For overhead, parts are balanced with even seeds and as wide as allowed with odd ones.
        cap = max(size, width) if objective == "overhead" and seed % 2 else size
        qubits = _qubit_graph(graph, by_overhead)
        return graph.labels_of_wires(partition(qubits, parts, cap, seed, cycles))
    cap = int((1 + _IMBALANCE_OF_ENDS[objective] * parts) * -(-graph.num_ends // parts))
    return partition(_end_graph(graph, by_overhead), parts, cap, seed, cycles)


def natural_groups(
    graph: EndGraph, objective: ObjectiveName, width: int, max_groups: int
) -> Iterator[tuple[int, list[int]]]:
    """Yield groups of closely connected qubits, as their number and the labels of the ends.

    No group has more than ``width`` wires. The widest groups come first, then those that are much
    more weakly connected to each other than within, of which there are at most ``max_groups``.
    """
    merges = merge_groups(_qubit_graph(graph, objective == "overhead"), width)
    for count in merges.natural_counts(max_groups, _NUM_GROUPINGS):
        labels = merges.labels(count)
        yield graph.num_wires - count, graph.labels_of_wires(labels)


def _qubit_graph(graph: EndGraph, by_overhead: bool) -> WeightedGraph:
    """Return the graph of qubits, which cut gates separate."""
    weights: dict[tuple[int, int], float] = {}
    for gate, weight in enumerate(graph.overhead if by_overhead else graph.bits):
        a, b = sorted((graph.wire[2 * gate], graph.wire[2 * gate + 1]))
        weights[a, b] = weights.get((a, b), 0.0) + weight
    return _weighted(graph.num_wires, weights)


def _end_graph(graph: EndGraph, by_overhead: bool) -> WeightedGraph:
    """Return the graph of gate ends, which cut gates and cut wires separate."""
    weights: dict[tuple[int, int], float] = {}
    for gate, weight in enumerate(graph.overhead if by_overhead else graph.bits):
        weights[2 * gate, 2 * gate + 1] = float(weight)
    for end, before in enumerate(graph.before):
        if before >= 0:
            weights[before, end] = WIRE_BITS if by_overhead else 1.0
    return _weighted(graph.num_ends, weights)


def _weighted(nodes: int, bits_of: Mapping[tuple[int, int], float]) -> WeightedGraph:
    edges = (
        (pair, min(max(1, round(_UNITS_PER_BIT * bits)), _MAX_WEIGHT))
        for pair, bits in bits_of.items()
    )
    return WeightedGraph.from_edges(nodes, edges)
