"""Observables: real sums of Pauli strings and projectors, from text, JSON and Qiskit objects.

This module imports neither Qiskit nor NumPy.
"""

from __future__ import annotations

import cmath
import math
import numbers
import os
import reprlib
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NoReturn

from hpcq.circuits.loader_errors import one_line
from hpcq.circuits.operators import OperatorTerm, operator_terms
from hpcq.circuits.pauli_text import (
    AXES,
    PauliString,
    parse_label,
    parse_string,
    parse_sum,
    render,
)
from hpcq.circuits.pauli_text import dense_label as dense_label
from hpcq.core import strict_json
from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable_path

MAX_FILE_BYTES = 64 << 20
"""Largest file of observables, in bytes: room for over 10^6 terms, and a bound on memory."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80  # characters of a value that a message quotes

_ROUNDING = 1e-10
"""Largest imaginary part of a coefficient that is dropped as rounding, relative to the largest
coefficient of its observable."""


@dataclass(frozen=True)
class Observable:
    """A real linear combination of strings of Paulis and projectors.

    Attributes:
        name: Label of the observable in results; one line.
        terms: Pairs of a string and its coefficient. A string is a tuple of (qubit, letter) with
            the qubits ascending, `()` for the identity. The letters are the Paulis X, Y and Z and
            Qiskit's letters for projectors: 0 and 1, + and -, r and l. No string occurs twice; see
            `from_terms`.

    >>> Observable("energy", ((((0, "Z"), (5, "Z")), 1.0), ((), -0.5)))
    Observable('energy': 1.0 * Z0 Z5 - 0.5 * I)
    """

    name: str
    terms: tuple[tuple[PauliString, float], ...]

    def __post_init__(self) -> None:
        where = f"observable {_quoted(self.name)}"
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise InputError(f"{where}: expected a printable, non-empty name")
        if not isinstance(self.terms, tuple) or not self.terms:
            raise InputError(f"{where}: has no terms, expected a tuple of at least one")
        for term in self.terms:
            _check_term(term, where)
        if len({string for string, _ in self.terms}) != len(self.terms):
            raise InputError(f"{where}: a string occurs twice, expected merged terms")
        try:
            math.fsum(abs(coefficient) for _, coefficient in self.terms)
        except OverflowError:  # a value of the observable could exceed the range of a float
            _refuse_sum(where)

    @classmethod
    def from_terms(cls, name: str, terms: Iterable[tuple[PauliString, float]]) -> Observable:
        """Return an observable; coefficients of equal strings are added in the given order."""
        merged: dict[PauliString, float] = {}
        for string, coefficient in terms:
            merged[string] = merged.get(string, 0.0) + coefficient
            if math.isinf(merged[string]) and math.isfinite(coefficient):
                _refuse_sum(f"observable {_quoted(name)}")
        return cls(name, tuple(merged.items()))

    @property
    def min_qubits(self) -> int:
        """Number of qubits that a circuit needs for this observable."""
        return max((string[-1][0] + 1 for string, _ in self.terms if string), default=0)

    def __str__(self) -> str:
        return " ".join(
            f"{'-' if coefficient < 0 else '+'} {abs(coefficient)!r} * {render(string)}"
            for string, coefficient in self.terms
        ).removeprefix("+ ")

    def __repr__(self) -> str:
        text = str(self)
        return f"Observable({self.name!r}: {text if len(text) <= 200 else text[:197] + '...'})"


def parse_observable(text: str, num_qubits: int) -> Observable:
    """Return the observable that a text like `'Z0 Z5 + 0.5 X2'`, `'ZIIX'` or `'0011'` describes.

    The text is its name.

    Args:
        text: A sum of terms; see `hpcq.circuits.pauli_text` for the spellings.
        num_qubits: Width of the circuit.

    Raises:
        InputError: The text is not a real sum of strings on that many qubits.

    >>> parse_observable("Z0 Z5 - 0.5 X2", 6).terms
    ((((0, 'Z'), (5, 'Z')), 1.0), (((2, 'X'),), -0.5))
    >>> parse_observable("ZIIX", 4).terms
    ((((0, 'X'), (3, 'Z')), 1.0),)
    >>> parse_observable("01", 2).terms == parse_observable("label:01", 2).terms
    True
    """
    where = f"observable {_quoted(text)}"
    if not isinstance(text, str):
        raise InputError(f"{where}: got a {type(text).__name__}, expected text")
    return Observable.from_terms(" ".join(text.split()), parse_sum(text, num_qubits, where))


def read_observables(path: str | os.PathLike[str], num_qubits: int) -> tuple[Observable, ...]:
    """Read observables from a JSON file.

    The file holds `[{"name": "energy", "terms": [["Z0 Z5", 1.0], ["IXII", 0.5]]}, ...]`. A label in
    Qiskit's letters, `{"label": "Z0+-"}`, may replace the text of a term. It may also replace a
    whole observable, with a name or without.

    Raises:
        InputError: The file holds anything else; the message says where: `FILE: [2].terms[5]`.
    """
    name = printable_path(path)
    content = _load_json(path, name)
    if not isinstance(content, list) or not content:
        raise InputError(
            f"{name}: got {strict_json.json_type(content)}, expected a list of observables"
        )
    converted = tuple(
        _from_mapping(entry, num_qubits, f"{name}: [{index}]")
        for index, entry in enumerate(content)
    )
    first: dict[str, int] = {}
    for index, observable in enumerate(converted):
        if first.setdefault(observable.name, index) != index:
            raise InputError(
                f"{name}: [{index}].name: {_quoted(observable.name)} is already the name of "
                f"[{first[observable.name]}]"
            )
    return converted


def as_observables(observables: Any, num_qubits: int) -> tuple[Observable, ...]:
    """Return one or several observables, in any accepted form, as a tuple.

    Args:
        observables: A text, an `Observable`, a mapping like an entry of the JSON file, a Qiskit
            `SparsePauliOp`, `SparseObservable` or `Pauli`, or a sequence of these.
        num_qubits: Width of the circuit.

    Raises:
        InputError: One of them is not a real observable on that many qubits.
    """
    single = _convert(observables, num_qubits, 0)
    if single is not None:
        return (single,)
    if (
        not isinstance(observables, Iterable)
        or isinstance(observables, (bytes, bytearray, Set))
        or getattr(observables, "ndim", 1) == 0
    ):
        _refuse_kind("observables", observables)
    converted = []
    for index, entry in enumerate(observables):
        observable = _convert(entry, num_qubits, index)
        if observable is None:
            _refuse_kind(f"observables[{index}]", entry)
        converted.append(observable)
    if not converted:
        raise InputError("observables is empty, expected at least one")
    return tuple(converted)


def _convert(entry: Any, num_qubits: int, index: int) -> Observable | None:
    """Return an object as an observable; None if it is not one, such as a sequence of them."""
    if isinstance(entry, str):
        return parse_observable(entry, num_qubits)
    if isinstance(entry, Observable):
        if entry.min_qubits > num_qubits:
            raise InputError(
                f"observable {_quoted(entry.name)}: acts on qubit {entry.min_qubits - 1}, "
                f"but the circuit has {num_qubits} qubits"
            )
        return entry
    if isinstance(entry, Mapping):
        return _from_mapping(entry, num_qubits, f"observables[{index}]")
    where = f"observables[{index}]"
    terms = operator_terms(entry, num_qubits, where)
    if terms is not None:
        return Observable(f"observable {index}", tuple(_merge_real(terms) or [((), 0.0)]))
    return None


def _from_mapping(entry: Any, num_qubits: int, where: str) -> Observable:
    if not isinstance(entry, Mapping):
        kind = strict_json.json_type(entry)
        raise InputError(f"{where}: got {kind}, expected an object with name and terms")
    if set(entry) not in ({"name", "terms"}, {"label"}, {"name", "label"}):
        keys = ", ".join(_quoted(key) for key in list(entry)[:5]) or "none"
        raise InputError(f"{where}: has the keys {keys}, expected 'name' and 'terms', or 'label'")
    label = _string_of({"label": entry["label"]}, num_qubits, where) if "label" in entry else None
    name = entry.get("name", f"label:{entry.get('label')}")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise InputError(f"{where}.name: got {_quoted(name)}, expected printable text")
    if label is not None:
        return Observable(name, ((label, 1.0),))
    terms = entry["terms"]
    if not isinstance(terms, (list, tuple)) or not terms:
        kind = strict_json.json_type(terms)
        raise InputError(
            f"{where}.terms: got {kind}, expected [[Pauli string or label, number], ...]"
        )
    parsed = []
    for index, term in enumerate(terms):
        location = f"{where}.terms[{index}]"
        string = None
        if isinstance(term, (list, tuple)) and len(term) == 2:
            string = _string_of(term[0], num_qubits, location)
        if string is None:
            raise InputError(
                f"{location}: got {_quoted(term)}, expected [Pauli string or label, number]"
            )
        parsed.append((string, term[1], location))
    return Observable(name, tuple(_merge_real(parsed)))


def _string_of(value: Any, num_qubits: int, where: str) -> PauliString | None:
    """Return the string of a text or of `{"label": text}`; None for anything else."""
    if isinstance(value, str):
        return parse_string(value, num_qubits, f"{where}: {_quoted(value)}")
    if not isinstance(value, Mapping) or set(value) != {"label"}:
        return None
    label = value["label"]
    if not isinstance(label, str):
        raise InputError(f"{where}.label: got {_quoted(label)}, expected text like 'Z0+-'")
    return parse_label(label, num_qubits, f"{where}.label")


def _merge_real(terms: Sequence[OperatorTerm]) -> list[tuple[PauliString, float]]:
    """Add the coefficients of equal strings and drop imaginary parts of the size of rounding."""
    sums: dict[PauliString, complex] = {}
    locations: dict[PauliString, str] = {}
    largest = 0.0
    for string, value, where in terms:
        number = _finite(value, where)
        largest = max(largest, abs(number))
        sums[string] = sums.get(string, 0.0) + number
        if not cmath.isfinite(sums[string]):
            _refuse_sum(where)
        locations.setdefault(string, where)
    for string, number in sums.items():
        if abs(number.imag) > _ROUNDING * largest:
            raise InputError(
                f"{locations[string]}: coefficient is {number}, expected a real number"
            )
    return [(string, number.real) for string, number in sums.items()]


def _finite(value: Any, where: str) -> complex:
    """Return a coefficient as a finite complex number."""
    boolean = isinstance(value, bool) or getattr(value, "dtype", None) == "bool"
    if boolean or isinstance(value, (str, bytes)) or value is None or getattr(value, "ndim", 0):
        raise InputError(f"{where}: coefficient is {_quoted(value)}, expected a number")
    try:
        number = complex(value)
    except Exception:  # a foreign type's __complex__ may raise anything, as unbound parameters do
        raise InputError(
            f"{where}: coefficient is {_quoted(value)}, expected a finite real number"
        ) from None
    if not cmath.isfinite(number):
        raise InputError(f"{where}: coefficient is {_quoted(value)}, expected a finite number")
    return number


def _check_term(term: Any, where: str) -> None:
    if not isinstance(term, tuple) or len(term) != 2 or not isinstance(term[0], tuple):
        raise InputError(f"{where}: got the term {_quoted(term)}, expected (string, coefficient)")
    string, coefficient = term
    if type(coefficient) is not float or not math.isfinite(coefficient):
        raise InputError(f"{where}: got the coefficient {_quoted(coefficient)}, expected a float")
    last = -1
    for factor in string:
        if not (
            isinstance(factor, tuple)
            and len(factor) == 2
            and type(factor[0]) is int
            and factor[0] > last
            and isinstance(factor[1], str)
            and factor[1] in AXES
        ):
            raise InputError(
                f"{where}: got the string {_quoted(string)}, expected (qubit, letter) pairs with "
                "ascending qubits, the letters of X Y Z 0 1 + - r l"
            )
        last = factor[0]


def _refuse_sum(where: str) -> NoReturn:
    raise InputError(
        f"{where}: the absolute values of its coefficients add up to more than "
        f"{sys.float_info.max:.2g}, the largest float; expected smaller coefficients"
    )


def _load_json(path: str | os.PathLike[str], name: str) -> Any:
    descriptor = open_regular(path, MAX_FILE_BYTES, "observables as JSON")
    with os.fdopen(descriptor, "rb") as source:
        data = source.read(MAX_FILE_BYTES + 1)
    try:
        return strict_json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: byte {error.start} is not UTF-8, expected JSON") from None
    except RecursionError:
        raise InputError(f"{name}: is nested too deeply, expected a list of observables") from None
    except ValueError as error:  # json.JSONDecodeError, or a number with thousands of digits
        raise InputError(f"{name}: is not valid JSON: {_quoted(str(error))[1:-1]}") from None


def _refuse_kind(where: str, value: Any) -> NoReturn:
    expected = "expected text, an Observable, a SparsePauliOp, a SparseObservable or a Pauli"
    if isinstance(value, numbers.Number):
        raise InputError(
            f"{where}: got {_quoted(value)}, a number alone is not an observable, {expected}"
        )
    is_empty = isinstance(value, (list, tuple, Mapping)) and not value
    kind = f"{'an empty' if is_empty else 'an object of type'} {type(value).__name__}"
    raise InputError(f"{where}: got {kind}, {expected}, or a list of these")


def _quoted(value: Any) -> str:
    return one_line(_SHORT.repr(value), 80)
