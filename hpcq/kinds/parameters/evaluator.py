"""Evaluate a program at rows of angles: tensors of pieces, their contraction, and both backwards.

Derivatives take one pass backwards through the same steps. The contraction gives the derivatives of
each observable with respect to every tensor, its environments; with them kept, each piece gives the
derivatives with respect to its own angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import COMPLEX_BYTES, Device, Limits
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.requests import Operator
from hpcq.kinds.identity_check import checked_values
from hpcq.kinds.parameters.operator_table import OperatorTable
from hpcq.kinds.parameters.pieces import Piece
from hpcq.planning.exact_plan import ExactPlan
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import Network
from hpcq.reconstruction.tensor_nodes import TensorNode

Tensor = NDArray[np.complex128]
Rows = NDArray[np.float64]

_MAX_ROWS = 4096
"""Maximum number of rows that are evaluated together."""


@dataclass(frozen=True, eq=False)
class ProgramSetup:
    """What every rank needs to evaluate a program; rank 0 sends it to each of them once.

    Attributes:
        tensors: The distinct tensors.
        uses: For each subcircuit, the index of its tensor.
        cut: The cut circuit.
        network: The network of the tensors.
        table: The observables' terms, as products of operators.
        limits: Memory, threads and number format of a rank.
        num_slots: Number of slots.
    """

    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    cut: CutCircuit
    network: Network
    table: OperatorTable
    limits: Limits
    num_slots: int

    @classmethod
    def of(cls, plan: ExactPlan) -> ProgramSetup:
        """Return the set-up of a plan."""
        return cls(
            plan.tensors,
            plan.uses,
            plan.cut,
            plan.network,
            OperatorTable.of(plan.terms),
            plan.limits,
            0 if plan.slots is None else plan.slots.num_slots,
        )

    @cached_property
    def operators(self) -> tuple[tuple[Operator, ...], ...]:
        """For each of ``tensors``, the distinct operators of all its uses."""
        known: list[dict[Operator, None]] = [{} for _ in self.tensors]
        for use, operators in zip(self.uses, self.table.operators, strict=True):
            known[use].update(dict.fromkeys(operators))
        return tuple(map(tuple, known))


class Evaluator:
    """Evaluates a program at rows of angles, in this process.

    The numbers of a row do not depend on the other rows.

    Args:
        setup: The program.
        device: ``cpu`` or ``gpu``.

    Attributes:
        setup: The program.
        pieces: A piece for each of the distinct tensors.

    Raises:
        InputError: If no engine computes one of the pieces.
    """

    def __init__(self, setup: ProgramSetup, device: Device = "cpu") -> None:
        self.setup = setup
        self.pieces = [
            Piece(tensor, operators, setup.limits, device, f"subcircuit {setup.uses.index(number)}")
            for number, (tensor, operators) in enumerate(
                zip(setup.tensors, setup.operators, strict=True)
            )
        ]
        self._known = [_KnownTensors(piece) for piece in self.pieces]

    def values(self, angles: Rows) -> Rows:
        """Return the values of the observables, shape (rows, observables).

        Pieces are simulated only for angles that they did not have in the last call.

        Args:
            angles: Angles of all slots in radians, shape (rows, slots).
        """
        blocks = [
            self.values_from(self.all_tensors(angles[block]))
            for block in _blocks(len(angles), self._rows_in_memory(0))
        ]
        return np.concatenate(blocks or [np.empty((0, self.num_observables))])

    def values_and_gradients(self, angles: Rows) -> tuple[Rows, Rows]:
        """Return the values, and derivatives with respect to the angles.

        Returns:
            Shapes (rows, observables) and (rows, observables, slots).

        Raises:
            InputError: If no engine computes the derivatives of one of the pieces.
        """
        for piece in self.pieces:
            piece.check_gradients()
        observables, slots = self.num_observables, self.setup.num_slots
        values = np.empty((len(angles), observables))
        gradients = np.zeros((len(angles), observables, slots))
        for block in _blocks(len(angles), self._rows_in_memory(observables)):
            tensors = self.all_tensors(angles[block])
            bonds = self._bond_tensors(tensors)
            values[block] = self._values(bonds)
            for number, environments in self._environments(bonds):
                columns = self.pieces[number].tensor.slots
                derivatives = self.derivatives(number, angles[block], environments)
                gradients[block, :, columns] += derivatives
        return values, gradients

    @property
    def num_observables(self) -> int:
        """Number of observables."""
        return len(self.setup.table.observables)

    def rows_of(self, number: int, angles: Rows) -> Rows:
        """Return the angles of a piece's slots, shape (rows, slots of the piece)."""
        return angles[:, self.pieces[number].tensor.slots]

    def tensors(self, number: int, rows: Rows) -> Tensor:
        """Return a piece's tensors, shape (rows, operators, D, D).

        Args:
            number: Number of the piece.
            rows: Angles of the piece's slots, shape (rows, slots of the piece).
        """
        return self.pieces[number].tensors(rows)

    def all_tensors(self, angles: Rows) -> list[Tensor]:
        """Return the tensors of every piece; those of the last call are known.

        Rows at which a piece has the same angles are computed once.
        """
        return [
            known.tensors(self.rows_of(number, angles)) for number, known in enumerate(self._known)
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

    def environments(self, tensors: Sequence[Tensor]) -> list[tuple[int, Tensor]]:
        """Return the derivatives of the observables with respect to the tensors with slots.

        Returns:
            Numbers of pieces, and their derivatives, shape (rows, observables, operators, D, D), as
            :class:`~hpcq.engines.requests.Derivatives` takes them.
        """
        return self._environments(self._bond_tensors(tensors))

    def _environments(self, bonds: Sequence[Tensor]) -> list[tuple[int, Tensor]]:
        """Return the environments of :meth:`environments` from the bond tensors."""
        setup = self.setup
        coefficients = setup.table.coefficients[:, np.newaxis]
        shape = (len(coefficients), bonds[0].shape[1], self.num_observables)
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
        return list(environments.items())

    def derivatives(self, number: int, angles: Rows, environments: Tensor) -> Rows:
        """Return the derivatives with respect to a piece's angles.

        Returns:
            Shape (rows, observables, slots of the piece).
        """
        return self.pieces[number].derivatives(self.rows_of(number, angles), environments)

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
            if len(indices) < tensor.shape[1]:
                tensor = tensor[:, indices]
            bonds.append(node.bond_tensor(tensor.swapaxes(0, 1)))
        return bonds

    def _rows_in_memory(self, sums: int) -> int:
        """Return the number of rows that fit into a quarter of the memory, at least 1."""
        entries = sum(
            len(self.pieces[use].operators) * self.pieces[use].dimension ** 2
            for use in self.setup.uses
        )
        work = self._contraction.work
        sweep = work.entries / max(1, self.setup.network.num_slices)
        row_bytes = COMPLEX_BYTES * (1 + sums) * (3 * entries + sweep)
        return int(np.clip(self.setup.limits.memory_bytes / 4 / row_bytes, 1, _MAX_ROWS))


class _KnownTensors:
    """The tensors of a piece at the rows of the last call.

    Args:
        piece: The piece.
    """

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._index: dict[bytes, int] = {}
        self._tensors: Tensor = np.empty(0, dtype=complex)

    def tensors(self, rows: Rows) -> Tensor:
        """Return the tensors at rows of angles, shape (rows, operators, D, D)."""
        keys = [row.tobytes() for row in rows]
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        new = sorted(number for key, number in first.items() if key not in self._index)
        if new or len(first) < len(self._index):
            kept = [key for key in first if key in self._index]
            parts = [self._tensors[[self._index[key] for key in kept]]] if kept else []
            if new:
                parts.append(self._piece.tensors(rows[new]))
            self._tensors = parts[0] if len(parts) == 1 else np.concatenate(parts)
            self._index = {key: n for n, key in enumerate((*kept, *(keys[n] for n in new)))}
        places = [self._index[key] for key in keys]
        return self._tensors if places == list(range(len(self._index))) else self._tensors[places]


def _blocks(rows: int, size: int) -> list[slice]:
    """Return slices of at most some size that cover all rows."""
    return [slice(start, start + size) for start in range(0, rows, size)]
