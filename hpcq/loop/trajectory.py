"""Trajectories: the evaluations of an optimizer from one starting point, replayed and continued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult

from hpcq.core.errors import InputError
from hpcq.loop.optimizers import Optimizer

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The observable at some parameters.

    Attributes:
        parameters: Values of the parameters.
        value: Value of the observable.
        error: Its standard error; 0 if it is exact.
        gradient: Its derivatives; None if they were not asked for.
    """

    parameters: Rows
    value: float
    error: float
    gradient: Rows | None


Evaluator = Callable[[Rows], Evaluation]
"""Evaluates the observable at some parameters."""


def as_table(evaluations: Sequence[Evaluation], num_parameters: int) -> Rows:
    """Return evaluations as rows: value, standard error, parameters, and gradient if there is one.

    All of them have a gradient, or none.
    """
    rows = [
        np.concatenate([[each.value, each.error], each.parameters, _columns(each.gradient)])
        for each in evaluations
    ]
    return np.array(rows) if rows else np.empty((0, 2 + num_parameters))


def from_table(table: Rows, num_parameters: int) -> list[Evaluation]:
    """Return the evaluations in rows that :func:`as_table` returned."""
    end = 2 + num_parameters
    return [
        Evaluation(row[2:end], float(row[0]), float(row[1]), row[end:] if len(row) > end else None)
        for row in table
    ]


def _columns(gradient: Rows | None) -> Rows:
    return np.empty(0) if gradient is None else gradient


class _LimitError(Exception):
    """The maximum number of evaluations was reached; ends an optimizer, and is caught."""


@dataclass(frozen=True, eq=False)
class Start:
    """One starting point of a loop.

    Attributes:
        optimizer: The optimizer.
        number: Number of the start, for messages.
        x0: The starting point.
        seed: Seed of the loop, from which the random numbers of all its starts follow.
        max_evaluations: Maximum number of evaluations; None for the optimizer's own.
    """

    optimizer: Optimizer
    number: int
    x0: Rows
    seed: int
    max_evaluations: int | None = None

    def minimize(
        self,
        evaluations: list[Evaluation],
        evaluate: Evaluator,
        callback: Callable[..., object] | None = None,
        on_new: Callable[[Evaluation], object] = lambda _: None,
    ) -> OptimizeResult:
        """Minimise from the starting point, after replaying evaluations through the optimizer.

        Args:
            evaluations: All evaluations so far; new ones are appended.
            evaluate: Evaluates the observable. An error that it raises ends the optimizer.
            callback: Called after each iteration, replayed ones included.
            on_new: Called after each new evaluation.

        Returns:
            scipy's result, with the number of evaluations of this start as ``evaluations`` and the
            standard error of its value as ``standard_error``.

        Raises:
            InputError: If the optimizer asks for other parameters than those that are stored, or
                refuses an argument.
        """
        asked = 0

        def at(x: Rows) -> Evaluation:
            nonlocal asked
            asked += 1
            if not np.isfinite(x).all():
                raise InputError(
                    f"optimizer: after {asked - 1} evaluations of start {self.number}, "
                    f"{self.optimizer.name} asks for parameters that are not finite, because "
                    "values or gradients are too large for it; expected another optimizer or x0, "
                    "or an observable of smaller coefficients"
                )
            if asked <= len(evaluations):
                self._check_same(evaluations[asked - 1], x, asked - 1)
            else:
                evaluations.append(evaluate(x))
                on_new(evaluations[-1])
            return evaluations[asked - 1]

        def function(x: Rows) -> tuple[float, Rows | None]:
            if self.max_evaluations is not None and asked >= self.max_evaluations:
                raise _LimitError
            found = at(x)
            return found.value, None if found.gradient is None else found.gradient.copy()

        rng = np.random.default_rng([self.seed, self.number])
        try:
            result = self.optimizer.minimize(function, self.x0, rng, callback)
        except _LimitError:
            reason = f"the maximum number of evaluations, {self.max_evaluations}, was reached"
            result = self._ended(evaluations[:asked], 1, reason)
        except StopIteration:  # of a callback; scipy's TNC does not catch it
            result = self._ended(evaluations[:asked], 99, "the callback raised StopIteration")
        found = _find(evaluations[:asked], result.x) or at(np.array(result.x, dtype=float))
        return self._completed(result, found, asked)

    def _ended(self, evaluations: list[Evaluation], status: int, reason: str) -> OptimizeResult:
        """Return the result of an optimizer that was ended, at the lowest value within bounds.

        Optimizers that do not start within bounds, or take them for constraints, leave them.
        """
        allowed = [each for each in evaluations if self.optimizer.allows(each.parameters)]
        best = min(allowed or evaluations, key=lambda each: each.value)
        x = best.parameters.copy()
        return OptimizeResult(
            x=x, success=False, status=status, nfev=len(evaluations), message=reason
        )

    def _completed(self, result: OptimizeResult, found: Evaluation, asked: int) -> OptimizeResult:
        """Return a result with the numbers of the evaluation at its parameters."""
        more: dict[str, Any] = {} if found.gradient is None else {"jac": found.gradient.copy()}
        result.update(
            fun=found.value,
            message=_text(result.message),
            evaluations=asked,
            standard_error=found.error,
            start=self.number,
            **more,
        )
        return result

    def _check_same(self, stored: Evaluation, x: Rows, number: int) -> None:
        if stored.parameters.tobytes() == x.tobytes():
            return
        difference = np.max(np.abs(stored.parameters - x))
        raise InputError(
            f"output: at evaluation {number} of start {self.number}, {self.optimizer.name} asks "
            f"for parameters that differ by {difference:.2g} from the stored ones, as another kind "
            "of processor or a callback may cause; expected the same, or another file"
        )


def _find(evaluations: Sequence[Evaluation], x: Rows) -> Evaluation | None:
    """Return the last evaluation at some parameters; None if there is none."""
    content = np.asarray(x, dtype=float).tobytes()
    matching = (each for each in reversed(evaluations) if each.parameters.tobytes() == content)
    return next(matching, None)


def _text(message: Any) -> str:
    return message.decode() if isinstance(message, bytes) else str(message)
