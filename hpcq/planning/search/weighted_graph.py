"""A weighted graph with what partitioning needs: neighbours, subgraphs and contractions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class WeightedGraph:
    """An undirected graph without loops; all weights are integers.

    Each node has the weights of the edges to its neighbours, and its own weight.
    """

    neighbours: list[dict[int, int]]
    weights: list[int]

    @classmethod
    def from_edges(
        cls, num_nodes: int, edges: Iterable[tuple[tuple[int, int], int]]
    ) -> WeightedGraph:
        """Build a graph of nodes of weight 1; the weights of parallel edges add up."""
        neighbours: list[dict[int, int]] = [{} for _ in range(num_nodes)]
        for (a, b), weight in edges:
            neighbours[a][b] = neighbours[b][a] = neighbours[a].get(b, 0) + weight
        return cls(neighbours, [1] * num_nodes)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.weights)

    def cut(self, labels: Sequence[int]) -> int:
        """Return the weight of the edges between different labels."""
        twice = sum(
            weight
            for node, edges in enumerate(self.neighbours)
            for other, weight in edges.items()
            if labels[node] != labels[other]
        )
        return twice // 2

    def loads(self, labels: Sequence[int], parts: int) -> list[int]:
        """Return the weight of the nodes with each label."""
        loads = [0] * parts
        for label, weight in zip(labels, self.weights, strict=True):
            loads[label] += weight
        return loads

    def subgraph(self, nodes: Sequence[int]) -> WeightedGraph:
        """Return the graph of the given nodes and the edges between them."""
        number = {node: index for index, node in enumerate(nodes)}
        neighbours = []
        for node in nodes:
            edges = self.neighbours[node].items()
            neighbours.append({number[other]: weight for other, weight in edges if other in number})
        return WeightedGraph(neighbours, [self.weights[node] for node in nodes])

    def contracted(self, cluster: Sequence[int], count: int) -> WeightedGraph:
        """Return the graph that has one node for each cluster of this graph's nodes."""
        neighbours: list[dict[int, int]] = [{} for _ in range(count)]
        for node, edges in enumerate(self.neighbours):
            node_cluster = cluster[node]
            merged = neighbours[node_cluster]
            for other, weight in edges.items():
                if cluster[other] != node_cluster:
                    merged[cluster[other]] = merged.get(cluster[other], 0) + weight
        return WeightedGraph(neighbours, self.loads(cluster, count))
