"""Values of free parameters from the command line: fixed before planning, or in rows."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcq.circuits.assignment import ParameterNames, assign, read_assignments
from hpcq.circuits.normalise import unused_parameters
from hpcq.core.errors import InputError
from hpcq.core.text import some_names

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_NAME = "parameters"
"""Name of the option in messages."""


@dataclass(frozen=True)
class ParameterValues:
    """The values that ``--parameter`` and ``--parameters`` give.

    Attributes:
        fixed: Values that the circuit has before it is planned, by name.
        rows: Values of the other parameters, by name in each row; None if there are no rows.
        required: Whether all parameters need values, because the circuit is to be run.
    """

    fixed: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] | None = None
    required: bool = True

    @classmethod
    def of(cls, options: argparse.Namespace, *, required: bool = True) -> ParameterValues:
        """Read the values that options give.

        Raises:
            InputError: If the file is wrong, a parameter has two values, or rows are given with
                shots.
        """
        fixed: dict[str, Any] = {}
        rows = None
        if options.parameters is not None:
            content = read_assignments(options.parameters)
            if isinstance(content, dict):
                fixed = content
            else:
                rows = content
        if rows is not None and (options.shots, options.target_error) != (None, None):
            raise InputError(
                "parameters: rows of values given with shots, whose error bars belong to one row; "
                "expected one object of values, and a run for each row"
            )
        for text in options.parameter:
            name, _, value = text.rpartition("=")
            name = name.strip()
            if name in fixed:
                raise InputError(f"parameter: {name[:60]!r} has two values, expected one")
            fixed[name] = float(value)
        return cls(fixed, rows, required)

    def assign(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit with the fixed values, after checking that the rows fit the others.

        Raises:
            InputError: If a name or a value is wrong, or one is missing.
        """
        circuit = assign(circuit, self.fixed, _NAME)
        parameters = self.columns(circuit)
        names = [parameter.name for parameter in parameters]
        if self.rows is not None:
            if not names:
                raise InputError(
                    f"{_NAME}: rows of values for a circuit without free parameters, expected none"
                )
            ParameterNames(names, _NAME, parameters).rows(self.rows)
        elif names and self.required:
            raise InputError(
                f"{_NAME}: there is no value for {some_names(names)}, expected --parameter "
                "NAME=VALUE or --parameters FILE.json"
            )
        return circuit

    def columns(self, circuit: QuantumCircuit) -> list[Any]:
        """Return the free parameters of the plan of a circuit that :meth:`assign` returned.

        They are those of its gates, and those without an effect that have values in rows.
        """
        from qiskit.circuit import Parameter

        parameters = list(circuit.parameters)
        unused = unused_parameters(circuit)
        if not self.rows or not unused:
            return parameters
        names = [*(parameter.name for parameter in parameters), *unused]
        given = ParameterNames(names, _NAME, parameters).numbers(self.rows[0], ": row 0")
        return [*parameters, *(Parameter(name) for name in unused if name in given)]
