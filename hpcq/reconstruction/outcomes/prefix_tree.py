"""Trees of prefix Grams: the probabilities of the leading bits of a site's outcome.

For each prefix of j bits the tree has the Gram matrix of a site's amplitudes, summed over all
completions of the prefix. It is Hermitian, and stored as D^2 reals, so that the probability of a
prefix is a product of two real vectors: that of the prefix, and that of the shots' environment.
The leading bits are the highest bits of an outcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.outcomes.nodes import Nodes, split_by_children

Matrix = NDArray[np.complex128]
Reals = NDArray[np.float64]

_STRIDE = 4
"""Bits that are drawn at a time by products of matrices. Measured µs per shot with 3 x 8 and 5 x 10
qubits, D = 8: 1.7 and 7.3 at 3 bits, 1.5 and 6.1 at 4, 1.6 and 6.3 at 5, 1.9 and 6.8 at 6."""

_MIN_SHARED = 4
"""Nodes with the same prefix from which their next bits are drawn together; fewer are drawn bit by
bit, with fewer operations. Measured as above: 2.1 and 7.6 µs if all are drawn bit by bit after the
first bits; no difference between 1, 4 and 16 nodes."""

_BLOCK_ENTRIES = 1 << 20
"""Complex numbers of Gram matrices that are computed at a time."""


def packed_grams(grams: Matrix) -> Reals:
    """Return Hermitian matrices, shape (n, D, D), as reals: diagonals, then upper triangles.

    Real and imaginary part of an entry of the triangle are side by side.
    """
    rows, columns = _upper(grams.shape[-1])
    return _packed(np.diagonal(grams, axis1=1, axis2=2).real, grams[:, rows, columns])


def packed_environments(matrices: Matrix, entries: NDArray[np.intp]) -> Reals:
    """Return environments E as reals, so that ``sum E[i, j] G[i, j]`` is a real scalar product.

    Args:
        matrices: Entries of Hermitian matrices in any order, shape (n, D**2).
        entries: Where the entries of each row are, shape (D, D).

    Returns:
        Shape (n, D**2).
    """
    rows, columns = _upper(len(entries))
    upper = 2 * matrices[:, entries[rows, columns]].conj()
    return _packed(matrices[:, np.diagonal(entries)].real, upper)


def packed_projectors(vectors: Matrix) -> Reals:
    """Return the environments ``E[i, j] = v[i] conj(v[j])`` of vectors, shape (n, D), as reals."""
    count, dimension = vectors.shape
    packed = np.empty((count, dimension**2))
    np.square(vectors.real, out=packed[:, :dimension])
    packed[:, :dimension] += np.square(vectors.imag)
    doubled, start = 2 * vectors.conj(), 0
    upper = packed[:, dimension:].view(complex)
    # Diagonal by diagonal, so that nothing is gathered: 0.4 µs per vector instead of 5 at D = 16.
    for offset in range(1, dimension):
        stop = start + dimension - offset
        np.multiply(doubled[:, :-offset], vectors[:, offset:], out=upper[:, start:stop])
        start = stop
    return packed


def _upper(dimension: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of the upper triangle, one diagonal after the other."""
    rows = [np.arange(dimension - offset) for offset in range(1, dimension)]
    columns = [np.arange(offset, dimension) for offset in range(1, dimension)]
    empty = np.empty(0, dtype=np.intp)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *columns])


def _packed(diagonals: Reals, upper: Matrix) -> Reals:
    return np.concatenate([diagonals, np.ascontiguousarray(upper).view(np.float64)], axis=1)


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The prefix Grams of a site.

    Attributes:
        levels: For j = 0 to ``bits``: the Grams of all prefixes of j bits, packed, shape
            (2**j, D**2).
    """

    levels: tuple[Reals, ...]

    @property
    def bits(self) -> int:
        """Number of bits of the longest prefixes."""
        return len(self.levels) - 1

    @classmethod
    def of(cls, deepest: Reals) -> PrefixTree:
        """Return the tree with the given Grams of its longest prefixes, shape (2**bits, D**2)."""
        levels = [deepest]
        while len(levels[-1]) > 1:
            levels.append(levels[-1][0::2] + levels[-1][1::2])
        return cls(tuple(levels[::-1]))

    def draw(
        self, environments: Reals, counts: NDArray[np.int64], rng: np.random.Generator
    ) -> Nodes:
        """Draw prefixes of ``bits`` bits.

        Args:
            environments: Packed environment of each group of shots, shape (groups, D**2).
            counts: Shots of each group.
            rng: Source of random numbers.

        Returns:
            The nodes, each a group and a prefix that occurred, with its shots and the probability
            by which it was drawn, up to a factor of the group.
        """
        groups = np.arange(len(counts))
        weights = np.einsum("nd,d->n", environments, self.levels[0][0])
        nodes = Nodes(groups, np.zeros(len(counts), dtype=np.int64), counts, weights)
        level = 0
        while level < self.bits:
            stride = min(_STRIDE, self.bits - level)
            nodes = self._descend(nodes, environments, level, stride, rng)
            level += stride
        return nodes

    def _descend(
        self, nodes: Nodes, environments: Reals, level: int, stride: int, rng: np.random.Generator
    ) -> Nodes:
        """Draw the next bits of nodes whose prefixes have ``level`` bits."""
        table = self.levels[level + stride].reshape(1 << level, 1 << stride, -1)
        if level == 0:
            return split_by_children(nodes, environments @ table[0].T, stride, rng)
        nodes = nodes.take(np.argsort(nodes.prefixes, kind="stable"))
        starts = np.flatnonzero(np.diff(nodes.prefixes, prepend=-1))
        lengths = np.diff(starts, append=len(nodes.prefixes))
        shared = lengths >= _MIN_SHARED
        found = []
        together = np.repeat(shared, lengths)
        if shared.any():
            children = np.empty((int(lengths[shared].sum()), 1 << stride))
            joined = nodes.take(np.flatnonzero(together))
            end = 0
            gathered = environments[joined.groups]
            for prefix, length in zip(
                nodes.prefixes[starts[shared]].tolist(), lengths[shared].tolist(), strict=True
            ):
                start, end = end, end + length
                np.matmul(gathered[start:end], table[prefix].T, out=children[start:end])
            found.append(split_by_children(joined, children, stride, rng))
        if not shared.all():
            rest = nodes.take(np.flatnonzero(~together))
            for below in range(level + 1, level + stride + 1):
                rest = self._next_bit(rest, environments, below, rng)
            found.append(rest)
        return Nodes.joined(found)

    def _next_bit(
        self, nodes: Nodes, environments: Reals, level: int, rng: np.random.Generator
    ) -> Nodes:
        """Draw one more bit, after which prefixes have ``level`` bits."""
        zeros = np.einsum(
            "nd,nd->n", environments[nodes.groups], self.levels[level][2 * nodes.prefixes]
        )
        return split_by_children(nodes, np.stack([zeros, nodes.weights - zeros], axis=1), 1, rng)


def blocks(prefixes: int, entries: int) -> Iterator[slice]:
    """Yield slices of prefixes whose Grams take a bounded number of entries together."""
    length = max(1, _BLOCK_ENTRIES // max(1, entries))
    for start in range(0, prefixes, length):
        yield slice(start, min(prefixes, start + length))


def tree_bytes(dimension: int, bits: int) -> int:
    """Return the bytes of a tree over environments of dimension D; those without bits are empty."""
    return 16 * dimension**2 << bits if bits else 0
