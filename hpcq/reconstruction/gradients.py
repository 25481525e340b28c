"""Values of observables from sampled tensors, and their gradients with respect to every tensor.

Every connected part is contracted separately: forward for every distinct combination of strings,
and backward, by the chain rule (reverse-mode differentiation), for the derivative of every
observable by every entry of every tensor, at about twice the cost.

Both are computed for several *points* at once: sets of tensors of equal shapes, along a leading
axis of all arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.network import Network, build_network
from hpcq.reconstruction.tensor_nodes import Tensor, TensorNode

Indices = NDArray[np.intp]
Reals = NDArray[np.float64]

_BATCH_BYTES = 128 << 20
"""Bytes of the gradients of observables that are computed together."""


class DifferentiableContraction:
    """The contraction of one connected part, and its derivatives.

    Args:
        subcircuits: Numbers of the subcircuits.
        network: The order of contraction, with subcircuits numbered from 0.
        leaves: For each subcircuit the map from its tensor to its node.
        choices: Distinct combinations of strings, shape (rows, subcircuits); no row is the identity
            on all subcircuits.
    """

    def __init__(
        self,
        subcircuits: tuple[int, ...],
        network: Network,
        leaves: tuple[TensorNode, ...],
        choices: Indices,
    ) -> None:
        self.subcircuits = subcircuits
        self.network = network
        self.leaves = leaves
        self.choices = choices
        self._axes = [network.legs[leaf.subcircuit] for leaf in leaves]
        self._pairs: list[Indices] = []
        rows = [choices[:, position] for position in range(len(leaves))]
        for step in network.steps:
            row_pairs = np.stack([rows[step.left], rows[step.right]], axis=1)
            pairs, position = np.unique(row_pairs, axis=0, return_inverse=True)
            self._pairs.append(pairs)
            rows.append(position.reshape(-1))
            self._axes.append(step.left_only + step.right_only)
        self._root_rows = rows[-1]

    def values(self, tensors: Sequence[Tensor]) -> Reals:
        """Return the value of every combination of strings.

        Args:
            tensors: For each subcircuit its tensor, shape (points, strings, index pairs).

        Returns:
            Shape (points, rows).
        """
        leaves = self._nodes(tensors)
        total = np.zeros((len(tensors[0]), len(self.choices)))
        for fixed in self.network.slices():
            root = self._forward(leaves, fixed)[-1]
            total += root.reshape(root.shape[:2]).real[:, self._root_rows]
        return total

    def gradients(self, tensors: Sequence[Tensor], adjoint: Reals) -> list[Tensor]:
        """Return the derivatives of observables by tensors, given those by values.

        Args:
            tensors: As for :meth:`values`.
            adjoint: Derivative of every observable by every value, shape (points, observables,
                rows).

        Returns:
            For each subcircuit the derivatives, shape (points, observables, strings, index pairs).
        """
        leaves = self._nodes(tensors)
        node_gradients = [
            np.zeros((*adjoint.shape[:2], *leaf.shape[1:]), dtype=complex) for leaf in leaves
        ]
        for fixed in self.network.slices():
            self._backward(self._forward(leaves, fixed), fixed, adjoint, node_gradients)
        gradients = []
        for leaf, node in zip(self.leaves, node_gradients, strict=True):
            flat = leaf.gradient(node.reshape(-1, *node.shape[3:]))
            gradients.append(flat.reshape(*node.shape[:3], *flat.shape[1:]))
        return gradients

    def _nodes(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors as nodes, shape (points, strings, size of each bond)."""
        nodes = []
        for leaf, tensor in zip(self.leaves, tensors, strict=True):
            flat = leaf.node(tensor.reshape(-1, *tensor.shape[2:]))
            nodes.append(flat.reshape(*tensor.shape[:2], *flat.shape[1:]))
        return nodes

    @property
    def flops(self) -> float:
        """Approximate number of floating-point operations for all values."""
        return sum(
            flops * len(pairs) for flops, pairs in zip(self.network.flops, self._pairs, strict=True)
        )

    @cached_property
    def bytes_per_observable(self) -> int:
        """Approximate memory of the gradients of one observable at one point."""
        size = self.network.size
        entries = sum(
            len(pairs)
            * sum(
                map(
                    size,
                    (step.left_only + step.shared, step.right_only + step.shared, step.left_only),
                )
            )
            for step, pairs in zip(self.network.steps, self._pairs, strict=True)
        )
        entries += sum(
            3 * (1 + int(self.choices[:, position].max(initial=0))) * math.prod(leaf.bond_sizes)
            for position, leaf in enumerate(self.leaves)
        )
        return 16 * entries

    def _forward(self, leaves: Sequence[Tensor], fixed: dict[int, int]) -> list[Tensor]:
        """Contract with the values of sliced bonds fixed; return every node."""
        all_rows = (slice(None), slice(None))
        nodes = [
            leaf[(*all_rows, *(fixed.get(bond, slice(None)) for bond in axes))]
            for leaf, axes in zip(leaves, self._axes, strict=False)
        ]
        for step, pairs in zip(self.network.steps, self._pairs, strict=True):
            left = self._as_matrices(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._as_matrices(nodes, step.right, step.right_only, step.shared, fixed)
            merged = left[:, pairs[:, 0]] @ right[:, pairs[:, 1]].swapaxes(2, 3)
            sizes = self._sizes(step.left_only + step.right_only, fixed)
            nodes.append(merged.reshape(*merged.shape[:2], *sizes))
        return nodes

    def _backward(
        self,
        nodes: list[Tensor],
        fixed: dict[int, int],
        adjoint: Reals,
        leaf_gradients: Sequence[Tensor],
    ) -> None:
        """Add the derivatives with respect to the leaves to ``leaf_gradients``."""
        leading = adjoint.shape[:2]
        root = _sum_entries(adjoint.astype(complex), self._root_rows, nodes[-1].shape[1])
        gradients: dict[int, Tensor] = {
            len(nodes) - 1: root.reshape(*leading, *nodes[-1].shape[1:])
        }
        for number in reversed(range(len(self.network.steps))):
            step, pairs = self.network.steps[number], self._pairs[number]
            left = self._as_matrices(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._as_matrices(nodes, step.right, step.right_only, step.shared, fixed)
            gradient = gradients.pop(len(self.leaves) + number)
            gradient = gradient.reshape(*leading, len(pairs), left.shape[2], right.shape[2])
            children = (
                (step.left, 0, gradient @ right[:, None, pairs[:, 1]], step.left_only),
                (
                    step.right,
                    1,
                    gradient.swapaxes(3, 4) @ left[:, None, pairs[:, 0]],
                    step.right_only,
                ),
            )
            for node, side, contributions, kept in children:
                total = _sum_entries(contributions, pairs[:, side], nodes[node].shape[1])
                gradients[node] = self._in_node_order(total, node, kept + step.shared, fixed)
        for leaf, leaf_gradient in enumerate(leaf_gradients):
            slices = (fixed.get(bond, slice(None)) for bond in self._axes[leaf])
            leaf_gradient[(slice(None), slice(None), slice(None), *slices)] += gradients[leaf]

    def _as_matrices(
        self,
        nodes: Sequence[Tensor],
        node: int,
        kept: tuple[int, ...],
        summed: tuple[int, ...],
        fixed: dict[int, int],
    ) -> Tensor:
        """Return a node as matrices, shape (points, rows, kept, summed)."""
        axes = self._free(self._axes[node], fixed)
        order = [2 + axes.index(bond) for bond in self._free(kept + summed, fixed)]
        shape = (math.prod(self._sizes(kept, fixed)), math.prod(self._sizes(summed, fixed)))
        return nodes[node].transpose(0, 1, *order).reshape(*nodes[node].shape[:2], *shape)

    def _in_node_order(
        self, derivatives: Tensor, node: int, bonds: tuple[int, ...], fixed: dict[int, int]
    ) -> Tensor:
        """Transpose derivatives from the given order of bonds to that of their node."""
        current = self._free(bonds, fixed)
        shaped = derivatives.reshape(*derivatives.shape[:3], *self._sizes(bonds, fixed))
        axes = [3 + current.index(bond) for bond in self._free(self._axes[node], fixed)]
        return shaped.transpose(0, 1, 2, *axes)

    def _free(self, bonds: tuple[int, ...], fixed: dict[int, int]) -> tuple[int, ...]:
        return tuple(bond for bond in bonds if bond not in fixed)

    def _sizes(self, bonds: tuple[int, ...], fixed: dict[int, int]) -> tuple[int, ...]:
        return tuple(self.network.bonds[bond].size for bond in self._free(bonds, fixed))


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The contraction of all connected parts.

    Attributes:
        parts: The terms as products over the parts.
        contractions: The contraction of each part.
    """

    parts: ConnectedParts
    contractions: tuple[DifferentiableContraction, ...]

    @classmethod
    def of(cls, cut: CutCircuit, parts: ConnectedParts, memory_bytes: int) -> Reconstruction:
        """Plan the contraction of a cut circuit.

        Raises:
            MemoryLimitError: If it does not fit into memory however it is sliced.
        """
        contractions = (
            _contraction(cut, group, choices, memory_bytes)
            for group, choices in zip(parts.groups, parts.choices, strict=True)
        )
        return cls(parts, tuple(contractions))

    @property
    def flops(self) -> float:
        """Approximate number of floating-point operations for all values."""
        return sum(contraction.flops for contraction in self.contractions)

    def values(self, tensors: Sequence[Tensor]) -> Reals:
        """Return the value of every observable.

        Args:
            tensors: For each subcircuit its tensor, shape (strings, index pairs of each port);
                those of subcircuits in no part are ignored.
        """
        part_values = self._part_values([tensor[None] for tensor in tensors])
        return self.parts.combine([values[0] for values in part_values])

    def gradients(
        self, tensors: Sequence[Tensor], observables: Indices
    ) -> Iterator[tuple[int, Indices, Tensor]]:
        """Yield the derivatives of some observables by the tensors.

        Args:
            tensors: For each subcircuit its tensor at every point, shape (points, strings, index
                pairs of each port); those of subcircuits in no part are ignored.
            observables: Numbers of the observables.

        Yields:
            A subcircuit, indices into ``observables``, and the derivatives of these with respect to
            its tensor, shape (points, indices, strings, index pairs of each port). All others are
            0.
        """
        adjoints = self.parts.adjoints(self._part_values(tensors), observables)
        for contraction, (indices, adjoint) in zip(self.contractions, adjoints, strict=True):
            bytes_per_observable = contraction.bytes_per_observable * len(adjoint)
            batch_size = max(1, _BATCH_BYTES // bytes_per_observable)
            part_tensors = [tensors[k] for k in contraction.subcircuits]
            for start in range(0, len(indices), batch_size):
                derivatives = contraction.gradients(
                    part_tensors, adjoint[:, start : start + batch_size]
                )
                for subcircuit, gradient in zip(contraction.subcircuits, derivatives, strict=True):
                    yield subcircuit, indices[start : start + batch_size], gradient

    def _part_values(self, tensors: Sequence[Tensor]) -> list[Reals]:
        return [
            contraction.values([tensors[k] for k in contraction.subcircuits])
            for contraction in self.contractions
        ]


def _sum_entries(entries: Tensor, targets: Indices, size: int) -> Tensor:
    """Sum the entries of the third axis that have the same target.

    Args:
        entries: Shape (points, observables, entries, ...).
        targets: Index of each entry in the new axis.
        size: Length of the new axis.
    """
    sums = np.zeros((*entries.shape[:2], size, *entries.shape[3:]), dtype=complex)
    by_target = np.argsort(targets, kind="stable")
    starts = np.flatnonzero(np.diff(targets[by_target], prepend=-1))
    if len(starts) == len(targets):
        sums[:, :, targets] = entries
    else:
        sums[:, :, targets[by_target][starts]] = np.add.reduceat(
            entries[:, :, by_target], starts, axis=2
        )
    return sums


def _contraction(
    cut: CutCircuit, group: Sequence[int], choices: Indices, memory_bytes: int
) -> DifferentiableContraction:
    """Plan the contraction of one part, with its subcircuits renumbered from 0."""
    new_number = {number: index for index, number in enumerate(group)}
    edges = tuple(
        replace(edge, ends=((new_number[first], first_port), (new_number[second], second_port)))
        for edge in cut.edges
        for (first, first_port), (second, second_port) in [edge.ends]
        if first in new_number
    )
    part_cut = CutCircuit(
        cut.num_qubits, cut.cuts, tuple(cut.subcircuits[number] for number in group), edges
    )
    network = build_network(part_cut, memory_bytes)
    leaf_order = list(network.linked or range(len(group)))
    leaves = tuple(TensorNode(part_cut, number, network) for number in leaf_order)
    return DifferentiableContraction(
        tuple(group[index] for index in leaf_order), network, leaves, choices[:, leaf_order]
    )
