"""Values of observables from sampled tensors, and their gradients with respect to every tensor.

Every connected part is contracted by itself, for every distinct combination of its strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.connected_parts import ConnectedParts
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import build_network
from hpcq.reconstruction.sweep_plan import Indices, Tensor
from hpcq.reconstruction.tensor_nodes import TensorNode

_BATCH_BYTES = 128 << 20
"""Bytes of the gradients of observables that are computed together."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The contraction of all connected parts.

    Attributes:
        parts: The terms as products over the parts.
        contractions: The contraction of each part, with its subcircuits numbered from 0.
        nodes: For each part and subcircuit, the map from the sampled tensor to the bond tensor.
    """

    parts: ConnectedParts
    contractions: tuple[Contraction, ...]
    nodes: tuple[tuple[TensorNode, ...], ...]

    @classmethod
    def of(cls, cut: CutCircuit, parts: ConnectedParts, memory_bytes: int) -> Reconstruction:
        """Plan the contraction of a cut circuit.

        Raises:
            MemoryLimitError: If it does not fit into memory however it is sliced.
        """
        contractions, nodes = [], []
        for group, picks in zip(parts.groups, parts.picks, strict=True):
            part = _part_of(cut, group)
            network = build_network(part, memory_bytes)
            contractions.append(Contraction.within(network, picks, memory_bytes))
            nodes.append(tuple(TensorNode(part, k, network) for k in range(len(group))))
        return cls(parts, tuple(contractions), tuple(nodes))

    @property
    def flops(self) -> float:
        """Approximate number of floating-point operations for all values."""
        return sum(contraction.work.flops for contraction in self.contractions)

    def values(self, tensors: Sequence[Tensor]) -> NDArray[np.float64]:
        """Return the value of every observable.

        The tensors have the shape (strings, index pairs of each port); those of subcircuits in no
        part are ignored.
        """
        return self.parts.combine(self._part_values(self._bond_tensors(tensors)))

    def gradients(
        self, tensors: Sequence[Tensor], observables: Indices
    ) -> Iterator[tuple[int, Indices, Tensor]]:
        """Yield the derivatives of some observables with respect to the tensors.

        Args:
            tensors: For each subcircuit, its tensor at several *points*, which are computed
                together, shape (points, strings, index pairs of each port); those of subcircuits in
                no part are ignored.
            observables: Numbers of the observables.

        Yields:
            A subcircuit, indices into ``observables``, and the derivatives of these with respect to
            its tensor, shape (points, indices, strings, index pairs of each port). All others are
            0.
        """
        bond_tensors = self._bond_tensors([tensor.swapaxes(0, 1) for tensor in tensors])
        values = [part_values.T for part_values in self._part_values(bond_tensors)]
        adjoints = self.parts.adjoints(values, observables)
        for number, (indices, adjoint) in enumerate(adjoints):
            contraction, bonds = self.contractions[number], bond_tensors[number]
            # Derivatives by bond tensors and by tensors, a copy in between, and those in a sweep.
            tensor_bytes = 3 * sum(tensor.nbytes for tensor in bonds)
            sweep_bytes = 16 * contraction.work.entries / contraction.network.num_slices
            batch_size = max(1, int(_BATCH_BYTES / (tensor_bytes + len(adjoint) * sweep_bytes)))
            for start in range(0, len(indices), batch_size):
                batch = slice(start, start + batch_size)
                by_bonds = contraction.vjp(bonds, adjoint[:, batch].transpose(2, 0, 1))
                for subcircuit, node, derivative in zip(
                    self.parts.groups[number], self.nodes[number], by_bonds, strict=True
                ):
                    gradient = np.moveaxis(node.gradient(derivative), 0, 2)
                    yield subcircuit, indices[batch], gradient

    def _bond_tensors(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the bond tensors of each part, with the leading axes of the sampled tensors."""
        return [
            [node.bond_tensor(tensors[k]) for k, node in zip(group, nodes, strict=True)]
            for group, nodes in zip(self.parts.groups, self.nodes, strict=True)
        ]

    def _part_values(self, bond_tensors: Sequence[Sequence[Tensor]]) -> list[NDArray[np.float64]]:
        """Return the values of each part, shape (rows, *points)."""
        return [
            contraction.values(tensors).real
            for contraction, tensors in zip(self.contractions, bond_tensors, strict=True)
        ]


def _part_of(cut: CutCircuit, group: Sequence[int]) -> CutCircuit:
    """Return a connected part of a cut circuit, with its subcircuits numbered from 0."""
    new_number = {number: index for index, number in enumerate(group)}
    edges = tuple(
        replace(edge, ends=((new_number[first], first_port), (new_number[second], second_port)))
        for edge in cut.edges
        for (first, first_port), (second, second_port) in [edge.ends]
        if first in new_number
    )
    subcircuits = tuple(cut.subcircuits[number] for number in group)
    return CutCircuit(cut.num_qubits, cut.cuts, subcircuits, edges)
