"""Apply sums of Pauli strings to states, and multiply or sum up the results.

A sum of strings is first applied to a block of the states, so that one matrix product serves all of
its strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PROJECTED_BITS, PauliString
from hpcq.core.arrays import namespace_of
from hpcq.cutting.subexperiments.pauli_products import PauliAction, block_width, pauli_products
from hpcq.cutting.subexperiments.projectors import BRAS, StateBlocks, States

Sum = Sequence[tuple[PauliString, float]]
"""A Hermitian operator: Pauli strings with real coefficients."""

_GROUP_STRINGS = 64
"""Maximum number of strings whose signs on a block are kept. They take as much memory as half as
many rows of complex amplitudes."""


def operator_products(
    ket: States, bra: States, operators: Sequence[Sum], threads: int = 1
) -> NDArray[np.complex128]:
    """Return products of kets and bras with operators in between.

    Args:
        ket: States in the rows, shape (D, 2**n), as for
            :func:`~hpcq.cutting.subexperiments.pauli_products.pauli_products`.
        bra: States in the same form, or the same array.
        operators: Operators on the n qubits.
        threads: Number of threads that share the strings of operators of one string.

    Returns:
        ``sum_j (O ket)[p, j] conj(bra[p', j])``, shape (operators, D, D').
    """
    columns, right = StateBlocks(ket, block_width(ket)), StateBlocks(bra, block_width(ket))
    products: NDArray[np.complex128] = columns.namespace.zeros(
        (len(operators), len(ket), len(bra)), dtype=complex
    )
    # Strings that are the only one of their operator, and those with projectors, whose products
    # need smaller states.
    alone = [
        (number, string, coefficient)
        for number, operator in enumerate(operators)
        for string, coefficient in operator
        if len(operator) == 1 or _has_projectors(string)
    ]
    of_strings = pauli_products(ket, bra, [string for _, string, _ in alone], threads)
    for (number, _, coefficient), product in zip(alone, of_strings, strict=True):
        products[number] += coefficient * product
    for number, operator in enumerate(operators):
        summed = [each for each in operator if len(operator) > 1 and not _has_projectors(each[0])]
        for start, block in _applied_blocks(columns, summed) if summed else ():
            products[number] += block @ right.block(start).conj().T
    return products


def weighted_states(
    ket: States, operators: Sequence[Sum], weights: NDArray[np.complex128]
) -> States:
    """Apply operators to states and return weighted sums of the results.

    Args:
        ket: States in the rows, shape (D, 2**n).
        operators: Operators on the n qubits.
        weights: Weight of each resulting state in each sum, shape (sums, operators, D, D').

    Returns:
        ``sum_O sum_p weights[s, O, p, p'] (O ket)[p, j]``, shape (sums, D', 2**n).
    """
    sums, _, rows, sum_rows = weights.shape
    xp: Any = namespace_of(ket)
    total: States = xp.zeros((sums, sum_rows, ket.shape[1]), dtype=ket.dtype)
    by_operator = weights.transpose(1, 0, 3, 2).reshape(-1, sums * sum_rows, rows)
    for operator, matrix in zip(operators, by_operator.astype(ket.dtype), strict=True):
        paulis = [each for each in operator if not _has_projectors(each[0])]
        parts = [(ket, paulis)] if paulis else []
        for string, coefficient in operator:
            if _has_projectors(string):
                letters = tuple(each for each in string if each[1] not in PROJECTED_BITS)
                parts.append((_projected(ket, string), [(letters, coefficient)]))
        for states, strings in parts:
            columns = StateBlocks(states, block_width(states))
            for start, block in _applied_blocks(columns, strings):
                added = (matrix @ block).reshape(sums, sum_rows, -1)
                total[:, :, start : start + columns.low] += added
    return total


def _has_projectors(string: PauliString) -> bool:
    return any(letter in PROJECTED_BITS for _, letter in string)


def _applied_blocks(columns: StateBlocks, operator: Sum) -> Iterator[tuple[int, States]]:
    """Yield the blocks of ``O psi``, and the column at which each begins."""
    by_flips: dict[int, list[tuple[PauliAction, float]]] = {}
    for string, coefficient in operator:
        action = PauliAction.of(string)
        by_flips.setdefault(action.x, []).append((action, coefficient))
    groups = [
        _FlipGroup(columns, x, actions[first : first + _GROUP_STRINGS])
        for x, actions in by_flips.items()
        for first in range(0, len(actions), _GROUP_STRINGS)
    ]
    for start in range(0, columns.size, columns.low):
        total = groups[0].block(start)
        for group in groups[1:]:
            total += group.block(start)
        yield start, total


class _FlipGroup:
    """Strings that flip the same qubits: together a permutation and a factor of each column.

    Args:
        columns: The states.
        x: The bits that all strings flip.
        actions: The strings with their coefficients.
    """

    def __init__(
        self, columns: StateBlocks, x: int, actions: Sequence[tuple[PauliAction, float]]
    ) -> None:
        xp, low = columns.namespace, columns.low
        self._columns, self._x = columns, x
        self._sources = xp.arange(low) ^ (x % low)
        self._z = [action.z for action, _ in actions]
        factors = np.array([coefficient * action.phase for action, coefficient in actions])
        self._factors = factors if factors.imag.any() else factors.real
        parities = [xp.bitwise_count(self._sources & (z % low)) & 1 for z in self._z]
        self._signs = 1.0 - 2.0 * xp.stack(parities)

    def block(self, start: int) -> States:
        """Return the strings' share of the block of ``O psi`` that begins at a column."""
        low = self._columns.low
        source = start ^ (self._x & -low)
        signs = [-1 if (z & source).bit_count() & 1 else 1 for z in self._z]
        factor = self._columns.namespace.asarray(self._factors * signs) @ self._signs
        block = self._columns.block(source)
        taken = block[:, self._sources] if self._x % low else block
        is_real = self._factors.dtype.kind == "f"
        result: States = taken * factor.astype(block.real.dtype if is_real else block.dtype)
        return result


def _projected(states: States, string: PauliString) -> States:
    """Apply the projectors of a string to states, shape (D, 2**n)."""
    projected = states.copy()
    for qubit, letter in string:
        if letter not in PROJECTED_BITS:
            continue
        halves = projected.reshape(len(states), -1, 2, 1 << qubit)
        zero, one = (states.dtype.type(amplitude) for amplitude in BRAS[letter])
        overlap = zero * halves[:, :, 0] + one * halves[:, :, 1]
        halves[:, :, 0] = zero.conjugate() * overlap
        halves[:, :, 1] = one.conjugate() * overlap
    return projected
