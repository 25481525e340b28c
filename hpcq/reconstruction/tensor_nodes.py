"""The linear map from a subcircuit's sampled tensor to its bond tensor, and its transpose.

The sampled tensor has one axis for each port with its own settings (not for ports with
``shared_with``), of the index pairs (k, l) as k * d + l, or is a matrix with the indices k of all
these ports as its rows and the indices l as its columns. The bond tensor has one axis for each
bond, of the index pairs of the bond's edges together. Each entry of the bond tensor is an entry of
the sampled tensor times the weights of edges, summed over the edges of the subcircuit to itself.
The index pair of a port is the bitwise sum (exclusive or) of the index pairs of all edges at the
port and at the ports that share its settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.core.arrays import namespace_of
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.network import Network, ket_weights

Tensor = NDArray[np.complex128]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TensorNode:
    """The linear map between one subcircuit's sampled tensor and its bond tensor.

    Attributes:
        cut: The cut circuit.
        subcircuit: The subcircuit's number.
        network: The network of the cut circuit.
        has_matrices: Whether sampled tensors are matrices, the first port the slowest digit of both
            indices; otherwise they have an axis for each port.
    """

    cut: CutCircuit
    subcircuit: int
    network: Network
    has_matrices: bool = False

    def bond_tensor(self, tensor: Tensor) -> Tensor:
        """Return the bond tensor of a sampled tensor, shape (..., index pairs of each port).

        With ``has_matrices`` it has the shape (..., D, D), D the combined index of the ports.

        Returns:
            Shape (..., size of each bond in ``network.legs``).
        """
        entries, weights = self._entries
        leading = tensor.shape[: tensor.ndim - len(self._port_sizes)]
        terms = tensor.reshape(*leading, -1).take(entries, axis=-1)
        terms *= namespace_of(tensor).asarray(weights)
        summed = terms.sum(axis=-2) if len(entries) > 1 else terms
        bonds: Tensor = summed.reshape(*leading, *self._bond_sizes)
        return bonds

    def gradient(self, by_bonds: Tensor) -> Tensor:
        """Return the derivative with respect to the sampled tensor.

        Args:
            by_bonds: The derivative with respect to the bond tensor, shape (..., size of each
                bond).

        Returns:
            Shape (..., index pairs of each port), or (..., D, D). Nothing is conjugated: the
            derivative of a linear function of the tensor is the coefficient of each entry.
        """
        weights, xp = self._entries[1], namespace_of(by_bonds)
        leading = by_bonds.shape[: by_bonds.ndim - len(self._bond_sizes)]
        targets, order, starts = self._targets
        summed = by_bonds.reshape(*leading, -1).take(order % weights.shape[1], axis=-1)
        summed *= xp.asarray(weights.reshape(-1)[order])
        if len(starts) < len(order):
            summed = xp.add.reduceat(summed, xp.asarray(starts), axis=-1)
        size = math.prod(self._port_sizes)
        if len(targets) < size:
            gradient = xp.zeros((*leading, size), dtype=complex)
            gradient[..., targets] = summed
            summed = gradient
        ports: Tensor = summed.reshape(*leading, *self._port_sizes)
        return ports

    @cached_property
    def _port_sizes(self) -> tuple[int, ...]:
        ports = self.cut.subcircuits[self.subcircuit].ports
        dimensions = [port.dimension for port in ports if port.shared_with is None]
        if self.has_matrices:
            return (math.prod(dimensions),) * 2
        return tuple(dimension**2 for dimension in dimensions)

    @cached_property
    def _bond_sizes(self) -> tuple[int, ...]:
        return tuple(self.network.bonds[b].size for b in self.network.legs[self.subcircuit])

    @cached_property
    def _entries(self) -> tuple[Indices, Tensor]:
        """Flat indices into the sampled tensor, and the weights of these entries.

        Both have the shape (index pairs of edges of the subcircuit to itself, entries of the bond
        tensor).
        """
        legs = self.network.legs[self.subcircuit]
        loops = self.network.loops[self.subcircuit]
        edges = (*loops, *(edge for bond in legs for edge in self.network.bonds[bond].edges))
        sizes = tuple(self.cut.edges[edge].dimension ** 2 for edge in edges)
        pairs = dict(zip(edges, np.indices(sizes, sparse=True), strict=True))
        ports = self.cut.subcircuits[self.subcircuit].ports
        port_pairs = [np.zeros(sizes, dtype=np.intp) for _ in ports]
        weights = np.ones(sizes, dtype=complex)
        for (edge, side), number in self.cut.ends[self.subcircuit].items():
            shared_with = ports[number].shared_with
            # The sum of index pairs: dimensions are powers of two.
            port_pairs[number if shared_with is None else shared_with] ^= pairs[edge]
            if side == 0:
                ket = ket_weights(self.cut, edge)
                weights *= np.outer(ket, ket.conj()).reshape(-1)[pairs[edge]]
        entries = np.zeros(sizes, dtype=np.intp)
        columns = np.zeros(sizes, dtype=np.intp)
        for port, index_pairs in zip(ports, port_pairs, strict=True):
            if port.shared_with is not None:
                continue
            if self.has_matrices:
                rows, others = np.divmod(index_pairs, port.dimension)
                entries, columns = (
                    entries * port.dimension + rows,
                    columns * port.dimension + others,
                )
            else:
                entries = entries * port.dimension**2 + index_pairs
        if self.has_matrices:
            entries = entries * self._port_sizes[1] + columns
        shape = (math.prod(sizes[: len(loops)]), math.prod(self._bond_sizes))
        return entries.reshape(shape), weights.reshape(shape)

    @cached_property
    def _targets(self) -> tuple[Indices, Indices, Indices]:
        """Distinct entries of the sampled tensor, the order of terms by them, and their starts."""
        entries = self._entries[0].reshape(-1)
        order = np.argsort(entries, kind="stable")
        starts = np.flatnonzero(np.diff(entries[order], prepend=-1))
        return entries[order][starts], order, starts
