"""Strings between states: ``(P psi) psi^dagger``, summed over all but the port index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.subexperiments.projectors import ProjectedStates, StateBlocks, States

Places = NDArray[np.intp] | slice
"""Places of columns in a block."""

_BLOCK_BYTES = 1 << 20
_GRAM_ROWS = 64
_WORTH_A_THREAD = 1 << 24
_ALL = slice(None)


def pauli_products(
    ket: States, bra: States, strings: Sequence[PauliString], threads: int = 1
) -> NDArray[np.complex128]:
    """Multiply states with Pauli strings in between.

    Where ket and bra are the same array, a string P other than the identity halves the columns:
    with its projector ``Q = (1 + P) / 2``, the product is ``2 psi Q psi^dagger - psi psi^dagger``,
    and Q leaves half as many columns. What remains is Hermitian, so half of it is computed.
    Projectors among the letters of a string are taken first, which leaves smaller states.

    Args:
        ket: States in the rows, shape (D, 2**n), entry j of a row the amplitude of the basis
            state j, qubit 0 its lowest bit.
        bra: States likewise, shape (D', 2**n).
        strings: Strings on the n qubits.
        threads: Threads that share the strings; the result does not depend on them.

    Returns:
        ``sum_j (P ket)[p, j] conj(bra[p', j])``, shape (len(strings), D, D'). The states are
        read in blocks of about a megabyte; nothing of their size is copied.
    """
    products = np.zeros((len(strings), len(ket), len(bra)), dtype=complex)
    fill: Callable[[PauliString, NDArray[np.complex128]], None]
    columns = StateBlocks(ket, _width(ket))
    if ket is bra:
        fill = partial(_fill_hermitian, columns, _squared(columns))
    else:
        fill = partial(_fill, columns, StateBlocks(bra, columns.low))
    if threads > 1 and len(strings) > 1 and worth_threads(ket.size, len(bra)):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, strings, products))
    else:
        for string, product in zip(strings, products, strict=True):
            fill(string, product)
    return products


def worth_threads(amplitudes: float, rows: int) -> bool:
    """Say whether states are so large that threads share the strings."""
    return amplitudes * rows > _WORTH_A_THREAD


def _fill(
    ket: StateBlocks, bra: StateBlocks, string: PauliString, product: NDArray[np.complex128]
) -> None:
    left, paulis = ProjectedStates.of(ket, string)
    right, _ = ProjectedStates.of(bra, string)
    action = _PauliAction.of(paulis)
    for start in range(0, left.size, left.low):
        product += action.on_block(left, start, _ALL) @ right.block(start).conj().T


def _fill_hermitian(
    states: StateBlocks,
    whole: NDArray[np.complex128],
    string: PauliString,
    product: NDArray[np.complex128],
) -> None:
    """Multiply states with themselves; ``whole`` is the identity's product."""
    columns, paulis = ProjectedStates.of(states, string)
    if columns is not states:
        whole = _squared(columns)
    if not paulis:
        product += whole
        return
    action, low = _PauliAction.of(paulis), columns.low
    halves: dict[int, Places | None] = {}
    for start in range(0, columns.size, low):
        side = action.side(start, low)
        if side not in halves:
            halves[side] = action.half(side, low)
        places = halves[side]
        if places is None:
            continue
        kept = columns.block(start)[:, places]
        if action.x:  # of each pair that P exchanges, one column psi + P psi stands for both
            product += _gram(kept + action.on_block(columns, start, places))
        else:
            product += 2 * _gram(kept)
    product -= whole


def _squared(columns: StateBlocks) -> NDArray[np.complex128]:
    """Return ``psi psi^dagger``."""
    rows = len(columns.states)
    whole = np.zeros((rows, rows), dtype=complex)
    for start in range(0, columns.size, columns.low):
        whole += _gram(columns.block(start))
    return whole


@dataclass(frozen=True)
class _PauliAction:
    """``P = phase X^x Z^z``: ``(P psi)[j] = phase (-1)^|z & i| psi[i]`` with ``i = j xor x``."""

    x: int
    z: int
    phase: complex

    @classmethod
    def of(cls, string: PauliString) -> _PauliAction:
        x = sum(1 << qubit for qubit, pauli in string if pauli != "Z")
        z = sum(1 << qubit for qubit, pauli in string if pauli != "X")
        return cls(x, z, 1j ** ((x & z).bit_count() % 4))

    def on_block(self, columns: StateBlocks, start: int, places: Places) -> States:
        """Return the columns ``start + places`` of ``P psi``."""
        low = columns.low
        source = start ^ (self.x & -low)
        block = columns.block(source)
        factor = -self.phase if (self.z & source).bit_count() & 1 else self.phase
        x, z = self.x % low, self.z % low
        if not x and not z and isinstance(places, slice):
            return block[:, places] if factor == 1 else factor * block[:, places]
        place = np.arange(low)[places] ^ x
        taken = block[:, place]
        if z:
            signs = 1 - 2 * (np.bitwise_count(place & z) & 1).astype(np.int8)
            taken *= (factor * signs).astype(taken.dtype)
        elif factor != 1:
            taken *= factor
        return taken

    def side(self, start: int, low: int) -> int:
        """Tell apart the blocks in which :meth:`half` differs."""
        if self.x >= low:
            return start >> (self.x.bit_length() - 1) & 1
        return 0 if self.x else (self.z & start).bit_count() & 1

    def half(self, side: int, low: int) -> Places | None:
        """Return the block's columns that belong to the half that suffices; None for none.

        For x = 0 they have sign +1. Otherwise the highest bit of x is 0 in them, so that each is
        one of a pair that P exchanges.
        """
        if self.x >= low:
            return None if side else _ALL
        place = np.arange(low)
        if self.x:
            pivot = 1 << (self.x.bit_length() - 1)
            return np.flatnonzero(place & pivot == 0)
        if not self.z % low:
            return None if side else _ALL
        return np.flatnonzero(np.bitwise_count(place & self.z) & 1 == side)


def _width(states: States) -> int:
    """Return the width of column blocks, a power of two."""
    rows, size = map(int, states.shape)
    columns = max(1 << 8, _BLOCK_BYTES // (rows * states.itemsize))
    return min(size, 1 << (columns.bit_length() - 1))


def _gram(states: States) -> States:
    """``psi psi^dagger`` from its lower triangle."""
    rows = states.shape[0]
    right = states.conj().T
    if rows <= _GRAM_ROWS:
        return states @ right
    product = np.empty((rows, rows), dtype=states.dtype)
    for start in range(0, rows, _GRAM_ROWS):
        stop = min(rows, start + _GRAM_ROWS)
        strip = states[start:stop] @ right[:, :stop]
        product[start:stop, :stop] = strip
        product[:start, start:stop] = strip[:, :start].conj().T
    return product
