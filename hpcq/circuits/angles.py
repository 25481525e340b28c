"""Angles of any size, reduced by the period of their gate.

A matrix that is made from a large angle is off by more than rounding wherever angles are added: at
1e6 the sum of two angles is off by up to 1e-10, at 1e15 by 0.1. So angles are reduced first, and
exactly: the double that the user gave stands for itself, not for a multiple of a rounded pi.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from qiskit.circuit import AnnotatedOperation, ControlledGate, Gate, PowerModifier
from qiskit.circuit.library import CUGate, RVGate, get_standard_gate_name_mapping

_LARGE = 100.0
"""Smaller angles (in radians) stay as they are: sums of them are off by at most 3e-14."""

_DIGITS = 700
"""Digits that hold the sum of the squares of three doubles exactly, or to under 1e-20."""

PERIODS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("rx", "ry", "rz", "crx", "cry", "crz", "rxx", "ryy", "rzz", "rzx"), (2,)),
    **dict.fromkeys(("p", "u1", "cp", "cu1", "global_phase"), (1,)),
    **dict.fromkeys(("r", "xx_minus_yy", "xx_plus_yy"), (2, 1)),
    "u2": (1, 1),
    **dict.fromkeys(("u", "u3", "cu3"), (2, 1, 1)),
    "cu": (2, 1, 1, 1),
}
"""Periods of the parameters of Qiskit's standard gates, in full turns; no phase is lost."""

_STANDARD_CLASSES = {
    name: gate.base_class for name, gate in get_standard_gate_name_mapping().items()
}


def reduced(angle: float, turns: int = 1) -> float:
    """Return a finite angle less a multiple of so many turns.

    Small angles come back unchanged. The sine and cosine of the C library reduce any double by pi
    to hundreds of digits, so the result is off by no more than a few 1e-16.

    >>> reduced(1e15) == math.atan2(math.sin(1e15), math.cos(1e15))
    True
    """
    if abs(angle) <= _LARGE:
        return angle
    part = angle / turns  # exact: turns is 1 or 2
    return turns * math.atan2(math.sin(part), math.cos(part))


def reduced_parameters(name: str, values: Sequence[float]) -> list[float]:
    """Return the finite parameters of a standard gate, each reduced by its period."""
    periods = PERIODS.get(name)
    if periods is None or all(abs(value) <= _LARGE for value in values):
        return list(values)
    return [reduced(value, turns) for value, turns in zip(values, periods, strict=True)]


def with_reduced_angles(operation: Any) -> Any:
    """Return an operation with the angles of the gate that it is, controls or repeats reduced.

    What is no such gate of Qiskit's library, or has small angles only, comes back as it is: its
    definition is opened, and the gates in there are reduced.
    """
    if isinstance(operation, AnnotatedOperation):
        base = operation.base_op
        smaller = with_reduced_angles(base)
        # A fractional power is taken of the angle, so that a whole turn counts.
        if smaller is base or not all(
            float(modifier.power).is_integer()
            for modifier in operation.modifiers
            if isinstance(modifier, PowerModifier)
        ):
            return operation
        return AnnotatedOperation(smaller, operation.modifiers)
    if isinstance(operation, ControlledGate) and operation.name not in PERIODS:
        return _reduced_controlled(operation)
    if isinstance(operation, Gate):
        return _reduced_gate(operation)
    return operation


def _reduced_controlled(gate: ControlledGate) -> ControlledGate:
    base, controls, state = gate.base_gate, gate.num_ctrl_qubits, gate.ctrl_state
    if base.name == "u" and len(base.params) == 4:
        # What Qiskit makes of a controlled CU: its own control is the last one, and the phase is
        # a fourth parameter of U.
        controls -= 1
        base = CUGate(*base.params, ctrl_state=state >> controls)
        state &= (1 << controls) - 1
    smaller = with_reduced_angles(base)
    if smaller is base:
        return gate
    return smaller.control(controls, ctrl_state=state, annotated=False)


def _reduced_gate(gate: Gate) -> Gate:
    kind = _STANDARD_CLASSES.get(gate.name, RVGate if gate.name == "rv" else None)
    if kind is None or gate.base_class is not kind or not gate.params:
        return gate
    try:
        values = [float(value) for value in gate.params]
    except (TypeError, ValueError):  # whoever reads the parameters says what is wrong
        return gate
    if not all(map(math.isfinite, values)):
        return gate
    reduce = _reduced_vector if gate.name == "rv" else partial(reduced_parameters, gate.name)
    smaller = reduce(values)
    if smaller == values:
        return gate
    state = {"ctrl_state": gate.ctrl_state} if isinstance(gate, ControlledGate) else {}
    return kind(*smaller, **state)


def _reduced_vector(vector: Sequence[float]) -> list[float]:
    """Return a rotation vector of the same direction whose length is less two turns."""
    if max(map(abs, vector)) <= _LARGE:
        return list(vector)
    with decimal.localcontext(prec=_DIGITS):
        parts = [decimal.Decimal(value) for value in vector]
        length = sum((part * part for part in parts), decimal.Decimal()).sqrt()
        direction = [float(part / length) for part in parts]
        angle, rest = 0.0, length
        while abs(rest) > 1e-20:
            angle += reduced(float(rest), 2)
            rest -= decimal.Decimal(float(rest))
    return [angle * part for part in direction]
