"""Reduce angles of any size by the period of their gate.

Wherever angles are added, a large one costs accuracy: at 1e6 the sum of two angles is off by up to
1e-10, at 1e15 by 0.1. Angles are therefore reduced first, and exactly: the user's double is taken
at its value, not as a multiple of a rounded pi.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from qiskit.circuit import AnnotatedOperation, ControlledGate, Gate, PowerModifier
from qiskit.circuit.library import CUGate, RVGate, get_standard_gate_name_mapping

_MAX_EXACT_ANGLE = 100.0
"""Angles in radians up to which nothing is reduced: their sums are off by at most 3e-14."""

_DIGITS = 700
"""Decimal digits that hold the sum of the squares of three doubles to within 1e-20."""

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


def reduce_angle(angle: float, turns: int = 1) -> float:
    """Return a finite angle reduced modulo a number of full turns.

    Small angles are returned unchanged. The sine and cosine of the C library reduce any double by
    pi to hundreds of digits, so the error of the result is at most a few 1e-16.

    >>> reduce_angle(1e15) == math.atan2(math.sin(1e15), math.cos(1e15))
    True
    """
    if abs(angle) <= _MAX_EXACT_ANGLE:
        return angle
    part = angle / turns  # exact: turns is 1 or 2
    return turns * math.atan2(math.sin(part), math.cos(part))


def reduce_parameters(name: str, values: Sequence[float]) -> list[float]:
    """Return the finite parameters of a standard gate, each reduced by its period."""
    periods = PERIODS.get(name)
    if periods is None or all(abs(value) <= _MAX_EXACT_ANGLE for value in values):
        return list(values)
    return [reduce_angle(value, turns) for value, turns in zip(values, periods, strict=True)]


def reduce_operation(operation: Any) -> Any:
    """Return an operation with its angles reduced, or those of the gate that it modifies.

    Gates that are not from Qiskit's library, and those with small angles only, are returned
    unchanged; the gates in their definitions are reduced when they are expanded.
    """
    if isinstance(operation, AnnotatedOperation):
        base = operation.base_op
        smaller = reduce_operation(base)
        # A fractional power scales the angle, so full turns must not be dropped.
        if smaller is base or not all(
            float(modifier.power).is_integer()
            for modifier in operation.modifiers
            if isinstance(modifier, PowerModifier)
        ):
            return operation
        return AnnotatedOperation(smaller, operation.modifiers)
    if isinstance(operation, ControlledGate) and operation.name not in PERIODS:
        return _reduce_controlled(operation)
    if isinstance(operation, Gate):
        return _reduce_gate(operation)
    return operation


def _reduce_controlled(gate: ControlledGate) -> ControlledGate:
    base, controls, state = gate.base_gate, gate.num_ctrl_qubits, gate.ctrl_state
    if base.name == "u" and len(base.params) == 4:
        # Qiskit turns a controlled CU into a U with a fourth parameter, the phase, and makes CU's
        # control the last one.
        controls -= 1
        base = CUGate(*base.params, ctrl_state=state >> controls)
        state &= (1 << controls) - 1
    smaller = reduce_operation(base)
    if smaller is base:
        return gate
    return smaller.control(controls, ctrl_state=state, annotated=False)


def _reduce_gate(gate: Gate) -> Gate:
    kind = _STANDARD_CLASSES.get(gate.name, RVGate if gate.name == "rv" else None)
    if kind is None or gate.base_class is not kind or not gate.params:
        return gate
    try:
        values = [float(value) for value in gate.params]
    except (TypeError, ValueError):  # reported when the parameters are read
        return gate
    if not all(map(math.isfinite, values)):
        return gate
    reduce = _reduce_vector if gate.name == "rv" else partial(reduce_parameters, gate.name)
    smaller = reduce(values)
    if smaller == values:
        return gate
    state = {"ctrl_state": gate.ctrl_state} if isinstance(gate, ControlledGate) else {}
    return kind(*smaller, **state)


def _reduce_vector(vector: Sequence[float]) -> list[float]:
    """Return a rotation vector of the same direction with its length reduced modulo two turns."""
    if max(map(abs, vector)) <= _MAX_EXACT_ANGLE:
        return list(vector)
    with decimal.localcontext(prec=_DIGITS):
        parts = [decimal.Decimal(value) for value in vector]
        length = sum((part * part for part in parts), decimal.Decimal()).sqrt()
        direction = [float(part / length) for part in parts]
        angle, rest = 0.0, length
        while abs(rest) > 1e-20:
            angle += reduce_angle(float(rest), 2)
            rest -= decimal.Decimal(float(rest))
    return [angle * part for part in direction]
