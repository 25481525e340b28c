"""Slots: every angle of a circuit with free parameters, as a function of the parameters.

Each parametrised gate is written as fixed gates and Pauli rotations, and each rotation by an angle
that depends on parameters is a *slot*. The circuit carries a generic angle there, so that nothing
that is planned for it (cuts, light cones, the method) depends on the values that the parameters
will have. Gates of slots are standard gates with one angle, recognised by their labels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Gate, ParameterExpression
from qiskit.circuit.library import (
    RXGate,
    RXXGate,
    RYGate,
    RYYGate,
    RZGate,
    RZXGate,
    RZZGate,
    SdgGate,
    SGate,
)
from scipy.sparse import csr_array

from hpcq.circuits.assignment import ParameterNames
from hpcq.circuits.expressions import Expression
from hpcq.circuits.rotations import PARAMETRISED
from hpcq.core.errors import InputError

_ROTATIONS: Mapping[str, type[Gate]] = {
    "X": RXGate,
    "Y": RYGate,
    "Z": RZGate,
    "XX": RXXGate,
    "YY": RYYGate,
    "ZZ": RZZGate,
    "ZX": RZXGate,
}
"""Qiskit's gate of each rotation, by the letters on its qubits."""

_LABEL = "hpcq slot "
"""Start of the labels of slots. The gates of a normalised circuit have no labels, except matrices,
which are not slots."""

Slot = tuple[int, int]
"""The number of a slot, and the sign, 1 or -1, with which a gate takes its angle."""


def slot_of(gate: Any) -> Slot | None:
    """Return the slot of a gate or instruction; None if it has none."""
    label = gate.label
    if label is None or not label.startswith(_LABEL) or gate.name == "unitary":
        return None
    number = label[len(_LABEL) :]
    return int(number[1:]), 1 if number[0] == "+" else -1


def slot_label(slot: Slot) -> str:
    """Return the label of the gates of a slot."""
    number, sign = slot
    return f"{_LABEL}{'+' if sign > 0 else '-'}{number}"


def generic_angle(number: int) -> float:
    """Return the angle of a slot in the circuit that is planned, in radians.

    It is neither close to a multiple of pi/2 nor related to that of another slot.
    """
    return random.Random(number).uniform(0.2, 1.3)


def bind_slots(
    circuit: QuantumCircuit, numbers: Sequence[int], angles: NDArray[np.float64]
) -> QuantumCircuit:
    """Return a copy of a circuit in which gates of slots have these angles, and no labels.

    Args:
        circuit: A circuit whose slots are all among ``numbers``.
        numbers: Numbers of slots.
        angles: Their angles in radians, in the same order.
    """
    of_slot = dict(zip(numbers, angles.tolist(), strict=True))
    bound = circuit.copy_empty_like()
    for instruction in circuit.data:
        slot = slot_of(instruction)
        if slot is not None:
            number, sign = slot
            gate = type(instruction.operation)(sign * of_slot[number])
            instruction = instruction.replace(operation=gate)
        bound._append(instruction)
    return bound


@dataclass(frozen=True, eq=False)
class Slots:
    """The angles of a circuit as functions of its free parameters.

    Attributes:
        names: Names of the parameters, in the order of their columns.
        matrix: Derivatives of the angles with respect to the parameters, shape (slots, parameters);
            zero in the rows of ``nonlinear``.
        offsets: Angles in radians where all parameters are 0, shape (slots,).
        nonlinear: The angles that are not affine functions, by the number of their slot.
    """

    names: tuple[str, ...]
    matrix: csr_array
    offsets: NDArray[np.float64]
    nonlinear: Mapping[int, Expression]

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return len(self.names)

    @property
    def num_slots(self) -> int:
        """Number of slots."""
        return len(self.offsets)

    def rows(self, values: Any, name: str = "parameter_values") -> NDArray[np.float64]:
        """Return values of the parameters as an array of shape (rows, parameters).

        Raises:
            InputError: If they are not finite real numbers in one or two axes, the last of them of
                the number of parameters.
        """
        return ParameterNames(self.names, name).array(values)

    def angles(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the angles in radians, shape (rows, slots).

        Args:
            rows: Values of the parameters, shape (rows, parameters).

        Raises:
            InputError: If an angle is not a finite real number there.
        """
        angles: NDArray[np.float64] = self.offsets + (self.matrix @ rows.T).T
        for number, expression in self.nonlinear.items():
            angles[:, number] = [
                expression.value(values, f"in row {row}")
                for row, values in enumerate(rows.tolist())
            ]
        return angles

    def pull_back(
        self, rows: NDArray[np.float64], gradients: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return derivatives with respect to parameters, from those with respect to angles.

        Args:
            rows: Values of the parameters, shape (rows, parameters).
            gradients: Derivatives with respect to angles, shape (rows, ..., slots).

        Returns:
            Shape (rows, ..., parameters).
        """
        return self._pulled(rows, gradients, self.matrix, 1)

    def pull_back_variances(
        self, rows: NDArray[np.float64], variances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return variances of derivatives with respect to parameters; see :meth:`pull_back`.

        Args:
            rows: Values of the parameters, shape (rows, parameters).
            variances: Variances of independent estimates of the derivatives with respect to angles,
                shape (rows, ..., slots).
        """
        return self._pulled(rows, variances, self.matrix.multiply(self.matrix), 2)

    def _pulled(
        self, rows: NDArray[np.float64], by_slot: NDArray[np.float64], matrix: Any, power: int
    ) -> NDArray[np.float64]:
        """Return sums over slots, each times a power of its angle's derivative by the parameter."""
        flat = by_slot.reshape(math.prod(by_slot.shape[:-1]), self.num_slots)
        pulled: NDArray[np.float64] = (matrix.T @ flat.T).T
        pulled = pulled.reshape(*by_slot.shape[:-1], self.num_parameters)
        for number, expression in self.nonlinear.items():
            for row, values in enumerate(rows.tolist()):
                derivatives = expression.derivatives(values, f"in row {row}")
                for column, derivative in derivatives.items():
                    pulled[row, ..., column] += by_slot[row, ..., number] * derivative**power
        return pulled


@dataclass(frozen=True, eq=False)
class ParametrisedCircuit:
    """A circuit with free parameters.

    Attributes:
        circuit: The circuit with its parameters, in one- and two-qubit gates; the parametrised ones
            are Pauli rotations.
        generic: The same gates with generic angles, labelled by their slots.
        slots: The angles.
    """

    circuit: QuantumCircuit
    generic: QuantumCircuit
    slots: Slots


def parametrise(circuit: QuantumCircuit, parameters: Iterable[Any]) -> ParametrisedCircuit:
    """Return a circuit with slots in place of free parameters.

    Args:
        circuit: A normalised circuit, with free parameters in its standard gates.
        parameters: All parameters, in the order of their columns; some may be unused.

    Returns:
        The circuit, the same up to a global phase.
    """
    columns = {parameter: column for column, parameter in enumerate(parameters)}
    collector = _Collector(columns, circuit)
    for instruction in circuit.data:
        if not any(_is_free(value) for value in instruction.params):
            collector.append(instruction)
            continue
        for letters, angle in PARAMETRISED[instruction.name](*instruction.params):
            collector.rotate(letters, angle, instruction.qubits)
    names = tuple(parameter.name for parameter in columns)
    return ParametrisedCircuit(collector.written, collector.generic, collector.slots(names))


def _is_free(value: Any) -> bool:
    return isinstance(value, ParameterExpression) and bool(value.parameters)


def _number(angle: Any) -> float:
    """Return an angle that depends on no parameter.

    Raises:
        InputError: If it is not a finite real number.
    """
    number = complex(angle)
    if number.imag != 0 or not math.isfinite(number.real):
        raise InputError(f"circuit: the angle {number}, expected a finite real number")
    return number.real


class _Collector:
    """Writes a circuit with its parameters and with generic angles, and collects the slots."""

    def __init__(self, columns: Mapping[Any, int], circuit: QuantumCircuit) -> None:
        self.written, self.generic = circuit.copy_empty_like(), circuit.copy_empty_like()
        self.written.global_phase = self.generic.global_phase = 0
        self._columns, self._zeros = columns, [0.0] * len(columns)
        self._offsets: list[float] = []
        self._entries: list[tuple[int, int, float]] = []
        self._nonlinear: dict[int, Expression] = {}

    def append(self, instruction: CircuitInstruction) -> None:
        """Append a gate without free parameters."""
        self.written._append(instruction)
        self.generic._append(instruction)

    def rotate(self, letters: str, angle: Any, qubits: Sequence[Any]) -> None:
        """Append a rotation; ``letters`` has one for each qubit, _ for the identity."""
        acts_on = tuple(q for q, letter in zip(qubits, letters, strict=True) if letter != "_")
        kept = letters.replace("_", "")
        if kept == "ZY":  # Qiskit has no such rotation: it is one about ZX with a rotated target
            self.append(CircuitInstruction(SdgGate(), acts_on[1:]))
            self.rotate("ZX", angle, acts_on)
            self.append(CircuitInstruction(SGate(), acts_on[1:]))
        elif not _is_free(angle):
            self.append(CircuitInstruction(_ROTATIONS[kept](_number(angle)), acts_on))
        else:
            number = self._add(angle)
            gate = _ROTATIONS[kept](generic_angle(number), label=slot_label((number, 1)))
            self.generic._append(CircuitInstruction(gate, acts_on))
            self.written._append(CircuitInstruction(_ROTATIONS[kept](angle), acts_on))

    def slots(self, names: tuple[str, ...]) -> Slots:
        """Return the slots that were written."""
        numbers, columns, factors = zip(*self._entries, strict=True) if self._entries else ((),) * 3
        shape = (len(self._offsets), len(names))
        matrix = csr_array((np.array(factors, float), (numbers, columns)), shape=shape)
        return Slots(names, matrix, np.array(self._offsets), self._nonlinear)

    def _add(self, angle: ParameterExpression) -> int:
        """Return the number of a new slot.

        Raises:
            InputError: If the angle depends on something that is no parameter of the circuit.
        """
        if unknown := sorted(each.name for each in angle.parameters if each not in self._columns):
            raise InputError(
                f"circuit: the angle {str(angle)[:60]} depends on {unknown[0][:60]!r}, expected "
                "parameters of the circuit only (a gate's definition must use the gate's own)"
            )
        number = len(self._offsets)
        expression = Expression.of(angle, self._columns)
        if expression.is_affine:
            self._offsets.append(expression.value(self._zeros))
            factors = expression.derivatives(self._zeros)
            self._entries += [(number, column, factor) for column, factor in factors.items()]
        else:
            self._nonlinear[number] = expression
            self._offsets.append(0.0)
        return number
