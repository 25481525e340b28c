"""What no cut can go below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph


@dataclass(frozen=True)
class LowerBound:
    """A lower bound on what cutting costs.

    Attributes:
        cuts: The fewest cuts.
        overhead: log2 of the least factor gamma squared.
    """

    cuts: int
    overhead: float


def lower_bound(
    graphs: Sequence[EndGraph], labels: Sequence[tuple[int, int]], width: int
) -> LowerBound:
    """Bound the cuts of a circuit into subcircuits of at most ``width`` wires.

    A connected part of n qubits becomes at least n / width subcircuits, and it takes a cut to
    separate each but the first. The factor gamma squared is that of the worst light cone.

    Args:
        graphs: The connected parts of the circuit.
        labels: Light cone of each of its qubits, as ``(cone, qubit)``.
        width: The most wires of a subcircuit.
    """
    cuts = 0
    overhead: dict[int, float] = {}
    for graph in graphs:
        fewest = -(-graph.num_wires // width) - 1
        cuts += fewest
        cheapest = min(WIRE_BITS, *graph.overhead)
        cone = labels[graph.qubits[0]][0]
        overhead[cone] = overhead.get(cone, 0.0) + fewest * cheapest
    return LowerBound(cuts, max(overhead.values(), default=0.0))
