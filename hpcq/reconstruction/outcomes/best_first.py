"""The most probable outcomes, found best first.

A node of the search is the outcome of the first sites and leading bits of the next one. No
completion of it is more probable than the node itself times the largest probability that later
sites can keep (:func:`~hpcq.reconstruction.outcomes.canonical_chain.suffix_bounds`). Nodes are
visited in descending order of this bound; as soon as the next bound is below the probabilities of
the outcomes that were found, everything left is less probable. Peaked distributions need few nodes.
Where all probabilities are alike, the bounds are useless, and the search gives up.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes
from hpcq.reconstruction.outcomes.candidates import Candidates
from hpcq.reconstruction.outcomes.canonical_chain import CanonicalChain, ChainSite, suffix_bounds
from hpcq.reconstruction.outcomes.prefix_tree import (
    PrefixTree,
    packed_grams,
    packed_projectors,
)

Matrix = NDArray[np.complex128]
Reals = NDArray[np.float64]

_STRIDE = 5
"""Number of bits by which a node is extended at a time: 32 children cost as much as a few, because
they are contiguous in the tables."""

_ROUNDING = 2e-15
"""Fraction of a node's probability below which that of a prefix, a sum of numbers of either sign,
is a rounding error. Such prefixes are not followed; the bound on other outcomes counts them."""

_SQUARED_ROUNDING = 1e-28
"""The same for squares of amplitudes."""

MAX_NODES = 100_000
"""Default number of nodes after which the search gives up: about 5 s, and 100 MB."""


@dataclass(frozen=True, eq=False)
class _Node:
    """The outcome of the first sites, and leading bits of the next.

    Attributes:
        earlier: Outcomes of the first sites.
        vector: Row vector of these, whose squared norm is their probability.
        environment: The vector as an environment, for the tables of the next site.
        bits: Number of leading bits.
        prefix: Their value.
    """

    earlier: tuple[int, ...]
    vector: Matrix
    environment: Reals
    bits: int
    prefix: int


@dataclass(frozen=True, eq=False)
class _Children:
    """Children of a node in descending order of their bounds."""

    node: _Node
    bits: int
    prefixes: NDArray[np.int64]
    bounds: Reals
    vectors: Matrix | None


class BestFirst:
    """A search for the most probable outcomes of a chain.

    Args:
        chain: The chain.
        number: How many outcomes to find.
        max_nodes: Number of nodes after which the search gives up.
    """

    def __init__(self, chain: CanonicalChain, number: int, max_nodes: int = MAX_NODES) -> None:
        self._chain, self._number, self._max_nodes = chain, number, max_nodes
        self._trees = [_tree(site) for site in chain.sites]
        self._bounds = suffix_bounds(chain)
        self._found: list[tuple[float, tuple[int, ...]]] = []  # a heap, the least probable first
        self._open: list[tuple[float, int, int, _Children]] = []
        self._rounded = 0.0

    def search(self) -> Candidates:
        """Return the outcomes, up to ``number``; impossible ones are not among them."""
        one = np.ones((1, 1), dtype=complex)
        nodes = 0
        self._expand(self._at_site((), one[0]), nodes)
        while self._open and nodes < self._max_nodes:
            bound, _, place, children = self._open[0]
            if -bound <= self._threshold:
                break
            if place + 1 < len(children.bounds):
                following = -float(children.bounds[place + 1])
                heapq.heapreplace(self._open, (following, -nodes, place + 1, children))
            else:
                heapq.heappop(self._open)
            nodes += 1
            self._expand(self._child(children, place), nodes)
        remaining = -self._open[0][0] if self._open else 0.0
        ordered = sorted(self._found, reverse=True)
        others = max(remaining, self._rounded)
        if len(ordered) == self._number:
            # Outcomes that were found and left out are no more probable than the last.
            others = max(others, ordered[-1][0])
        if not ordered:
            empty = np.empty((0, num_bytes(self._chain.num_qubits)), dtype=np.uint8)
            return Candidates(empty, np.empty(0), others)
        columns = np.array([outcomes for _, outcomes in ordered]).T
        probabilities = np.array([probability for probability, _ in ordered])
        return Candidates(self._chain.pack(list(columns)), probabilities, others)

    @property
    def _threshold(self) -> float:
        """Probability that an outcome must exceed to be among those found."""
        return self._found[0][0] if len(self._found) == self._number else 0.0

    def _at_site(self, earlier: tuple[int, ...], vector: Matrix) -> _Node:
        environment = packed_projectors(vector[None])[0]
        return _Node(earlier, vector, environment, 0, 0)

    def _child(self, children: _Children, place: int) -> _Node:
        node, prefix = children.node, int(children.prefixes[place])
        if children.vectors is not None:
            return self._at_site((*node.earlier, prefix), children.vectors[place])
        return _Node(node.earlier, node.vector, node.environment, children.bits, prefix)

    def _expand(self, node: _Node, nodes: int) -> None:
        """Compute the children of a node and keep those that may lead to an outcome.

        ``nodes`` counts nodes: of those with equal bounds the latest, the longest, comes first.
        """
        number = len(node.earlier)
        site, tree = self._chain.sites[number], self._trees[number]
        vectors: Matrix | None = None
        if node.bits < tree.bits:
            stride = min(_STRIDE, tree.bits - node.bits)
            rows = tree.levels[node.bits + stride]
            first = node.prefix << stride
            weights = rows[first : first + (1 << stride)] @ node.environment
            rounding = _ROUNDING
        else:
            stride = len(site.qubits) - tree.bits
            first = node.prefix << stride
            vectors = node.vector @ site.matrices[first : first + (1 << stride)]
            weights = (vectors.real**2 + vectors.imag**2).sum(axis=1)
            rounding = _SQUARED_ROUNDING
        least = rounding * float(np.vdot(node.vector, node.vector).real)
        self._rounded = max(self._rounded, 2 * least * self._bounds[number + 1])
        bounds = weights * self._bounds[number + 1]
        chosen = np.flatnonzero((weights > least) & (bounds > self._threshold))
        chosen = chosen[np.argsort(-bounds[chosen], kind="stable")]
        if vectors is not None and number + 1 == len(self._chain.sites):
            for place in chosen[: self._number].tolist():
                self._record(float(weights[place]), (*node.earlier, first + place))
        elif len(chosen):
            kept = None if vectors is None else vectors[chosen]
            children = _Children(node, node.bits + stride, first + chosen, bounds[chosen], kept)
            entry = (-float(children.bounds[0]), -nodes, 0, children)
            heapq.heappush(self._open, entry)

    def _record(self, probability: float, outcomes: tuple[int, ...]) -> None:
        if len(self._found) < self._number:
            heapq.heappush(self._found, (probability, outcomes))
        elif probability > self._found[0][0]:
            heapq.heapreplace(self._found, (probability, outcomes))


def _tree(site: ChainSite) -> PrefixTree:
    """Return the Gram matrices of the prefixes of a site, all bits but the last few."""
    bits = max(0, len(site.qubits) - _STRIDE)
    left = site.matrices.shape[1]
    blocks = site.matrices.reshape(1 << bits, -1, *site.matrices.shape[1:]).swapaxes(1, 2)
    rows = blocks.reshape(1 << bits, left, -1)
    return PrefixTree.of(packed_grams(rows @ rows.conj().swapaxes(1, 2)))


def best_first_bytes(chain: CanonicalChain) -> int:
    """Return the bytes of the tables, and of computing them."""
    return sum(
        8 * (2 + 6) * site.matrices.shape[1] ** 2 << max(0, len(site.qubits) - _STRIDE)
        for site in chain.sites
    )
