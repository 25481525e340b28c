"""A subcircuit's tensor as a node of the network, and its gradient the way back.

The tensor has one axis for each port with settings (no twins), of the index pairs (k, l) as
k * d + l. The node has one axis for each bond, of the index pairs of the bond's edges together.
Both ways are the same product with one small array for each port: that spreads the port's index
pair over its own edge and those of its twins, whose indices add up to it, and holds the edges'
weights on the side of their first ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.network import Network

Tensor = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class TensorNode:
    """The linear map between one subcircuit's tensor and its node.

    Attributes:
        cut: The cut circuit.
        subcircuit: The subcircuit's number.
        network: The network that the node is part of.
    """

    cut: CutCircuit
    subcircuit: int
    network: Network

    def node(self, tensor: Tensor) -> Tensor:
        """Turn a tensor, shape (strings, index pairs of each port), into its node.

        Returns:
            Shape (strings, size of each bond in ``network.legs``).
        """
        ports, bonds, factors = self._plan
        operands: list[Any] = [tensor, [0, *ports], *factors, [0, *bonds]]
        found = np.einsum(*operands, optimize="greedy")
        return np.asarray(found.reshape(len(tensor), *self.bond_sizes))

    def gradient(self, node: Tensor) -> Tensor:
        """Turn the gradient by a node into that by its tensor.

        Args:
            node: Shape (rows, size of each bond).

        Returns:
            Shape (rows, index pairs of each port), so that a value that is linear in the tensor is
            the sum of its products with this.
        """
        ports, bonds, factors = self._plan
        spread = node.reshape(len(node), *self._edge_sizes)
        operands: list[Any] = [spread, [0, *bonds], *factors, [0, *ports]]
        return np.asarray(np.einsum(*operands, optimize="greedy"))

    @cached_property
    def bond_sizes(self) -> tuple[int, ...]:
        """Size of each of the node's bonds."""
        return tuple(self.network.bonds[b].size for b in self.network.legs[self.subcircuit])

    @cached_property
    def _edges(self) -> tuple[int, ...]:
        """The edges of the node's bonds, in the order of their axes."""
        legs = self.network.legs[self.subcircuit]
        return tuple(edge for bond in legs for edge in self.network.bonds[bond].edges)

    @cached_property
    def _edge_sizes(self) -> tuple[int, ...]:
        return tuple(self.cut.edges[edge].dimension ** 2 for edge in self._edges)

    @cached_property
    def _plan(self) -> tuple[list[int], list[int], list[Any]]:
        """Labels of the ports' axes, of the edges' axes, and the arrays between them."""
        ports = self.cut.subcircuits[self.subcircuit].ports
        mains = [number for number, port in enumerate(ports) if port.shared_with is None]
        met: dict[int, list[tuple[int, int]]] = {number: [] for number in mains}
        for (edge, side), port in sorted(self.cut.ends[self.subcircuit].items()):
            shared_with = ports[port].shared_with
            met[port if shared_with is None else shared_with].append((edge, side))
        axes = {edge: 1 + len(mains) + edge for edge in range(len(self.cut.edges))}
        factors: list[Any] = []
        for place, number in enumerate(mains):
            ends = met[number]
            factors.append(_spread(ports[number].dimension, len(ends)))
            factors.append([1 + place, *(axes[edge] for edge, _ in ends)])
            for edge, side in ends:
                if side == 0:
                    weights = np.asarray(self.cut.edges[edge].weights, dtype=complex)
                    factors.append(np.outer(weights, weights.conj()).reshape(-1))
                    factors.append([axes[edge]])
        labels = _relabelled(factors)
        bonds = [labels[axes[edge]] for edge in self._edges]
        return [labels[1 + place] for place in range(len(mains))], bonds, factors


def _relabelled(factors: list[Any]) -> dict[int, int]:
    """Number the labels from 1 on in place, for numpy allows but few; return old → new."""
    labels: dict[int, int] = {}
    for place in range(1, len(factors), 2):
        factors[place] = [labels.setdefault(own, 1 + len(labels)) for own in factors[place]]
    return labels


def _spread(dimension: int, edges: int) -> Tensor:
    """Return the array that is 1 where a port's index pair is the sum of its edges'."""
    size = dimension * dimension
    spread = np.zeros((size, *([size] * edges)))
    for place in np.ndindex(*([size] * edges)):
        total = 0
        for own in place:
            total ^= own  # dimensions are powers of two, so k and l add up bit by bit
        spread[(total, *place)] = 1
    return spread.astype(complex)
