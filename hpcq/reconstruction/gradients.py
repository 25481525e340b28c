"""Values of observables from sampled tensors, and their gradients by every tensor.

Every part is contracted by itself, upwards for every distinct combination of strings; backwards,
the chain rule gives the derivative of every observable by every entry of every tensor for about
twice that work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.leaves import Leaf, Tensor
from hpcq.reconstruction.network import Network, build_network
from hpcq.reconstruction.parts import Parts

Indices = NDArray[np.intp]
Reals = NDArray[np.float64]

_BATCH_BYTES = 128 << 20


class Contraction:
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
        leaves: tuple[Leaf, ...],
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
        """Contract every combination of strings; shape (rows,)."""
        total = np.zeros(len(self.choices))
        leaves = [leaf.node(own) for leaf, own in zip(self.leaves, tensors, strict=True)]
        for fixed in self.network.slices():
            nodes = self._go_up(leaves, fixed)
            total += nodes[-1].reshape(len(nodes[-1])).real[self._root]
        return total

    def gradients(self, tensors: Sequence[Tensor], adjoint: Reals) -> list[Tensor]:
        """Go back from values to tensors.

        Args:
            tensors: The tensor of each of its subcircuits.
            adjoint: Derivative of every observable by every value, shape (observables, rows).

        Returns:
            For each subcircuit the derivatives, shape (observables, strings, index pairs).
        """
        leaves = [leaf.node(own) for leaf, own in zip(self.leaves, tensors, strict=True)]
        found = [np.zeros((len(adjoint), *leaf.shape), dtype=complex) for leaf in leaves]
        for fixed in self.network.slices():
            self._go_down(self._go_up(leaves, fixed), fixed, adjoint, found)
        gradients = []
        for leaf, own in zip(self.leaves, found, strict=True):
            flat = leaf.gradient(own.reshape(-1, *own.shape[2:]))
            gradients.append(flat.reshape(*own.shape[:2], *flat.shape[1:]))
        return gradients

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
        nodes = [
            leaf[(slice(None), *(fixed.get(bond, slice(None)) for bond in axes))]
            for leaf, axes in zip(leaves, self._axes, strict=False)
        ]
        for step, pairs in zip(self.network.steps, self._pairs, strict=True):
            left = self._laid(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._laid(nodes, step.right, step.right_only, step.shared, fixed)
            merged = left[pairs[:, 0]] @ right[pairs[:, 1]].swapaxes(1, 2)
            sizes = self._sizes(step.left_only + step.right_only, fixed)
            nodes.append(merged.reshape(len(pairs), *sizes))
        return nodes

    def _go_down(
        self,
        nodes: list[Tensor],
        fixed: dict[int, int],
        adjoint: Reals,
        found: Sequence[Tensor],
    ) -> None:
        """Add the derivatives by the leaves to ``found``."""
        observables = len(adjoint)
        root = np.zeros((observables, len(nodes[-1])), dtype=complex)
        np.add.at(root.T, self._root, adjoint.T)
        around: dict[int, Tensor] = {len(nodes) - 1: root.reshape(observables, *nodes[-1].shape)}
        for number in reversed(range(len(self.network.steps))):
            step, pairs = self.network.steps[number], self._pairs[number]
            left = self._laid(nodes, step.left, step.left_only, step.shared, fixed)
            right = self._laid(nodes, step.right, step.right_only, step.shared, fixed)
            own = around.pop(len(self.leaves) + number)
            own = own.reshape(observables, len(pairs), left.shape[1], right.shape[1])
            ways = (
                (step.left, 0, own @ right[pairs[:, 1]], step.left_only),
                (step.right, 1, own.swapaxes(2, 3) @ left[pairs[:, 0]], step.right_only),
            )
            for node, side, parts, kept in ways:
                summed = np.zeros((observables, len(nodes[node]), *parts.shape[2:]), dtype=complex)
                np.add.at(summed.swapaxes(0, 1), pairs[:, side], parts.swapaxes(0, 1))
                around[node] = self._turned(summed, node, kept + step.shared, fixed)
        for place, total in enumerate(found):
            pick = (fixed.get(bond, slice(None)) for bond in self._axes[place])
            total[(slice(None), slice(None), *pick)] += around[place]

    def _laid(
        self,
        nodes: Sequence[Tensor],
        node: int,
        kept: tuple[int, ...],
        summed: tuple[int, ...],
        fixed: dict[int, int],
    ) -> Tensor:
        """Lay a node out as (rows, kept, summed)."""
        axes = self._free(self._axes[node], fixed)
        order = [1 + axes.index(bond) for bond in self._free(kept + summed, fixed)]
        shape = (math.prod(self._sizes(kept, fixed)), math.prod(self._sizes(summed, fixed)))
        return nodes[node].transpose(0, *order).reshape(len(nodes[node]), *shape)

    def _turned(
        self, derivatives: Tensor, node: int, order: tuple[int, ...], fixed: dict[int, int]
    ) -> Tensor:
        """Bring derivatives, whose bonds are in some order, into that of their node."""
        own = self._free(order, fixed)
        shaped = derivatives.reshape(*derivatives.shape[:2], *self._sizes(order, fixed))
        axes = [2 + own.index(bond) for bond in self._free(self._axes[node], fixed)]
        return shaped.transpose(0, 1, *axes)

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

    parts: Parts
    contractions: tuple[Contraction, ...]

    @classmethod
    def of(cls, cut: CutCircuit, parts: Parts, memory_bytes: int) -> Reconstruction:
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
        return self.parts.combine(self._part_values(tensors))

    def gradients(
        self, tensors: Sequence[Tensor], observables: Indices
    ) -> Iterator[tuple[int, Indices, Tensor]]:
        """Yield the derivatives of some observables by the tensors.

        Args:
            tensors: As for :meth:`values`.
            observables: Numbers of the observables.

        Yields:
            A subcircuit, places in ``observables``, and their derivatives by its tensor, shape
            (places, strings, index pairs of each port). What is not yielded is 0.
        """
        adjoints = self.parts.adjoints(self._part_values(tensors), observables)
        for own, (places, adjoint) in zip(self.contractions, adjoints, strict=True):
            batch = max(1, _BATCH_BYTES // own.bytes_an_observable)
            own_tensors = [tensors[k] for k in own.subcircuits]
            for start in range(0, len(places), batch):
                derivatives = own.gradients(own_tensors, adjoint[start : start + batch])
                for subcircuit, gradient in zip(own.subcircuits, derivatives, strict=True):
                    yield subcircuit, places[start : start + batch], gradient

    def _part_values(self, tensors: Sequence[Tensor]) -> list[Reals]:
        return [own.values([tensors[k] for k in own.subcircuits]) for own in self.contractions]


def _contraction(
    cut: CutCircuit, group: Sequence[int], choices: Indices, memory_bytes: int
) -> Contraction:
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
    leaves = tuple(Leaf(own, number, network) for number in order)
    return Contraction(tuple(group[i] for i in order), network, leaves, choices[:, order])
