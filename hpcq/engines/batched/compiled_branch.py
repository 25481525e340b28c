"""A compiled branch: the steps that compute its states, and derivatives on the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.batched.local_unitaries import UnitaryTable
from hpcq.engines.batched.steps import Collected, RowMatrices, Step


@dataclass(frozen=True, eq=False)
class CompiledBranch:
    """The compiled circuit of one branch of a piece, for any rows of its angles.

    Attributes:
        steps: The steps; the first is a ProductStep.
        unitaries: The local unitaries.
        slots: For each rotation, the index of its slot among those of the piece.
        signs: For each rotation, the sign with which it takes the angle, float64.
        xp: The module of arrays.
        dtype: Type of the states, complex64 or complex128.
    """

    steps: tuple[Step, ...]
    unitaries: UnitaryTable
    slots: NDArray[np.intp]
    signs: Any
    xp: Any
    dtype: Any

    def matrices(self, rows: NDArray[np.float64]) -> RowMatrices:
        """Return the matrices of the gates.

        Args:
            rows: Angles of the piece's slots in radians, shape (rows, slots).
        """
        angles = self.xp.asarray(rows[:, self.slots]) * self.signs
        phases = self.xp.exp(-0.5j * angles).astype(self.dtype, copy=False)
        unitaries = self.unitaries.matrices(phases)
        return RowMatrices(self.xp, angles, phases, unitaries, self.unitaries.groups(unitaries))

    def forward(self, of: RowMatrices) -> tuple[Any, list[Any]]:
        """Return the states, shape (rows, 2**n), and the states after each step with angles."""
        states, kept = None, []
        for step in self.steps:
            states = step.forward(states, of)
            if step.has_angles:
                kept.append(states)
        return states, kept

    def backward(self, mu: Any, kept: Sequence[Any], of: RowMatrices, slots: int) -> Any:
        """Return derivatives with respect to angles, float64, shape (rows, sums, slots).

        Args:
            mu: mu at the end, shape (rows, sums, 2**n); see :mod:`hpcq.engines.batched.steps`.
            kept: The states after each step with angles.
            of: The matrices of the gates.
            slots: Number of slots of the piece.
        """
        xp, (rows, sums) = self.xp, mu.shape[:2]
        products = {
            size: xp.empty((rows, sums, *groups.shape[1:]), dtype=self.dtype)
            for size, groups in of.groups.items()
        }
        found = Collected(xp.zeros((rows, sums, len(self.signs))), products)
        states = list(kept)
        last = next((i for i, step in enumerate(self.steps) if step.has_angles), len(self.steps))
        for step in reversed(self.steps[last:]):
            mu = step.backward(mu, states.pop() if step.has_angles else None, of, found)
        self.unitaries.derivatives(of.phases, products, found.rotations)
        spread = xp.zeros((len(self.signs), slots))
        spread[xp.arange(len(self.signs)), xp.asarray(self.slots)] = self.signs
        return found.rotations @ spread

    @property
    def row_bytes(self) -> int:
        """Bytes of one row: states that are kept, those of the current step, and matrices."""
        size = int(np.dtype(self.dtype).itemsize)
        kept = sum(size << step.qubits for step in self.steps if step.has_angles)
        return kept + (3 * size << self.steps[-1].qubits) + 2 * self.unitaries.row_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the steps' constants."""
        return sum(step.nbytes for step in self.steps)
