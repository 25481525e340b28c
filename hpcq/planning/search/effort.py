"""How long the steps of a search take, from counts alone.

These convert a budget in seconds into an amount of work, without a clock, so that a budget finds
the same cuts on every machine. The seconds are those of one core of 2024; on other machines a
search takes more or less time than its budget.
"""

from __future__ import annotations

import math

from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.initial_partitions import CYCLES, StartKind
from hpcq.planning.search.objective import ObjectiveName

STEPS_PER_SECOND: dict[ObjectiveName, int] = {"overhead": 300_000, "seconds": 220_000}
"""Steps of annealing in a second: 2 to 4.5 microseconds were measured for a step, fewer for
the overhead, for which the contraction of the parts does not count."""

_SECONDS_PER_ELEMENT = 3e-5
"""Seconds of the multilevel method for each node and edge and each halving of the parts. On 13
circuits of ``benchmarks/circuits.py`` and 2 to 25 parts, 17 to 43 microseconds were measured."""

_SECONDS_PER_MERGED = 4e-6
"""Seconds of natural groups for each node and edge of the graph of qubits: 1.4 to 2.3 microseconds
were measured on 10 circuits of 20 to 1000 qubits."""

_SECONDS_PER_GATE = 1e-6
"""Seconds of the graph of qubits for each gate: 0.5 to 1 microsecond on the same circuits."""

_CYCLES_PER_DOUBLING = 15
"""Number of V-cycles that take as long as one halving of the parts: 6 of them added 10 to 50
percent to the time of the bisections."""

_SECONDS_PER_PAIR_OF_PARTS = 1e-4
"""Seconds of a contraction path for each pair of parts: 0.6 ms for 3 parts, 2 to 4 ms for 6, 15 to
55 ms for 12 and for 25 were measured."""

_SECONDS_PER_END = 1.5e-6
"""Seconds to compute the cost of a partition, for each end: 0.8 to 1.5 microseconds measured."""

_SECONDS_PER_SET = 1.5e-5
"""Seconds for each set of cuts where all are enumerated."""


def evaluation_seconds(graph: EndGraph, parts: int) -> float:
    """Return the seconds to compute the cost of a partition, with its contraction path."""
    return graph.num_ends * _SECONDS_PER_END + path_seconds(parts)


def path_seconds(parts: int) -> float:
    """Return the seconds to find a contraction path."""
    return _SECONDS_PER_PAIR_OF_PARTS * parts**2 if parts > 2 else 0.0


def start_seconds(graph: EndGraph, kind: StartKind, parts: int, objective: ObjectiveName) -> float:
    """Return the seconds to find an initial partition."""
    if parts < 2 or kind not in ("qubits", "ends"):
        return 0.0
    nodes, edges = graph.num_wires, graph.num_pairs
    if kind == "ends":
        nodes, edges = graph.num_ends, len(graph.gates) + graph.num_ends - graph.num_wires
    halvings = math.log2(parts) + CYCLES[objective] / _CYCLES_PER_DOUBLING
    return _SECONDS_PER_ELEMENT * (nodes + edges) * halvings


def merging_seconds(graph: EndGraph) -> float:
    """Return the seconds to find natural groups of qubits."""
    elements = graph.num_wires + graph.num_pairs
    return elements * _SECONDS_PER_MERGED + len(graph.gates) * _SECONDS_PER_GATE


def enumeration_seconds(positions: int) -> float:
    """Return the seconds to enumerate all sets of cuts at a number of positions."""
    return _SECONDS_PER_SET * 2.0**positions
