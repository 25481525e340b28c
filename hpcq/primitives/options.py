"""The options of an estimator: those of a plan, and those of a run that keeps no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hpcq.core.errors import InputError
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.planning.problem import Budget
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.plan_arguments import PLAN_OPTIONS
from hpcq.runs.run import run_on_farm
from hpcq.runs.session import Session, current_session

_DEVICE_PRECISION = 1 / 64
"""Default target error with noise or a backend, that of Qiskit's BackendEstimatorV2."""

_OLD_SPELLINGS = frozenset({"partition", "standard_error", "precision"})
"""Deprecated arguments of :func:`hpcq.plan`, which an Estimator does not take."""

_PLANNING = PLAN_OPTIONS - _OLD_SPELLINGS
_RUNNING = frozenset({"device", "engine", "noise", "backend"})
_OF_RUNS = frozenset(field.name for field in fields(RunArguments)) - _RUNNING

_SAMPLED = ("shots", "target_error", "noise", "backend")
"""Options with any of which values are estimated from shots."""


@dataclass(frozen=True)
class EstimatorOptions:
    """The options of an estimator.

    Attributes:
        planning: Options of :func:`hpcq.plan`, without shots and target error.
        running: Options of a run with shots.
        shots: Shots of an evaluation; with a target error, their maximum.
        default_precision: Target error of pubs without a precision; 0 for exact values, or if the
            shots decide.
        is_sampled: Whether values are estimated from shots.
        session: The session whose ranks compute; None for this process alone.
    """

    planning: Mapping[str, Any] = field(default_factory=dict)
    running: RunArguments = field(default_factory=RunArguments)
    shots: int | None = None
    default_precision: float = 0.0
    is_sampled: bool = False
    session: Session | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> EstimatorOptions:
        """Return the options among keyword arguments.

        Raises:
            InputError: If one of them is only for runs that keep files, or needs shots.
            TypeError: If there is no such option.
        """
        for name in options:
            if name in _OF_RUNS:
                raise InputError(
                    f"{name}: given to an Estimator, which keeps no files, expected only with "
                    "hpcq.run"
                )
            if name not in _PLANNING | _RUNNING | {"session"}:
                raise TypeError(f"Estimator() got an unexpected keyword argument {name!r}")
        given = {name: value for name, value in options.items() if value is not None}
        is_sampled = any(name in given for name in _SAMPLED)
        if "engine" in given and not is_sampled:
            raise InputError("engine: given without shots, expected them too")
        shots, target_error = given.get("shots"), given.get("target_error")
        if target_error is None and is_sampled and shots is None:
            target_error = _DEVICE_PRECISION
        # Wrong numbers are refused here, not by each job.
        budget = Budget.of(shots, target_error, given.get("max_variants"))
        default = 0.0 if budget is None else budget.target_error or 0.0
        planning = {
            name: value
            for name, value in given.items()
            if name in _PLANNING and name not in ("shots", "target_error")
        }
        session = chosen_session(given)
        if session is not None:
            planning.setdefault("ranks", session.size)
        running = RunArguments(**{name: given[name] for name in _RUNNING & given.keys()})
        return cls(planning, running, shots, default, is_sampled, session)

    def budget(self, precision: float) -> dict[str, Any]:
        """Return shots and target error of evaluations with a precision, as options of a plan.

        Raises:
            InputError: If there is neither.
        """
        if not self.is_sampled:
            return {}
        if precision == 0 and self.shots is None:
            raise InputError(
                "precision: 0 for estimates from shots, expected a number above 0, or shots"
            )
        return {"shots": self.shots, "target_error": precision or None}

    def compile(self, plan: Plan) -> CompiledPlan:
        """Return the program of a plan for exact values."""
        if self.session is not None:
            return self.session.compile(plan, self.running.device)
        return plan.compile(device=self.running.device)

    def run(self, plan: Plan) -> Result:
        """Run a plan with shots."""
        if self.session is None:
            return run_on_farm(plan, SerialFarm(), RunOptions(self.running))
        options = {name: getattr(self.running, name) for name in _RUNNING}
        return self.session.run(plan, **options)


def chosen_session(given: Mapping[str, Any]) -> Session | None:
    """Return the session among options, or else the open one; None for this process alone.

    Raises:
        InputError: If it is none.
    """
    session = given.get("session", current_session())
    if session is not None and not isinstance(session, Session):
        raise InputError(f"session: a {type(session).__name__}, expected an hpcq.Session")
    return session
