"""The most probable outcomes of two parts: the largest inner products of two sets of vectors.

The amplitude of an outcome is ``u . v``, with a vector for the outcome of each part, so that its
probability is at most the product of their squared norms. With both sets in descending order of
norms, blocks of pairs are multiplied in descending order of this bound, until it is below the
probabilities of the outcomes that were found. In the gauge of the Schmidt decomposition, in which
both sets have the same diagonal Gram matrix, few pairs are left.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.complex128]
Reals = NDArray[np.float64]

_BLOCK = 512
"""Number of vectors of each part that are multiplied at a time: 2**18 products, 4 MiB."""

MAX_PAIRS = 1 << 30
"""Default number of pairs after which the search gives up: half a minute for vectors of 8."""

_SQUARED_ROUNDING = 1e-28
"""Fraction of the largest probability below which that of an outcome is a rounding error."""


@dataclass(frozen=True, eq=False)
class LargestProducts:
    """Pairs of the largest products.

    Attributes:
        left: Index of the left vector of each pair.
        right: Index of the right vector.
        squares: Squared absolute value of their product, descending.
        others: Bound on the squares of all other pairs.
        pairs: Number of pairs that were multiplied.
    """

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    squares: Reals
    others: float
    pairs: int


def largest_products(
    left: Matrix, right: Matrix, number: int, max_pairs: int = MAX_PAIRS
) -> LargestProducts:
    """Return the pairs with the largest absolute values of ``sum_i u[i] v[i]``.

    Args:
        left: The vectors u, shape (n, d).
        right: The vectors v, shape (m, d).
        number: Number of pairs; those whose product is zero are left out.
        max_pairs: Number of products after which the search gives up.
    """
    u_order, u, u_norms = _descending(left)
    v_order, v, v_norms = _descending(right)
    found = np.empty((2, 0), dtype=np.intp)
    squares = np.empty(0)
    # The square that a pair must exceed, and that of the best pair.
    threshold = best = 0.0
    open_blocks = [(-float(u_norms[0] * v_norms[0]), 0, 0)]
    pairs = 0
    while open_blocks and pairs < max_pairs:
        bound, i, j = open_blocks[0]
        if -bound <= max(threshold, _SQUARED_ROUNDING * best):
            break
        heapq.heappop(open_blocks)
        if j + _BLOCK < len(v):
            heapq.heappush(open_blocks, (-float(u_norms[i] * v_norms[j + _BLOCK]), i, j + _BLOCK))
        if j == 0 and i + _BLOCK < len(u):
            heapq.heappush(open_blocks, (-float(u_norms[i + _BLOCK] * v_norms[0]), i + _BLOCK, 0))
        rows = _exceeding(u_norms[i : i + _BLOCK] * v_norms[j], threshold)
        columns = _exceeding(v_norms[j : j + _BLOCK] * u_norms[i], threshold)
        products = u[i : i + rows] @ v[j : j + columns].T
        pairs += rows * columns
        block = products.real**2 + products.imag**2
        chosen = np.flatnonzero(block.ravel() > threshold)
        if len(chosen) > number:
            values = block.ravel()[chosen]
            chosen = chosen[np.argpartition(values, -number)[-number:]]
        if len(chosen):
            numbers = np.stack(np.divmod(chosen, columns)) + np.array([[i], [j]])
            found = np.concatenate([found, numbers], axis=1)
            squares = np.concatenate([squares, block.ravel()[chosen]])
            order = np.argsort(-squares, kind="stable")[:number]
            found, squares = found[:, order], squares[order]
            best = float(squares[0])
            threshold = float(squares[-1]) if len(squares) == number else 0.0
    possible = squares > _SQUARED_ROUNDING * best
    remaining = -open_blocks[0][0] if open_blocks else 0.0
    others = max(remaining, threshold, _SQUARED_ROUNDING * best)
    found, squares = found[:, possible], squares[possible]
    return LargestProducts(u_order[found[0]], v_order[found[1]], squares, others, pairs)


def _descending(vectors: Matrix) -> tuple[NDArray[np.intp], Matrix, Reals]:
    """Return an order of vectors by norm, the vectors in this order, and their squared norms."""
    norms = np.einsum("ij,ij->i", vectors, vectors.conj()).real
    order = np.argsort(-norms, kind="stable")
    return order, vectors[order], norms[order]


def _exceeding(bounds: Reals, threshold: float) -> int:
    """Return how many bounds, which descend, exceed a threshold; at least one."""
    return max(1, len(bounds) - int(np.searchsorted(bounds[::-1], threshold, side="right")))
