"""Pauli strings, projectors and sums of them as text.

A *string* is a tuple of (qubit, letter) pairs in ascending order of qubits; the identity is the
empty tuple. The letters are the Paulis X, Y and Z, and Qiskit's letters for the projectors onto
their eigenstates: 0 and 1 for Z, + and - for X, r and l for Y.

A string can be spelled in four ways:

* Sparse: Paulis with qubit numbers, as in `Z0 Z5`, `Z0*Z5` or `Z0Z5`. Text in which every letter is
  followed by digits is always sparse, so `Z1` on two qubits is Z on qubit 1.
* Dense: one of I, X, Y and Z per qubit, the rightmost for qubit 0, as in `ZIIX` on four qubits. A
  lone `I` is the identity on any number of qubits; a lone `X`, `Y` or `Z` needs a circuit of one.
* `label:` and any letters, one per qubit, as in `label:Z0+-`. It ends at a space or with the text.
* A word of 0 and 1, one per qubit, as in `0011`: the projector onto that outcome. It stands alone;
  in a sum, where it would look like a number, write `label:0011`.

A sum has terms such as `Z0 Z5`, `-0.5 X2`, `0.5 * ZIIX` or `0.25 label:0011`. A number alone is
not an observable; next to other terms it is a multiple of the identity, as in `1.5 - Z0`, and it is
refused if it looks like an outcome. An argument `where` is the start of an error message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NoReturn

from hpcq.core.errors import InputError

PauliString = tuple[tuple[int, str], ...]

AXES = {
    **{"X": "X", "Y": "Y", "Z": "Z"},
    **{"0": "Z", "1": "Z", "+": "X", "-": "X", "r": "Y", "l": "Y"},
}
"""The Pauli of each letter: a projector is half of the identity plus or minus its Pauli."""

PROJECTED_BITS = {"0": 0, "1": 1, "+": 0, "-": 1, "r": 0, "l": 1}
"""The bit that each projector stands for when its Pauli is measured."""

_TOKEN = re.compile(
    r"""\s*(?:
      label: (?P<label> \S* )
    | (?P<number> (?: [0-9]+ \.? [0-9]* | \.[0-9]+ ) (?: [eE] [+-]? [0-9]+ )? )
    | (?P<letters> [IXYZ]+ ) (?P<qubit> [0-9]* )
    | (?P<sign> [+-] )
    | (?P<times> \* )
    | (?P<other> \S )
    )""",
    re.VERBOSE | re.ASCII,
)
_MINUS_SIGNS = str.maketrans({"\N{MINUS SIGN}": "-"})
_EXPECTED = (
    "expected a sum like 'Z0 Z5 + 0.5 X2', a label like 'ZIIX' or 'label:Z0+-', or an outcome of "
    "all qubits like '0011'"
)


def render(string: PauliString, num_qubits: int | None = None) -> str:
    """Return a string in the sparse spelling, or as a label if it has projectors.

    A label has ``num_qubits`` letters, by default as many as the string needs.

    >>> render(((0, "Z"), (5, "Z"))), render(())
    ('Z0 Z5', 'I')
    >>> render(((0, "+"), (1, "Z")), 4)
    'label:IIZ+'
    """
    if any(letter in PROJECTED_BITS for _, letter in string):
        return "label:" + dense_label(string, num_qubits or string[-1][0] + 1)
    return " ".join(f"{letter}{qubit}" for qubit, letter in string) or "I"


def dense_label(string: PauliString, num_qubits: int) -> str:
    """Return a string in the dense spelling, qubit 0 rightmost as in Qiskit.

    >>> dense_label(((0, "X"), (3, "Z")), 4)
    'ZIIX'
    """
    letters = ["I"] * num_qubits
    for qubit, letter in string:
        letters[num_qubits - 1 - qubit] = letter
    return "".join(letters)


def parse_string(text: str, num_qubits: int, where: str) -> PauliString:
    """Return the string that a text spells, without a coefficient.

    Raises:
        InputError: The text is not a string on that many qubits.
    """
    text = text.translate(_MINUS_SIGNS).strip()
    if _is_outcome(text, num_qubits):
        return parse_label(text, num_qubits, where)
    term = _Term(num_qubits, where)
    for token in _TOKEN.finditer(text):
        if token["number"] or token["sign"]:
            text = token[0].strip()
            raise InputError(
                f"{where}: unexpected {text[:20]!r}, expected factors like 'Z0 Z5', a label like "
                f"'ZIIX' or 'label:Z0+-', or an outcome of all {num_qubits} qubits like '0011'"
            )
        term.take(token)
    return term.finish()[0]


def parse_label(word: str, num_qubits: int, where: str) -> PauliString:
    """Return the string of a label of the letters I X Y Z 0 1 + - r l, the rightmost for qubit 0.

    Raises:
        InputError: The label has other letters, or too few or too many.

    >>> parse_label("Z0+", 3, "label")
    ((0, '+'), (1, '0'), (2, 'Z'))
    """
    word = word.translate(_MINUS_SIGNS)
    for letter in word:
        if letter != "I" and letter not in AXES:
            raise InputError(
                f"{where}: label {_cut(word)!r} has the letter {letter!r}, expected "
                "I X Y Z 0 1 + - r l"
            )
    if len(word) != num_qubits:
        reason = "; it ends at a space" if "+" in word or "-" in word else ""
        raise InputError(
            f"{where}: label {_cut(word)!r} has {len(word)} letters, but the circuit has "
            f"{num_qubits} qubits{reason}"
        )
    return tuple((qubit, letter) for qubit, letter in enumerate(reversed(word)) if letter != "I")


def parse_sum(text: str, num_qubits: int, where: str) -> list[tuple[PauliString, float]]:
    """Return the terms of a sum of strings with real coefficients, in order.

    Raises:
        InputError: The text is not such a sum on that many qubits.
    """
    text = text.translate(_MINUS_SIGNS).strip()
    if not text:
        raise InputError(f"{where}: is empty, {_EXPECTED}")
    if _is_outcome(text, num_qubits):
        return [(parse_label(text, num_qubits, where), 1.0)]
    terms = [_Term(num_qubits, where)]
    for token in _TOKEN.finditer(text):
        if token["sign"]:
            if not terms[-1].is_empty:
                terms.append(_Term(num_qubits, where))
            terms[-1].take_sign(token["sign"])
        else:
            terms[-1].take(token)
    finished = [term.finish() for term in terms]
    _check_numbers([term.number_alone for term in terms], num_qubits, where)
    return finished


def _check_numbers(numbers: Sequence[str | None], num_qubits: int, where: str) -> None:
    """Refuse the numbers of terms that are nothing else if they may have been meant as outcomes."""
    if None not in numbers:
        raise InputError(
            f"{where}: a number alone is not an observable, expected a sum like 'Z0 Z5 + 0.5 X2', "
            "a label like 'ZIIX' or 'label:Z0+-', I for the identity, or an outcome as a word of 0 "
            f"and 1, one for each of the {num_qubits} qubits"
        )
    for number in numbers:
        if number and set(number) <= {"0", "1"} and (number[1:] or num_qubits == 1):
            raise InputError(
                f"{where}: the term {_cut(number)!r} is a number or an outcome, expected "
                f"'{_cut(number)} I' for the number or 'label:{_cut(number)}' for the outcome"
            )


def _is_outcome(text: str, num_qubits: int) -> bool:
    return len(text) == num_qubits and set(text) <= {"0", "1"}


def _cut(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "..."


class _Term:
    """One term of a sum, built from its tokens."""

    def __init__(self, num_qubits: int, where: str) -> None:
        self._num_qubits = num_qubits
        self._where = where
        self._sign = 1.0
        self._number: float | None = None
        self._digits = ""
        self._factors: dict[int, str] = {}
        self._label: PauliString | None = None
        self._expects_factor = False
        self.is_empty = True

    @property
    def number_alone(self) -> str | None:
        """The number as it was written, if the term is nothing else."""
        return self._digits if self._label is None and not self._factors else None

    def take_sign(self, sign: str) -> None:
        """Apply a plus or minus that stands before the term."""
        self._sign = -self._sign if sign == "-" else self._sign

    def take(self, token: re.Match[str]) -> None:
        """Add a number, a factor, a label or a multiplication sign."""
        if token["other"]:
            self._refuse_unknown(token)
        elif token["times"]:
            if self.is_empty or self._expects_factor:
                self._refuse(f"misplaced '*', {_EXPECTED}")
            self._expects_factor = True
            return
        elif token["number"]:
            self._take_number(token["number"])
        elif token["label"] is not None:
            self._check_alone()
            self._label = parse_label(token["label"], self._num_qubits, self._where)
        else:
            self._check_separate(token)
            if token["qubit"]:
                self._take_factor(token["letters"], token["qubit"])
            else:
                self._check_alone()
                self._take_label(token)
        self.is_empty = self._expects_factor = False

    def finish(self) -> tuple[PauliString, float]:
        """Return the Pauli string and its coefficient."""
        if self.is_empty or self._expects_factor:
            self._refuse(f"a term is missing or unfinished, {_EXPECTED}")
        string = self._label
        if string is None:
            string = tuple(
                (qubit, letter) for qubit, letter in sorted(self._factors.items()) if letter != "I"
            )
        return string, self._sign * (1.0 if self._number is None else self._number)

    def _take_number(self, text: str) -> None:
        if not self.is_empty:
            outcome = set(text) <= {"0", "1"}
            self._refuse(
                f"misplaced number {text[:20]!r}, a coefficient comes first"
                + (f", and an outcome in a sum is written 'label:{_cut(text)}'" if outcome else "")
            )
        self._digits = text
        self._number = float(text)
        if not math.isfinite(self._number):
            self._refuse(f"coefficient {text[:20]!r} is not finite")

    def _take_factor(self, letters: str, digits: str) -> None:
        if len(letters) > 1:
            self._refuse(
                f"{letters[:20] + digits[:10]!r} mixes a label with a qubit number, {_EXPECTED}"
            )
        if self._label is not None:
            self._check_alone()
        qubit = int(digits) if len(digits) < 18 else 10**18
        if qubit >= self._num_qubits:
            self._refuse(
                f"qubit {digits[:20]} is out of range, the circuit has {self._num_qubits} "
                f"qubits (0 to {self._num_qubits - 1})"
            )
        if qubit in self._factors:
            self._refuse(f"a term names qubit {qubit} twice, expected one factor for each qubit")
        self._factors[qubit] = letters

    def _take_label(self, token: re.Match[str]) -> None:
        letters, after = token["letters"], token.string[token.end() : token.end() + 1].strip()
        if letters == "I":
            self._label = ()
            return
        if after and len(letters) != self._num_qubits:
            self._refuse(
                f"unexpected {after!r} after {_cut(letters)!r}, expected a qubit number in the "
                f"digits 0 to 9 after a letter, or a label of {self._num_qubits} letters"
            )
        self._label = parse_label(letters, self._num_qubits, self._where)

    def _check_alone(self) -> None:
        if self._label is not None or self._factors:
            self._refuse(f"a label stands alone in its term, {_EXPECTED}")

    def _check_separate(self, token: re.Match[str]) -> None:
        """Raise an error for a coefficient like that of `01Z0`, which looks like part of a label.

        `10Z0` could be a label on four qubits only; on others it is 10 times Z0.
        """
        number, rest = self._digits, token[0]
        word = number + re.split(r"\s", token.string[token.start() :], maxsplit=1)[0]
        if (
            number.isdigit()
            and (number[0] == "0" or self._could_be_label(word))
            and not self._factors
            and not self._expects_factor
            and rest == rest.strip()
        ):
            self._refuse(
                f"the number {_cut(number)!r} runs into {_cut(rest)!r}, expected a space or '*' "
                f"between them, or 'label:{_cut(number + rest)}' for a label with projectors"
            )

    def _could_be_label(self, word: str) -> bool:
        return len(word) == self._num_qubits and set(word) <= set("IXYZ01rl")

    def _refuse(self, problem: str) -> NoReturn:
        raise InputError(f"{self._where}: {problem}")

    def _refuse_unknown(self, token: re.Match[str]) -> NoReturn:
        text = token["other"]
        if text in "jJ" or (text == "i" and self._number is not None):
            self._refuse("coefficients must be real, found an imaginary unit")
        if text in "ixyz":
            self._refuse(f"unexpected {text!r}, expected Paulis as capital letters I X Y Z")
        self._refuse(f"unexpected {text!r}, {_EXPECTED}")
