"""Every way to cut a small circuit."""

from __future__ import annotations

from hpcq.planning.search.gate_ends import EndGraph

_MAX_PLACES = 15


def all_partitions(graph: EndGraph, width: int) -> list[list[int]] | None:
    """Return the labels of every cut circuit that is narrow enough.

    Only cuts that separate what they cut are looked at: any other would join two ports of one
    subcircuit, for nothing. Joining makes parts wider, never narrower, so whatever is too wide
    already is not followed further.

    Args:
        graph: The ends.
        width: The most wires of a subcircuit.

    Returns:
        Labels of the ends; None if there are too many places to cut at.
    """
    places = [(2 * gate, 2 * gate + 1) for gate, bits in enumerate(graph.bits) if bits]
    places += [(before, end) for end, before in enumerate(graph.before) if before >= 0]
    if len(places) > _MAX_PLACES:
        return None
    labels = list(range(graph.num_ends))
    for gate, bits in enumerate(graph.bits):
        if not bits:
            labels[2 * gate + 1] = 2 * gate
    found: list[list[int]] = []

    def decide(place: int, labels: list[int]) -> None:
        if place == len(places):
            found.append(labels)
            return
        a, b = places[place]
        joined = _joined(labels, a, b)
        separate = all(joined[x] != joined[y] for x, y in places[:place] if labels[x] != labels[y])
        if separate and _width(graph, joined, joined[a]) <= width:
            decide(place + 1, joined)
        if labels[a] != labels[b]:
            decide(place + 1, labels)

    decide(0, labels)
    return found


def _joined(labels: list[int], a: int, b: int) -> list[int]:
    low, high = sorted((labels[a], labels[b]))
    return labels if low == high else [low if label == high else label for label in labels]


def _width(graph: EndGraph, labels: list[int], part: int) -> int:
    """Return the number of wires of a part."""
    return sum(
        label == part and (before < 0 or labels[before] != part)
        for label, before in zip(labels, graph.before, strict=True)
    )
