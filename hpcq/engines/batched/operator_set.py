"""The operators of a request together: their tensors, and the adjoint of sums over these.

Operators that are diagonal and depend on few bits, such as the identity and Z on one wire, share
the products of states: for each value of these bits, states are multiplied with themselves once,
and every such operator is a sum of these products with its eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpcq.engines.batched.operators import compile_operator
from hpcq.engines.requests import Operator

_MAX_BITS = 3
"""Maximum number of bits on which shared operators depend."""

_MIN_DIMENSION = 16
"""Dimension of ports from which products are shared. For fewer, their cost is that of the passes
that sort the states by the bits (complex128, 2**12 amplitudes and more, one core)."""

_STRIP = 32
"""Rows of a strip of a Hermitian product. At 64 rows this saves 20 % of the time; narrower strips
save no more (one core)."""


class OperatorSet:
    """Operators on the wires of a piece's states.

    Args:
        operators: The operators.
        bits: Wire → bit of the index of the states, in ascending order from bit 0.
        dimension: D, the combined index of the ports.
        xp: The module of arrays.
        dtype: Type of the states, complex64 or complex128.
    """

    def __init__(
        self,
        operators: Sequence[Operator],
        bits: Mapping[int, int],
        dimension: int,
        xp: Any,
        dtype: Any,
    ) -> None:
        self._xp, self._dtype = xp, dtype
        self._count = len(operators)
        compiled = [compile_operator(operator, bits, xp, dtype) for operator in operators]
        shared, used = _shared(operators, bits, dimension)
        self._shared = shared
        self._others = [(n, each) for n, each in enumerate(compiled) if n not in shared]
        rest = [bit for bit in range(len(bits)) if bit not in used]
        index = np.arange(1 << len(bits))
        ordered = sum((index >> place & 1) << bit for place, bit in enumerate([*rest, *used]))
        ordered = np.asarray(ordered, dtype=np.intp).reshape(1 << len(used), -1)
        if shared:
            values = [_diagonal(operators[n], bits)[ordered[:, 0]] for n in shared]
            self._values = xp.asarray(np.array(values), dtype=xp.float64)
            self._order = xp.asarray(ordered.reshape(-1))
            self._back = xp.asarray(np.argsort(ordered.reshape(-1)))
        self._sectors = 1 << len(used)

    def applied(self, states: Any) -> list[Any]:
        """Return the states times the operators that share nothing, and those that are shared.

        Args:
            states: Shape (rows, D, 2**wires).

        Returns:
            Products of the same shape. Where there are shared operators, the last entry is the
            states by the value of the bits that they depend on, shape (rows, values, D, rest).
        """
        results = [
            states if each.is_identity else each.apply(states, self._xp) for _, each in self._others
        ]
        if self._shared:
            rows, dimension, _ = states.shape
            sorted_states = self._xp.take(states, self._order, axis=-1)
            shaped = sorted_states.reshape(rows, dimension, self._sectors, -1)
            results.append(shaped.swapaxes(1, 2))
        return results

    def tensors(self, states: Any, applied: Sequence[Any]) -> Any:
        """Return the tensors, complex128, shape (rows, operators, D, D)."""
        xp = self._xp
        rows, dimension, _ = states.shape
        tensors = xp.empty((rows, self._count, dimension, dimension), dtype=xp.complex128)
        if self._others:
            bras = self._double(states).conj().swapaxes(-1, -2)
            for (number, _), kets in zip(self._others, applied, strict=False):
                tensors[:, number] = self._hermitian(self._double(kets), bras)
        if self._shared:
            kets = self._double(applied[-1])
            products = self._hermitian(kets, kets.conj().swapaxes(-1, -2))
            summed = self._values @ products.reshape(rows, self._sectors, -1)
            tensors[:, self._shared] = summed.reshape(rows, -1, dimension, dimension)
        return tensors

    def adjoint(self, applied: Sequence[Any], environments: Any) -> Any:
        """Return mu of sums over the tensors, shape (rows, sums, D, 2**wires).

        Args:
            applied: As :meth:`applied` has returned it.
            environments: Hermitian environments, shape (rows, sums, operators, D, D).
        """
        total = None
        rows, sums, _, dimension, _ = environments.shape
        # In this order whatever the number of rows: products in another one round differently.
        transposed = self._xp.ascontiguousarray(environments.swapaxes(-1, -2))
        for (number, _), kets in zip(self._others, applied, strict=False):
            weights = self._xp.asarray(transposed[:, :, number], dtype=self._dtype)
            term = weights.reshape(rows, sums * dimension, dimension) @ kets
            total = term if total is None else total + term
        if self._shared:
            weights = transposed[:, :, self._shared].reshape(rows, sums, len(self._shared), -1)
            summed = (self._values.T @ weights).reshape(
                rows, sums, self._sectors, dimension, dimension
            )
            term = self._xp.asarray(summed, dtype=self._dtype) @ applied[-1][:, None]
            term = term.swapaxes(2, 3).reshape(rows, sums * dimension, -1)
            term = self._xp.take(term, self._back, axis=-1)
            total = term if total is None else total + term
        assert total is not None, "there are operators"
        return total.conj().reshape(rows, sums, dimension, -1)

    def _hermitian(self, kets: Any, bras: Any) -> Any:
        """Return products of matrices that are Hermitian, from their lower triangles."""
        size = kets.shape[-2]
        if size <= _STRIP:
            return kets @ bras
        products = self._xp.empty((*kets.shape[:-1], size), dtype=kets.dtype)
        for start in range(0, size, _STRIP):
            stop = min(size, start + _STRIP)
            strip = kets[..., start:stop, :] @ bras[..., :stop]
            products[..., start:stop, :stop] = strip
            products[..., :start, start:stop] = strip[..., :start].conj().swapaxes(-1, -2)
        return products

    def _double(self, states: Any) -> Any:
        return states.astype(self._xp.complex128, copy=False)


def num_products(operators: Sequence[Operator], bits: Mapping[int, int], dimension: int) -> int:
    """Return how many products of all states the tensors of operators take."""
    shared, _ = _shared(operators, bits, dimension)
    return len(operators) - len(shared) + bool(shared)


def _shared(
    operators: Sequence[Operator], bits: Mapping[int, int], dimension: int
) -> tuple[list[int], list[int]]:
    """Return the operators that share products, and the bits that they depend on."""
    if dimension < _MIN_DIMENSION:
        return [], []
    used: set[int] = set()
    numbers = []
    for number, operator in enumerate(operators):
        letters = [(bits[wire], letter) for string, _ in operator for wire, letter in string]
        together = used | {bit for bit, _ in letters}
        if all(letter in "Z01" for _, letter in letters) and len(together) <= _MAX_BITS:
            used = together
            numbers.append(number)
    return (numbers, sorted(used)) if len(numbers) > 1 else ([], [])


def _diagonal(operator: Operator, bits: Mapping[int, int]) -> Any:
    compiled = compile_operator(operator, bits, np, np.complex128)
    diagonal = np.zeros(1) if compiled.diagonal is None else compiled.diagonal.real
    return np.broadcast_to(diagonal, (1 << len(bits),))
