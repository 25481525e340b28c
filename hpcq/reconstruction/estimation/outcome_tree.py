"""The contraction of tensors that have an axis of outcomes, and all its environments.

The tensors of the subcircuits are contracted pair by pair. Each keeps its axis of outcomes, so that
the result has the probability of every combination of the subcircuits' outcomes. The environment of
a subcircuit is the contraction of all others: the derivative of the probabilities with respect to
its tensor at its outcome. All environments together cost about twice as much as the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.network import Network
from hpcq.reconstruction.tensor_nodes import Tensor


@dataclass(frozen=True, eq=False)
class _Node:
    """A tensor of the contraction, or the environment of one.

    Attributes:
        leaves: The subcircuits whose axes of outcomes come first.
        bonds: The bonds of the other axes.
        array: The tensor.
    """

    leaves: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]
    array: NDArray[Any]

    def ordered(self, bonds: Sequence[tuple[int, int]] = ()) -> NDArray[Any]:
        """Return the tensor with the subcircuits ascending and the bonds in this order."""
        count = len(self.leaves)
        axes = np.argsort(self.leaves).tolist()
        axes += [count + self.bonds.index(bond) for bond in bonds]
        return self.array.transpose(axes)


@dataclass(frozen=True, eq=False)
class OutcomeTree:
    """The order of contraction of several connected parts, whose results are multiplied.

    Attributes:
        networks: The network of each part.
    """

    networks: tuple[Network, ...]

    @cached_property
    def _bonds(self) -> list[tuple[tuple[int, int], ...]]:
        """For each subcircuit, part after part, its bonds: the part, and the number there."""
        return [
            tuple((part, bond) for bond in legs)
            for part, network in enumerate(self.networks)
            for legs in network.legs
        ]

    @cached_property
    def _steps(self) -> list[tuple[int, int]]:
        """The pairs of nodes to contract; each makes a new node with the next number."""
        steps: list[tuple[int, int]] = []
        roots: list[int] = []
        number = len(self._bonds)
        first = 0
        for network in self.networks:
            nodes = [first + subcircuit for subcircuit in network.linked]
            linked = set(network.linked)
            roots += [first + k for k in range(len(network.legs)) if k not in linked]
            for step in network.steps:
                steps.append((nodes[step.left], nodes[step.right]))
                nodes.append(number)
                number += 1
            roots += nodes[-1:]
            first += len(network.legs)
        while len(roots) > 1:
            steps.append((roots.pop(0), roots.pop(0)))
            roots.append(number)
            number += 1
        return steps

    @cached_property
    def flops(self) -> float:
        """Floating-point operations of the values for one outcome of every subcircuit."""
        return sum(sum(network.flops) for network in self.networks)

    @cached_property
    def max_entries(self) -> int:
        """Entries of the largest tensor, for one outcome of every subcircuit."""
        sizes = [network.largest_bytes // 16 for network in self.networks]
        sizes += [network.size(legs) for network in self.networks for legs in network.legs]
        return max(sizes, default=1)

    def values(self, tensors: Sequence[Tensor]) -> NDArray[np.float64]:
        """Return the value of every combination of outcomes.

        Args:
            tensors: For each subcircuit, part after part, its bond tensor, shape (outcomes, size of
                each bond).

        Returns:
            An axis of outcomes for each subcircuit. The imaginary parts are rounding errors.
        """
        return np.ascontiguousarray(self._upward(tensors)[-1].ordered().real)

    def environments(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return for each subcircuit the contraction of all others.

        Returns:
            For each, an axis of outcomes for each other subcircuit, then an axis for each of its
            bonds, in the order of its bond tensor.
        """
        nodes = self._upward(tensors)
        outside: list[_Node | None] = [None] * len(nodes)
        outside[-1] = _Node((), (), np.ones((), dtype=complex))
        for number in reversed(range(len(self._steps))):
            parent = outside[len(tensors) + number]
            assert parent is not None, "a node is made after those that it is made of"
            left, right = self._steps[number]
            outside[left] = _contract(parent, nodes[right])
            outside[right] = _contract(parent, nodes[left])
        environments = []
        for bonds, node in zip(self._bonds, outside, strict=False):
            assert node is not None, "every subcircuit is contracted"
            environments.append(node.ordered(bonds))
        return environments

    def _upward(self, tensors: Sequence[Tensor]) -> list[_Node]:
        nodes = [
            _Node((number,), bonds, tensor)
            for number, (bonds, tensor) in enumerate(zip(self._bonds, tensors, strict=True))
        ]
        for left, right in self._steps:
            nodes.append(_contract(nodes[left], nodes[right]))
        return nodes


def _contract(left: _Node, right: _Node) -> _Node:
    """Contract two nodes over the bonds that they share."""
    shared = [bond for bond in left.bonds if bond in right.bonds]
    left_axes, right_axes = (
        [len(node.leaves) + node.bonds.index(bond) for bond in shared] for node in (left, right)
    )
    array = np.tensordot(left.array, right.array, (left_axes, right_axes))
    left_only = [bond for bond in left.bonds if bond not in shared]
    right_only = [bond for bond in right.bonds if bond not in shared]
    # Axes: outcomes and bonds of the left node, then those of the right one.
    first = len(left.leaves) + len(left_only)
    moved = range(first, first + len(right.leaves))
    array = np.moveaxis(array, moved, range(len(left.leaves), len(left.leaves) + len(moved)))
    return _Node((*left.leaves, *right.leaves), (*left_only, *right_only), array)
