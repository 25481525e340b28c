"""The tables from which one site is sampled: its tree of prefix Grams, and its amplitudes.

The tree has the Gram matrices that the step needs. Where no bond passes the step, those over the
bonds that end at the site, with the environment of later sites absorbed into the amplitudes.
Otherwise those over all bonds of the site; the environment is then part of the shots' vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.prefix_tree import PrefixTree, blocks, packed_grams
from hpcq.reconstruction.outcomes.sites import Site, SiteNetwork

Matrix = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Mixing:
    """The matrix M of a site with rows in the order of a step: closed bonds, then opened ones.

    Attributes:
        matrix: The sparse matrix.
        branches: Number of branches of the states.
    """

    matrix: Any
    branches: int

    @classmethod
    def of(cls, site: Site, step: Step) -> Mixing:
        """Return the matrix of a site in the order of its step."""
        rows = np.arange(site.dimension).reshape(site.dimensions)
        axes = [site.bonds.index(bond) for bond in step.closed + step.opened]
        return cls(site.mixing[rows.transpose(axes).ravel()], site.branches)

    def apply(self, states: Matrix, branch: int | None) -> Matrix:
        """Return amplitudes of some outcomes from their states.

        Args:
            states: States of all branches or of one, shape (n, rows).
            branch: The branch, or None for all.

        Returns:
            Shape (n, closed times opened).
        """
        columns, weights = self._monomial
        if branch is None and columns is not None:
            mixed = states if columns is ... else states[:, columns]
            return mixed if weights is None else mixed * weights
        matrix = self.matrix
        if branch is not None and self.branches > 1:
            size = matrix.shape[1] // self.branches
            matrix = matrix[:, branch * size : (branch + 1) * size]
        return np.ascontiguousarray((matrix @ states.T).T)

    @cached_property
    def _monomial(self) -> tuple[Any, Matrix | None]:
        """The column and the weight of each row, if there is one: a product is then a copy."""
        matrix = self.matrix
        matrix.sum_duplicates()
        if not (np.diff(matrix.indptr) == 1).all():
            return None, None
        columns: Any = matrix.indices
        if len(columns) == matrix.shape[1] and (columns == np.arange(len(columns))).all():
            columns = ...
        return columns, None if (matrix.data == 1).all() else matrix.data


def state_rows(network: SiteNetwork, site: int) -> Iterator[tuple[int | None, Matrix]]:
    """Yield states, outcome by outcome: branch, and an array of shape (2**bits, rows)."""
    for branch, states in network.branch_states(site):
        yield branch, np.ascontiguousarray(states.T)


def build_tree(
    network: SiteNetwork, step: Step, mixing: Mixing, factor: Matrix, bits: int
) -> PrefixTree:
    """Compute the tree of a step.

    A tree without bits is empty: all bits come from amplitudes. States that are not kept are
    computed for all pairs of branches, two in memory at a time.

    Args:
        network: The network.
        step: The step.
        mixing: The site's matrix, in the order of the step.
        factor: C of the environment after the step, shape (rank, passed times opened).
        bits: Number of bits of the tree.
    """
    if not bits:
        return PrefixTree.of(np.empty((1, 0)))
    closed, opened = step.closed_size, step.opened_size
    absorbs = step.passed_size == 1
    dimension = closed if absorbs else closed * opened
    leaves = network.sites[step.site].num_outcomes >> bits

    def spread(states: Matrix, branch: int | None, part: slice) -> Matrix:
        """Return amplitudes of a slice of prefixes, shape (prefixes, D, summed)."""
        rows = states.reshape(1 << bits, leaves, -1)[part]
        mixed = mixing.apply(rows.reshape(-1, rows.shape[2]), branch)
        if absorbs:
            mixed = mixed.reshape(-1, opened) @ factor.T
        amplitudes = mixed.reshape(len(rows), leaves, dimension, -1).swapaxes(1, 2)
        return np.ascontiguousarray(amplitudes).reshape(len(rows), dimension, -1)

    deepest = np.zeros((1 << bits, dimension**2))
    parts = list(blocks(1 << bits, max(dimension**2, leaves * closed * opened)))
    for (first, ket), (second, bra) in _pairs(network, step.site):
        for part in parts:
            left = spread(ket, first, part)
            right = left if first == second else spread(bra, second, part)
            grams = left @ right.conj().swapaxes(1, 2)
            if first != second:
                grams = grams + grams.conj().swapaxes(1, 2)
            deepest[part] += packed_grams(grams)
    return PrefixTree.of(deepest)


_BranchRows = tuple[int | None, Matrix]


def _pairs(network: SiteNetwork, site: int) -> Iterator[tuple[_BranchRows, _BranchRows]]:
    """Yield the pairs of branches i >= j of a site; one pair if its states are kept."""
    for number, ket in enumerate(state_rows(network, site)):
        for bra in islice(state_rows(network, site), number):
            yield ket, bra
        yield ket, ket
