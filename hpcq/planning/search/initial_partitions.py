"""Partitions to start from.

The multilevel method (:mod:`hpcq.planning.search.multilevel`) cuts the graph of qubits, where an
edge is as heavy as the cut of all gates between two qubits, or the graph of gate ends, which mixes
gate and wire cuts. Rows of qubits, and rows cut into slices of time, suit circuits that are laid
out on a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph
from hpcq.planning.search.multilevel import partition
from hpcq.planning.search.objective import ObjectiveName
from hpcq.planning.search.weighted_graph import WeightedGraph

Start = Literal["whole", "qubits", "ends", "rows", "slices"]

_UNITS = 8
"""Weights are rounded to eighths of a bit."""

_HEAVIEST = 500

_IMBALANCE_OF_ENDS: dict[ObjectiveName, float] = {"overhead": 0.25, "seconds": 0.15}
"""By what fraction a part of the ends may be larger than the average, for each part. The width of
a part is its number of wires, which the number of its ends says little about. For the least
overhead, a flat 0.5 cut twice as many bits of a 5 x 10 grid into 4 parts; for the least seconds,
0.25 left parts too wide."""

_CYCLES: dict[ObjectiveName, int] = {"overhead": 6, "seconds": 0}
"""V-cycles. On 16 of the circuits in ``benchmarks/circuits.py``, partitions of gate ends cut 1.8 %
less with 6 than with 3. They do not serve the least seconds, which count the contraction of the
parts: it is cheap where few bits separate the halves, the quarters and so on. The energy of 16
parts of a 3-regular graph of 100 qubits was 7 bits higher with 6 than with none, though they cut
3 % less (the mean of 8 seeds)."""


def start(
    graph: EndGraph, kind: Start, parts: int, objective: ObjectiveName, width: int, seed: int
) -> list[int]:
    """Return labels of the ends.

    Args:
        graph: The ends.
        kind: How to find them; ``whole`` is one part.
        parts: Number of parts.
        objective: What an edge weighs: bits of its dimension, or of its factor gamma squared.
        width: The most wires of a subcircuit.
        seed: Seed of the multilevel method.
    """
    size = -(-graph.num_wires // parts)
    if kind == "whole" or parts == 1:
        return [0] * graph.num_ends
    if kind == "rows":
        return graph.from_wires([wire // size for wire in range(graph.num_wires)])
    if kind == "slices":
        deepest = 1 + max(graph.place)
        return [
            2 * (wire // (2 * size)) + (2 * place >= deepest)
            for wire, place in zip(graph.wire, graph.place, strict=True)
        ]
    weights: dict[tuple[int, int], float] = {}
    for gate, bits in enumerate(graph.bits):
        ends = (2 * gate, 2 * gate + 1)
        pair = ends if kind == "ends" else tuple(sorted(graph.wire[end] for end in ends))
        by_overhead = objective == "overhead" and seed % 2 == 0
        weight = graph.overhead[gate] if by_overhead else float(bits)
        weights[pair[0], pair[1]] = weights.get((pair[0], pair[1]), 0.0) + weight
    if kind == "qubits":
        # Half of the starts are balanced, half use all the width that there is.
        cap = max(size, width) if objective == "overhead" and seed % 2 else size
        labels = _partition(graph.num_wires, weights.items(), parts, cap, seed, _CYCLES[objective])
        return graph.from_wires(labels)
    wire = WIRE_BITS if objective == "overhead" and seed % 2 == 0 else 1.0
    for end, before in enumerate(graph.before):
        if before >= 0:
            weights[before, end] = wire
    cap = int((1 + _IMBALANCE_OF_ENDS[objective] * parts) * -(-graph.num_ends // parts))
    return _partition(graph.num_ends, weights.items(), parts, cap, seed, _CYCLES[objective])


def _partition(
    nodes: int,
    edges: Iterable[tuple[tuple[int, int], float]],
    parts: int,
    cap: int,
    seed: int,
    cycles: int,
) -> list[int]:
    """Partition nodes joined by edges that weigh some bits; see :func:`.multilevel.partition`."""
    whole = ((pair, min(max(1, round(_UNITS * bits)), _HEAVIEST)) for pair, bits in edges)
    return partition(WeightedGraph.from_edges(nodes, whole), parts, cap, seed, cycles)
