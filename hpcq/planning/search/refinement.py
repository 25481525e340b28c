"""Refine a partition of a graph by moving one node at a time.

A pass follows Fiduccia and Mattheyses (Design Automation Conference 1982), here between any number
of parts: it always makes the best move, even if that increases the cut, moves no node twice, and
undoes the moves after the best state. During a pass a part may be one node too heavy, so that two
full parts can exchange nodes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush

from hpcq.planning.search.weighted_graph import WeightedGraph

_MAX_FRUITLESS = 100
"""Number of moves without a better state after which a pass ends. Larger: a pass climbs out of
deeper local minima, but takes longer."""

_MAX_PASSES = 8
"""Maximum number of passes; refinement ends earlier if a pass improves nothing."""

_MOVED = -1
"""Stamp of a node that has moved in this pass."""


def refine(
    graph: WeightedGraph, labels: list[int], caps: Sequence[int], rng: random.Random
) -> None:
    """Reduce the overload of a partition, then its cut, by changing ``labels`` in place."""
    for _ in range(_MAX_PASSES):
        if not _Pass(graph, labels, caps, rng).improve():
            return


def overload(loads: Sequence[int], caps: Sequence[int]) -> int:
    """Return the weight beyond the caps, summed over all parts."""
    return sum(max(0, load - cap) for load, cap in zip(loads, caps, strict=True))


class _Pass:
    """One pass over a partition, which is changed in place."""

    def __init__(
        self, graph: WeightedGraph, labels: list[int], caps: Sequence[int], rng: random.Random
    ) -> None:
        self._graph = graph
        self._labels = labels
        self._caps = caps
        self._rng = rng
        self._slack = max(graph.weights)
        self._loads = graph.loads(labels, len(caps))
        self._overload = overload(self._loads, caps)
        self._links = [_links(edges, labels) for edges in graph.neighbours]
        # An entry is (minus the gain, a random number, node, stamp). It is valid only while its
        # stamp is the latest of the node: heapq cannot remove an entry.
        self._stamps = [0] * graph.num_nodes
        self._queue: list[tuple[int, float, int, int]] = []
        self._queues: list[list[tuple[int, float, int, int]]] = [[] for _ in caps]
        for node, links in enumerate(self._links):
            if len(links) > 1 or labels[node] not in links:
                self._push(node)

    def improve(self) -> bool:
        """Move nodes, go back to the best state, and return whether it is better than before."""
        moves: list[tuple[int, int]] = []
        kept, change = 0, 0
        best = start = (self._overload, 0)
        while len(moves) < kept + _MAX_FRUITLESS:
            move = self._next_move()
            if move is None:
                break
            node, target, gain = move
            moves.append((node, self._labels[node]))
            self._move(node, target)
            change -= gain
            if (self._overload, change) < best:
                best = (self._overload, change)
                kept = len(moves)
        for node, source in moves[kept:]:
            self._labels[node] = source
        return best < start

    def _push(self, node: int, gain: int | None = None) -> None:
        source = self._labels[node]
        if gain is None:
            links = self._links[node]
            others = (weight for label, weight in links.items() if label != source)
            gain = max(others, default=0) - links.get(source, 0)
        self._stamps[node] += 1
        entry = (-gain, self._rng.random(), node, self._stamps[node])
        heappush(self._queue, entry)
        heappush(self._queues[source], entry)

    def _next_move(self) -> tuple[int, int, int] | None:
        """Return the best node to move, its new part, and by how much the cut decreases."""
        if not self._overload:
            return self._pop(self._queue)
        heaviest = max(range(len(self._caps)), key=self._excess)
        move = self._pop(self._queues[heaviest])
        if move is None:  # no node at its border can move: try those inside
            for node, label in enumerate(self._labels):
                if label == heaviest and self._stamps[node] != _MOVED:
                    self._push(node)
            move = self._pop(self._queues[heaviest])
        return move

    def _pop(self, queue: list[tuple[int, float, int, int]]) -> tuple[int, int, int] | None:
        while queue:
            negative, _, node, stamp = heappop(queue)
            if self._stamps[node] != stamp:
                continue
            target = self._target(node)
            if target is None:
                continue
            links = self._links[node]
            gain = links.get(target, 0) - links.get(self._labels[node], 0)
            if gain == -negative:
                return node, target, gain
            self._push(node, gain)  # its best part is full: queue it with the gain of the next best
        return None

    def _target(self, node: int) -> int | None:
        """Return the part with room to which a node is most connected, or None."""
        source, weight = self._labels[node], self._graph.weights[node]
        if self._loads[source] == weight:
            return None  # a move must not empty a part
        best, target = 0, None
        for label, link in self._links[node].items():
            if link > best and label != source and self._excess(label) + weight <= self._slack:
                best, target = link, label
        if target is None and self._excess(source) > 0:
            lightest = min(range(len(self._caps)), key=self._excess)
            if self._excess(lightest) + weight <= 0:
                return lightest
        return target

    def _excess(self, label: int) -> int:
        return self._loads[label] - self._caps[label]

    def _move(self, node: int, target: int) -> None:
        labels, loads, weight = self._labels, self._loads, self._graph.weights[node]
        source = labels[node]
        self._overload -= max(0, self._excess(source)) + max(0, self._excess(target))
        loads[source] -= weight
        loads[target] += weight
        self._overload += max(0, self._excess(source)) + max(0, self._excess(target))
        labels[node] = target
        self._stamps[node] = _MOVED
        for other, edge in self._graph.neighbours[node].items():
            links = self._links[other]
            links[target] = links.get(target, 0) + edge
            links[source] -= edge
            if not links[source]:
                del links[source]
            if self._stamps[other] != _MOVED:
                self._push(other)


def _links(edges: dict[int, int], labels: Sequence[int]) -> dict[int, int]:
    """Return the weight of a node's edges to each part."""
    links: dict[int, int] = {}
    for other, weight in edges.items():
        links[labels[other]] = links.get(labels[other], 0) + weight
    return links
