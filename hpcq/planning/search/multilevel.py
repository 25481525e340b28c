"""Balanced partitions of a graph by the multilevel method.

The graph is coarsened by matching nodes along heavy edges, the coarsest graph is cut in two, and
the cut is refined on every finer graph (Karypis and Kumar, SIAM J. Sci. Comput. 20, 359 (1998)).
More parts come from bisecting the halves, and may then be improved together in V-cycles, which
coarsen within the parts (Walshaw, Ann. Oper. Res. 131, 325 (2004)). All weights are integers and
all choices come from the seed, so that it gives the same parts on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from hpcq.planning.search.refinement import overload, refine
from hpcq.planning.search.weighted_graph import WeightedGraph

_COARSEST = 40
"""A graph with at most so many nodes is bisected without coarsening it."""

_COARSEST_OF_PART = 4
"""V-cycles end at so many nodes a part."""

_SHRINKAGE = 0.95
"""A matching that leaves a larger fraction of the nodes ends the coarsening."""

_COARSENINGS = 4
"""A graph is coarsened and bisected so many times, and the best bisection is kept. On 8 graphs of
20 to 200 nodes, halves cut 6 % less than with one coarsening and as many bisections of the
coarsest graphs."""

_TRIES = 2
"""Bisections of each coarsest graph, of which the best is refined further."""

_ROUNDING = 1e-9
"""Keeps the rounding of a power, which libraries disagree on, out of the number of nodes."""

_Levels = list[tuple[WeightedGraph, list[int]]]
"""Ever coarser graphs, each with the node in it of every node of the one before."""


def partition(graph: WeightedGraph, parts: int, cap: int, seed: int, cycles: int = 0) -> list[int]:
    """Partition a graph into parts of about the same weight, cutting little.

    Args:
        graph: The graph; its nodes have weight 1.
        parts: Number of parts; none of them is empty.
        cap: The most that a part may weigh: at least the average, rounded up.
        seed: Seed of all choices.
        cycles: Number of V-cycles of all parts. They cut less, but what separates the halves, the
            quarters and so on is then no longer cut as little as can be.

    Returns:
        The part of each node, 0 to ``parts - 1``. Every node is its own part if there are no more
        nodes than parts.
    """
    nodes = graph.num_nodes
    if parts >= nodes:
        return list(range(nodes))
    rng = random.Random(seed)
    labels = [0] * nodes
    _bisect_recursively(graph, range(nodes), labels, range(parts), cap, rng)
    for _ in range(cycles):
        labels = _cycle(graph, labels, [cap] * parts, rng)
    return labels


def _bisect_recursively(
    graph: WeightedGraph,
    nodes: Sequence[int],
    labels: list[int],
    parts: range,
    cap: int,
    rng: random.Random,
) -> None:
    """Label some nodes with the numbers of some parts, none heavier than a cap."""
    if len(parts) == 1:
        for node in nodes:
            labels[node] = parts[0]
        return
    halves = parts[: len(parts) // 2], parts[len(parts) // 2 :]
    caps = _caps_of_halves(len(nodes), [len(half) for half in halves], cap)
    subgraph = graph if len(nodes) == graph.num_nodes else graph.subgraph(nodes)
    sides = _bisect(subgraph, caps, len(halves[0]) / len(parts), rng)
    for side, half in enumerate(halves):
        members = [node for node, where in zip(nodes, sides, strict=True) if where == side]
        _bisect_recursively(graph, members, labels, half, cap, rng)


def _caps_of_halves(nodes: int, parts: Sequence[int], cap: int) -> list[int]:
    """Return how many nodes the halves may have, where each is to become some number of parts.

    What the parts may be too heavy is shared out over this bisection and those of the halves, and
    a half keeps a node for each of its parts.
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
    """Cut a graph in two, the first half being about a share of it."""
    found = []
    for _ in range(_COARSENINGS):
        levels = _coarsen(graph, None, _COARSEST, rng)
        coarsest = min(_grown(levels[-1][0], caps, share, rng) for _ in range(_TRIES))[2]
        labels = _uncoarsen(levels, coarsest, caps, rng)
        found.append(_rated(graph, labels, caps))
    return min(found)[2]


def _grown(
    graph: WeightedGraph, caps: Sequence[int], share: float, rng: random.Random
) -> tuple[int, int, list[int]]:
    """Cut a graph in two without coarsening it, and rate the halves."""
    labels = _grow(graph, share, rng)
    refine(graph, labels, caps, rng)
    return _rated(graph, labels, caps)


def _rated(
    graph: WeightedGraph, labels: list[int], caps: Sequence[int]
) -> tuple[int, int, list[int]]:
    """Put before labels what makes them worse: first what is too heavy, then what is cut."""
    return overload(graph.loads(labels, len(caps)), caps), graph.cut(labels), labels


def _cycle(
    graph: WeightedGraph, labels: Sequence[int], caps: Sequence[int], rng: random.Random
) -> list[int]:
    """Coarsen a graph within its parts, and refine them on the way back."""
    levels = _coarsen(graph, labels, _COARSEST_OF_PART * len(caps), rng)
    for coarse, cluster in levels[1:]:
        labels = _of_clusters(labels, cluster, coarse.num_nodes)
    coarsest = list(labels)
    refine(levels[-1][0], coarsest, caps, rng)
    return _uncoarsen(levels, coarsest, caps, rng)


def _coarsen(
    graph: WeightedGraph, labels: Sequence[int] | None, coarsest: int, rng: random.Random
) -> _Levels:
    """Coarsen a graph, within the parts if there are labels, until few nodes are left."""
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
    """Return the labels of clusters whose nodes have the same label."""
    merged = [0] * count
    for label, where in zip(labels, cluster, strict=True):
        merged[where] = label
    return merged


def _match(
    graph: WeightedGraph, labels: Sequence[int] | None, heaviest: int, rng: random.Random
) -> tuple[list[int], int]:
    """Pair nodes with the neighbour that they are joined to most for what the two weigh.

    Args:
        graph: The graph.
        labels: Only nodes with the same label are paired; None to pair any.
        heaviest: The most that two nodes may weigh together.
        rng: Decides the order.

    Returns:
        The cluster of each node, and the number of clusters.
    """
    cluster = [-1] * graph.num_nodes
    weights = graph.weights
    order = list(range(graph.num_nodes))
    rng.shuffle(order)
    count = 0
    for node in order:
        if cluster[node] >= 0:
            continue
        cluster[node] = count
        best, mate = 0.0, -1
        for other, weight in graph.neighbours[node].items():
            rating = weight / (weights[node] * weights[other])
            if (
                rating > best
                and cluster[other] < 0
                and weights[node] + weights[other] <= heaviest
                and (labels is None or labels[node] == labels[other])
            ):
                best, mate = rating, other
        if mate >= 0:
            cluster[mate] = count
        count += 1
    return cluster, count


def _uncoarsen(
    levels: _Levels, labels: list[int], caps: Sequence[int], rng: random.Random
) -> list[int]:
    """Carry labels of the coarsest graph back to the finest, refining them on each."""
    for (graph, _), (_, cluster) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        labels = [labels[where] for where in cluster]
        refine(graph, labels, caps, rng)
    return labels


def _grow(graph: WeightedGraph, share: float, rng: random.Random) -> list[int]:
    """Grow the first half from a random node, always by the node that is joined to it most."""
    wanted = share * sum(graph.weights)
    labels = [1] * graph.num_nodes
    joined = dict.fromkeys(range(graph.num_nodes), 0)
    weight, node = 0, rng.randrange(graph.num_nodes)
    while True:
        labels[node] = 0
        weight += graph.weights[node]
        del joined[node]
        if weight >= wanted or len(joined) <= 1:
            return labels
        for other, edge in graph.neighbours[node].items():
            if other in joined:
                joined[other] += edge
        node = max(joined, key=joined.__getitem__)
