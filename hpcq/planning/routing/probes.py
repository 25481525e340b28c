"""Probes: methods that may answer a part, tried with a budget of work."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from hpcq.core.errors import EngineError
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.engines.protocol import Cost, Engine, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Values
from hpcq.planning.machine_speeds import Speeds


@dataclass(frozen=True, eq=False)
class Prober:
    """Tries engines on parts of a problem.

    Attributes:
        limits: Limits of a rank.
        speeds: Speeds by which seconds become work.
        tolerance: Absolute error that a string's value may have.
        spent: Seconds for each engine that probes without an answer were given, for messages.
    """

    limits: Limits
    speeds: Speeds
    tolerance: float
    spent: dict[str, float] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        """Return an engine by its name."""
        return open_engine(EngineSpec(name), self.limits, "cpu")

    def supports(self, name: str, tensor: ExactTensor) -> Cost | Refusal:
        """Return the predicted cost of all strings of a part, or why an engine refuses them."""
        answer = self.engine(name).supports(tensor, Values(tensor.strings))
        if isinstance(answer, Refusal):
            return answer
        return replace(answer, seconds=self._slowness * answer.seconds)

    def named(self, name: str, tensor: ExactTensor) -> Simulation | Refusal:
        """Return the simulation by a method that was asked for, whatever its error."""
        cost = self.supports(name, tensor)
        if isinstance(cost, Refusal):
            return cost
        return Simulation(name, cost.seconds, cost.memory_bytes)

    def probe(self, name: str, tensor: ExactTensor, seconds: float) -> Simulation | None:
        """Return the simulation with its answer; None if the budget is too small for it.

        The budget is in seconds of a machine with the speeds of the plan.
        """
        engine = self.engine(name)
        cost = engine.supports(tensor, Values(tensor.strings))
        if isinstance(cost, Refusal):
            return None
        max_work = seconds / (engine.work_seconds * self._slowness)
        request = Values(tensor.strings, 0, self.tolerance, max_work)
        try:
            (answer,) = engine.prepared(tensor).execute(NO_PARAMETERS, request)
        except EngineError:
            return None
        if not np.isfinite(answer).all():
            self.spent[name] = self.spent.get(name, 0.0) + seconds
            return None
        return Simulation(
            name, seconds, cost.memory_bytes, 0, self.tolerance, max_work, answer=answer
        )

    @property
    def _slowness(self) -> float:
        """How many times slower this machine is than a usual one."""
        return self.speeds.amplitude_gate / Speeds.amplitude_gate


def string_tolerance(error_tolerance: float, parts_of_terms: int) -> float:
    """Return the absolute error that the value of a string on one part may have.

    The value of a term is a product over its parts, each at most 1, so errors of d on k of them
    change it by at most (1 + d)**k - 1.
    """
    return math.expm1(math.log1p(error_tolerance) / max(1, parts_of_terms))
