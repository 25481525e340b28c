"""Apply the projectors of a string to states, block by block.

A projector onto |e> of one qubit leaves ``<e|psi>``, a state without that qubit and half as large.
So a string with projectors is a string of Paulis on a smaller state: more projectors mean less
work, and projectors are never expanded into Paulis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PROJECTED_BITS, PauliString
from hpcq.core.arrays import namespace_of

States = NDArray[np.complexfloating]

_HALF = math.sqrt(0.5)
BRAS: dict[str, tuple[complex, complex]] = {
    "0": (1, 0),
    "1": (0, 1),
    "+": (_HALF, _HALF),
    "-": (_HALF, -_HALF),
    "r": (_HALF, -1j * _HALF),
    "l": (_HALF, 1j * _HALF),
}
"""The amplitudes of <e|: those of |e>, conjugated."""


@dataclass(frozen=True, eq=False)
class StateBlocks:
    """Columns of states, read in blocks of one width.

    Attributes:
        states: One state per row, shape (D, 2**n).
        low: Width of a block, a power of two.
    """

    states: States
    low: int

    @property
    def namespace(self) -> Any:
        """The module of the states' arrays, NumPy or one with the same functions."""
        return namespace_of(self.states)

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self.states.shape[1])

    def block(self, start: int) -> States:
        """Return the block that begins at a column, shape (D, low)."""
        return self.states[:, start : start + self.low]


@dataclass(frozen=True, eq=False)
class ProjectedStates(StateBlocks):
    """Columns of ``<e|psi>``, computed from those of psi.

    Attributes:
        unprojected: The columns of psi.
        projectors: (qubit, letter) pairs, ascending.
    """

    unprojected: StateBlocks
    projectors: PauliString

    @classmethod
    def of(cls, states: StateBlocks, string: PauliString) -> tuple[StateBlocks, PauliString]:
        """Apply the projectors of a string to states.

        Returns:
            The projected columns, and the string's Paulis on the remaining qubits, which are
            renumbered. Without projectors both are returned unchanged.
        """
        projectors = tuple((q, letter) for q, letter in string if letter in PROJECTED_BITS)
        if not projectors:
            return states, string
        projected = [qubit for qubit, _ in projectors]
        paulis = tuple(
            (qubit - sum(p < qubit for p in projected), letter)
            for qubit, letter in string
            if letter not in PROJECTED_BITS
        )
        low = states.low >> sum(1 << qubit < states.low for qubit in projected)
        return cls(states.states, low, states, projectors), paulis

    @property
    def size(self) -> int:
        """Number of columns."""
        return self.unprojected.size >> len(self.projectors)

    def block(self, start: int) -> States:
        """Return the block that begins at a column, shape (D, low)."""
        base = _spread(start // self.low, self._high_qubits) * self.unprojected.low
        total = None
        for offset, amplitude in self._offsets:
            block = self._without_low_qubits(self.unprojected.block(base + offset))
            block = block if amplitude == 1 else block * block.dtype.type(amplitude)
            total = block if total is None else total + block
        assert total is not None, "every <e| has an amplitude that is not 0"
        return total

    @cached_property
    def _high_qubits(self) -> tuple[int, ...]:
        """The projected qubits that are bits of a block's number, as numbers of these bits."""
        low = self.unprojected.low.bit_length() - 1
        return tuple(qubit - low for qubit, _ in self.projectors if qubit >= low)

    @cached_property
    def _offsets(self) -> tuple[tuple[int, complex], ...]:
        """The offsets and amplitudes of the blocks of psi that add up to one block."""
        high = [(q, letter) for q, letter in self.projectors if 1 << q >= self.unprojected.low]
        offsets = []
        for bits in product((0, 1), repeat=len(high)):
            amplitude = math.prod(
                (BRAS[letter][bit] for (_, letter), bit in zip(high, bits, strict=True)),
                start=complex(1),
            )
            if amplitude:
                offset = sum(bit << qubit for (qubit, _), bit in zip(high, bits, strict=True))
                offsets.append((offset, amplitude))
        return tuple(offsets)

    def _without_low_qubits(self, block: States) -> States:
        """Project the qubits that are bits of a column's number in a block, the highest first."""
        for qubit, letter in reversed(self.projectors):
            if 1 << qubit >= self.unprojected.low:
                continue
            halves = block.reshape(len(block), -1, 2, 1 << qubit)
            zero, one = (block.dtype.type(amplitude) for amplitude in BRAS[letter])
            if not one:
                kept = halves[:, :, 0]
            elif not zero:
                kept = halves[:, :, 1]
            else:
                kept = zero * halves[:, :, 0] + one * halves[:, :, 1]
            block = kept.reshape(len(block), -1)
        return block


def _spread(number: int, positions: tuple[int, ...]) -> int:
    """Insert zero bits into a number at some positions of the result, which are ascending."""
    for position in positions:
        number = (number >> position) << (position + 1) | (number & ((1 << position) - 1))
    return number
