"""Contraction of a network with open indices, for many choices of the tensors' rows at once.

Each tensor has rows, such as its entries for the outcomes of one site. A *choice* takes a row of
every tensor. All choices are contracted together along one tree, and parts that several choices
have in common are contracted once. Indices that are not summed over stay in the result.

Numbers that shrink as two to the number of qubits leave the range of floats at about a thousand
qubits, so each row of each node has an exponent of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.reconstruction.path_search import PairContraction, PathSearch, pair_contractions

Array = NDArray[Any]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Scaled:
    """Rows of numbers, each with an exponent: ``values[i] * 2**exponents[i]``.

    Attributes:
        values: Shape (rows, ...).
        exponents: Shape (rows,).
    """

    values: Array
    exponents: NDArray[np.int64]

    @classmethod
    def of(cls, values: Array) -> Scaled:
        """Return rows whose largest absolute values are between a half and one, or zero."""
        largest = np.abs(values.reshape(len(values), -1)).max(axis=1, initial=0.0)
        # Near the smallest floats, the inverse of the power would overflow.
        exponents = np.maximum(np.frexp(largest)[1].astype(np.int64), -1000)
        return cls(values * _powers(-exponents, values.ndim), exponents)

    def __add__(self, other: Scaled) -> Scaled:
        common = np.maximum(self.exponents, other.exponents)
        values = self.values * _powers(self.exponents - common, self.values.ndim)
        values += other.values * _powers(other.exponents - common, self.values.ndim)
        return Scaled(values, common)


def _powers(exponents: NDArray[np.int64], dimensions: int) -> NDArray[np.float64]:
    powers = np.ldexp(1.0, np.maximum(exponents, -1074).astype(np.int32))
    return powers.reshape(-1, *[1] * (dimensions - 1))


@dataclass(frozen=True, eq=False)
class OpenContraction:
    """The order of a contraction.

    Attributes:
        legs: For each tensor, the numbers of its indices, in the order of its axes.
        sizes: Size of each index.
        output: Indices that are not summed over, in the order of the result's axes. Every other one
            occurs in two tensors.
        steps: The order; node i < len(legs) is tensor i, and each step adds one.
        sliced: Indices that are fixed to one value at a time, to save memory.
    """

    legs: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    output: tuple[int, ...]
    steps: tuple[PairContraction, ...]
    sliced: tuple[int, ...]

    @classmethod
    def within(
        cls,
        legs: Sequence[tuple[int, ...]],
        sizes: Sequence[int],
        output: Sequence[int],
        memory_bytes: int,
        item_bytes: int,
    ) -> OpenContraction:
        """Return a contraction in which one choice fits into the memory.

        Args:
            legs: For each tensor, the numbers of its indices.
            sizes: Size of each index.
            output: Indices that are not summed over.
            memory_bytes: Bytes for nodes and the result, the tensors themselves not counted.
            item_bytes: Bytes of a number.

        Raises:
            MemoryLimitError: If it does not fit however it is sliced.
        """
        search = PathSearch(legs, sizes, tuple(output))
        while True:
            steps = pair_contractions(legs, search.path())
            found = cls(tuple(legs), tuple(sizes), tuple(output), steps, search.sliced())
            needed = item_bytes * found.entries
            if needed <= memory_bytes:
                return found
            if not search.slice_more():
                left = format_bytes(max(0, memory_bytes))
                raise MemoryLimitError(
                    f"memory: the contraction of {len(legs)} subcircuits needs "
                    f"{format_bytes(needed)}, and {left} are left for it; expected fewer qubits, "
                    "fewer cuts, or more memory"
                )

    @cached_property
    def entries(self) -> int:
        """Numbers that are in memory at a time, for one choice, the tensors not counted."""
        sizes: dict[int, int] = {}
        stored = peak = 0
        for number, step in enumerate(self.steps, len(self.legs)):
            size = self._size(step.left_only + step.right_only)
            # Both operands are copied as matrices.
            copies = self._size(step.left_only + step.shared)
            copies += self._size(step.shared + step.right_only)
            peak = max(peak, stored + size + copies)
            stored += size - sizes.pop(step.left, 0) - sizes.pop(step.right, 0)
            sizes[number] = size
        result = math.prod([self.sizes[index] for index in self.output])
        return peak + (result if self.sliced else 0)

    @property
    def row_entries(self) -> int:
        """Numbers that are in memory at a time for each choice, with rows of its own."""
        rows = sum(math.prod([self.sizes[index] for index in legs]) for legs in self.legs)
        return self.entries + 3 * rows

    @property
    def products(self) -> float:
        """Products of two numbers, for one choice."""
        slices = math.prod([self.sizes[index] for index in self.sliced])
        sizes = (self._size(s.left_only + s.shared + s.right_only) for s in self.steps)
        return float(min(slices * sum(sizes), 1 << 900))

    def contract(self, tensors: Sequence[Array], rows: Sequence[Rows]) -> Scaled:
        """Return the value of every choice.

        Args:
            tensors: The tensors, shape (rows, *sizes).
            rows: For each tensor its row in each choice, all of the same shape (choices,).

        Returns:
            Shape (choices, *sizes of the output).
        """
        scaled = [Scaled.of(tensor) for tensor in tensors]
        if not self.sliced:
            return self._slice(scaled, rows, {})
        open_slices = [index for index in self.sliced if index in self.output]
        shape = (len(rows[0]), *(self.sizes[index] for index in self.output))
        total: Scaled | None = None
        for values in product(*(range(self.sizes[index]) for index in self.sliced)):
            fixed = dict(zip(self.sliced, values, strict=True))
            part = self._slice(scaled, rows, fixed)
            if open_slices:
                whole = np.zeros(shape, dtype=part.values.dtype)
                whole[(slice(None), *(fixed.get(i, slice(None)) for i in self.output))] = (
                    part.values
                )
                part = Scaled(whole, part.exponents)
            total = part if total is None else total + part
        assert total is not None, "a sliced contraction has a slice"
        return total

    def _slice(
        self, tensors: Sequence[Scaled], rows: Sequence[Rows], fixed: dict[int, int]
    ) -> Scaled:
        """Contract with some indices fixed."""
        nodes: dict[int, tuple[Scaled, Rows, tuple[int, ...]]] = {}
        for number, (tensor, own_rows, legs) in enumerate(
            zip(tensors, rows, self.legs, strict=True)
        ):
            where = (slice(None), *(fixed.get(index, slice(None)) for index in legs))
            free = tuple(index for index in legs if index not in fixed)
            nodes[number] = Scaled(tensor.values[where], tensor.exponents), own_rows, free
        for number, step in enumerate(self.steps, len(tensors)):
            left, left_rows, left_legs = nodes.pop(step.left)
            right, right_rows, right_legs = nodes.pop(step.right)
            kept, shared, others = (
                [index for index in group if index not in fixed]
                for group in (step.left_only, step.shared, step.right_only)
            )
            pairs, own_rows = _distinct_pairs(left_rows, right_rows)
            merged = _merge(
                _matrices(left, left_legs, kept, shared),
                _matrices(right, right_legs, shared, others),
                pairs,
            )
            sizes = [self.sizes[index] for index in (*kept, *others)]
            values = merged.values.reshape(-1, *sizes)
            nodes[number] = Scaled(values, merged.exponents), own_rows, (*kept, *others)
        ((root, own_rows, legs),) = nodes.values()
        axes = [1 + legs.index(index) for index in self.output if index not in fixed]
        if not np.array_equal(own_rows, np.arange(len(root.values))):
            root = Scaled(root.values[own_rows], root.exponents[own_rows])
        return Scaled(root.values.transpose(0, *axes), root.exponents)

    def _size(self, indices: Sequence[int]) -> int:
        return math.prod([self.sizes[index] for index in indices if index not in self.sliced])


def _distinct_pairs(left: Rows, right: Rows) -> tuple[tuple[Rows, Rows], Rows]:
    """Return the distinct pairs of rows, and the number of each choice's pair."""
    base = int(right.max(initial=0)) + 1
    codes, pair_of = np.unique(left * base + right, return_inverse=True)
    first, second = np.divmod(codes, base)
    return (first, second), pair_of


def _matrices(
    node: Scaled, legs: tuple[int, ...], first: Sequence[int], second: Sequence[int]
) -> Scaled:
    """Return a node as matrices, shape (rows, first indices, second indices)."""
    axes = [1 + legs.index(index) for index in (*first, *second)]
    turned = node.values.transpose(0, *axes)
    rows = math.prod(turned.shape[1 : 1 + len(first)])
    columns = math.prod(turned.shape[1 + len(first) :])
    return Scaled(turned.reshape(len(turned), rows, columns), node.exponents)


def _merge(left: Scaled, right: Scaled, pairs: tuple[Rows, Rows]) -> Scaled:
    """Multiply pairs of matrices."""
    first, second = pairs
    exponents = left.exponents[first] + right.exponents[second]
    a, b = left.values, right.values
    if len(a) * len(b) == len(first):
        # All pairs, in order: one product of larger matrices.
        stacked = a.reshape(-1, a.shape[2]) @ b.transpose(1, 0, 2).reshape(b.shape[1], -1)
        shape = len(a), a.shape[1], len(b), b.shape[2]
        values = stacked.reshape(shape).swapaxes(1, 2).reshape(-1, a.shape[1], b.shape[2])
    else:
        values = a[first] @ b[second]
    scaled = Scaled.of(values)
    return Scaled(scaled.values, scaled.exponents + exponents)
