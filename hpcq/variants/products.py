"""Pauli strings between states: ``(P psi) psi^dagger``, summed over all but the port index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpcq.inputs.pauli_text import PauliString

States = NDArray[np.complexfloating]
Columns = NDArray[np.intp] | slice

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

    Args:
        ket: States in the rows, shape (D, 2**n), entry j of a row the amplitude of the basis
            state j, qubit 0 its lowest bit.
        bra: States likewise, shape (D', 2**n).
        strings: Pauli strings on the n qubits.
        threads: Threads that share the strings; the result does not depend on them.

    Returns:
        ``sum_j (P ket)[p, j] conj(bra[p', j])``, shape (len(strings), D, D'). The states are
        read in blocks of about a megabyte; nothing of their size is copied.
    """
    actions = [_Action.of(string) for string in strings]
    products = np.zeros((len(strings), len(ket), len(bra)), dtype=complex)
    fill: Callable[[_Action, NDArray[np.complex128]], None]
    if ket is bra:
        whole = np.zeros((len(ket), len(ket)), dtype=complex)
        for start, low in _blocks(ket):
            whole += _gram(ket[:, start : start + low])
        fill = partial(_fill_hermitian, ket, whole)
    else:
        fill = partial(_fill, ket, bra)
    if threads > 1 and len(actions) > 1 and worth_threads(ket.size, len(bra)):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, actions, products))
    else:
        for action, product in zip(actions, products, strict=True):
            fill(action, product)
    return products


def worth_threads(amplitudes: float, rows: int) -> bool:
    """Say whether states are so large that threads share the strings."""
    return amplitudes * rows > _WORTH_A_THREAD


def _fill(ket: States, bra: States, action: _Action, product: NDArray[np.complex128]) -> None:
    for start, low in _blocks(ket):
        right = bra[:, start : start + low].conj().T
        product += action.on_block(ket, start, low, _ALL) @ right


def _fill_hermitian(
    states: States,
    whole: NDArray[np.complex128],
    action: _Action,
    product: NDArray[np.complex128],
) -> None:
    """Multiply states with themselves; ``whole`` is the identity's product."""
    if not action.x and not action.z:
        product += whole
        return
    halves: dict[int, Columns | None] = {}
    for start, low in _blocks(states):
        side = action.side(start, low)
        if side not in halves:
            halves[side] = action.half(side, low)
        columns = halves[side]
        if columns is None:
            continue
        kept = states[:, start : start + low][:, columns]
        if action.x:  # of each pair that P exchanges, one column psi + P psi stands for both
            product += _gram(kept + action.on_block(states, start, low, columns))
        else:
            product += 2 * _gram(kept)
    product -= whole


@dataclass(frozen=True)
class _Action:
    """``P = phase X^x Z^z``: ``(P psi)[j] = phase (-1)^|z & i| psi[i]`` with ``i = j xor x``."""

    x: int
    z: int
    phase: complex

    @classmethod
    def of(cls, string: PauliString) -> _Action:
        x = sum(1 << qubit for qubit, pauli in string if pauli != "Z")
        z = sum(1 << qubit for qubit, pauli in string if pauli != "X")
        return cls(x, z, 1j ** ((x & z).bit_count() % 4))

    def on_block(self, states: States, start: int, low: int, columns: Columns) -> States:
        """Return the columns ``start + columns`` of ``P psi``; blocks are ``low`` wide."""
        source = start ^ (self.x & -low)
        block = states[:, source : source + low]
        factor = -self.phase if (self.z & source).bit_count() & 1 else self.phase
        x, z = self.x % low, self.z % low
        if not x and not z and isinstance(columns, slice):
            return block[:, columns] if factor == 1 else factor * block[:, columns]
        place = np.arange(low)[columns] ^ x
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

    def half(self, side: int, low: int) -> Columns | None:
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


def _blocks(states: States) -> Iterator[tuple[int, int]]:
    """Yield start and width of column blocks; the width is the same power of two for all."""
    rows, size = states.shape
    columns = max(1 << 8, _BLOCK_BYTES // (rows * states.itemsize))
    low = min(size, 1 << (columns.bit_length() - 1))
    for start in range(0, size, low):
        yield start, low


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
