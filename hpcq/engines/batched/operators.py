"""Operators on the wires of states: sums of Pauli strings, compiled into few passes over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcq.circuits.pauli_text import AXES, PROJECTED_BITS, PauliString
from hpcq.cutting.gate_decompositions import PAULI_MATRICES
from hpcq.engines.batched.gates import Matrix, kronecker
from hpcq.engines.batched.schedule import GROUP
from hpcq.engines.batched.steps import Window, as_real_if_real
from hpcq.engines.requests import Operator

_MIN_STRINGS = 3
"""Minimum number of distinct flips of bits for which one matrix on a window is faster than a gather
for each of them. Measured, per amplitude: a matrix 3.8 ns, a gather 1.6 ns (complex128, one
core)."""

_IDENTITY: Matrix = np.eye(2, dtype=complex)


def _letter(letter: str) -> Matrix:
    pauli: Matrix = np.array(PAULI_MATRICES[AXES[letter]], dtype=complex)
    if letter in PROJECTED_BITS:
        pauli = (_IDENTITY + (1 - 2 * PROJECTED_BITS[letter]) * pauli) / 2
    return pauli


_LETTERS = {letter: _letter(letter) for letter in AXES}


@dataclass(frozen=True, eq=False)
class CompiledOperator:
    """A sum of strings, applied to states of shape (..., 2**wires).

    Attributes:
        diagonal: The diagonal part, shape (2**wires,) or (1,); None if it is 0.
        gathers: For each pattern of flipped bits, the indices to take amplitudes from, and the
            factors of these amplitudes, each of shape (2**wires,).
        window_products: Products of matrices on windows, which are added up.
    """

    diagonal: Any
    gathers: tuple[tuple[Any, Any], ...]
    window_products: tuple[tuple[tuple[Window, Any], ...], ...]

    def apply(self, states: Any, xp: Any) -> Any:
        """Return the operator times the states."""
        total = None if self.diagonal is None else states * self.diagonal
        for source, factors in self.gathers:
            total = _added(total, xp.take(states, source, axis=-1) * factors)
        for product in self.window_products:
            term = states
            for window, matrix in product:
                term = window.apply(term, matrix)
            total = _added(total, term)
        return xp.zeros_like(states) if total is None else total

    @property
    def is_identity(self) -> bool:
        """Whether it is the identity."""
        alone = not self.gathers and not self.window_products
        return alone and self.diagonal is not None and bool((self.diagonal == 1).all())


def compile_operator(
    operator: Operator, bits: Mapping[int, int], xp: Any, dtype: Any
) -> CompiledOperator:
    """Compile a sum of strings.

    Args:
        operator: The strings on wires, with their coefficients.
        bits: Wire → bit of the index of the states, in ascending order from bit 0.
        xp: The module of arrays.
        dtype: Type of the states.
    """
    wires = len(bits)
    diagonal, others = np.zeros(1), []
    for on_wires, coefficient in operator:
        string = tuple((bits[wire], letter) for wire, letter in on_wires)
        if all(AXES[letter] == "Z" for _, letter in string):
            diagonal = diagonal + coefficient * _diagonal(string, wires)
        else:
            others.append((string, coefficient))
    gathers: dict[int, Any] = {}
    products: list[tuple[tuple[Window, Any], ...]] = []
    for start, strings in _windows(others, wires):
        if start is not None:
            window = Window(start, min(GROUP, wires - start))
            matrix = sum(c * _matrix(string, start, window.size) for string, c in strings)
            products.append(((window, as_real_if_real(matrix, xp, dtype)),))
            continue
        for string, coefficient in strings:
            flips = _flips(string)
            if flips is None:
                products.append(_window_product(string, coefficient, wires, xp, dtype))
            else:
                factors = coefficient * _factors(string, wires)
                gathers[flips] = gathers.get(flips, 0) + factors
    index = np.arange(1 << wires)
    return CompiledOperator(
        None if not diagonal.any() else xp.asarray(diagonal, dtype=dtype),
        tuple(
            (xp.asarray(index ^ flips), xp.asarray(factors, dtype=dtype))
            for flips, factors in gathers.items()
        ),
        tuple(products),
    )


def _added(total: Any, term: Any) -> Any:
    if total is None:
        return term
    total += term
    return total


Strings = Sequence[tuple[PauliString, float]]


def _windows(strings: Strings, wires: int) -> Iterable[tuple[int | None, Strings]]:
    """Yield strings that are cheaper as one matrix on a window, with its start; then the others."""
    left = list(strings)
    starts = [*range(0, wires, GROUP), *range(wires)]
    for start in starts:
        inside = [
            (s, c) for s, c in left if start <= s[0][0] and s[-1][0] < min(start + GROUP, wires)
        ]
        flips = {_flips(string) for string, _ in inside}
        if len(flips) >= _MIN_STRINGS or None in flips:
            yield start, inside
            left = [each for each in left if each not in inside]
    yield None, left


def _flips(string: PauliString) -> int | None:
    """Return the bits that a string flips; None if a projector both keeps and flips a bit."""
    flips = 0
    for qubit, letter in string:
        if AXES[letter] != "Z":
            if letter in PROJECTED_BITS:
                return None
            flips |= 1 << qubit
    return flips


def _diagonal(string: PauliString, wires: int) -> Any:
    """Return the diagonal of a string of Z, 0 and 1."""
    if not string:
        return np.ones(1)
    return _factors(string, wires).real


def _factors(string: PauliString, wires: int) -> Any:
    """Return for each amplitude the factor of the one that a string maps to it."""
    index = np.arange(1 << wires)
    factors = np.ones(1 << wires, dtype=complex)
    for qubit, letter in string:
        matrix = _LETTERS[letter]
        row = np.diag(matrix) if AXES[letter] == "Z" else np.diag(matrix[:, ::-1])
        factors *= row[index >> qubit & 1]
    return factors


def operator_matrix(operator: Operator, bits: Mapping[int, int], on_bits: Sequence[int]) -> Matrix:
    """Return the matrix of a sum of strings on some bits, the first the lowest of its index.

    Args:
        operator: The strings on wires, with their coefficients.
        bits: Wire → bit of the index of the states.
        on_bits: The bits, with all those of the strings among them.
    """
    total: Matrix = np.zeros((1 << len(on_bits),) * 2, dtype=complex)
    for on_wires, coefficient in operator:
        string = tuple((bits[wire], letter) for wire, letter in on_wires)
        total = total + coefficient * _string_matrix(string, on_bits)
    return total


def _matrix(string: PauliString, start: int, size: int) -> Matrix:
    """Return the matrix of a string on a window."""
    return _string_matrix(string, range(start, start + size))


def _string_matrix(string: PauliString, on_bits: Sequence[int]) -> Matrix:
    letters = dict(string)
    return kronecker(
        _LETTERS[letters[bit]] if bit in letters else _IDENTITY for bit in reversed(on_bits)
    )


def _window_product(
    string: PauliString, coefficient: float, wires: int, xp: Any, dtype: Any
) -> tuple[tuple[Window, Any], ...]:
    """Return a string as a product of matrices on windows."""
    product = []
    for start in range(0, wires, GROUP):
        part = tuple(each for each in string if start <= each[0] < start + GROUP)
        if part:
            window = Window(start, min(GROUP, wires - start))
            matrix = coefficient * _matrix(part, start, window.size)
            product.append((window, as_real_if_real(matrix, xp, dtype)))
            coefficient = 1.0
    return tuple(product)
