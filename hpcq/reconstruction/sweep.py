"""Sweeps up and down the contraction tree: values of terms, and their derivatives.

The upward sweep contracts every node for the identity and for the terms whose home is further up.
The downward sweep computes the *environment* of every node: the rest of the network around it,
contracted for the identity. The value of a term is the product of the tensors and the environment
at its home.

Derivatives of weighted sums of values take one more sweep up and down. Upward, every node is
contracted for the weighted sum of the terms whose home is there or below. Downward, the derivatives
with respect to the rows of every node follow; with respect to its weighted sum, the derivative is
its environment.

Nodes are multiplied as matrices. The axes of arrays have the same order everywhere: rows (strings,
or terms); points (sets of tensors of equal shapes that are contracted together); weighted sums; and
the two axes of the matrices, kept and summed. The axis of points may be missing: ``*points`` below.
Tensors and weights are arrays of one module, NumPy or one with its functions; rows are chosen by
indices of NumPy, which are read on the CPU in any case.

The bits of a point do not depend on the other points. NumPy rounds a product of single complex
numbers differently in place, and in arrays with different numbers of axes, so neither is done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hpcq.core.arrays import namespace_of
from hpcq.reconstruction.matrix_product import product
from hpcq.reconstruction.sweep_plan import RowPairs, SweepPlan, Tensor

Pair = tuple[Tensor, ...]
"""Arrays of the left and of the right child of a node."""


class Sweep:
    """The sweeps with the values of sliced bonds fixed.

    Args:
        plan: The rows of every node.
        tensors: For each subcircuit, its bond tensor, shape (strings, *points, bond sizes).
        fixed: The value of each sliced bond.
    """

    def __init__(self, plan: SweepPlan, tensors: Sequence[Tensor], fixed: dict[int, int]) -> None:
        network, self._plan = plan.network, plan
        self._xp: Any = namespace_of(tensors[0])
        self._steps = dict(enumerate(network.steps, len(network.linked)))
        self._slices: list[tuple[Any, ...]] = []
        self._leaves: list[Tensor] = []
        self._rows: list[Tensor] = []  # of every node but the root: (rows, *points, kept, summed)
        for number in network.linked:
            tensor, legs = tensors[number], network.legs[number]
            self._points = tensor.shape[1 : tensor.ndim - len(legs)]
            self._slices.append((..., *(fixed.get(bond, slice(None)) for bond in legs)))
            self._leaves.append(tensor[self._slices[-1]])
        for node, layout in enumerate(plan.layouts):
            if node in self._steps:
                rows = _merge(*self._children(node), plan.pairs[node])
            else:
                strings = plan.pairs[node].left
                is_prefix = np.array_equal(strings, np.arange(len(strings)))
                rows = self._leaves[node][slice(len(strings)) if is_prefix else strings]
            self._rows.append(layout.matrices(rows, 1 + len(self._points)))

    def values(self) -> Tensor:
        """Return the value of every term, shape (terms, *points)."""
        shape, dtype = (self._plan.num_terms, *self._points), self._leaves[0].dtype
        values: Tensor = self._xp.zeros(shape, dtype=dtype)
        for node, environment in self._environments():
            local = self._plan.local_terms[node]
            if node in self._steps:
                by_pair = _pair_values(environment, self._children(node), local.pairs)
            else:
                leaf, strings = self._leaves[node], local.pairs.left
                if 2 * len(strings) < len(leaf):
                    leaf, strings = leaf[strings], np.arange(len(strings))
                by_pair = _dot(leaf, environment, self._points)[strings]
            values[local.terms] = by_pair[local.pair_index]
        return values

    def add_derivatives(self, weights: Tensor, derivatives: Sequence[Tensor]) -> None:
        """Add the derivatives of weighted sums of the values with respect to the bond tensors.

        Args:
            weights: Weight of each value in each sum, shape (terms, *points, sums).
            derivatives: The arrays to add to, one for each subcircuit with bonds, shape (strings,
                *points, sums, bond sizes).
        """
        environments = dict(self._environments())
        sums = self._weighted_sums(weights)
        by_node: dict[int, Tensor] = {}
        for node, step in reversed(self._steps.items()):
            left, right = children = self._children(node)
            added = tuple(
                self._xp.zeros((len(rows), *weights.shape[1:], *rows.shape[-2:]), dtype=rows.dtype)
                for rows in children
            )
            if node in by_node:
                shape = (-1, *weights.shape[1:], left.shape[-2], right.shape[-2])
                given = by_node.pop(node).reshape(shape)
                _add_by_rows(added, given, children, self._plan.pairs[node])
            if node in environments:
                environment, local = environments[node], self._plan.local_terms[node]
                if len(local.terms):
                    by_pair = local.sum_by_pair(weights)
                    _add_by_pairs(added, environment, by_pair, children, local.pairs)
                if step.right in sums:
                    added[0][0] += _times_each(environment, sums[step.right])
                if step.left in sums:
                    added[1][0] += _times_each(environment.swapaxes(-1, -2), sums[step.left])
            for child, matrices in zip((step.left, step.right), added, strict=True):
                by_node[child] = self._plan.layouts[child].node(matrices)
        for leaf, total in enumerate(derivatives):
            sliced = total[self._slices[leaf]]
            sliced[self._plan.pairs[leaf].left] += by_node[leaf]
            if leaf in environments:
                local = self._plan.local_terms[leaf]
                environment = environments[leaf].reshape(1, *self._points, 1, -1)
                products = local.sum_by_pair(weights)[..., None] * environment
                sliced[local.pairs.left] += products.reshape(-1, *sliced.shape[1:])

    def _environments(self) -> Iterator[tuple[int, Tensor]]:
        """Yield nodes with terms at or below them, from the root on, and their environments.

        Environments have the shape (*points, bond sizes) at a leaf, (*points, kept of the left
        child, kept of the right child) elsewhere.
        """
        one: Tensor = self._xp.ones(self._points, dtype=self._rows[0].dtype)
        environments = {len(self._rows): one}
        for node in sorted(self._plan.environment_nodes, reverse=True):
            environment = environments.pop(node)
            if node not in self._steps:
                yield node, environment
                continue
            step, (left, right) = self._steps[node], self._children(node)
            environment = environment.reshape(*self._points, left.shape[-2], right.shape[-2])
            yield node, environment
            for child, matrix, sibling in (
                (step.left, environment, right),
                (step.right, environment.swapaxes(-1, -2), left),
            ):
                if child in self._plan.environment_nodes:
                    layout = self._plan.layouts[child]
                    environments[child] = layout.node(product(matrix, sibling[0]))

    def _weighted_sums(self, weights: Tensor) -> dict[int, Tensor]:
        """Return weighted sums of the terms at or below each node but the root, as matrices."""
        sums: dict[int, Tensor] = {}
        for node in sorted(self._plan.environment_nodes - {len(self._rows)}):
            local = self._plan.local_terms[node]
            by_pair = local.sum_by_pair(weights)
            if node in self._steps:
                step, (left, right) = self._steps[node], self._children(node)
                total = _sum_pairs(by_pair, (left, right), local.pairs)
                if step.left in sums:
                    total = total + _each_times(sums[step.left], right[0].swapaxes(-1, -2))
                if step.right in sums:
                    total = total + _times_each(left[0], sums[step.right].swapaxes(-1, -2))
            else:
                leaf = self._leaves[node][local.pairs.left]
                total = _sum_rows(by_pair, leaf.reshape(*by_pair.shape[:-1], 1, -1))
            sums[node] = self._plan.layouts[node].matrices(total, 1 + len(self._points))
        return sums

    def _children(self, node: int) -> tuple[Tensor, Tensor]:
        """Return the rows of the two children of a node."""
        return self._rows[self._steps[node].left], self._rows[self._steps[node].right]


def _merge(left: Tensor, right: Tensor, pairs: RowPairs) -> Tensor:
    """Contract two nodes for pairs of rows, in as few and as large products as possible."""
    shape = (len(pairs), *left.shape[1:-1], right.shape[-2])
    merged: Tensor = namespace_of(left).empty(shape, dtype=left.dtype)
    for row, numbers, others in pairs.groups:
        if pairs.is_by_left:
            merged[numbers] = product(left[row], right[others].swapaxes(-1, -2))
            continue
        lefts = left[others]
        if lefts.ndim == 3:  # without points, one large product
            lefts = lefts.reshape(-1, lefts.shape[-1])
        merged[numbers] = product(lefts, right[row].swapaxes(-1, -2)).reshape(-1, *shape[1:])
    return merged


def _pair_values(environment: Tensor, children: Pair, pairs: RowPairs) -> Tensor:
    """Contract two nodes and their environment for pairs of rows, shape (pairs, *points)."""
    points, xp = environment.shape[:-2], namespace_of(environment)
    values: Tensor = xp.empty((len(pairs), *points), dtype=environment.dtype)
    few, many = pairs.sides(*children)
    to_many = environment.swapaxes(-1, -2) if pairs.is_by_left else environment
    for row, numbers, others in pairs.groups:
        values[numbers] = _dot(many[others], product(to_many, few[row]), points)
    return values


def _sum_pairs(weights: Tensor, children: Pair, pairs: RowPairs) -> Tensor:
    """Contract two nodes for sums of pairs of rows, with weights (pairs, *points, sums)."""
    few, many = pairs.sides(*children)
    shape = (*weights.shape[1:], many.shape[-2], few.shape[-2])
    total: Tensor = namespace_of(few).zeros(shape, dtype=few.dtype)
    for row, numbers, others in pairs.groups:
        summed = _sum_rows(weights[numbers], many[others])
        total += _each_times(summed, few[row].swapaxes(-1, -2))
    return total.swapaxes(-1, -2) if pairs.is_by_left else total


def _add_by_pairs(
    added: Pair, environment: Tensor, weights: Tensor, children: Pair, pairs: RowPairs
) -> None:
    """Add the derivatives of the sums of :func:`_sum_pairs` with respect to the children's rows.

    They are added to an array for each child, shape (rows, *points, sums, kept, summed). The
    environment, the derivative with respect to each sum, is the same for all sums.
    """
    few, many = pairs.sides(*children)
    added_few, added_many = pairs.sides(*added)
    to_few = environment if pairs.is_by_left else environment.swapaxes(-1, -2)
    for row, numbers, others in pairs.groups:
        added_few[row] += _times_each(to_few, _sum_rows(weights[numbers], many[others]))
        half = product(to_few.swapaxes(-1, -2), few[row])
        added_many[others] += weights[numbers][..., None, None] * half[None, ..., None, :, :]


def _add_by_rows(added: Pair, given: Tensor, children: Pair, pairs: RowPairs) -> None:
    """Add the derivatives with respect to the children's rows, from those of :func:`_merge`'s rows.

    They are added to an array for each child, shape (rows, *points, sums, kept, summed). The given
    ones have the shape (pairs, *points, sums, kept of the left child, kept of the right child).
    """
    few, many = pairs.sides(*children)
    added_few, added_many = pairs.sides(*added)
    given = given if pairs.is_by_left else given.swapaxes(-1, -2)
    for row, numbers, others in pairs.groups:
        chosen = given[numbers]
        added_few[row] += _total(_each_times(chosen, many[others]))
        added_many[others] += _each_times(chosen.swapaxes(-1, -2), few[row])


def _total(arrays: Tensor) -> Tensor:
    """Return the sum over the first axis, added up in order.

    The method ``sum`` adds single numbers up in another order than arrays, so the bits of a point
    would depend on whether there are others.
    """
    xp = namespace_of(arrays)
    total: Tensor = xp.add.reduceat(arrays, xp.asarray([0]), axis=0)[0]
    return total


def _dot(rows: Tensor, factor: Tensor, points: tuple[int, ...]) -> Tensor:
    """Return the sum of the products of the entries of each row and of a factor."""
    flat = rows.reshape(len(rows), *points, -1).swapaxes(0, -2)
    dots: Tensor = flat @ factor.reshape(*points, -1, 1)
    return dots[..., 0].swapaxes(0, -1)


def _sum_rows(weights: Tensor, rows: Tensor) -> Tensor:
    """Return weighted sums of rows, shape (*points, sums, kept, summed)."""
    xp = namespace_of(rows)
    flat = rows.reshape(*rows.shape[:-2], -1).swapaxes(0, -2)
    # BLAS rounds products of vectors with and without gaps differently; whether these have gaps
    # would depend on the number of points.
    if flat.shape[-1] == 1:
        flat = xp.ascontiguousarray(flat)
    by_sum = xp.ascontiguousarray(weights.transpose((*range(1, weights.ndim), 0)))
    summed: Tensor = by_sum @ flat
    return summed.reshape(*summed.shape[:-1], *rows.shape[-2:])


def _each_times(matrices: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each of several matrices, shape (..., sums, m, k), by one, shape (..., k, n)."""
    *_, sums, rows, inner = matrices.shape
    stacked = product(matrices.reshape(*matrices.shape[:-3], sums * rows, inner), matrix)
    return stacked.reshape(*stacked.shape[:-2], sums, rows, -1)


def _times_each(matrix: Tensor, matrices: Tensor) -> Tensor:
    """Multiply one matrix, shape (..., m, k), by each of several, shape (..., sums, k, n)."""
    return _each_times(matrices.swapaxes(-1, -2), matrix.swapaxes(-1, -2)).swapaxes(-1, -2)
