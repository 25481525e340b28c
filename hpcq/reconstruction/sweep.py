"""One sweep up and down the contraction tree: the rows that it needs, and their tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.matrix_product import product
from hpcq.reconstruction.network import Network, PairContraction

Tensor = NDArray[np.complex128]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class LocalTerms:
    """The terms whose home is a node, and the rows of its two children that they take.

    Attributes:
        terms: Numbers of the terms.
        row_pairs: Distinct pairs of rows of the children; at a leaf its strings, twice.
        pair_index: For each term the index of its pair.
    """

    terms: Indices
    row_pairs: Indices
    pair_index: Indices


class SweepPlan:
    """The rows of every node that a batch of terms needs, without any tensor.

    Row 0 of every node belongs to the identity. The other rows are those that some term takes whose
    home is further up: strings at a leaf, pairs of the children's rows at a step.

    Attributes:
        leaf_strings: For each leaf the strings that are its rows.
        row_pairs: For each step the pairs of its children's rows that are its rows.
        local_terms: For each node the terms whose home it is.
        environment_nodes: The nodes whose environment is needed.
    """

    def __init__(self, network: Network, choices: Indices) -> None:
        leaves = len(network.linked)
        strings = [choices[:, number] for number in network.linked]
        active_counts = [(leaf_strings > 0).astype(np.intp) for leaf_strings in strings]
        total = np.sum(active_counts, axis=0)
        pending = np.ones(len(choices), dtype=bool)
        rows: list[Indices] = []
        self.leaf_strings: list[Indices] = []
        self.row_pairs: list[Indices] = []
        self.local_terms: list[LocalTerms] = []
        for leaf_strings, active in zip(strings, active_counts, strict=True):
            arrived = pending & (active == total) & (total > 0)
            self.local_terms.append(_local_terms(arrived, leaf_strings, leaf_strings))
            pending &= ~arrived
            moves_up = pending & (active > 0)
            string_pairs, pair_index = _distinct_pairs(
                np.stack([leaf_strings, leaf_strings], axis=1), moves_up
            )
            self.leaf_strings.append(string_pairs[:, 0])
            rows.append(pair_index)
        for number, step in enumerate(network.steps):
            active = active_counts[step.left] + active_counts[step.right]
            active_counts.append(active)
            is_last = number == len(network.steps) - 1
            arrived = pending if is_last else pending & (active == total) & (total > 0)
            left, right = rows[step.left], rows[step.right]
            self.local_terms.append(_local_terms(arrived, left, right))
            pending = pending & ~arrived
            row_pairs, pair_index = _distinct_pairs(
                np.stack([left, right], axis=1), pending & (active > 0)
            )
            self.row_pairs.append(row_pairs)
            rows.append(pair_index)
        self.environment_nodes = {
            node for node, local in enumerate(self.local_terms) if len(local.terms)
        }
        for number, step in enumerate(network.steps):
            if step.left in self.environment_nodes or step.right in self.environment_nodes:
                self.environment_nodes.add(leaves + number)


class Sweep:
    """One contraction, upwards and downwards, with the values of sliced bonds fixed."""

    def __init__(
        self,
        sweep_plan: SweepPlan,
        network: Network,
        tensors: Sequence[Tensor],
        fixed: dict[int, int],
    ) -> None:
        self._plan = sweep_plan
        self._network = network
        self._fixed = fixed
        self._leaves: list[Tensor] = []
        self._nodes: list[Tensor] = []
        self._axes: list[tuple[int, ...]] = []
        for leaf_strings, number in zip(sweep_plan.leaf_strings, network.linked, strict=True):
            legs = network.legs[number]
            slices = tuple(fixed.get(bond, slice(None)) for bond in legs)
            self._leaves.append(tensors[number][(slice(None), *slices)])
            is_prefix = np.array_equal(leaf_strings, np.arange(len(leaf_strings)))
            self._nodes.append(
                self._leaves[-1][slice(len(leaf_strings)) if is_prefix else leaf_strings]
            )
            self._axes.append(self._free(legs))
        for step, row_pairs in zip(network.steps, sweep_plan.row_pairs, strict=True):
            left, right = self._child_matrices(step)
            merged = _merge(left, right, row_pairs)
            axes = self._free(step.left_only + step.right_only)
            self._nodes.append(merged.reshape(len(row_pairs), *self._sizes(axes)))
            self._axes.append(axes)

    def values(self) -> Tensor:
        """Return the value of every term of the batch."""
        sweep_plan, network = self._plan, self._network
        leaves = len(self._leaves)
        values = np.zeros(sum(len(local.terms) for local in sweep_plan.local_terms), dtype=complex)
        environments: dict[int, Tensor] = {
            leaves + len(network.steps) - 1: np.ones((), dtype=complex)
        }
        for number in reversed(range(len(network.steps))):
            node = leaves + number
            if node not in sweep_plan.environment_nodes:
                continue
            step = network.steps[number]
            left, right = self._child_matrices(step)
            environment = environments.pop(node).reshape(left.shape[1], right.shape[1])
            local = sweep_plan.local_terms[node]
            values[local.terms] = _pair_values(environment, left, right, local.row_pairs)[
                local.pair_index
            ]
            if step.left in sweep_plan.environment_nodes:
                axes = self._free(step.left_only + step.shared)
                environments[step.left] = self._in_node_order(
                    product(environment, right[0]), axes, step.left
                )
            if step.right in sweep_plan.environment_nodes:
                axes = self._free(step.right_only + step.shared)
                environments[step.right] = self._in_node_order(
                    product(environment.T, left[0]), axes, step.right
                )
        for node, environment in environments.items():
            local = sweep_plan.local_terms[node]
            leaf_tensor, strings = self._leaves[node], local.row_pairs[:, 0]
            if 2 * len(strings) < len(leaf_tensor):
                leaf_tensor, strings = leaf_tensor[strings], np.arange(len(strings))
            products = leaf_tensor.reshape(len(leaf_tensor), -1) @ environment.reshape(-1)
            values[local.terms] = products[strings[local.pair_index]]
        return values

    def _child_matrices(self, step: PairContraction) -> tuple[Tensor, Tensor]:
        """Return the children of a step as matrices, shape (rows, kept, summed)."""
        return (
            self._as_matrices(step.left, step.left_only, step.shared),
            self._as_matrices(step.right, step.right_only, step.shared),
        )

    def _as_matrices(self, node: int, kept: tuple[int, ...], summed: tuple[int, ...]) -> Tensor:
        tensor, axes = self._nodes[node], self._axes[node]
        kept, summed = self._free(kept), self._free(summed)
        laid = tensor.transpose(0, *(1 + axes.index(bond) for bond in kept + summed))
        shape = (len(tensor), math.prod(self._sizes(kept)), math.prod(self._sizes(summed)))
        return laid.reshape(shape)

    def _in_node_order(self, environment: Tensor, axes: tuple[int, ...], node: int) -> Tensor:
        """Transpose an environment to the order of its node's axes."""
        shaped = environment.reshape(self._sizes(axes))
        return shaped.transpose([axes.index(bond) for bond in self._axes[node]])

    def _free(self, bonds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(bond for bond in bonds if bond not in self._fixed)

    def _sizes(self, bonds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self._network.bonds[bond].size for bond in bonds)


def _distinct_pairs(row_pairs: Indices, chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the distinct pairs of the chosen terms after (0, 0), and every term's index of a pair.

    Terms that are not chosen get index 0.
    """
    base = int(row_pairs[:, 1].max(initial=0)) + 1
    codes = np.where(chosen, row_pairs[:, 0] * base + row_pairs[:, 1], 0)
    distinct, pair_index = np.unique(np.append(codes, 0), return_inverse=True)
    return np.stack(np.divmod(distinct, base), axis=1), pair_index[:-1]


def _local_terms(arrived: NDArray[np.bool_], left: Indices, right: Indices) -> LocalTerms:
    term_numbers = np.flatnonzero(arrived)
    row_pairs, pair_index = np.unique(
        np.stack([left[term_numbers], right[term_numbers]], axis=1), axis=0, return_inverse=True
    )
    return LocalTerms(term_numbers, row_pairs, pair_index.reshape(-1))


def _merge(left: Tensor, right: Tensor, row_pairs: Indices) -> Tensor:
    """Contract two nodes for every pair of rows, in as few and as large products as possible."""
    merged = np.empty((len(row_pairs), left.shape[1], right.shape[1]), dtype=complex)
    side = 0 if len(np.unique(row_pairs[:, 0])) <= len(np.unique(row_pairs[:, 1])) else 1
    for row in np.unique(row_pairs[:, side]):
        selected = np.flatnonzero(row_pairs[:, side] == row)
        other_rows = row_pairs[selected, 1 - side]
        if side == 0:
            merged[selected] = product(left[row], right[other_rows].transpose(0, 2, 1))
        else:
            stacked = product(left[other_rows].reshape(-1, left.shape[2]), right[row].T)
            merged[selected] = stacked.reshape(len(selected), left.shape[1], right.shape[1])
    return merged


def _pair_values(environment: Tensor, left: Tensor, right: Tensor, row_pairs: Indices) -> Tensor:
    """Contract two nodes and their environment to one number for every pair of rows."""
    values = np.empty(len(row_pairs), dtype=complex)
    rows = [np.unique(row_pairs[:, side]) for side in (0, 1)]
    side = 0 if len(rows[0]) <= len(rows[1]) else 1
    for row in rows[side]:
        selected = np.flatnonzero(row_pairs[:, side] == row)
        other_rows = row_pairs[selected, 1 - side]
        if side == 0:
            half, other_tensors = product(environment.T, left[row]), right[other_rows]
        else:
            half, other_tensors = product(environment, right[row]), left[other_rows]
        values[selected] = other_tensors.reshape(len(other_rows), -1) @ half.reshape(-1)
    return values
