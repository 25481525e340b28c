"""Compute products of states with a Pauli string in between: ``(P psi) psi^dagger``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.core.arrays import namespace_of
from hpcq.cutting.subexperiments.projectors import ProjectedStates, StateBlocks, States

Columns = NDArray[np.intp] | slice
"""Indices of columns in a block."""

_BLOCK_BYTES = 1 << 20
"""Size of a block of columns in bytes: small enough for a core's cache, large enough for BLAS."""

GRAM_ROWS = 64
"""Rows of a strip of a Gram matrix; only the strips of its lower triangle are computed. A smaller
value saves operations, but makes the matrix products less efficient. A matrix of at most this many
rows is computed as a whole."""

_DOUBLE_ROWS = 8
"""Number of rows up to which products are summed in double precision, also for states in single
precision. There a sum of 2**17 equal squares, a block of one row, has a relative error of 1e-4.
Blocks of more rows are shorter, and their entries smaller."""

_MIN_THREAD_WORK = 1 << 24
"""Multiplications of one string's product above which strings are distributed over threads; below,
starting the threads would cost more than they gain."""

_ALL = slice(None)


def pauli_products(
    ket: States, bra: States, strings: Sequence[PauliString], threads: int = 1
) -> NDArray[np.complex128]:
    """Multiply kets and bras with Pauli strings in between.

    If ket and bra are the same array, a string P other than the identity halves the columns: with
    its projector ``Q = (1 + P) / 2``, the product is ``2 psi Q psi^dagger - psi psi^dagger``, and Q
    leaves half as many columns. This product is Hermitian, so half of it is computed. Projectors
    among the letters of a string are applied first, which leaves smaller states.

    Args:
        ket: States in the rows, shape (D, 2**n), entry j of a row the amplitude of the basis
            state j, qubit 0 its lowest bit.
        bra: States in the same form, shape (D', 2**n).
        strings: Strings on the n qubits.
        threads: Number of threads that share the strings; the result does not depend on it.

    Returns:
        ``sum_j (P ket)[p, j] conj(bra[p', j])``, shape (len(strings), D, D'). The states are
        read in blocks of about a megabyte; they are never copied as a whole. The products are of
        the same array module as the states.
    """
    columns = StateBlocks(ket, block_width(ket))
    products: NDArray[np.complex128] = columns.namespace.zeros(
        (len(strings), len(ket), len(bra)), dtype=complex
    )
    fill: Callable[[PauliString, NDArray[np.complex128]], None]
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
    """Whether states are so large that threads share the strings."""
    return amplitudes * rows > _MIN_THREAD_WORK


def _fill(
    ket: StateBlocks, bra: StateBlocks, string: PauliString, product: NDArray[np.complex128]
) -> None:
    left, paulis = ProjectedStates.of(ket, string)
    right, _ = ProjectedStates.of(bra, string)
    action = PauliAction.of(paulis)
    for start in range(0, left.size, left.low):
        product += action.on_block(left, start, _ALL) @ right.block(start).conj().T


def _fill_hermitian(
    states: StateBlocks,
    identity: NDArray[np.complex128],
    string: PauliString,
    product: NDArray[np.complex128],
) -> None:
    """Multiply states with themselves; ``identity`` is the product of the identity string."""
    columns, paulis = ProjectedStates.of(states, string)
    if columns is not states:
        identity = _squared(columns)
    if not paulis:
        product += identity
        return
    action, low = PauliAction.of(paulis), columns.low
    halves: dict[int, Columns | None] = {}
    for start in range(0, columns.size, low):
        side = action.side(start, low)
        if side not in halves:
            halves[side] = action.half(side, low, columns.namespace)
        half = halves[side]
        if half is None:
            continue
        kept = columns.block(start)[:, half]
        if action.x:  # one column psi + P psi stands for both columns of a pair that P exchanges
            product += _gram(kept + action.on_block(columns, start, half))
        else:
            product += 2 * _gram(kept)
    product -= identity


def _squared(columns: StateBlocks) -> NDArray[np.complex128]:
    """Return ``psi psi^dagger``."""
    rows = len(columns.states)
    total: NDArray[np.complex128] = columns.namespace.zeros((rows, rows), dtype=complex)
    for start in range(0, columns.size, columns.low):
        total += _gram(columns.block(start))
    return total


@dataclass(frozen=True)
class PauliAction:
    """``P = phase X^x Z^z``: ``(P psi)[j] = phase (-1)^|z & i| psi[i]`` with ``i = j xor x``."""

    x: int
    z: int
    phase: complex

    @classmethod
    def of(cls, string: PauliString) -> PauliAction:
        """Return the action of a string without projectors."""
        x = sum(1 << qubit for qubit, pauli in string if pauli != "Z")
        z = sum(1 << qubit for qubit, pauli in string if pauli != "X")
        return cls(x, z, 1j ** ((x & z).bit_count() % 4))

    def on_block(self, states: StateBlocks, start: int, columns: Columns) -> States:
        """Return the columns ``start + columns`` of ``P psi``."""
        low = states.low
        source = start ^ (self.x & -low)
        block = states.block(source)
        factor = -self.phase if (self.z & source).bit_count() & 1 else self.phase
        x, z = self.x % low, self.z % low
        if not x and not z and isinstance(columns, slice):
            return block[:, columns] if factor == 1 else factor * block[:, columns]
        xp = states.namespace
        sources = xp.arange(low)[columns] ^ x
        taken = block[:, sources]
        if z:
            signs = 1 - 2 * (xp.bitwise_count(sources & z) & 1).astype(np.int8)
            taken *= (factor * signs).astype(taken.dtype)
        elif factor != 1:
            taken *= factor
        return taken

    def side(self, start: int, low: int) -> int:
        """Return 0 or 1; :meth:`half` is the same for all blocks of one side."""
        if self.x >= low:
            return start >> (self.x.bit_length() - 1) & 1
        return 0 if self.x else (self.z & start).bit_count() & 1

    def half(self, side: int, low: int, xp: Any) -> Columns | None:
        """Return the block's columns in the half of all columns that suffices; None for none.

        For x = 0 these are the columns of sign +1. Otherwise the highest bit of x is 0 in them, so
        that they contain one column of each pair that P exchanges.
        """
        if self.x >= low:
            return None if side else _ALL
        columns = xp.arange(low)
        chosen: Columns
        if self.x:
            pivot = 1 << (self.x.bit_length() - 1)
            chosen = xp.flatnonzero(columns & pivot == 0)
        elif not self.z % low:
            return None if side else _ALL
        else:
            chosen = xp.flatnonzero(xp.bitwise_count(columns & self.z) & 1 == side)
        return chosen


def block_width(states: States) -> int:
    """Return the width of column blocks, a power of two."""
    rows, size = map(int, states.shape)
    columns = max(1 << 8, _BLOCK_BYTES // (rows * states.itemsize))
    return min(size, 1 << (columns.bit_length() - 1))


def _gram(states: States) -> States:
    """Return ``psi psi^dagger``, computed from its lower triangle."""
    rows = states.shape[0]
    if rows <= _DOUBLE_ROWS:
        states = states.astype(complex, copy=False)
    right = states.conj().T
    if rows <= GRAM_ROWS:
        return states @ right
    product: States = namespace_of(states).empty((rows, rows), dtype=states.dtype)
    for start in range(0, rows, GRAM_ROWS):
        stop = min(rows, start + GRAM_ROWS)
        strip = states[start:stop] @ right[:, :stop]
        product[start:stop, :stop] = strip
        product[:start, start:stop] = strip[:, :start].conj().T
    return product
