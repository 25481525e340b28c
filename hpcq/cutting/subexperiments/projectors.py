"""States of which the projectors of a string have been taken, block by block.

A projector onto |e> of one qubit leaves ``<e|psi>``, a state without that qubit and half as large.
So a string with projectors is a string of Paulis on a smaller state: the more projectors, the less
work, and never is a projector expanded into Paulis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PROJECTED_BITS, PauliString

States = NDArray[np.complexfloating]

_HALF = math.sqrt(0.5)
_BRAS: dict[str, tuple[complex, complex]] = {
    "0": (1, 0),
    "1": (0, 1),
    "+": (_HALF, _HALF),
    "-": (_HALF, -_HALF),
    "r": (_HALF, -1j * _HALF),
    "l": (_HALF, 1j * _HALF),
}
"""The amplitudes of <e|, those of |e> conjugated."""


@dataclass(frozen=True, eq=False)
class StateBlocks:
    """The columns of states, read in blocks of one width.

    Attributes:
        states: States in the rows, shape (D, 2**n).
        low: Width of a block, a power of two.
    """

    states: States
    low: int

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self.states.shape[1])

    def block(self, start: int) -> States:
        """Return the block that begins at a column, shape (D, low)."""
        return self.states[:, start : start + self.low]


@dataclass(frozen=True, eq=False)
class ProjectedStates(StateBlocks):
    """The columns of ``<e|psi>``, likewise.

    Attributes:
        whole: The columns of psi.
        projectors: (qubit, letter) pairs, ascending.
    """

    whole: StateBlocks
    projectors: PauliString

    @classmethod
    def of(cls, whole: StateBlocks, string: PauliString) -> tuple[StateBlocks, PauliString]:
        """Take the projectors out of a string.

        Returns:
            The projected columns, and the string's Paulis on the qubits that are left, which are
            numbered anew. Without projectors both are as they were.
        """
        projectors = tuple(own for own in string if own[1] in PROJECTED_BITS)
        if not projectors:
            return whole, string
        taken = [qubit for qubit, _ in projectors]
        paulis = tuple(
            (qubit - sum(own < qubit for own in taken), letter)
            for qubit, letter in string
            if letter not in PROJECTED_BITS
        )
        low = whole.low >> sum(1 << qubit < whole.low for qubit in taken)
        return cls(whole.states, low, whole, projectors), paulis

    @property
    def size(self) -> int:
        """Number of columns."""
        return self.whole.size >> len(self.projectors)

    def block(self, start: int) -> States:
        """Return the block that begins at a column, shape (D, low)."""
        base = _spread(start // self.low, self._high_qubits) * self.whole.low
        found = None
        for offset, amplitude in self._offsets:
            own = self._without_low_qubits(self.whole.block(base + offset))
            own = own if amplitude == 1 else own * own.dtype.type(amplitude)
            found = own if found is None else found + own
        assert found is not None, "every <e| has an amplitude that is not 0"
        return found

    @cached_property
    def _high_qubits(self) -> tuple[int, ...]:
        """The projected qubits that number blocks, as bits of a block's number."""
        low = self.whole.low.bit_length() - 1
        return tuple(qubit - low for qubit, _ in self.projectors if qubit >= low)

    @cached_property
    def _offsets(self) -> tuple[tuple[int, complex], ...]:
        """Where the blocks of psi are that add up to one, and their amplitudes."""
        high = [own for own in self.projectors if 1 << own[0] >= self.whole.low]
        found = []
        for bits in product((0, 1), repeat=len(high)):
            amplitude = math.prod(
                (_BRAS[letter][bit] for (_, letter), bit in zip(high, bits, strict=True)),
                start=complex(1),
            )
            if amplitude:
                offset = sum(bit << qubit for (qubit, _), bit in zip(high, bits, strict=True))
                found.append((offset, amplitude))
        return tuple(found)

    def _without_low_qubits(self, block: States) -> States:
        """Project the qubits that number columns inside a block, the highest first."""
        for qubit, letter in reversed(self.projectors):
            if 1 << qubit >= self.whole.low:
                continue
            halves = block.reshape(len(block), -1, 2, 1 << qubit)
            zero, one = (block.dtype.type(own) for own in _BRAS[letter])
            if not one:
                kept = halves[:, :, 0]
            elif not zero:
                kept = halves[:, :, 1]
            else:
                kept = zero * halves[:, :, 0] + one * halves[:, :, 1]
            block = kept.reshape(len(block), -1)
        return block


def _spread(number: int, places: tuple[int, ...]) -> int:
    """Put a bit 0 into a number at each place, ascending, of the result."""
    for place in places:
        number = (number >> place) << (place + 1) | (number & ((1 << place) - 1))
    return number
