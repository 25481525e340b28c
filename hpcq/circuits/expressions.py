"""Angles as functions of parameters: their values and derivatives.

Qiskit's expressions are evaluated here, operation by operation, with derivatives by the chain rule.
Qiskit's own evaluation simplifies while it substitutes numbers, and is wrong at some of them: up to
2.6 at least, cos(x) + cos(x) is 0 at x = 0, where many optimisations start.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qiskit.circuit import Parameter, ParameterExpression

from hpcq.core.errors import InputError

Operand = tuple[bool, Any] | None
"""Whether it is a parameter, and its column or else the number; None for the result before."""

_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "ADD": operator.add,
    "SUB": operator.sub,
    "RSUB": lambda a, b: b - a,
    "MUL": operator.mul,
    "DIV": operator.truediv,
    "RDIV": lambda a, b: b / a,
    "POW": operator.pow,
    "RPOW": lambda a, b: b**a,
}
_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "SIN": math.sin,
    "COS": math.cos,
    "TAN": math.tan,
    "ASIN": math.asin,
    "ACOS": math.acos,
    "ATAN": math.atan,
    "EXP": math.exp,
    "LOG": math.log,
    "ABS": abs,
    "SIGN": lambda a: (a > 0) - (a < 0),
    "CONJ": lambda a: a.conjugate(),
}

_PARTIALS: Mapping[str, Sequence[Callable[[Any, Any], Any]]] = {
    "ADD": (lambda _a, _b: 1, lambda _a, _b: 1),
    "SUB": (lambda _a, _b: 1, lambda _a, _b: -1),
    "RSUB": (lambda _a, _b: -1, lambda _a, _b: 1),
    "MUL": (lambda _a, b: b, lambda a, _b: a),
    "DIV": (lambda _a, b: 1 / b, lambda a, b: -a / b**2),
    "RDIV": (lambda a, b: -b / a**2, lambda a, _b: 1 / a),
    "POW": (lambda a, b: b * a ** (b - 1), lambda a, b: a**b * math.log(a)),
    "RPOW": (lambda a, b: b**a * math.log(b), lambda a, b: a * b ** (a - 1)),
    "SIN": (lambda a, _: math.cos(a),),
    "COS": (lambda a, _: -math.sin(a),),
    "TAN": (lambda a, _: 1 + math.tan(a) ** 2,),
    "ASIN": (lambda a, _: 1 / math.sqrt(1 - a * a),),
    "ACOS": (lambda a, _: -1 / math.sqrt(1 - a * a),),
    "ATAN": (lambda a, _: 1 / (1 + a * a),),
    "EXP": (lambda a, _: math.exp(a),),
    "LOG": (lambda a, _: 1 / a,),
    "ABS": (lambda a, _: a / abs(a),),
    "CONJ": (lambda _a, _b: 1,),
}
"""Derivatives of the operations with respect to their operands."""

_ERRORS = (ZeroDivisionError, ValueError, TypeError, OverflowError)
"""What Python's arithmetic raises where a function has no real value."""


@dataclass(frozen=True)
class Expression:
    """An expression of parameters.

    Attributes:
        text: The expression as Qiskit writes it.
        operations: Names of operations with their operands; those without a first operand take the
            last result, and those without a second one take the last two.
    """

    text: str
    operations: tuple[tuple[str, Operand, Operand], ...]

    @classmethod
    def of(cls, expression: ParameterExpression, columns: Mapping[Any, int]) -> Expression:
        """Return an expression of Qiskit's.

        Args:
            expression: The expression.
            columns: The column of each of its parameters in rows of values.

        Raises:
            InputError: If it has an operation that is not known.
        """
        text = str(expression)
        reader = _Reader(columns, text)
        reader.read(expression)
        return cls(text, tuple(reader.operations))

    @property
    def is_affine(self) -> bool:
        """Whether it is a sum of multiples of parameters and of a number, as it is written."""
        return bool(self._run(lambda operand: int(operand[0]), _degree) <= 1)

    def value(self, values: Sequence[float], where: str = "") -> float:
        """Return the value at values of all columns.

        ``where`` is the place of the values in messages, such as "in row 3".

        Raises:
            InputError: If it is not a finite real number.
        """

        def apply(name: str, a: Any, b: Any) -> Any:
            return _BINARY[name](a, b) if name in _BINARY else _UNARY[name](a)

        def number(operand: tuple[bool, Any]) -> Any:
            return values[operand[1]] if operand[0] else operand[1]

        try:
            found = complex(self._run(number, apply))
        except _ERRORS as error:
            raise self._refused(f"no value {where}".rstrip(), error) from None
        if found.imag != 0 or not math.isfinite(found.real):
            shown = f"{found} {where}".rstrip()
            raise InputError(
                f"circuit: the angle {self.text[:60]} is {shown}, expected a finite real number"
            )
        return found.real

    def derivatives(self, values: Sequence[float], where: str = "") -> dict[int, float]:
        """Return the derivatives by the columns of its parameters; arguments as for :meth:`value`.

        Raises:
            InputError: If one of them does not exist there.
        """

        def apply(name: str, *operands: Any) -> Any:
            if name not in _PARTIALS:
                raise InputError(
                    f"circuit: the angle {self.text[:60]} has no derivative, expected a "
                    "differentiable one for gradients"
                )
            (a, by_a), (b, by_b) = operands[0], operands[1] or (None, {})
            value = _BINARY[name](a, b) if name in _BINARY else _UNARY[name](a)
            total: dict[int, Any] = {}
            for inner, partial in zip((by_a, by_b), _PARTIALS[name], strict=False):
                outer = partial(a, b) if inner else 0
                for column, derivative in inner.items():
                    total[column] = total.get(column, 0) + outer * derivative
            return value, total

        def number(operand: tuple[bool, Any]) -> Any:
            is_parameter, given = operand
            return (values[given], {given: 1.0}) if is_parameter else (given, {})

        try:
            found = {k: complex(d) for k, d in self._run(number, apply)[1].items()}
        except _ERRORS as error:
            raise self._refused(f"no derivative {where}".rstrip(), error) from None
        if any(d.imag != 0 or not math.isfinite(d.real) for d in found.values()):
            raise self._refused(f"no derivative {where}".rstrip(), "it is not finite or not real")
        return {column: found[column].real for column in sorted(found)}

    def _run(
        self, leaf: Callable[[tuple[bool, Any]], Any], apply: Callable[[str, Any, Any], Any]
    ) -> Any:
        """Return the result of all operations, from those of the operands."""
        results: list[Any] = []
        for name, left, right in self.operations:
            b = None
            if name in _BINARY:
                b = results.pop() if right is None else leaf(right)
            a = results.pop() if left is None else leaf(left)
            results.append(apply(name, a, b))
        return results[0]

    def _refused(self, what: str, reason: object) -> InputError:
        return InputError(
            f"circuit: the angle {self.text[:60]} has {what} ({reason}), expected a finite real "
            "number"
        )


class _Reader:
    """Lists the operations of an expression.

    Up to Qiskit 2.1, an operand may be an expression with operations of its own, and an operation
    may put values or expressions in place of parameters of the operations before it.

    Args:
        columns: The column of each parameter.
        text: The whole expression, for messages.

    Attributes:
        operations: The operations, as in :class:`Expression`.
    """

    def __init__(self, columns: Mapping[Any, int], text: str) -> None:
        self._columns, self._text = columns, text
        self.operations: list[tuple[str, Operand, Operand]] = []

    def read(
        self, expression: ParameterExpression, substitutions: Sequence[Mapping[Any, Any]] = ()
    ) -> None:
        """Append the operations of an expression after some substitutions."""
        if isinstance(expression, Parameter):
            operand = self._operand(expression, substitutions)
            self.operations.append(("ADD", operand, (False, 0.0)))
            return
        replay = expression._qpy_replay
        for number, each in enumerate(replay):
            if hasattr(each, "binds"):
                continue
            later = [other.binds for other in replay[number + 1 :] if hasattr(other, "binds")]
            operands = [self._operand(g, [*later, *substitutions]) for g in (each.lhs, each.rhs)]
            self.operations.append((self._name(each.op), operands[0], operands[1]))

    def _operand(self, given: Any, substitutions: Sequence[Mapping[Any, Any]]) -> Operand:
        """Return an operand; None after appending the operations of an expression."""
        if isinstance(given, Parameter):
            for number, binds in enumerate(substitutions):
                if given in binds:
                    return self._operand(binds[given], substitutions[number + 1 :])
            return True, self._columns[given]
        if isinstance(given, ParameterExpression):
            self.read(given, substitutions)
            return None
        return None if given is None else (False, given)

    def _name(self, op: Any) -> str:
        name: str = getattr(op, "name", str(op)).rpartition(".")[2]
        if name not in _BINARY and name not in _UNARY:
            raise InputError(
                f"circuit: the angle {self._text[:60]} has the operation {name[:20]}, expected "
                "sums, products, powers and elementary functions"
            )
        return name


def _degree(name: str, a: int, b: int | None) -> int:
    """Return 0 for a constant, 1 for an affine function of parameters, and 2 for all others."""
    if name in ("ADD", "SUB", "RSUB"):
        return max(a, b or 0)
    if not a and not b:
        return 0
    is_multiple = {"MUL": not a or not b, "DIV": not b, "RDIV": not a, "CONJ": True}
    return max(a, b or 0) if is_multiple.get(name, False) else 2
