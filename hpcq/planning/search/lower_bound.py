"""A lower bound on the cuts of a circuit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcq.planning.search.gate_ends import WIRE_BITS, EndGraph


@dataclass(frozen=True)
class LowerBound:
    """The least number of cuts, and log2 of the least sampling overhead."""

    cuts: int
    overhead: float


def lower_bound(
    graphs: Sequence[EndGraph], labels: Sequence[tuple[int, int]], width: int
) -> LowerBound:
    """Bound the cuts of a circuit into subcircuits of at most ``width`` wires.

    A connected component of n qubits becomes at least n / width subcircuits, and each of them but
    the first takes a cut to separate it. The sampling overhead is that of the worst light cone;
    ``labels`` are (cone, qubit) for each qubit of the circuit.
    """
    cuts = 0
    overhead: dict[int, float] = {}
    for graph in graphs:
        min_cuts = -(-graph.num_wires // width) - 1
        cuts += min_cuts
        cone = labels[graph.qubits[0]][0]
        overhead[cone] = overhead.get(cone, 0.0) + min_cuts * min(WIRE_BITS, *graph.overhead)
    return LowerBound(cuts, max(overhead.values(), default=0.0))
