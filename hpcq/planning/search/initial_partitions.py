"""Initial partitions of the gate ends.

The multilevel method (:mod:`hpcq.planning.search.multilevel`) partitions the graph of qubits, where
an edge weighs as much as cutting all gates between two qubits, or the graph of gate ends, which
mixes gate and wire cuts. Rows of consecutive qubits, and rows halved in time, suit circuits whose
qubits lie on a line.
"""

from __future__ import annotations

from typing import Literal

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

    def partitioned(nodes: int, cap: int) -> list[int]:
        edges = (
            (pair, min(max(1, round(_UNITS_PER_BIT * bits)), _MAX_WEIGHT))
            for pair, bits in weights.items()
        )
        edge_graph = WeightedGraph.from_edges(nodes, edges)
        return partition(edge_graph, parts, cap, seed, CYCLES[objective])

    weights: dict[tuple[int, int], float] = {}
    by_overhead = objective == "overhead" and seed % 2 == 0
    for gate, bits in enumerate(graph.bits):
        ends = (2 * gate, 2 * gate + 1)
        pair = ends if kind == "ends" else tuple(sorted(graph.wire[end] for end in ends))
        weight = graph.overhead[gate] if by_overhead else float(bits)
        weights[pair[0], pair[1]] = weights.get((pair[0], pair[1]), 0.0) + weight
    if kind == "qubits":
        # For overhead, parts are balanced with even seeds and as wide as allowed with odd ones.
        cap = max(size, width) if objective == "overhead" and seed % 2 else size
        return graph.labels_of_wires(partitioned(graph.num_wires, cap))
    for end, before in enumerate(graph.before):
        if before >= 0:
            weights[before, end] = WIRE_BITS if by_overhead else 1.0
    cap = int((1 + _IMBALANCE_OF_ENDS[objective] * parts) * -(-graph.num_ends // parts))
    return partitioned(graph.num_ends, cap)
