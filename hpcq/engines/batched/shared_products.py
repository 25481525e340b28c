"""Products of states that are shared by the operators on a few wires.

States are sorted into *sectors* by the values s of the bits of these wires. With the products of
two sectors, ``G[s, t] = psi[s] psi[t]^dagger``, the tensor of an operator with the matrix M on the
wires is ``sum_(s, t) M[t, s] G[s, t]``, and ``G[t, s] = G[s, t]^dagger``. So all operators that are
diagonal share one product of all states, and all that flip the same bits share half a product:
I, X, Y and Z on a wire take one and a half products instead of four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.batched.gates import Matrix
from hpcq.engines.batched.operators import operator_matrix
from hpcq.engines.requests import Operator

_MAX_BITS = 3
"""Maximum number of bits of a group of operators."""

_MIN_REST_BITS = 4
"""Minimum number of bits outside a group: matrix products over fewer than 2**4 amplitudes are
slow."""

_STRIP = 32
"""Number of rows of a Hermitian product that are computed together. For 64 rows this saves 20 % of
the time; smaller strips save no more (one core)."""

_PASS_PRODUCTS = 8.0
"""Seconds of a pass over the states, in multiples of those of one row of a product of all states:
about 2 ns an amplitude against 0.26 ns (one core)."""


@dataclass(frozen=True)
class Group:
    """Operators that share products.

    Attributes:
        numbers: Their numbers among all operators.
        bits: The bits that they depend on, ascending.
        flips: Patterns of flipped bits, among the bits of the group; 0 is the first, if there is a
            diagonal part.
    """

    numbers: tuple[int, ...]
    bits: tuple[int, ...]
    flips: tuple[int, ...]

    @property
    def num_products(self) -> float:
        """Number of products of all states that the operators take."""
        return sum(0.5 if flip else 1.0 for flip in self.flips)


class SharedProducts:
    """The tensors of a group of operators, and the adjoint of sums over them.

    Args:
        group: The group.
        operators: The operators of the group.
        bits: Wire → bit of the index of the states, in ascending order from bit 0.
        dimension: D, the combined index of the ports.
        xp: The module of arrays.
        dtype: Type of the states, complex64 or complex128.

    Attributes:
        numbers: The operators' numbers among all operators.
    """

    def __init__(
        self,
        group: Group,
        operators: Sequence[Operator],
        bits: Mapping[int, int],
        dimension: int,
        xp: Any,
        dtype: Any,
    ) -> None:
        self.numbers = xp.asarray(group.numbers)
        self._xp, self._dtype = xp, dtype
        self._sectors = 1 << len(group.bits)
        size = 1 << len(bits)
        rest = [bit for bit in range(len(bits)) if bit not in group.bits]
        index = np.arange(size)
        order = sum((index >> place & 1) << bit for place, bit in enumerate([*rest, *group.bits]))
        order = np.asarray(order).reshape(self._sectors, 1, -1)
        order = (order + size * np.arange(dimension)[:, np.newaxis]).reshape(-1)
        self._order, self._back = xp.asarray(order), xp.asarray(np.argsort(order))
        matrices = np.array([operator_matrix(each, bits, group.bits) for each in operators])
        self._flips = [_Flip(flip, matrices, xp) for flip in group.flips]

    def sort(self, states: Any) -> Any:
        """Return states, shape (rows, D, 2**wires), by sectors: shape (rows, sectors, D, rest)."""
        rows, dimension, _ = states.shape
        flat = self._xp.take(states.reshape(rows, -1), self._order, axis=-1)
        return flat.reshape(rows, self._sectors, dimension, -1)

    def tensors(self, sectors: Any) -> Any:
        """Return the tensors, complex128, shape (rows, operators of the group, D, D).

        Args:
            sectors: The states as :meth:`sort` has returned them.
        """
        xp = self._xp
        kets = sectors.astype(xp.complex128, copy=False)
        rows, _, dimension, _ = kets.shape
        shape = (rows, len(self.numbers), dimension, dimension)
        tensors = xp.zeros(shape, dtype=xp.complex128)
        for flip in self._flips:
            if flip.pattern:
                low = xp.take(kets, flip.low, axis=1)
                products = low @ xp.take(kets, flip.high, axis=1).conj().swapaxes(-1, -2)
            else:
                products = hermitian_product(kets, kets.conj().swapaxes(-1, -2), xp)
            summed = flip.values @ products.reshape(rows, products.shape[1], -1)
            summed = summed.reshape(rows, -1, dimension, dimension)
            if flip.pattern:
                summed += summed.conj().swapaxes(-1, -2)
            tensors[:, flip.operators] += summed
        return tensors

    def adjoint(self, sectors: Any, weights: Any) -> Any:
        """Return the sum over the operators of weights times operator times states.

        Args:
            sectors: The states as :meth:`sort` has returned them.
            weights: Shape (rows, sums, operators of the group, D, D).

        Returns:
            Shape (rows, sums * D, 2**wires).
        """
        xp = self._xp
        rows, sums, _, dimension, _ = weights.shape
        total = None
        for flip in self._flips:
            taken = xp.take(weights, flip.operators, axis=2)
            taken = taken.reshape(rows, sums, -1, dimension * dimension)
            summed = xp.asarray(flip.columns @ taken, dtype=self._dtype)
            summed = summed.reshape(rows, sums, self._sectors, dimension, dimension)
            flipped = xp.take(sectors, flip.source, axis=1) if flip.pattern else sectors
            term = summed @ flipped[:, None]
            total = term if total is None else total + term
        assert total is not None, "a group has operators"
        flat = total.reshape(rows, sums, -1)
        return xp.take(flat, self._back, axis=-1).reshape(rows, sums * dimension, -1)


class _Flip:
    """The parts of the matrices of a group that flip the same bits.

    Attributes:
        pattern: The bits that are flipped.
        operators: The operators of the group that have such a part.
        source: For each sector t, the sector s = t ^ pattern that is mapped to it.
        low: Of each pair of sectors, the lower one, s.
        high: The other one, t.
        values: ``M[t, s]`` of the pairs, shape (operators, pairs); without flips, the diagonals.
        columns: ``M[t, s]`` of all sectors t, shape (sectors, operators).
    """

    def __init__(self, pattern: int, matrices: NDArray[np.complex128], xp: Any) -> None:
        sectors = np.arange(matrices.shape[-1])
        entries = matrices[:, sectors, sectors ^ pattern]
        has_part = np.flatnonzero(np.any(entries != 0, axis=1))
        entries = entries[has_part]
        high = sectors[sectors > sectors ^ pattern] if pattern else sectors
        values = entries[:, high] if pattern else entries.real
        self.pattern = pattern
        self.operators, self.source = xp.asarray(has_part), xp.asarray(sectors ^ pattern)
        self.low, self.high = xp.asarray(high ^ pattern), xp.asarray(high)
        self.values = xp.asarray(np.ascontiguousarray(values))
        columns = entries.T if pattern else entries.real.T
        self.columns = xp.asarray(np.ascontiguousarray(columns))


def find_groups(
    operators: Sequence[Operator], bits: Mapping[int, int], dimension: int
) -> list[Group]:
    """Return the groups of operators that are computed faster together than one by one.

    Args:
        operators: The operators.
        bits: Wire → bit of the index of the states, in ascending order from bit 0.
        dimension: D, the combined index of the ports.
    """
    most = min(_MAX_BITS, len(bits) - _MIN_REST_BITS)
    members: list[tuple[list[int], set[int]]] = []
    for number, operator in enumerate(operators):
        used = {bits[wire] for string, _ in operator for wire, _ in string}
        fitting = [group for group in members if len(group[1] | used) <= most]
        if len(used) > most:
            continue
        if not fitting:
            fitting = [([], set())]
            members += fitting
        numbers, together = min(fitting, key=lambda group: len(used - group[1]))
        numbers.append(number)
        together |= used
    groups = []
    for numbers, together in members:
        grouped = [operators[number] for number in numbers]
        ordered = tuple(sorted(together))
        matrices = [operator_matrix(operator, bits, ordered) for operator in grouped]
        group = Group(tuple(numbers), ordered, _flips_of(matrices))
        moved = 1 + len(group.flips)  # sorting, and copies of the sectors that are multiplied
        alone = len(grouped) * dimension + _PASS_PRODUCTS * sum(
            map(bool, map(_is_not_identity, grouped))
        )
        if group.num_products * dimension + _PASS_PRODUCTS * moved < alone:
            groups.append(group)
    return groups


def hermitian_product(kets: Any, bras: Any, xp: Any) -> Any:
    """Return products of matrices that are Hermitian, from their lower triangles."""
    size = kets.shape[-2]
    if size <= _STRIP:
        return kets @ bras
    products = xp.empty((*kets.shape[:-1], size), dtype=kets.dtype)
    for start in range(0, size, _STRIP):
        stop = min(size, start + _STRIP)
        strip = kets[..., start:stop, :] @ bras[..., :stop]
        products[..., start:stop, :stop] = strip
        products[..., :start, start:stop] = strip[..., :start].conj().swapaxes(-1, -2)
    return products


def _flips_of(matrices: Sequence[Matrix]) -> tuple[int, ...]:
    """Return the patterns of bits that matrices flip, in ascending order."""
    targets, sources = np.nonzero(np.any(np.array(matrices), axis=0))
    return tuple(np.unique(targets ^ sources).tolist())


def _is_not_identity(operator: Operator) -> bool:
    return any(string for string, _ in operator)
