"""The rows that every node of the contraction tree has for a batch of terms, without any tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcq.core.arrays import namespace_of
from hpcq.reconstruction.network import Network

Tensor = NDArray[np.complex128]
Indices = NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RowPairs:
    """Distinct pairs of rows of the two children of a step, each to be contracted.

    Attributes:
        left: Row of the left child in each pair.
        right: Row of the right child in each pair.
    """

    left: Indices
    right: Indices

    def __len__(self) -> int:
        return len(self.left)

    @cached_property
    def is_by_left(self) -> bool:
        """Whether ``groups`` are by the row of the left child, of which fewer rows occur."""
        return len(np.unique(self.left)) <= len(np.unique(self.right))

    def sides(self, left: T, right: T) -> tuple[T, T]:
        """Return the two values, that of the child by whose rows ``groups`` are formed first."""
        return (left, right) if self.is_by_left else (right, left)

    @cached_property
    def groups(self) -> list[tuple[int, Indices, Indices]]:
        """For each row of one child, the pairs that have it, and their rows of the other child."""
        rows, others = self.sides(self.left, self.right)
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
        pairs = np.split(order, starts[1:]) if len(order) else []
        return [(int(rows[group[0]]), group, others[group]) for group in pairs]


@dataclass(frozen=True, eq=False)
class LocalTerms:
    """The terms whose home is a node.

    Attributes:
        terms: Numbers of the terms, ordered by their pairs.
        pairs: The rows of the node's children that they take; at a leaf their strings, twice.
        pair_index: For each term, the index of its pair. Terms that differ only on subcircuits
            without bonds have the same.
    """

    terms: Indices
    pairs: RowPairs
    pair_index: Indices

    @classmethod
    def of(cls, terms: Indices, left: Indices, right: Indices) -> LocalTerms:
        """Return terms with the rows of the children, given for all terms of the batch."""
        terms = terms[np.lexsort((right[terms], left[terms]))]
        left, right = left[terms], right[terms]
        is_new = (np.diff(left, prepend=-1) != 0) | (np.diff(right, prepend=-1) != 0)
        return cls(terms, RowPairs(left[is_new], right[is_new]), np.cumsum(is_new) - 1)

    def sum_by_pair(self, weights: Tensor) -> Tensor:
        """Return the weight of each pair, given those of all terms of the batch."""
        starts = np.searchsorted(self.pair_index, np.arange(len(self.pairs)))
        xp = namespace_of(weights)
        by_pair: Tensor = xp.add.reduceat(weights[self.terms], xp.asarray(starts), axis=0)
        return by_pair


@dataclass(frozen=True)
class MatrixLayout:
    """How a node becomes the matrices that the step which consumes it multiplies.

    Attributes:
        sizes: Sizes of the node's bonds, without sliced ones.
        order: The node's axes: first those that the step keeps, then those that it sums over.
        shape: Sizes of the kept and of the summed axes together.
    """

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, int]

    def matrices(self, node: Tensor, leading: int) -> Tensor:
        """Return a node as matrices, shape (..., kept, summed).

        Args:
            node: Shape (..., entries), with the entries of all bonds in any number of axes.
            leading: Number of axes before those of the entries.
        """
        lead = node.shape[:leading]
        axes = (*range(leading), *(leading + axis for axis in self.order))
        return node.reshape(*lead, *self.sizes).transpose(axes).reshape(*lead, *self.shape)

    def node(self, matrices: Tensor) -> Tensor:
        """Return matrices as a node, shape (..., sizes); the inverse of :meth:`matrices`."""
        lead = matrices.shape[:-2]
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        axes = (*range(len(lead)), *(len(lead) + axis for axis in inverse))
        return matrices.reshape((*lead, *(self.sizes[axis] for axis in self.order))).transpose(axes)


class SweepPlan:
    """The rows of every node that a batch of terms needs, and the layouts of the nodes.

    The *home* of a term is the lowest node of the contraction tree that contains all subcircuits on
    which it acts. Row 0 of every node belongs to the identity. The other rows are those that some
    term takes whose home is further up: strings at a leaf, pairs of the children's rows at a step.

    Args:
        network: The order of contraction.
        choices: The string of every subcircuit in each term, shape (terms, subcircuits).

    Attributes:
        network: The order of contraction.
        num_terms: Number of terms.
        pairs: For each node, the pairs of its children's rows that are its rows; at a leaf its
            strings, twice.
        local_terms: For each node, the terms whose home it is.
        environment_nodes: The nodes with terms at or below them, whose environment is needed.
        layouts: The layout of every node but the root.
    """

    def __init__(self, network: Network, choices: Indices) -> None:
        self.network = network
        self.num_terms = len(choices)
        self.pairs: list[RowPairs] = []
        self.local_terms: list[LocalTerms] = []
        self.environment_nodes: set[int] = set()
        self.layouts = _layouts(network)
        pending = np.ones(len(choices), dtype=bool)
        total = np.count_nonzero(choices[:, list(network.linked)], axis=1)
        rows: list[Indices] = []
        active_counts: list[Indices] = []
        for node in range(len(network.linked) + len(network.steps)):
            children: tuple[int, ...] = ()
            if node < len(network.linked):
                left = right = choices[:, network.linked[node]]
                active = (left > 0).astype(np.intp)
            else:
                step = network.steps[node - len(network.linked)]
                children = step.left, step.right
                left, right = rows[step.left], rows[step.right]
                active = active_counts[step.left] + active_counts[step.right]
            is_root = node == len(self.layouts)
            arrived = pending & ((active == total) & (total > 0) | is_root)
            pending = pending & ~arrived
            pairs, pair_index = _distinct_pairs(left, right, pending & (active > 0))
            self.pairs.append(pairs)
            self.local_terms.append(LocalTerms.of(np.flatnonzero(arrived), left, right))
            if arrived.any() or not self.environment_nodes.isdisjoint(children):
                self.environment_nodes.add(node)
            active_counts.append(active)
            rows.append(pair_index)


def _layouts(network: Network) -> list[MatrixLayout]:
    bonds = [network.legs[number] for number in network.linked]
    layouts: dict[int, MatrixLayout] = {}
    for step in network.steps:
        bonds.append(step.left_only + step.right_only)
        for node, kept in ((step.left, step.left_only), (step.right, step.right_only)):
            free = [bond for bond in bonds[node] if bond not in network.sliced]
            layouts[node] = MatrixLayout(
                tuple(network.bonds[bond].size for bond in free),
                tuple(free.index(bond) for bond in kept + step.shared if bond in free),
                (network.size(kept), network.size(step.shared)),
            )
    return [layouts[node] for node in sorted(layouts)]


def _distinct_pairs(
    left: Indices, right: Indices, chosen: NDArray[np.bool_]
) -> tuple[RowPairs, Indices]:
    """Return the distinct pairs of the chosen terms after (0, 0), and every term's index of a pair.

    Terms that are not chosen get index 0.
    """
    base = int(right.max(initial=0)) + 1
    codes = np.where(chosen, left * base + right, 0)
    distinct, pair_index = np.unique(np.append(codes, 0), return_inverse=True)
    return RowPairs(*np.divmod(distinct, base)), pair_index[:-1]
