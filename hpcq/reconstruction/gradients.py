"""Values of observables from sampled tensors, and their gradients by every tensor.

Every part is contracted by itself, upwards for every distinct combination of strings; backwards,
the chain rule gives the derivative of every observable by every entry of every tensor for about
twice that work.

All of it is done for several *points* at once: sets of tensors of the same shapes that differ in
their numbers, along one more axis that leads all arrays.
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


class DifferentiableContraction:
    """The contraction of one part: subcircuits that edges join, directly or not.

    Args:
        subcircuits: Their numbers.
        network: The order of their contraction, in which they are numbered from 0.
        leaves: Their maps from tensors to nodes.
        choices: Distinct combinations of their strings, shape (rows, subcircuits); none is the
            identity on all of them.
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
        rows = [choices[:, place] for place in range(len(leaves))]
        for step in network.steps:
            both = np.stack([rows[step.left], rows[step.right]], axis=1)
            pairs, place = np.unique(both, axis=0, return_inverse=True)
            self._pairs.append(pairs)
            rows.append(place.reshape(-1))
            self._axes.append(step.left_only + step.right_only)
        self._root = rows[-1]

    def values(self, tensors: Sequence[Tensor]) -> Reals:
        """Contract every combination of strings.

        Args:
            tensors: The tensor of each of its subcircuits, shape (points, strings, index pairs).

        Returns:
            Shape (points, rows).
        """
        leaves = self._nodes(tensors)
        total = np.zeros((len(tensors[0]), len(self.choices)))
        for fixed in self.network.slices():
            root = self._go_up(leaves, fixed)[-1]
            total += root.reshape(root.shape[:2]).real[:, self._root]
        return total

    def gradients(self, tensors: Sequence[Tensor], adjoint: Reals) -> list[Tensor]:
        """Go back from values to tensors.

        Args:
            tensors: As for :meth:`values`.
            adjoint: Derivative of every observable by every value, shape (points, observables,
                rows).

        Returns:
            For each subcircuit the derivatives, shape (points, observables, strings, index pairs).
        """
        leaves = self._nodes(tensors)
        found = [np.zeros((*adjoint.shape[:2], *leaf.shape[1:]), dtype=complex) for leaf in leaves]
        for fixed in self.network.slices():
            self._go_down(self._go_up(leaves, fixed), fixed, adjoint, found)
        gradients = []
        for leaf, node in zip(self.leaves, found, strict=True):
            flat = leaf.gradient(node.reshape(-1, *node.shape[3:]))
            gradients.append(flat.reshape(*node.shape[:3], *flat.shape[1:]))
        return gradients

    def _nodes(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Turn tensors into nodes, shape (points, strings, size of each bond)."""
        nodes = []
        for leaf, tensor in zip(self.leaves, tensors, strict=True):
            flat = leaf.node(tensor.reshape(-1, *tensor.shape[2:]))
            nodes.append(flat.reshape(*tensor.shape[:2], *flat.shape[1:]))
        return nodes

    @property
    def flops(self) -> float:
        """Floating-point operations of all values, about."""
        return sum(
            flops * len(pairs) for flops, pairs in zip(self.network.flops, self._pairs, strict=True)
        )

    @cached_property
    def bytes_an_observable(self) -> int:
        """Memory that the gradients by one observable take, about."""
        size = self.network.size
        entries = sum(
            len(pairs)
            * sum(map(size, (s.left_only + s.shared, s.right_only + s.shared, s.left_only)))
            for s, pairs in zip(self.network.steps, self._pairs, strict=True)
        )
        entries += sum(
            3 * (1 + int(self.choices[:, place].max(initial=0))) * math.prod(leaf.bond_sizes)
            for place, leaf in enumerate(self.leaves)
        )
        return 16 * entries

    def _go_up(self, leaves: Sequence[Tensor], fixed: dict[int, int]) -> list[Tensor]:
        """Contract, with some bonds fixed; return every node."""
        everything = (slice(None), slice(None))
        nodes = [
            leaf[(*everything, *(fixed.get(bond, slice(None)) for bond in axes))]
            for leaf, axes in zip(leaves, self._axes, strict=False)
        ]
        for step, pairs in zip(self.network.steps, self._pairs, strict=True):
            left = self._laid(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._laid(nodes, step.right, step.right_only, step.shared, fixed)
            merged = left[:, pairs[:, 0]] @ right[:, pairs[:, 1]].swapaxes(2, 3)
            sizes = self._sizes(step.left_only + step.right_only, fixed)
            nodes.append(merged.reshape(*merged.shape[:2], *sizes))
        return nodes

    def _go_down(
        self,
        nodes: list[Tensor],
        fixed: dict[int, int],
        adjoint: Reals,
        found: Sequence[Tensor],
    ) -> None:
        """Add the derivatives by the leaves to ``found``."""
        outer = adjoint.shape[:2]
        root = _summed(adjoint.astype(complex), self._root, nodes[-1].shape[1])
        around: dict[int, Tensor] = {len(nodes) - 1: root.reshape(*outer, *nodes[-1].shape[1:])}
        for number in reversed(range(len(self.network.steps))):
            step, pairs = self.network.steps[number], self._pairs[number]
            left = self._laid(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._laid(nodes, step.right, step.right_only, step.shared, fixed)
            above = around.pop(len(self.leaves) + number)
            above = above.reshape(*outer, len(pairs), left.shape[2], right.shape[2])
            ways = (
                (step.left, 0, above @ right[:, None, pairs[:, 1]], step.left_only),
                (
                    step.right,
                    1,
                    above.swapaxes(3, 4) @ left[:, None, pairs[:, 0]],
                    step.right_only,
                ),
            )
            for node, side, parts, kept in ways:
                summed = _summed(parts, pairs[:, side], nodes[node].shape[1])
                around[node] = self._turned(summed, node, kept + step.shared, fixed)
        for place, total in enumerate(found):
            pick = (fixed.get(bond, slice(None)) for bond in self._axes[place])
            total[(slice(None), slice(None), slice(None), *pick)] += around[place]

    def _laid(
        self,
        nodes: Sequence[Tensor],
        node: int,
        kept: tuple[int, ...],
        summed: tuple[int, ...],
        fixed: dict[int, int],
    ) -> Tensor:
        """Lay a node out as (points, rows, kept, summed)."""
        axes = self._free(self._axes[node], fixed)
        order = [2 + axes.index(bond) for bond in self._free(kept + summed, fixed)]
        shape = (math.prod(self._sizes(kept, fixed)), math.prod(self._sizes(summed, fixed)))
        return nodes[node].transpose(0, 1, *order).reshape(*nodes[node].shape[:2], *shape)

    def _turned(
        self, derivatives: Tensor, node: int, order: tuple[int, ...], fixed: dict[int, int]
    ) -> Tensor:
        """Bring derivatives, whose bonds are in some order, into that of their node."""
        own = self._free(order, fixed)
        shaped = derivatives.reshape(*derivatives.shape[:3], *self._sizes(order, fixed))
        axes = [3 + own.index(bond) for bond in self._free(self._axes[node], fixed)]
        return shaped.transpose(0, 1, 2, *axes)

    def _free(self, bonds: tuple[int, ...], fixed: dict[int, int]) -> tuple[int, ...]:
        return tuple(bond for bond in bonds if bond not in fixed)

    def _sizes(self, bonds: tuple[int, ...], fixed: dict[int, int]) -> tuple[int, ...]:
        return tuple(self.network.bonds[bond].size for bond in self._free(bonds, fixed))


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The contraction of all parts.

    Attributes:
        parts: The terms, taken apart.
        contractions: The contraction of each part.
    """

    parts: ConnectedParts
    contractions: tuple[DifferentiableContraction, ...]

    @classmethod
    def of(cls, cut: CutCircuit, parts: ConnectedParts, memory_bytes: int) -> Reconstruction:
        """Plan the contraction of a cut circuit.

        Raises:
            MemoryLimitError: If it needs more memory, however it is sliced.
        """
        own = (
            _contraction(cut, group, choices, memory_bytes)
            for group, choices in zip(parts.groups, parts.choices, strict=True)
        )
        return cls(parts, tuple(own))

    @property
    def flops(self) -> float:
        """Floating-point operations of all values, about."""
        return sum(own.flops for own in self.contractions)

    def values(self, tensors: Sequence[Tensor]) -> Reals:
        """Return every observable's value.

        Args:
            tensors: For each subcircuit its tensor, shape (strings, index pairs of each port);
                those of subcircuits that no part has are not looked at.
        """
        found = self._part_values([tensor[None] for tensor in tensors])
        return self.parts.combine([values[0] for values in found])

    def gradients(
        self, tensors: Sequence[Tensor], observables: Indices
    ) -> Iterator[tuple[int, Indices, Tensor]]:
        """Yield the derivatives of some observables by the tensors.

        Args:
            tensors: For each subcircuit its tensor at every point, shape (points, strings, index
                pairs of each port); those of subcircuits that no part has are not looked at.
            observables: Numbers of the observables.

        Yields:
            A subcircuit, places in ``observables``, and their derivatives by its tensor, shape
            (points, places, strings, index pairs of each port). What is not yielded is 0.
        """
        adjoints = self.parts.adjoints(self._part_values(tensors), observables)
        for contraction, (places, adjoint) in zip(self.contractions, adjoints, strict=True):
            each = contraction.bytes_an_observable * len(adjoint)
            batch = max(1, _BATCH_BYTES // each)
            part = [tensors[k] for k in contraction.subcircuits]
            for start in range(0, len(places), batch):
                derivatives = contraction.gradients(part, adjoint[:, start : start + batch])
                for subcircuit, gradient in zip(contraction.subcircuits, derivatives, strict=True):
                    yield subcircuit, places[start : start + batch], gradient

    def _part_values(self, tensors: Sequence[Tensor]) -> list[Reals]:
        return [
            contraction.values([tensors[k] for k in contraction.subcircuits])
            for contraction in self.contractions
        ]


def _summed(parts: Tensor, places: Indices, size: int) -> Tensor:
    """Add entries of the third axis that belong to the same place of a new one.

    Args:
        parts: Shape (points, observables, entries, ...).
        places: The place of each entry.
        size: Number of places.
    """
    found = np.zeros((*parts.shape[:2], size, *parts.shape[3:]), dtype=complex)
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    if len(starts) == len(places):
        found[:, :, places] = parts
    else:
        found[:, :, places[order][starts]] = np.add.reduceat(parts[:, :, order], starts, axis=2)
    return found


def _contraction(
    cut: CutCircuit, group: Sequence[int], choices: Indices, memory_bytes: int
) -> DifferentiableContraction:
    """Plan the contraction of some subcircuits, numbered anew."""
    place = {number: i for i, number in enumerate(group)}
    edges = tuple(
        replace(edge, ends=((place[a], p), (place[b], q)))
        for edge in cut.edges
        for (a, p), (b, q) in [edge.ends]
        if a in place
    )
    own = CutCircuit(cut.num_qubits, cut.cuts, tuple(cut.subcircuits[k] for k in group), edges)
    network = build_network(own, memory_bytes)
    order = list(network.linked or range(len(group)))
    leaves = tuple(TensorNode(own, number, network) for number in order)
    return DifferentiableContraction(
        tuple(group[i] for i in order), network, leaves, choices[:, order]
    )
