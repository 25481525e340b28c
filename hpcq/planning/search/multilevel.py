"""Balanced partitions of a graph by the multilevel method.

The graph is coarsened by matching nodes along heavy edges, the coarsest graph is cut in two, and
the cut is refined on every finer graph (Karypis and Kumar, SIAM J. Sci. Comput. 20, 359 (1998)).
For more parts the halves are bisected again, and all parts may then be improved together in
V-cycles, which coarsen within the parts (Walshaw, Ann. Oper. Res. 131, 325 (2004)). All weights are
integers and all choices come from the seed, so that a seed gives the same parts on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from hpcq.planning.search.refinement import overload, refine
from hpcq.planning.search.weighted_graph import WeightedGraph

_COARSEST = 40
"""Number of nodes up to which a graph is bisected without coarsening it. Larger: the bisection sees
more of the graph, but growing it takes longer."""

_COARSEST_OF_PART = 4
"""Nodes per part at which a V-cycle stops coarsening. Larger: fewer nodes move together."""

_SHRINKAGE = 0.95
"""A matching that leaves more than this fraction of the nodes ends the coarsening. Larger: more
levels that hardly differ."""

_COARSENINGS = 4
"""Number of times that a graph is coarsened and bisected, of which the best bisection is kept. On 8
graphs of 20 to 200 nodes, halves cut 6 % less than with one coarsening and as many bisections of
the coarsest graph."""

_TRIES = 2
"""Number of bisections of each coarsest graph, of which the best is refined further."""

_ROUNDING = 1e-9
"""Added before rounding down a power to a number of nodes, so that the last bits of the power, in
which mathematical libraries differ, do not count."""

_Levels = list[tuple[WeightedGraph, list[int]]]
"""Graphs from fine to coarse, each with its node for every node of the graph before."""


def partition(graph: WeightedGraph, parts: int, cap: int, seed: int, cycles: int = 0) -> list[int]:
    """Partition a graph into parts of about equal weight with a small cut.

    Args:
        graph: The graph; its nodes have weight 1.
        parts: Number of parts; none of them is empty.
        cap: Maximum weight of a part: at least the average, rounded up.
        seed: Seed of all choices.
        cycles: Number of V-cycles over all parts. They reduce the total cut, but no longer keep the
            cuts between halves, quarters and so on small.

    Returns:
        The part of each node, 0 to ``parts - 1``. Every node is a separate part if there are no
        more nodes than parts.
    """
    num_nodes = graph.num_nodes
    if parts >= num_nodes:
        return list(range(num_nodes))
    rng = random.Random(seed)
    labels = [0] * num_nodes

    def distribute(nodes: Sequence[int], parts: range) -> None:
        if len(parts) == 1:
            for node in nodes:
                labels[node] = parts[0]
            return
        halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        caps = _caps_of_halves(len(nodes), [len(half) for half in halves], cap)
        subgraph = graph if len(nodes) == num_nodes else graph.subgraph(nodes)
        sides = _bisect(subgraph, caps, len(halves[0]) / len(parts), rng)
        for number, half in enumerate(halves):
            distribute([n for n, side in zip(nodes, sides, strict=True) if side == number], half)

    distribute(range(num_nodes), range(parts))
    for _ in range(cycles):
        labels = _v_cycle(graph, labels, [cap] * parts, rng)
    return labels


def _caps_of_halves(nodes: int, parts: Sequence[int], cap: int) -> list[int]:
    """Return the maximum number of nodes of each half, given the numbers of parts they become.

    The slack between the average weight and the cap is shared evenly, as factors, by this bisection
    and those that follow. Each half keeps at least one node for each of its parts.
    """
    total = sum(parts)
    spare = (total * cap / nodes) ** (1 / (total - 1).bit_length())
    caps = []
    for count in parts:
        even = -(-nodes * count // total)
        largest = min(count * cap, nodes - (total - count))
        loose = int(spare * nodes * count / total + _ROUNDING)
        caps.append(min(largest, max(even, loose)))
    return caps


def _bisect(
    graph: WeightedGraph, caps: Sequence[int], share: float, rng: random.Random
) -> list[int]:
    """Bisect a graph, with about the fraction ``share`` of its weight in the first half."""
    candidates = []
    for _ in range(_COARSENINGS):
        levels = _coarsen(graph, None, _COARSEST, rng)
        coarsest = min(_grow_and_refine(levels[-1][0], caps, share, rng) for _ in range(_TRIES))[2]
        labels = _uncoarsen(levels, coarsest, caps, rng)
        candidates.append(_rate(graph, labels, caps))
    return min(candidates)[2]


def _grow_and_refine(
    graph: WeightedGraph, caps: Sequence[int], share: float, rng: random.Random
) -> tuple[int, int, list[int]]:
    """Bisect a graph without coarsening it, and rate the bisection."""
    labels = _grow(graph, share, rng)
    refine(graph, labels, caps, rng)
    return _rate(graph, labels, caps)


def _rate(
    graph: WeightedGraph, labels: list[int], caps: Sequence[int]
) -> tuple[int, int, list[int]]:
    """Return ``(overload, cut, labels)``, which sorts better labels first."""
    return overload(graph.loads(labels, len(caps)), caps), graph.cut(labels), labels


def _v_cycle(
    graph: WeightedGraph, labels: Sequence[int], caps: Sequence[int], rng: random.Random
) -> list[int]:
    """Coarsen a graph within its parts, and refine the parts on the way back."""
    levels = _coarsen(graph, labels, _COARSEST_OF_PART * len(caps), rng)
    for coarse, cluster in levels[1:]:
        labels = _of_clusters(labels, cluster, coarse.num_nodes)
    coarsest = list(labels)
    refine(levels[-1][0], coarsest, caps, rng)
    return _uncoarsen(levels, coarsest, caps, rng)


def _coarsen(
    graph: WeightedGraph, labels: Sequence[int] | None, coarsest: int, rng: random.Random
) -> _Levels:
    """Coarsen a graph, within its parts if it has labels, until few nodes are left."""
    levels: _Levels = [(graph, [])]
    heaviest = max(2, 3 * sum(graph.weights) // (2 * coarsest))
    while graph.num_nodes > coarsest:
        cluster, count = _match(graph, labels, heaviest, rng)
        if count > _SHRINKAGE * graph.num_nodes:
            break
        if labels is not None:
            labels = _of_clusters(labels, cluster, count)
        graph = graph.contracted(cluster, count)
        levels.append((graph, cluster))
    return levels


def _of_clusters(labels: Sequence[int], cluster: Sequence[int], count: int) -> list[int]:
    """Return the labels of clusters, given that all nodes of a cluster have the same label."""
    merged = [0] * count
    for label, index in zip(labels, cluster, strict=True):
        merged[index] = label
    return merged


def _match(
    graph: WeightedGraph, labels: Sequence[int] | None, heaviest: int, rng: random.Random
) -> tuple[list[int], int]:
    """Match each node with a neighbour along the edge heaviest for the weights of its two nodes.

    With labels, only nodes of one label are matched. Two matched nodes weigh at most ``heaviest``
    together. Returns the cluster of each node, and the number of clusters.
    """
    cluster = [-1] * graph.num_nodes
    weights = graph.weights
    nodes = list(range(graph.num_nodes))
    rng.shuffle(nodes)
    count = 0
    for node in nodes:
        if cluster[node] >= 0:
            continue
        cluster[node] = count
        best, partner = 0.0, -1
        for other, weight in graph.neighbours[node].items():
            rating = weight / (weights[node] * weights[other])
            if (
                rating > best
                and cluster[other] < 0
                and weights[node] + weights[other] <= heaviest
                and (labels is None or labels[node] == labels[other])
            ):
                best, partner = rating, other
        if partner >= 0:
            cluster[partner] = count
        count += 1
    return cluster, count


def _uncoarsen(
    levels: _Levels, labels: list[int], caps: Sequence[int], rng: random.Random
) -> list[int]:
    """Project labels of the coarsest graph to the finest, refining them on every level."""
    for (graph, _), (_, cluster) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        labels = [labels[index] for index in cluster]
        refine(graph, labels, caps, rng)
    return labels


def _grow(graph: WeightedGraph, share: float, rng: random.Random) -> list[int]:
    """Grow the first half from a random node, always by the node most connected to it."""
    target_weight = share * sum(graph.weights)
    labels = [1] * graph.num_nodes
    connection = dict.fromkeys(range(graph.num_nodes), 0)
    weight, node = 0, rng.randrange(graph.num_nodes)
    while True:
        labels[node] = 0
        weight += graph.weights[node]
        del connection[node]
        if weight >= target_weight or len(connection) <= 1:
            return labels
        for other, edge in graph.neighbours[node].items():
            if other in connection:
                connection[other] += edge
        node = max(connection, key=connection.__getitem__)
