"""The operators of a request together: their tensors, and the adjoint of sums over these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcq.engines.batched.operators import compile_operator
from hpcq.engines.batched.shared_products import SharedProducts, find_groups, hermitian_product
from hpcq.engines.requests import Operator


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
        groups = find_groups(operators, bits, dimension)
        self._groups = [
            SharedProducts(group, [operators[n] for n in group.numbers], bits, dimension, xp, dtype)
            for group in groups
        ]
        grouped = {number for group in groups for number in group.numbers}
        self._others = [
            (number, compile_operator(operator, bits, xp, dtype))
            for number, operator in enumerate(operators)
            if number not in grouped
        ]

    def applied(self, states: Any) -> list[Any]:
        """Return what the other methods need: states times operators, and sectors of states.

        Args:
            states: Shape (rows, D, 2**wires).

        Returns:
            For each operator that shares nothing, its product with the states, of their shape; then
            for each group of operators, the states as :meth:`.SharedProducts.sort` returns them.
        """
        products = [
            states if each.is_identity else each.apply(states, self._xp) for _, each in self._others
        ]
        return products + [group.sort(states) for group in self._groups]

    def tensors(self, states: Any, applied: Sequence[Any]) -> Any:
        """Return the tensors, complex128, shape (rows, operators, D, D).

        Args:
            states: Shape (rows, D, 2**wires).
            applied: As :meth:`applied` has returned it.
        """
        xp = self._xp
        rows, dimension, _ = states.shape
        tensors = xp.empty((rows, self._count, dimension, dimension), dtype=xp.complex128)
        if self._others:
            bras = self._double(states).conj().swapaxes(-1, -2)
            for (number, _), kets in zip(self._others, applied, strict=False):
                tensors[:, number] = hermitian_product(self._double(kets), bras, xp)
        for group, sectors in zip(self._groups, applied[len(self._others) :], strict=True):
            tensors[:, group.numbers] = group.tensors(sectors)
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
        for group, sectors in zip(self._groups, applied[len(self._others) :], strict=True):
            term = group.adjoint(sectors, self._xp.take(transposed, group.numbers, axis=2))
            total = term if total is None else total + term
        assert total is not None, "there are operators"
        return total.conj().reshape(rows, sums, dimension, -1)

    def _double(self, states: Any) -> Any:
        return states.astype(self._xp.complex128, copy=False)


def num_products(operators: Sequence[Operator], bits: Mapping[int, int], dimension: int) -> float:
    """Return the number of products of all states that the tensors of operators take.

    The arguments are those of :class:`OperatorSet`.
    """
    groups = find_groups(operators, bits, dimension)
    alone = len(operators) - sum(len(group.numbers) for group in groups)
    return alone + sum(group.num_products for group in groups)
