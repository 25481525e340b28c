"""The options of a sampler: those of a plan for outcomes, and of a run that keeps no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from inspect import signature
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.limits import as_integer
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.outcome_planner import plan_outcomes
from hpcq.primitives.options import chosen_session
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.run import run_on_farm
from hpcq.runs.session import Session

_ASKED = frozenset({"shots", "probabilities", "marginals", "top"})
"""Arguments of :func:`hpcq.plan_outcomes` that say what is wanted, as the pubs do."""

_PLANNING = frozenset(list(signature(plan_outcomes).parameters)[1:]) - _ASKED
_RUNNING = frozenset({"device", "engine"})
_DEVICES = frozenset({"noise", "backend"})
_OF_RUNS = frozenset(field.name for field in fields(RunArguments)) - _RUNNING - _DEVICES


@dataclass(frozen=True)
class SamplerOptions:
    """The options of a sampler.

    Attributes:
        planning: Options of :func:`hpcq.plan_outcomes`.
        running: Options of a run.
        session: The session whose ranks compute; None for this process alone.
    """

    planning: Mapping[str, Any] = field(default_factory=dict)
    running: RunArguments = field(default_factory=RunArguments)
    session: Session | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SamplerOptions:
        """Return the options among keyword arguments.

        Raises:
            InputError: If one of them is only for runs that keep files, or asks for a device.
            TypeError: If there is no such option.
        """
        given = {name: value for name, value in options.items() if value is not None}
        for name in options:
            if name in _DEVICES and name in given:
                raise InputError(
                    f"{name}: given to a Sampler, but there are no samples of cut circuits from "
                    "devices: shots of the subcircuits give estimates of probabilities, with "
                    "error bars, and no samples of the whole; expected an Estimator"
                )
            if name in _OF_RUNS:
                raise InputError(
                    f"{name}: given to a Sampler, which keeps no files, expected only with hpcq.run"
                )
            if name in _ASKED:
                raise InputError(f"{name}: given to a Sampler, expected it in its pubs or its run")
            if name not in _PLANNING | _RUNNING | _DEVICES | {"session"}:
                raise TypeError(f"Sampler() got an unexpected keyword argument {name!r}")
        planning = {name: value for name, value in given.items() if name in _PLANNING}
        planning["seed"] = as_integer(planning.get("seed", 0), "seed", 0)
        session = chosen_session(given)
        if session is not None:
            planning.setdefault("ranks", session.size)
        running = RunArguments(**{name: given[name] for name in _RUNNING & given.keys()})
        return cls(planning, running, session)

    @property
    def seed(self) -> int:
        """The seed of the searches and of the samples."""
        seed: int = self.planning["seed"]
        return seed

    def run(self, plan: OutcomesPlan) -> Result:
        """Run a plan."""
        if self.session is None:
            return run_on_farm(plan, SerialFarm(), RunOptions(self.running))
        return self.session.run(plan, device=self.running.device, engine=self.running.engine)
