"""Evaluate a program at rows of angles: tensors of its pieces, contracted; derivatives, in reverse.

Derivatives take one pass in the opposite direction. The contraction gives the derivatives of each
observable with respect to every tensor, the *environments* of that tensor; from these, each piece
computes the derivatives with respect to its angles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.engines.protocol import Engine
from hpcq.kinds.identity_check import checked_values
from hpcq.kinds.parameters.known_tensors import KnownTensors
from hpcq.kinds.parameters.pieces import LocalPieces, Piece, PieceComputer
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.tensor_nodes import TensorNode

Tensor = NDArray[np.complex128]
Rows = NDArray[np.float64]

_PRODUCT_SECONDS, _FLOP_SECONDS = 1e-5, 3e-10
"""Predicted seconds of a small matrix product in the contraction, and of one floating-point
operation, on one thread of a usual machine. They decide whether other ranks take part."""

_MAX_ROWS = 4096
"""Maximum number of rows that are evaluated together."""


class Evaluator:
    """Evaluates a program at rows of angles, in this process.

    The numbers of a row do not depend on the other rows.

    Args:
        setup: The program.
        engines: Engines that may compute the pieces; empty if tensors are only contracted.

    Attributes:
        setup: The program.
    """

    def __init__(self, setup: ProgramSetup, engines: Sequence[Engine] = ()) -> None:
        self.setup = setup
        self._engines = engines
        self._known = [KnownTensors() for _ in setup.tensors]

    @cached_property
    def pieces(self) -> list[Piece]:
        """The pieces, one for each of the distinct tensors.

        Raises:
            InputError: If no engine computes one of the pieces.
        """
        numbers = range(len(self.setup.tensors))
        return [self.setup.piece(number, self._engines) for number in numbers]

    def values(self, angles: Rows, computer: PieceComputer | None = None) -> Rows:
        """Return the values of the observables, shape (rows, observables).

        Pieces are simulated only at angles that they did not have in the last call.

        Args:
            angles: Angles of all slots in radians, shape (rows, slots).
            computer: Computes the pieces; by default this process does.
        """
        values = np.empty((len(angles), self.num_observables))
        for block in _blocks(len(angles), self.rows_in_memory(0)):
            values[block] = self.values_from(self.all_tensors(angles[block], computer))
        return values

    def values_and_gradients(
        self, angles: Rows, computer: PieceComputer | None = None
    ) -> tuple[Rows, Rows]:
        """Return the values of the observables, and their derivatives with respect to the angles.

        Args:
            angles: Angles of all slots in radians, shape (rows, slots).
            computer: Computes the pieces; by default this process does.

        Returns:
            Shapes (rows, observables) and (rows, observables, slots).

        Raises:
            InputError: If no engine computes the derivatives of one of the pieces.
        """
        self.check_gradients()
        observables, slots = self.num_observables, self.setup.num_slots
        values = np.empty((len(angles), observables))
        gradients = np.zeros((len(angles), observables, slots))
        computer = computer or LocalPieces(self.pieces)
        for block in _blocks(len(angles), self.rows_in_memory(observables)):
            bonds = self._bond_tensors(self.all_tensors(angles[block], computer))
            values[block] = self._values(bonds)
            for sums in _blocks(observables, self._sums_in_memory):
                numbers, environments = self._environments(bonds, sums)
                rows = [self.rows_of(number, angles[block]) for number in numbers]
                found = computer.derivatives(numbers, rows, environments)
                for number, derivatives in zip(numbers, found, strict=True):
                    gradients[block, sums, self.setup.tensors[number].slots] += derivatives
        return values, gradients

    def check_gradients(self) -> None:
        """Check that there is an engine for the derivatives of each piece.

        Raises:
            InputError: If there is not.
        """
        for piece in self.pieces:
            piece.check_gradients()

    @property
    def num_observables(self) -> int:
        """Number of observables."""
        return len(self.setup.table.observables)

    def rows_of(self, number: int, angles: Rows) -> Rows:
        """Return the angles of a piece's slots, shape (rows, slots of the piece)."""
        return angles[:, self.setup.tensors[number].slots]

    def all_tensors(self, angles: Rows, computer: PieceComputer | None = None) -> list[Tensor]:
        """Return the tensors of every piece, each of shape (rows, operators, D, D).

        Those of the last call are kept, and each piece is computed once for all rows at which it
        has the same angles.
        """
        rows = [self.rows_of(number, angles) for number in range(len(self._known))]
        missing = [known.missing(of) for known, of in zip(self._known, rows, strict=True)]
        numbers = [number for number, of in enumerate(missing) if len(of)]
        found = (computer or LocalPieces(self.pieces)).tensors(
            numbers, [missing[number] for number in numbers]
        )
        new = dict(zip(numbers, found, strict=True))
        nothing = np.empty(0, dtype=complex)
        return [
            known.update(rows[number], missing[number], new.get(number, nothing))
            for number, known in enumerate(self._known)
        ]

    def values_from(self, tensors: Sequence[Tensor]) -> Rows:
        """Return the values of the observables, shape (rows, observables).

        Args:
            tensors: For each piece, shape (rows, operators, D, D).

        Raises:
            HpcqError: If the identity's value is not 1.
        """
        return self._values(self._bond_tensors(tensors))

    def _values(self, bonds: Sequence[Tensor]) -> Rows:
        """Return the values of the observables from the bond tensors of the subcircuits."""
        setup = self.setup
        values = self._contraction.values(bonds)
        scales = setup.table.scales[:, np.newaxis]
        checked = checked_values(values, setup.limits.precision, scales)
        return setup.table.values_of_observables(checked)

    def _environments(
        self, bonds: Sequence[Tensor], observables: slice
    ) -> tuple[list[int], list[Tensor]]:
        """Return the derivatives of some observables with respect to the tensors with slots.

        Returns:
            Numbers of pieces, and their derivatives, shape (rows, observables, operators, D, D), as
            :class:`~hpcq.engines.requests.Derivatives` takes them.
        """
        setup = self.setup
        coefficients = setup.table.coefficients[:, np.newaxis, observables]
        shape = (len(coefficients), bonds[0].shape[1], coefficients.shape[2])
        by_bonds = self._contraction.vjp(bonds, np.broadcast_to(coefficients, shape))
        environments: dict[int, Tensor] = {}
        for node, number, indices, derivative in zip(
            self._nodes, setup.uses, self._operator_indices, by_bonds, strict=True
        ):
            piece = self.pieces[number]
            if not piece.tensor.slots:
                continue
            environment = np.moveaxis(node.gradient(derivative), 0, 2)
            is_only_use = setup.uses.count(number) == 1
            if is_only_use:
                environments[number] = environment
                continue
            if number not in environments:
                lead, size = environment.shape[:2], piece.dimension
                shape = (*lead, len(piece.operators), size, size)
                environments[number] = np.zeros(shape, dtype=complex)
            environments[number][:, :, indices] += environment
        return list(environments), list(environments.values())

    @cached_property
    def contraction_seconds(self) -> float:
        """Predicted seconds of the contraction at one row."""
        counts = self._contraction.work
        return counts.products * _PRODUCT_SECONDS + counts.flops * _FLOP_SECONDS

    def rows_in_memory(self, sums: int) -> int:
        """Return the number of rows that fit into a quarter of the memory, at least 1.

        Args:
            sums: Number of observables whose derivatives are computed; 0 for values alone.
        """
        tensor_bytes, sum_bytes = self._row_bytes
        row_bytes = tensor_bytes + min(sums, self._sums_in_memory) * sum_bytes
        return int(np.clip(self._share_of_memory / row_bytes, 1, _MAX_ROWS))

    @cached_property
    def _sums_in_memory(self) -> int:
        """Number of observables whose derivatives at one row are computed together."""
        tensor_bytes, sum_bytes = self._row_bytes
        return max(1, int((self._share_of_memory - tensor_bytes) / sum_bytes))

    @property
    def _share_of_memory(self) -> float:
        return self.setup.limits.memory_bytes / 4

    @cached_property
    def _row_bytes(self) -> tuple[float, float]:
        """Bytes of the values of a row, and of the derivatives of an observable there."""
        setup = self.setup
        entries = sum(math.prod(setup.shape(use)) for use in setup.uses)
        sweep = self._contraction.work.entries / max(1, setup.network.num_slices)
        tensors = COMPLEX_BYTES * (3 * entries + sweep)
        qubits = [tensor.simulated_qubits for tensor in setup.tensors if tensor.slots]
        return tensors, tensors + (COMPLEX_BYTES << max(qubits, default=0))

    @cached_property
    def _contraction(self) -> Contraction:
        setup = self.setup
        return Contraction.within(setup.network, setup.table.picks, setup.limits.memory_bytes // 4)

    @cached_property
    def _nodes(self) -> list[TensorNode]:
        cut, network = self.setup.cut, self.setup.network
        numbers = range(len(cut.subcircuits))
        return [TensorNode(cut, number, network, has_matrices=True) for number in numbers]

    @cached_property
    def _operator_indices(self) -> list[list[int]]:
        """For each subcircuit, the index of each of its operators among those of its piece."""
        setup = self.setup
        positions = [{each: index for index, each in enumerate(ops)} for ops in setup.operators]
        return [
            [positions[use][operator] for operator in operators]
            for use, operators in zip(setup.uses, setup.table.operators, strict=True)
        ]

    def _bond_tensors(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the bond tensor of each subcircuit, shape (operators, rows, bond sizes)."""
        bonds = []
        for node, number, indices in zip(
            self._nodes, self.setup.uses, self._operator_indices, strict=True
        ):
            tensor = tensors[number]
            if indices != list(range(tensor.shape[1])):
                tensor = tensor[:, indices]
            bonds.append(node.bond_tensor(tensor.swapaxes(0, 1)))
        return bonds


def _blocks(rows: int, size: int) -> list[slice]:
    """Return slices of at most a given size that cover all rows."""
    return [slice(start, start + size) for start in range(0, rows, size)]
