"""Expressions of parameters: values and derivatives are those of the functions they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector

from hpcq.circuits.expressions import Expression
from hpcq.core.errors import InputError

X, Y = Parameter("x"), Parameter("y")
COLUMNS = {X: 0, Y: 1}
POINTS = [(0.3, 0.7), (0.45, 0.2), (0.9, 0.5)]

_FUNCTIONS: list[tuple[ParameterExpression, Callable[[Any, Any], float]]] = [
    (2 * X - Y / 4 + 1, lambda x, y: 2 * x - y / 4 + 1),
    (1 - X * Y, lambda x, y: 1 - x * y),
    (X.sin() - Y.cos() * X.tan(), lambda x, y: math.sin(x) - math.cos(y) * math.tan(x)),
    (2 / X + X / (Y + 1), lambda x, y: 2 / x + x / (y + 1)),
    ((X + 1) / (Y * Y), lambda x, y: (x + 1) / (y * y)),
    (X**Y + X**3, lambda x, y: x**y + x**3),
    (2 ** (X * Y), lambda x, y: 2 ** (x * y)),
    ((X - 2).abs() * Y.exp(), lambda x, y: abs(x - 2) * math.exp(y)),
    (X.arcsin() + Y.arccos(), lambda x, y: math.asin(x) + math.acos(y)),
    (X.arctan() * (Y + 1).log(), lambda x, y: math.atan(x) * math.log(y + 1)),
    ((X.conjugate() * Y).sin() * (X + Y), lambda x, y: math.sin(x * y) * (x + y)),
    (1 / (X - Y * Y), lambda x, y: 1 / (x - y * y)),
    ((X * X).subs({X: Y + 1}) - X, lambda x, y: (y + 1) ** 2 - x),
]


@pytest.mark.parametrize(("written", "function"), _FUNCTIONS, ids=[str(e) for e, _ in _FUNCTIONS])
def test_values_and_derivatives(written: ParameterExpression, function: Any) -> None:
    expression = Expression.of(written, COLUMNS)
    for point in POINTS:
        assert expression.value(point) == pytest.approx(function(*point), abs=1e-14)
        for column, derivative in expression.derivatives(point).items():
            step = 1e-5 * np.eye(2)[column]
            difference = function(*(point + step)) - function(*(point - step))
            assert derivative == pytest.approx(difference / 2e-5, rel=1e-8, abs=1e-8)
    assert set(expression.derivatives(POINTS[0])) == {COLUMNS[p] for p in written.parameters}


def test_sums_of_equal_terms_at_zero() -> None:
    """Qiskit's ``bind`` gives 0 for the first and for the derivative of the second."""
    assert Expression.of(X.cos() + X.cos(), COLUMNS).value((0.0, 0.0)) == 2
    twice = Expression.of(Y * X.cos() + Y * X.cos(), COLUMNS)
    assert twice.derivatives((0.0, 0.0)) == {0: 0.0, 1: 2.0}


@pytest.mark.parametrize(
    ("written", "is_affine"),
    [
        (2 * X - (Y + 1) / 3, True),
        (X + 0 * Y, True),
        ((X.conjugate() - Y) * 0.5, True),
        (X * Y, False),
        (1 / X, False),
        (X / Y, False),
        (X.sin(), False),
        (X**2, False),
        (2**X, False),
    ],
)
def test_affine_expressions(written: ParameterExpression, is_affine: bool) -> None:
    assert Expression.of(written, COLUMNS).is_affine == is_affine


def test_elements_of_vectors_and_single_parameters() -> None:
    vector = ParameterVector("v", 3)
    columns = {element: number for number, element in enumerate(vector)}
    assert Expression.of(vector[2], columns).derivatives((1.0, 2.0, 5.0)) == {2: 1.0}
    assert Expression.of(vector[1] * vector[2], columns).value((1.0, 2.0, 5.0)) == 10


@pytest.mark.parametrize(
    ("written", "point", "message"),
    [
        (1 / X, (0.0, 0.0), r"1/x has no value here \(.*division.*\), expected a finite real"),
        (X.log(), (-1.0, 0.0), r"log\(x\) has no value here \(math domain error\)"),
        (X.exp(), (1000.0, 0.0), r"exp\(x\) has no value here \(math range error\)"),
        (X**0.5, (-1.0, 0.0), r"x\*\*0.5 is .*1j\) here, expected a finite real number"),
        (1j * X, (1.0, 0.0), r"is 1j here, expected a finite real number"),
    ],
)
def test_what_has_no_value_is_refused(
    written: ParameterExpression, point: tuple[float, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Expression.of(written, COLUMNS).value(point, "here")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (X.sign(), r"sign\(x\) has no derivative, expected a differentiable one"),
        (X.abs(), r"(?i)abs\(x\) has no derivative here \(.*division"),
        (X**0.5, r"x\*\*0.5 has no derivative here"),
        (1j * X, r"has no derivative here \(it is not finite or not real\)"),
    ],
)
def test_what_has_no_derivative_is_refused(written: ParameterExpression, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Expression.of(written, COLUMNS).derivatives((0.0, 0.0), "here")
