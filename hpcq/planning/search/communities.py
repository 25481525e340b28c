"""Groups of closely connected nodes, of sizes that follow from the graph.

The two groups with the heaviest average connection between their nodes are merged repeatedly,
as long as no group exceeds a maximum weight (average linkage: Sokal and Michener, Univ. Kansas Sci.
Bull. 38, 1409 (1958)). No number of groups is given: where the next connection is much weaker than
the last one, the groups are those of the graph itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

from hpcq.planning.search.weighted_graph import WeightedGraph


@dataclass(frozen=True)
class Merges:
    """Merges of groups, in order.

    Attributes:
        num_nodes: Number of nodes, each of which is a group at first.
        pairs: One node of each of the two groups of a merge.
        connections: Average weight between the nodes of the two groups of a merge; descending.
    """

    num_nodes: int
    pairs: tuple[tuple[int, int], ...]
    connections: tuple[float, ...]

    def labels(self, merges: int) -> list[int]:
        """Return the group of each node after a number of merges, counted from 0."""
        parent = list(range(self.num_nodes))

        def root(node: int) -> int:
            while parent[node] != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        for a, b in self.pairs[:merges]:
            parent[root(b)] = root(a)
        numbers: dict[int, int] = {}
        return [numbers.setdefault(root(node), len(numbers)) for node in range(self.num_nodes)]

    def natural_counts(self, max_groups: int, max_counts: int) -> list[int]:
        """Return the numbers of merges after which the connections drop most.

        Args:
            max_groups: Maximum number of groups that are left.
            max_counts: Maximum number of results.

        Returns:
            The number of all merges, then the others by their drops, the sharpest first.
        """
        last = len(self.pairs)
        first = max(1, self.num_nodes - max_groups)
        drop = {
            merges: self.connections[merges - 1] / self.connections[merges]
            for merges in range(first, last)
        }
        sharpest = sorted(drop, key=lambda merges: (-drop[merges], -merges))
        return [last, *sharpest[: max_counts - 1]]


def merge_groups(graph: WeightedGraph, cap: int) -> Merges:
    """Merge groups of nodes until no two connected ones weigh at most ``cap`` together."""
    links: list[dict[int, int] | None] = [dict(edges) for edges in graph.neighbours]
    weights = list(graph.weights)
    member = list(range(graph.num_nodes))
    queue: list[tuple[float, int, int]] = []

    def offer(a: int, b: int, link: int) -> None:
        if weights[a] + weights[b] <= cap:
            heappush(queue, (-link / (weights[a] * weights[b]), a, b))

    for node, edges in enumerate(graph.neighbours):
        for other, link in edges.items():
            if other < node:
                offer(other, node, link)
    pairs: list[tuple[int, int]] = []
    connections: list[float] = []
    while queue:
        rating, a, b = heappop(queue)
        links_a, links_b = links[a], links[b]
        if links_a is None or links_b is None:
            continue
        pairs.append((member[a], member[b]))
        connections.append(-rating)
        merged = links_a if len(links_a) >= len(links_b) else links_b
        for other, link in (links_b if merged is links_a else links_a).items():
            merged[other] = merged.get(other, 0) + link
        for group in (a, b):
            links[group] = None
            merged.pop(group, None)
        group = len(links)
        links.append(merged)
        member.append(member[a])
        weights.append(weights[a] + weights[b])
        for other, link in merged.items():
            others = links[other]
            assert others is not None, "only groups that are left are linked"
            others.pop(a, None)
            others.pop(b, None)
            others[group] = link
            offer(group, other, link)
    return Merges(graph.num_nodes, tuple(pairs), tuple(connections))
