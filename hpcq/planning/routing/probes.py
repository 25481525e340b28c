"""Probes: tries of methods on a part, with a budget of work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpcq.core.errors import EngineError
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.engines.protocol import Cost, Engine, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Values
from hpcq.planning.machine_speeds import Speeds

PROBED = ("pauli", "mps")
"""Methods whose cost is known only when they are tried. Pauli propagation comes first: it starts at
once, while planning a matrix-product-state simulation may take 0.2 s."""

_CAPS = {"pauli": 1 << 22, "mps": 1024}
"""Maximum number of Pauli terms, and maximum bond dimension. Most probes reach their budget before
these."""

_UNLIMITED = 1 << 40
"""Maximum bond dimension for a simulation without truncation, which no bond reaches."""

_ROUNDING = 1e-10
"""Bound on the error of a matrix product state without truncation: about 1e-14 for each step."""

_MIN_CAP = 16
"""Cap above which a probe that exceeds the memory is tried again with a quarter of it."""


@dataclass(frozen=True, eq=False)
class Prober:
    """Tries engines on parts of a problem.

    Attributes:
        limits: Limits of a rank.
        speeds: Speeds by which seconds become work.
        tolerance: Absolute error that a string's value may have.
        given_up: Why a method gave up a part, by method, content and budget.
    """

    limits: Limits
    speeds: Speeds
    tolerance: float
    given_up: dict[tuple[str, str, float], Refusal] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        """Return an engine by its name."""
        return open_engine(EngineSpec(name), self.limits, "cpu")

    def supports(self, name: str, tensor: ExactTensor) -> Cost | Refusal:
        """Return the predicted cost of all strings of a part, or why an engine refuses them."""
        answer = _supports(self.engine(name), tensor, Values(tensor.strings))
        if isinstance(answer, Refusal):
            return answer
        return replace(answer, seconds=self._slowness * answer.seconds)

    def repeated(
        self, name: str, tensor: ExactTensor, cap: int, tolerance: float | None, work: float | None
    ) -> Simulation:
        """Return the simulation on which an earlier start of the run decided."""
        cost = self.supports(name, tensor)
        if isinstance(cost, Refusal):
            raise ValueError(cost.reason)
        max_work = math.inf if work is None else work
        return Simulation(name, cost.seconds, cost.memory_bytes, cap, tolerance, max_work)

    def without_truncation(self, tensor: ExactTensor) -> Simulation | None:
        """Return the simulation by a matrix product state that need not drop anything.

        Its predicted seconds are an upper bound, as its bonds may be smaller than their static
        bounds. None if it does not fit into the memory, or if rounding errors alone may exceed the
        tolerance.
        """
        cost = _supports(self.engine("mps"), tensor, Values(tensor.strings, _UNLIMITED))
        if isinstance(cost, Refusal) or self.tolerance < _ROUNDING:
            return None
        seconds = self._slowness * cost.seconds
        return Simulation("mps", seconds, cost.memory_bytes, _UNLIMITED, self.tolerance)

    def first_answer(
        self,
        tensor: ExactTensor,
        budgets: Iterable[float],
        notes: dict[str, str],
        names: Sequence[str] = PROBED,
    ) -> Simulation | None:
        """Try each method with each budget in turn, until one answers within the tolerance.

        The reasons of methods that do not answer are added to the notes.
        """
        for budget in budgets:
            for name in names:
                key = (name, tensor.subcircuit.content, budget)
                found = self.given_up.get(key) or self.probe(name, tensor, budget)
                if isinstance(found, Simulation):
                    return found
                self.given_up[key] = found
                notes[name] = found.reason
        return None

    def probe(self, name: str, tensor: ExactTensor, seconds: float) -> Simulation | Refusal:
        """Return the simulation with its answer, or why there is none within the budget.

        The budget is in seconds of a machine with the speeds of the plan.
        """
        engine = self.engine(name)
        max_work = seconds / self._work_seconds(engine)
        request = Values(tensor.strings, _CAPS[name], self.tolerance, max_work)
        cost = _supports(engine, tensor, request)
        while isinstance(cost, Refusal) and request.cap > _MIN_CAP:  # it may exceed the memory
            request = replace(request, cap=request.cap // 4)
            cost = _supports(engine, tensor, request)
        return cost if isinstance(cost, Refusal) else self._answered(name, tensor, request, cost)

    def named(self, name: str, tensor: ExactTensor, seconds: float) -> Simulation | Refusal:
        """Return the simulation by a method that is asked for, whatever its error.

        The cost of a probed method is hard to predict, so it is tried with a budget in seconds; if
        it answers, the simulation has the answer.
        """
        engine = self.engine(name)
        request = Values(tensor.strings)
        cost = _supports(engine, tensor, request)
        if isinstance(cost, Refusal):
            return cost
        if name in PROBED:
            max_work = seconds / self._work_seconds(engine)
            quick = self._answered(name, tensor, replace(request, max_work=max_work), cost)
            if isinstance(quick, Simulation):
                return replace(quick, max_work=math.inf)
        return Simulation(name, self._slowness * cost.seconds, cost.memory_bytes)

    def _answered(
        self, name: str, tensor: ExactTensor, request: Values, cost: Cost
    ) -> Simulation | Refusal:
        """Return the simulation with its answer, or why there is none within work and tolerance."""
        engine = self.engine(name)
        try:
            (answer,) = engine.prepared(tensor).execute(NO_PARAMETERS, request)
        except EngineError as error:
            return Refusal(str(error))
        seconds = request.max_work * self._work_seconds(engine)
        if not np.isfinite(answer).all():
            return Refusal(f"no answer in {seconds:.2g} s of work")
        how = (request.cap, request.tolerance, request.max_work)
        return Simulation(name, seconds, cost.memory_bytes, *how, answer=answer)

    def _work_seconds(self, engine: Engine) -> float:
        """Return the seconds of a unit of an engine's work at the speeds of the plan."""
        return engine.work_seconds * self._slowness

    @property
    def _slowness(self) -> float:
        """How many times slower this machine is than a usual one."""
        return self.speeds.amplitude_gate / Speeds.amplitude_gate


def _supports(engine: Engine, tensor: ExactTensor, request: Values) -> Cost | Refusal:
    """Return the predicted cost of a part, or why an engine refuses it."""
    if tensor.slots:
        return Refusal("its gates depend on free parameters, which needs statevectors")
    return engine.supports(tensor, request)


def string_tolerance(error_tolerance: float, parts_of_terms: int) -> float:
    """Return the absolute error that the value of a string on one part may have.

    The value of a term is a product over its parts, each at most 1, so errors of d on k of them
    change it by at most (1 + d)**k - 1.
    """
    return math.expm1(math.log1p(error_tolerance) / max(1, parts_of_terms))
