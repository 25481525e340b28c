"""The linear map from a subcircuit's tensor to its node in the network, and its transpose.

The tensor has one axis for each port with its own settings (not for ports with ``shared_with``), of
the index pairs (k, l) as k * d + l. The node has one axis for each bond, of the index pairs of the
bond's edges together. The map and its transpose, which gradients take, are products with one small
array for each port. It maps the port's index pair to those of all edges at the port and at the
ports that share its settings, whose indices add up to it, and includes the weights of the edges
whose first end is there.
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
        """Return the node of a tensor, shape (strings, index pairs of each port).

        Returns:
            Shape (strings, size of each bond in ``network.legs``).
        """
        ports, bonds, factors = self._operands
        operands: list[Any] = [tensor, [0, *ports], *factors, [0, *bonds]]
        node_tensor = np.einsum(*operands, optimize="greedy")
        return np.asarray(node_tensor.reshape(len(tensor), *self.bond_sizes))

    def gradient(self, node: Tensor) -> Tensor:
        """Return the gradient with respect to a tensor, from the gradient with respect to its node.

        Args:
            node: Shape (rows, size of each bond).

        Returns:
            Shape (rows, index pairs of each port). A value that is linear in the tensor is the sum
            of the products of the tensor's entries with those of its gradient.
        """
        ports, bonds, factors = self._operands
        split = node.reshape(len(node), *self._edge_sizes)
        operands: list[Any] = [split, [0, *bonds], *factors, [0, *ports]]
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
    def _operands(self) -> tuple[list[int], list[int], list[Any]]:
        """Labels of the ports' axes, labels of the edges' axes, and the factors between them."""
        ports = self.cut.subcircuits[self.subcircuit].ports
        main_ports = [number for number, port in enumerate(ports) if port.shared_with is None]
        ends_of: dict[int, list[tuple[int, int]]] = {number: [] for number in main_ports}
        for (edge, side), port in sorted(self.cut.ends[self.subcircuit].items()):
            main_port = ports[port].shared_with
            ends_of[port if main_port is None else main_port].append((edge, side))
        axes = {edge: 1 + len(main_ports) + edge for edge in range(len(self.cut.edges))}
        factors: list[Any] = []
        for axis, number in enumerate(main_ports):
            port_ends = ends_of[number]
            factors.append(_index_sum(ports[number].dimension, len(port_ends)))
            factors.append([1 + axis, *(axes[edge] for edge, _ in port_ends)])
            for edge, side in port_ends:
                if side == 0:
                    weights = np.asarray(self.cut.edges[edge].weights, dtype=complex)
                    factors.append(np.outer(weights, weights.conj()).reshape(-1))
                    factors.append([axes[edge]])
        labels = _relabel(factors)
        bonds = [labels[axes[edge]] for edge in self._edges]
        return [labels[1 + axis] for axis in range(len(main_ports))], bonds, factors


def _relabel(factors: list[Any]) -> dict[int, int]:
    """Number the labels from 1 on in place, as NumPy allows only few; return old → new."""
    labels: dict[int, int] = {}
    for index in range(1, len(factors), 2):
        factors[index] = [labels.setdefault(label, 1 + len(labels)) for label in factors[index]]
    return labels


def _index_sum(dimension: int, edges: int) -> Tensor:
    """Return the array that is 1 where a port's index pair is the sum of those of its edges."""
    size = dimension * dimension
    index_sum = np.zeros((size, *([size] * edges)))
    for edge_indices in np.ndindex(*([size] * edges)):
        total = 0
        for edge_index in edge_indices:
            total ^= edge_index  # dimensions are powers of two, so k and l add up bit by bit
        index_sum[(total, *edge_indices)] = 1
    return index_sum.astype(complex)
