"""Optimizers are ended alike, whatever scipy does: within bounds, and by StopIteration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpcq.core.errors import InputError
from hpcq.loop.optimizers import OPTIMIZERS, Optimizer
from hpcq.loop.trajectory import Evaluation, Start


def quadratic(x: np.ndarray) -> Evaluation:
    return Evaluation(x.copy(), float(x @ x), 0.0, 2 * x)


def start(name: str, limit: int | None = None, **how: Any) -> Start:
    return Start(Optimizer(name, **how), 0, np.array([0.9, -0.7]), 0, limit)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_callback_ends_the_optimizer_by_stop_iteration(name: str) -> None:
    def stop(*_: object, **__: object) -> None:
        raise StopIteration

    evaluations: list[Evaluation] = []
    found = start(name).minimize(evaluations, quadratic, stop)
    assert found.evaluations == len(evaluations)
    assert "callback" in found.message


@pytest.mark.parametrize("name", ["COBYLA", "SPSA", "trust-constr", "L-BFGS-B"])
def test_the_limit_ends_an_optimizer_at_its_best_point_within_bounds(name: str) -> None:
    evaluations: list[Evaluation] = []
    bounds = [(0.4, 1.0), (-0.75, 0.1)]
    found = start(name, 12, bounds=bounds).minimize(evaluations, quadratic)
    least, greatest = np.transpose(bounds)
    within = [
        each
        for each in evaluations
        if ((least <= each.parameters) & (each.parameters <= greatest)).all()
    ]
    assert found.fun == min(each.value for each in within)


def test_parameters_that_are_not_finite_are_named() -> None:
    def steep(x: np.ndarray) -> Evaluation:
        return Evaluation(x.copy(), float(x[0]), 0.0, np.full(2, 1e300))

    with pytest.raises(
        InputError, match="optimizer: after 1 evaluations of start 0, L-BFGS-B asks"
    ):
        start("L-BFGS-B").minimize([], steep)
