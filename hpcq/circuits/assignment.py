"""Values of free parameters by their names: checked, in rows, and assigned to a circuit."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.expressions import Expression
from hpcq.circuits.normalise import normalise, note_unused_parameters, unused_parameters
from hpcq.core import strict_json
from hpcq.core.errors import InputError
from hpcq.core.files import open_regular, printable, printable_path
from hpcq.core.text import some_names

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_MAX_FILE_BYTES = 1 << 30
"""Maximum size of a file of values in bytes, enough for 10^5 rows of 400 parameters."""

_ELEMENT = re.compile(r"(.*)\[([0-9]{1,9})\]")
"""Name of an element of a vector of parameters, such as ``theta[0]``."""

Assignment = Mapping[str, Any]
"""Numbers by the names of parameters; a list of numbers stands for the elements of a vector."""


def read_assignments(path: str | os.PathLike[str]) -> dict[str, Any] | list[dict[str, Any]]:
    """Read a JSON file of one assignment, such as ``{"theta": 0.3}``, or a list of several.

    Raises:
        InputError: If the file holds anything else.
    """
    name = printable_path(path)
    expected = 'an object such as {"theta": 0.3}, or a list of such objects'
    try:
        with os.fdopen(open_regular(path, _MAX_FILE_BYTES, "parameters as JSON"), "rb") as file:
            content = strict_json.loads(file.read().decode("utf-8-sig"))
    except InputError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        reason = printable(" ".join(str(error).split()))[:200]
        raise InputError(f"{name}: {reason}, expected {expected}") from None
    for entry in content if isinstance(content, list) and content else [content]:
        if not isinstance(entry, dict):
            raise InputError(f"{name}: got {strict_json.json_type(entry)}, expected {expected}")
    found: dict[str, Any] | list[dict[str, Any]] = content
    return found


class ParameterNames:
    """The names of free parameters, by which assignments are read.

    Args:
        names: The names, in the order of the columns of rows.
        argument: Name of the argument in messages.
        parameters: Qiskit's parameters, which tell how long vectors are. By default, a vector ends
            with the last element that is among the names.
    """

    def __init__(self, names: Sequence[str], argument: str, parameters: Iterable[Any] = ()) -> None:
        self.names, self._argument, self._parameters = tuple(names), argument, parameters

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _lengths(self) -> dict[str, int]:
        """The number of elements of each vector, whether they are used or not."""
        lengths: dict[str, int] = {}
        for name in self.names:
            if match := _ELEMENT.fullmatch(name):
                lengths[match[1]] = max(lengths.get(match[1], 0), int(match[2]) + 1)
        vectors = [getattr(parameter, "vector", None) for parameter in self._parameters]
        return lengths | {vector.name: len(vector) for vector in vectors if vector is not None}

    def numbers(self, values: Assignment, where: str = "") -> dict[str, float]:
        """Return an assignment in which lists for vectors are numbers for their elements.

        Elements that are not among the names are left out. ``where`` follows the name of the
        argument in messages.

        Raises:
            InputError: If there is no such parameter, a value is not a finite real number, or a
                list has another length than its vector.
        """
        name = f"{self._argument}{where}"
        numbers: dict[str, float] = {}
        for key, value in values.items():
            length = self._lengths.get(key)
            if key in self._known or self._is_unused_element(str(key)):
                _put(numbers, key, value, name)
            elif length is None:
                raise InputError(f"{name}: {self._unknown(str(key))}")
            else:
                listed = value.tolist() if isinstance(value, np.ndarray) else value
                is_list = isinstance(listed, (list, tuple))
                if not is_list or len(listed) != length:
                    given = f"{len(listed)} values" if is_list else _shown(value)
                    expected = f"expected a list of {length} numbers"
                    raise InputError(f"{name}: {printable(key)} is {given}, {expected}")
                for index, number in enumerate(listed):
                    _put(numbers, f"{key}[{index}]", number, name)
        return {key: number for key, number in numbers.items() if key in self._known}

    def _is_unused_element(self, key: str) -> bool:
        match = _ELEMENT.fullmatch(key)
        return match is not None and int(match[2]) < self._lengths.get(match[1], 0)

    def rows(self, assignments: Sequence[Assignment]) -> NDArray[np.float64]:
        """Return assignments as an array of values, shape (assignments, names).

        Raises:
            InputError: If one of them does not have a value for every name, or has others.
        """
        rows = np.empty((len(assignments), len(self.names)))
        for number, assignment in enumerate(assignments):
            where = f": row {number}"
            numbers = self.numbers(assignment, where)
            if missing := [each for each in self.names if each not in numbers]:
                raise InputError(
                    f"{self._argument}{where} has no value for {some_names(missing)}, expected one "
                    "for each free parameter"
                )
            rows[number] = [numbers[each] for each in self.names]
        return rows

    def array(self, values: Any) -> NDArray[np.float64]:
        """Return values as an array of shape (rows, names).

        Raises:
            InputError: If they are not finite real numbers in one or two axes, the last of them of
                the number of names.
        """
        expected = f"expected finite numbers in the shape (rows, {len(self.names)})"
        try:
            given = np.asarray(values)
            if given.dtype.kind not in "fiu":
                raise TypeError
            rows = np.atleast_2d(given.astype(np.float64))
        except (TypeError, ValueError):
            shown = str(values)[:60].replace("\n", " ")
            raise InputError(f"{self._argument}: {shown}, {expected}") from None
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            raise InputError(f"{self._argument}: shape {np.shape(values)}, {expected}")
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise InputError(
                f"{self._argument}: {rows[row, column]} for {self.names[column]!r} in row {row}, "
                f"{expected}"
            )
        return rows

    def table(self, values: Any) -> NDArray[np.float64]:
        """Return values as an array of shape (rows, names), at least one row.

        They are such an array or one of its rows, a list of assignments, or one assignment.

        Raises:
            InputError: If they are wrong, or if there are none.
        """
        if isinstance(values, Mapping):
            values = [values]
        is_sequence = isinstance(values, Sequence) and not isinstance(values, str)
        if is_sequence and values and all(isinstance(each, Mapping) for each in values):
            return self.rows(values)
        table = self.array(values)
        if not len(table):
            raise InputError(f"{self._argument}: no rows, expected at least one")
        return table

    def _unknown(self, key: str) -> str:
        if not self.names:
            return (
                f"{key[:60]!r} has a value, but the circuit has no free parameters, expected none"
            )
        near = get_close_matches(key[:100], self.names, 1, 0.6)
        expected = some_names(near or sorted(self.names))
        return f"the circuit has no free parameter {key[:60]!r}, expected {expected}"


def assign(circuit: QuantumCircuit, values: Assignment, argument: str) -> QuantumCircuit:
    """Return a normalised circuit with values in place of some of its free parameters.

    Raises:
        InputError: If a name or a value is wrong, or an angle has no value there.
    """
    if not values:
        return circuit
    parameters = {parameter.name: parameter for parameter in circuit.parameters}
    unused = unused_parameters(circuit)
    names = ParameterNames((*parameters, *unused), argument, circuit.parameters)
    numbers = names.numbers(values)
    given = {parameters[name]: n for name, n in numbers.items() if name in parameters}
    normalised = normalise(with_values(circuit, given, argument), free_parameters=True)
    note_unused_parameters(normalised, [name for name in unused if name not in numbers])
    return normalised


def with_values(
    circuit: QuantumCircuit, given: Mapping[Any, float], argument: str
) -> QuantumCircuit:
    """Return a normalised circuit with numbers in place of parameters.

    Angles are evaluated by :mod:`hpcq.circuits.expressions`; Qiskit substitutes in those that keep
    other parameters.

    Raises:
        InputError: If an angle has no value; the message begins with the argument's name.
    """
    columns = {parameter: column for column, parameter in enumerate(given)}
    values = list(given.values())

    def assigned(angle: Any) -> Any:
        known = set(getattr(angle, "parameters", ())) & given.keys()
        if not known:
            return angle
        if len(known) == len(angle.parameters):
            return Expression.of(angle, columns).value(values)
        for parameter in known:
            angle = angle.assign(parameter, given[parameter])
        return angle

    result = circuit.copy_empty_like()
    for instruction in circuit.data:
        if not any(hasattr(angle, "parameters") for angle in instruction.params):
            result._append(instruction)
            continue
        try:
            angles = [assigned(angle) for angle in instruction.params]
        except InputError as error:
            raise InputError(f"{argument}: {error}") from None
        except Exception:  # Qiskit's, of an angle such as phi / theta
            raise InputError(
                f"{argument}: an angle of the circuit has no value there, expected values at which "
                "all angles are finite real numbers"
            ) from None
        operation = type(instruction.operation)(*angles)
        result._append(instruction.replace(operation=operation))
    return result


def _put(numbers: dict[str, float], key: str, value: Any, name: str) -> None:
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    try:
        number = float(value) if is_number and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number beyond floats
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name}: {printable(key)} is {_shown(value)}, expected a finite number")
    if key in numbers:
        raise InputError(f"{name}: {printable(key)} has two values, expected one")
    numbers[key] = number


def _shown(value: Any) -> str:
    return printable(repr(value)[:40])
