"""Natural groups: blocks are found whatever their sizes and order, and within the limit."""

from __future__ import annotations

import itertools
import random

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcq.planning.search.communities import merge_groups
from hpcq.planning.search.weighted_graph import WeightedGraph


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(4, 9), min_size=2, max_size=6), st.integers(9, 40), st.integers(0, 10**6)
)
def test_blocks_of_any_sizes_are_found_within_any_limit(sizes, cap, seed):
    rng = random.Random(seed)
    nodes = list(range(sum(sizes)))
    rng.shuffle(nodes)
    rest = iter(nodes)
    blocks = [list(itertools.islice(rest, size)) for size in sizes]
    edges = [(pair, rng.randint(4, 6)) for b in blocks for pair in itertools.combinations(b, 2)]
    links = [((rng.choice(a), rng.choice(b)), 1) for a, b in itertools.pairwise(blocks)]
    merges = merge_groups(WeightedGraph.from_edges(len(nodes), edges + links), cap)
    found = [merges.labels(count) for count in merges.natural_counts(len(nodes) // 2, 2)]
    expected = set(map(frozenset, blocks))
    assert expected in [groups_of(labels) for labels in found]


def groups_of(labels: list[int]) -> set[frozenset[int]]:
    return {
        frozenset(node for node, each in enumerate(labels) if each == label)
        for label in set(labels)
    }


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 30), st.floats(0.02, 1), st.integers(1, 12), st.integers(0, 10**6))
def test_groups_are_connected_within_the_limit_and_none_could_be_merged(nodes, chance, cap, seed):
    graph = nx.gnp_random_graph(nodes, chance, seed=seed)
    rng = random.Random(seed)
    edges = [(pair, rng.randint(1, 9)) for pair in sorted(graph.edges)]
    merges = merge_groups(WeightedGraph.from_edges(nodes, edges), cap)
    assert list(merges.connections) == sorted(merges.connections, reverse=True)
    for count in range(1 + len(merges.pairs)):
        groups = groups_of(merges.labels(count))
        assert len(groups) == nodes - count
        assert all(len(group) <= cap and nx.is_connected(graph.subgraph(group)) for group in groups)
    for a, b in itertools.combinations(groups, 2):
        assert len(a) + len(b) > cap or not any(graph.has_edge(u, v) for u in a for v in b)


def test_connections_are_averages_over_all_pairs_of_nodes():
    graph = WeightedGraph.from_edges(3, [((0, 1), 6), ((1, 2), 3), ((0, 2), 1)])
    merges = merge_groups(graph, 3)
    assert merges.pairs[0] == (0, 1)
    assert merges.connections == (6.0, 2.0)
