"""A loop before it runs: plan, optimizer and starting points, and what identifies them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcq.circuits.assignment import ParameterNames
from hpcq.core.errors import InputError
from hpcq.core.limits import as_integer
from hpcq.core.strict_json import digest
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.exact.kind import exact_fingerprint
from hpcq.kinds.parameters.run import fingerprint_of_rows
from hpcq.kinds.shots.records import shots_fingerprint
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.loop.evaluators import check_plan_of_loop
from hpcq.loop.optimizers import DEFAULT, DEFAULT_WITH_SHOTS, Optimizer
from hpcq.loop.trajectory import Rows, Start
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.plan import Plan
from hpcq.runs.arguments import RunArguments

MAX_STARTS = 100_000
"""Maximum number of starts; rank 0 keeps the evaluations of all of them."""

_BUDGET_KEYS = ("shots", "standard_error", "max_variants")
"""Keys of the configuration that decide which shots an evaluation takes."""


@dataclass(frozen=True, eq=False)
class LoopRequest:
    """What is asked for, apart from the plan.

    Attributes:
        x0: The first starting points: values of the parameters, in rows or by name; a number for
            all of them; or None.
        optimizer: Name of the optimizer; None for the default.
        starts: Number of starting points.
        max_evaluations: Maximum number of evaluations of each start; None for the optimizer's own.
        options: Options of the optimizer; None for none.
        bounds: Bounds of the parameters, as scipy takes them.
        tol: Tolerance for termination.
    """

    x0: Any = None
    optimizer: str | None = None
    starts: int = 1
    max_evaluations: int | None = None
    options: Mapping[str, Any] | None = None
    bounds: Any = None
    tol: float | None = None


@dataclass(frozen=True, eq=False)
class LoopProblem:
    """A loop that is ready to begin.

    Attributes:
        plan: The plan.
        arguments: Device, noise and backend of the evaluations.
        optimizer: The optimizer.
        initial: Starting points, shape (starts, parameters).
        max_evaluations: Maximum number of evaluations of each start; None for the optimizer's own.
    """

    plan: Plan
    arguments: RunArguments
    optimizer: Optimizer
    initial: Rows
    max_evaluations: int | None = None

    @classmethod
    def of(cls, plan: Plan, request: LoopRequest, arguments: RunArguments) -> LoopProblem:
        """Return the loop that is asked for.

        Raises:
            InputError: If the plan has no free parameters or several observables, or an argument is
                wrong.
        """
        check_plan_of_loop(plan)
        only_with_shots = [
            name for name in ("noise", "backend", "engine") if getattr(arguments, name) is not None
        ]
        if only_with_shots and isinstance(plan, ExactPlan):
            names = ", ".join(only_with_shots)
            raise InputError(f"{names}: given for exact values, expected shots or target_error too")
        default = DEFAULT_WITH_SHOTS if isinstance(plan, ShotsPlan) else DEFAULT
        name = default if request.optimizer is None else request.optimizer
        options = {} if request.options is None else request.options
        optimizer = Optimizer(name, options, request.bounds, request.tol)
        optimizer.check(len(plan.parameters))
        limit = request.max_evaluations
        if limit is not None:
            limit = as_integer(limit, "max_evaluations", 1)
        initial = _starting_points(plan, request)
        return cls(plan, arguments, optimizer, initial, limit)

    @property
    def num_starts(self) -> int:
        """Number of starting points."""
        return len(self.initial)

    @property
    def num_parameters(self) -> int:
        """Number of parameters."""
        return int(self.initial.shape[1])

    @property
    def seed(self) -> int:
        """Seed from which all random numbers of the optimizer follow."""
        return int(self.plan.config["seed"])

    def start(self, number: int) -> Start:
        """Return one of the starts."""
        x0 = self.initial[number]
        return Start(self.optimizer, number, x0, self.seed, self.max_evaluations)

    @property
    def fingerprint(self) -> dict[str, str]:
        """What must be the same for a file to be continued, as digests and short texts.

        The maximum number of evaluations may change: a larger one continues the trajectory.
        """
        return {
            **self._of_plan(),
            **self.optimizer.fingerprint,
            "starts": str(self.num_starts),
            "x0": digest(self.initial.tolist()),
        }

    def _of_plan(self) -> dict[str, str]:
        plan, slots = self.plan, self.plan.slots
        assert slots is not None, "the plan has free parameters"
        parameters = fingerprint_of_rows(slots, np.empty((0, self.num_parameters)))
        if isinstance(plan, ExactPlan):
            return {**exact_fingerprint(plan), **parameters, "seed": str(self.seed)}
        assert isinstance(plan, ShotsPlan), "plans of other kinds have no programs"
        given = self.arguments
        engine_spec = EngineSpec.of(given.noise, given.backend, given.engine)
        budget = {name: str(plan.config[name]) for name in _BUDGET_KEYS}
        return {**shots_fingerprint(plan, plan.sampling, engine_spec), **parameters, **budget}

    @property
    def options(self) -> dict[str, Any]:
        """The options of the optimizer, as plain JSON values, for the file."""
        bounds = self.optimizer.bounds
        given = {
            "bounds": None if bounds is None else json.loads(json.dumps(bounds)),
            "tol": self.optimizer.tol,
            "max_evaluations": self.max_evaluations,
        }
        stated = {name: value for name, value in given.items() if value is not None}
        return {**self.optimizer.options, **stated}


def _starting_points(plan: Plan, request: LoopRequest) -> Rows:
    """Return the starting points: those that are given, and random ones.

    A random one is uniform in [-pi, pi), and depends on its number and the seed of the plan alone.

    Raises:
        InputError: If values are missing or wrong, or there are more of them than starts.
    """
    starts = as_integer(request.starts, "starts", 1)
    if starts > MAX_STARTS:
        raise InputError(f"starts: {str(starts)[:40]}, expected at most {MAX_STARTS}")
    given = request.x0
    if isinstance(given, (int, float, np.ndarray, np.generic)) and np.ndim(given) == 0:
        number = np.asarray(given)
        if number.dtype.kind in "fiu":
            given = np.full(len(plan.parameters), float(number))
    known = np.empty((0, len(plan.parameters)))
    if given is not None:
        parameters = () if plan.parametrised is None else plan.parametrised.circuit.parameters
        known = ParameterNames(plan.parameters, "x0", parameters).table(given)
    if len(known) > starts:
        raise InputError(f"x0: {len(known)} rows for {starts} starts, expected at most one each")
    random = [
        np.random.default_rng([plan.config["seed"], number, 1]).uniform(
            -math.pi, math.pi, len(plan.parameters)
        )
        for number in range(len(known), starts)
    ]
    return np.concatenate([known, np.reshape(random, (-1, len(plan.parameters)))])
