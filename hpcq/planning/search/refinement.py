"""Refine a partition of a graph by moving one node at a time.

A pass follows Fiduccia and Mattheyses (Design Automation Conference 1982), here between any number
of parts: the best move comes first even where it cuts more, no node moves twice, and the moves
after the best state are undone. A part may be one node too heavy on the way, so that nodes can
change places between parts that are full.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from heapq import heappop, heappush

from hpcq.planning.search.weighted_graph import WeightedGraph

_MAX_FRUITLESS = 100
"""A pass ends after so many moves without a better state."""

_MAX_PASSES = 8

_MOVED = -1


def refine(
    graph: WeightedGraph, labels: list[int], caps: Sequence[int], rng: random.Random
) -> None:
    """Improve a partition: first what is too heavy, then what is cut.

    Args:
        graph: The graph.
        labels: The part of each node; changed in place.
        caps: The most that each part may weigh.
        rng: Decides between moves that are equally good.
    """
    for _ in range(_MAX_PASSES):
        if not _Pass(graph, labels, caps, rng).improve():
            return


def overload(loads: Sequence[int], caps: Sequence[int]) -> int:
    """Return by how much the parts are too heavy, all together."""
    return sum(max(0, load - cap) for load, cap in zip(loads, caps, strict=True))


class _Pass:
    """One pass over a partition, which it changes."""

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
        # An entry (minus the gain, a random number, node, stamp) counts while the stamp is the
        # node's latest.
        self._stamps = [0] * graph.num_nodes
        self._queue: list[tuple[int, float, int, int]] = []
        self._queues: list[list[tuple[int, float, int, int]]] = [[] for _ in caps]
        for node, links in enumerate(self._links):
            if len(links) > 1 or labels[node] not in links:
                self._push(node)

    def improve(self) -> bool:
        """Move nodes, keep the best state on the way, and tell whether it is better."""
        moves: list[tuple[int, int]] = []
        kept, change = 0, 0
        best = start = (self._overload, 0)
        while len(moves) < kept + _MAX_FRUITLESS:
            found = self._next_move()
            if found is None:
                break
            node, target, gain = found
            moves.append((node, self._labels[node]))
            self._move(node, target)
            change -= gain
            if (self._overload, change) < best:
                best = (self._overload, change)
                kept = len(moves)
        for node, home in moves[kept:]:
            self._labels[node] = home
        return best < start

    def _push(self, node: int, gain: int | None = None) -> None:
        home = self._labels[node]
        if gain is None:
            links = self._links[node]
            away = max((weight for label, weight in links.items() if label != home), default=0)
            gain = away - links.get(home, 0)
        self._stamps[node] += 1
        entry = (-gain, self._rng.random(), node, self._stamps[node])
        heappush(self._queue, entry)
        heappush(self._queues[home], entry)

    def _next_move(self) -> tuple[int, int, int] | None:
        """Return the best node to move, its new part, and by how much less is cut."""
        if not self._overload:
            return self._pop(self._queue)
        heaviest = max(range(len(self._caps)), key=self._excess)
        found = self._pop(self._queues[heaviest])
        if found is None:  # nothing at its border can move: try what lies inside
            for node, label in enumerate(self._labels):
                if label == heaviest and self._stamps[node] != _MOVED:
                    self._push(node)
            found = self._pop(self._queues[heaviest])
        return found

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
            self._push(node, gain)  # the part it would rather go to is full
        return None

    def _target(self, node: int) -> int | None:
        """Return the part with room that a node is joined to most."""
        home, weight = self._labels[node], self._graph.weights[node]
        if self._loads[home] == weight:
            return None  # no part is emptied
        best, target = 0, None
        for label, link in self._links[node].items():
            if link > best and label != home and self._excess(label) + weight <= self._slack:
                best, target = link, label
        if target is None and self._excess(home) > 0:
            lightest = min(range(len(self._caps)), key=self._excess)
            if self._excess(lightest) + weight <= 0:
                return lightest
        return target

    def _excess(self, label: int) -> int:
        return self._loads[label] - self._caps[label]

    def _move(self, node: int, target: int) -> None:
        labels, loads, weight = self._labels, self._loads, self._graph.weights[node]
        home = labels[node]
        self._overload -= max(0, self._excess(home)) + max(0, self._excess(target))
        loads[home] -= weight
        loads[target] += weight
        self._overload += max(0, self._excess(home)) + max(0, self._excess(target))
        labels[node] = target
        self._stamps[node] = _MOVED
        for other, edge in self._graph.neighbours[node].items():
            links = self._links[other]
            links[target] = links.get(target, 0) + edge
            links[home] -= edge
            if not links[home]:
                del links[home]
            if self._stamps[other] != _MOVED:
                self._push(other)


def _links(edges: dict[int, int], labels: Sequence[int]) -> dict[int, int]:
    """Return how much a node is joined to each part."""
    links: dict[int, int] = {}
    for other, weight in edges.items():
        links[labels[other]] = links.get(labels[other], 0) + weight
    return links
