"""Pauli strings and sums of them as text.

A *Pauli string* is a tuple of (qubit, letter) pairs in ascending order of qubits, the letter one
of X, Y and Z; the identity is the empty tuple.

Two spellings are read. Sparse: factors with qubit numbers, as in `Z0 Z5`, `Z0*Z5` or `Z0Z5`.
Dense: one letter a qubit, the rightmost for qubit 0, as in `ZIIX` on four qubits. A lone `I` is
the identity on any number of qubits; a lone `X`, `Y` or `Z` is a dense label, so it needs a
circuit of one qubit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hpcq.errors import InputError

PauliString = tuple[tuple[int, str], ...]

AXES = {
    **{"X": "X", "Y": "Y", "Z": "Z"},
    **{"0": "Z", "1": "Z", "+": "X", "-": "X", "r": "Y", "l": "Y"},
}
"""The Pauli that each letter is made of: a projector is half the identity plus or minus it."""

PROJECTED_BITS = {"0": 0, "1": 1, "+": 0, "-": 1, "r": 0, "l": 1}
"""For each projector the bit that it is read as in the basis of its Pauli."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number> (?: [0-9]+ \.? [0-9]* | \.[0-9]+ ) (?: [eE] [+-]? [0-9]+ )? )
    | (?P<letters> [IXYZ]+ ) (?P<qubit> [0-9]* )
    | (?P<sign> [+-] )
    | (?P<times> \* )
    | (?P<other> \S )
    )""",
    re.VERBOSE | re.ASCII,
)
_MINUS_SIGNS = str.maketrans({"\N{MINUS SIGN}": "-"})
_EXPECTED = "expected a sum like 'Z0 Z5 + 0.5 X2' or a label like 'ZIIX'"


def as_strings(values: Iterable[Iterable[Sequence[Any]]]) -> tuple[PauliString, ...]:
    """Return Pauli strings that were lists for a while, as in JSON."""
    return tuple(tuple((qubit, letter) for qubit, letter in string) for string in values)


def render(string: PauliString) -> str:
    """Return a Pauli string in the sparse spelling.

    >>> render(((0, "Z"), (5, "Z"))), render(())
    ('Z0 Z5', 'I')
    """
    return " ".join(f"{letter}{qubit}" for qubit, letter in string) or "I"


def dense_label(string: PauliString, num_qubits: int) -> str:
    """Return a Pauli string in the dense spelling, qubit 0 rightmost as in Qiskit.

    >>> dense_label(((0, "X"), (3, "Z")), 4)
    'ZIIX'
    """
    letters = ["I"] * num_qubits
    for qubit, letter in string:
        letters[num_qubits - 1 - qubit] = letter
    return "".join(letters)


def parse_string(text: str, num_qubits: int, where: str) -> PauliString:
    """Return the Pauli string in `text`, which has no coefficient.

    Args:
        text: The sparse or the dense spelling.
        num_qubits: Width of the circuit.
        where: Start of an error message.

    Raises:
        InputError: `text` is no Pauli string on that many qubits.
    """
    term = _Term(num_qubits, where)
    for token in _TOKEN.finditer(text.strip()):
        if token["number"] or token["sign"]:
            _refuse(where, f"unexpected {token[0].strip()!r}, expected Pauli factors only")
        term.take(token)
    return term.finish()[0]


def parse_sum(text: str, num_qubits: int, where: str) -> list[tuple[PauliString, float]]:
    """Return the terms of a sum of Pauli strings with real coefficients, in order.

    A number alone stands for that multiple of the identity.

    Raises:
        InputError: `text` is not such a sum on `num_qubits` qubits.
    """
    text = text.translate(_MINUS_SIGNS).strip()
    if not text:
        _refuse(where, f"is empty, {_EXPECTED}")
    terms = []
    term = _Term(num_qubits, where)
    for token in _TOKEN.finditer(text):
        if token["sign"]:
            if not term.is_empty:
                terms.append(term.finish())
                term = _Term(num_qubits, where)
            term.take_sign(token["sign"])
        else:
            term.take(token)
    terms.append(term.finish())
    return terms


class _Term:
    """One term of a sum, while its tokens come in."""

    def __init__(self, num_qubits: int, where: str) -> None:
        self._num_qubits = num_qubits
        self._where = where
        self._sign = 1.0
        self._number: float | None = None
        self._factors: dict[int, str] = {}
        self._label: PauliString | None = None
        self._wants_factor = False
        self.is_empty = True

    def take_sign(self, sign: str) -> None:
        """Take a plus or minus before the term."""
        self._sign = -self._sign if sign == "-" else self._sign

    def take(self, token: re.Match[str]) -> None:
        """Take a number, a factor, a label or a multiplication sign."""
        if token["other"]:
            self._unknown(token)
        elif token["times"]:
            if self.is_empty or self._wants_factor:
                _refuse(self._where, f"misplaced '*', {_EXPECTED}")
            self._wants_factor = True
            return
        elif token["number"]:
            self._take_number(token["number"])
        elif token["qubit"]:
            self._take_factor(token["letters"], token["qubit"])
        else:
            self._take_label(token["letters"])
        self.is_empty = self._wants_factor = False

    def finish(self) -> tuple[PauliString, float]:
        """Return the Pauli string and its coefficient."""
        if self.is_empty or self._wants_factor:
            _refuse(self._where, f"a term is missing or unfinished, {_EXPECTED}")
        string = self._label
        if string is None:
            string = tuple(
                (qubit, letter) for qubit, letter in sorted(self._factors.items()) if letter != "I"
            )
        return string, self._sign * (1.0 if self._number is None else self._number)

    def _take_number(self, text: str) -> None:
        if not self.is_empty:
            _refuse(self._where, f"misplaced number {text[:20]!r}, a coefficient comes first")
        self._number = float(text)
        if not math.isfinite(self._number):
            _refuse(self._where, f"coefficient {text[:20]!r} is not finite")

    def _take_factor(self, letters: str, digits: str) -> None:
        if len(letters) > 1:
            _refuse(
                self._where,
                f"{letters[:20] + digits[:10]!r} mixes a label with a qubit number, {_EXPECTED}",
            )
        if self._label is not None:
            self._mixed()
        qubit = int(digits) if len(digits) < 18 else 10**18
        if qubit >= self._num_qubits:
            _refuse(
                self._where,
                f"qubit {digits[:20]} is out of range, the circuit has {self._num_qubits} "
                f"qubits (0 to {self._num_qubits - 1})",
            )
        if qubit in self._factors:
            _refuse(self._where, f"a term names qubit {qubit} twice, expected one factor a qubit")
        self._factors[qubit] = letters

    def _take_label(self, letters: str) -> None:
        if self._label is not None or self._factors:
            self._mixed()
        if letters == "I":
            self._label = ()
            return
        if len(letters) != self._num_qubits:
            _refuse(
                self._where,
                f"label {letters[:20] + '...' * (len(letters) > 20)!r} has {len(letters)} letters, "
                f"but the circuit has {self._num_qubits} qubits",
            )
        self._label = tuple(
            (qubit, letter) for qubit, letter in enumerate(reversed(letters)) if letter != "I"
        )

    def _mixed(self) -> NoReturn:
        _refuse(self._where, f"a label stands alone in its term, {_EXPECTED}")

    def _unknown(self, token: re.Match[str]) -> NoReturn:
        found = token["other"]
        if found in "jJi":
            _refuse(self._where, "coefficients must be real, found an imaginary unit")
        _refuse(self._where, f"unexpected {found!r}, {_EXPECTED}")


def _refuse(where: str, problem: str) -> NoReturn:
    raise InputError(f"{where}: {problem}")
