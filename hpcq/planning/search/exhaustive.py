"""Enumerate all ways to cut a small circuit."""

from __future__ import annotations

from hpcq.planning.search.effort import enumeration_seconds
from hpcq.planning.search.gate_ends import EndGraph

_MAX_POSITIONS = 15
"""Gates and wire positions that could be cut, beyond which cuts are not enumerated: up to
2^15 = 32768 sets of cuts."""


def all_partitions(graph: EndGraph, width: int, seconds: float) -> list[list[int]] | None:
    """Return the labels of every partition whose parts are narrow enough.

    Only cuts between different parts count: any other would join two ports of one subcircuit, at a
    cost and for no gain. Joining parts never makes them narrower, so a branch of the enumeration
    ends where a part is too wide.

    Returns:
        Labels of the ends, one list for each partition; None if there are too many gates and wire
        positions to enumerate within the seconds of work.
    """
    pairs = [(2 * gate, 2 * gate + 1) for gate, bits in enumerate(graph.bits) if bits]
    pairs += [(before, end) for end, before in enumerate(graph.before) if before >= 0]
    if len(pairs) > _MAX_POSITIONS or enumeration_seconds(len(pairs)) > seconds:
        return None
    labels = list(range(graph.num_ends))
    for gate, bits in enumerate(graph.bits):
        if not bits:
            labels[2 * gate + 1] = 2 * gate
    partitions: list[list[int]] = []

    def decide(index: int, labels: list[int]) -> None:
        if index == len(pairs):
            partitions.append(labels)
            return
        a, b = pairs[index]
        low, high = sorted((labels[a], labels[b]))
        joined = [low if label == high else label for label in labels]
        separate = all(joined[x] != joined[y] for x, y in pairs[:index] if labels[x] != labels[y])
        if separate and _width(graph, joined, joined[a]) <= width:
            decide(index + 1, joined)
        if labels[a] != labels[b]:
            decide(index + 1, labels)

    decide(0, labels)
    return partitions


def _width(graph: EndGraph, labels: list[int], part: int) -> int:
    """Return the number of wires of a part."""
    return sum(
        label == part and (before < 0 or labels[before] != part)
        for label, before in zip(labels, graph.before, strict=True)
    )
