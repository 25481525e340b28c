"""The router: decides, cheapest tests first, by which method each part of a problem is answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.engines.protocol import Refusal
from hpcq.parallel.serial import Farm
from hpcq.planning import cost as costs
from hpcq.planning.candidates import Candidate, cut_parts
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, assemble, distinct_tensors
from hpcq.planning.problem import Problem
from hpcq.planning.routing.probes import Prober, string_tolerance
from hpcq.planning.verdict import Alternative, MethodRequest, Verdict
from hpcq.reconstruction.term_table import tabulate

_QUICK_SECONDS = 0.03
"""Predicted seconds of a statevector from which other methods are considered. Larger: fewer
decisions, but more that are slower than need be."""

_QUICK_CONES_SECONDS = 0.15
"""The same for the separate light cones of the observables, all together."""

_FIRST_BUDGETS = (0.03, 0.12)
"""Seconds of the probes of each method before a search for cuts."""

_BUDGET_FACTOR = 4.0
"""Ratio of successive budgets. Smaller: more probes are given up; larger: the last one may take
longer than another method would."""

_SHARE_OF_CERTAIN = 0.5
"""Largest budget of a probe, relative to the seconds of a method that is certain to answer."""

_SEARCHES = 2.0
"""Budget of the last probe of each method where no other one answers, in search seconds."""

_MAX_WIDTH = 20
"""Width limit in qubits of the search for cuts, next to the one that the memory sets."""


@dataclass(frozen=True, eq=False)
class _Parts:
    """The parts of a circuit that no gate joins.

    Attributes:
        simplified: The circuit after its passes.
        cut: The parts as subcircuits without ports.
        tensors: The distinct ones of them, with their strings.
        uses: For each part, the index of its tensor.
        most: Largest number of parts that a term acts on.
    """

    simplified: SimplifiedCircuit
    cut: CutCircuit
    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    most: int

    @classmethod
    def of(cls, problem: Problem, simplified: SimplifiedCircuit) -> _Parts:
        """Return the parts of a simplified circuit."""
        cut = cut_circuit(simplified.analysis, Cuts(), simplified.labels)
        terms = tabulate(problem.observables, cut, simplified.cone_of)
        tensors, uses = distinct_tensors(cut, terms)
        return cls(simplified, cut, tensors, uses, max(map(len, terms.picks)))


def route(
    problem: Problem, asked: MethodRequest, request: CutRequest, farm: Farm | None = None
) -> ExactPlan:
    """Return the plan of a problem for which nothing says where to cut.

    Call it on rank 0 only; the ranks of ``farm`` share the search for cuts.

    Raises:
        InputError: If the method that is asked for cannot answer, or if no method can.
    """
    router = _Router(problem, asked, request, farm)
    if asked.method == "auto":
        return router.choose()
    if asked.method == "statevector":
        return router.statevector()
    if asked.method == "cut":
        return router.cut()
    return router.named(asked.method)


class _Router:
    """Decides for one problem; see :func:`route` for the arguments."""

    def __init__(
        self, problem: Problem, asked: MethodRequest, request: CutRequest, farm: Farm | None
    ) -> None:
        self._problem, self._asked, self._request, self._farm = problem, asked, request, farm
        self._certain: dict[str, float] = {}
        self._notes: dict[str, str] = {}

    def choose(self) -> ExactPlan:
        """Return the plan by the quickest method with an error bound within the tolerance."""
        problem = self._problem
        whole = problem.simplifier.unchanged
        if problem.uncut_statevector_seconds < _QUICK_SECONDS:
            return self._uncut(whole, {}, "a statevector is quick")
        joint = _Parts.of(problem, problem.simplifier.unmerged_cone)
        prober = self._prober(joint.most)
        separate = self._quick_cones(prober)
        if separate is not None:
            return separate
        simulations: dict[str, Simulation] = {}
        hard = [
            tensor
            for tensor in joint.tensors
            if not self._is_simple(tensor, prober, simulations)
            and not self._probe(tensor, prober, _FIRST_BUDGETS, simulations)
        ]
        if hard:
            return self._with_hard_parts(joint, hard, prober, simulations)
        return self._uncut(joint.simplified, simulations, "the quickest for each part")

    def statevector(self) -> ExactPlan:
        """Return the plan by statevectors: of the parts, or of separate light cones if quicker."""
        simplifier = self._problem.simplifier
        plans, errors = [], []
        for simplified in (simplifier.unmerged_cone, simplifier.separate_unmerged_cones):
            if simplified is None:
                continue
            try:
                plans.append(self._uncut(simplified, {}, "asked for"))
            except MemoryLimitError as error:
                errors.append(error)
        if not plans:
            raise errors[0]
        return min(plans, key=lambda plan: plan.cost.predicted_seconds(self._request.ranks))

    def named(self, name: str) -> ExactPlan:
        """Return the plan by the named method for all parts, whatever its error."""
        parts = _Parts.of(self._problem, self._problem.simplifier.unmerged_cone)
        prober = self._prober(parts.most)
        simulations = {}
        for number, tensor in enumerate(parts.tensors):
            simulation = prober.named(name, tensor)
            if isinstance(simulation, Refusal):
                where = f" of part {number}" if len(parts.tensors) > 1 else ""
                raise InputError(
                    f"method: {name!r} cannot answer{where}: {simulation.reason}; expected another "
                    "method, or auto"
                )
            simulations[tensor.subcircuit.content] = simulation
        return self._uncut(parts.simplified, simulations, "asked for")

    def cut(self) -> ExactPlan:
        """Return the plan with the best cuts that are found."""
        best = self._best_cuts((), {})
        if best is None:
            raise MemoryLimitError(
                "method: 'cut', but no cuts were found that fit into the memory; expected "
                "--max-qubits, more memory, or another method"
            )
        return replace(best.plan, verdict=Verdict("cut", "asked for"))

    # ---------------------------------------------------------------------------- parts

    def _quick_cones(self, prober: Prober) -> ExactPlan | None:
        """Return the plan by statevectors of separate light cones, if that is quick."""
        cones = self._problem.simplifier.separate_unmerged_cones
        if cones is None:
            return None
        widest = max(_width_of_cones(cones))
        if self._problem.limits.amplitude_bytes << widest > self._problem.limits.memory_bytes:
            return None
        seconds = 0.0
        simulations: dict[str, Simulation] = {}
        parts = _Parts.of(self._problem, cones)
        for tensor in parts.tensors:
            if not self._is_simple(tensor, prober, simulations):
                seconds += self._statevector_seconds(tensor)
        if seconds > _QUICK_CONES_SECONDS:
            self._certain["cones"] = seconds
            return None
        return self._uncut(cones, simulations, "light cones are narrow")

    def _is_simple(
        self, tensor: ExactTensor, prober: Prober, simulations: dict[str, Simulation]
    ) -> bool:
        """Whether a part needs no probe: its statevector is quick, or its gates are Clifford."""
        if self._statevector_seconds(tensor) < _QUICK_SECONDS:
            return True
        cost = prober.supports("stabilizer", tensor)
        if isinstance(cost, Refusal):
            self._notes["stabilizer"] = cost.reason
            return False
        found = Simulation("stabilizer", cost.seconds, cost.memory_bytes)
        simulations[tensor.subcircuit.content] = found
        return True

    def _probe(
        self,
        tensor: ExactTensor,
        prober: Prober,
        budgets: Sequence[float],
        simulations: dict[str, Simulation],
        certain: float = math.inf,
    ) -> bool:
        """Whether a method answers a part with one of these budgets, in seconds for each method."""
        certain = min(certain, self._statevector_seconds(tensor))
        names = _in_order(tensor, prober)
        for budget in budgets:
            if budget > _SHARE_OF_CERTAIN * certain:
                break
            for name in names:
                found = prober.probe(name, tensor, budget)
                if found is not None:
                    simulations[tensor.subcircuit.content] = found
                    return True
        return False

    def _with_hard_parts(
        self,
        parts: _Parts,
        hard: Sequence[ExactTensor],
        prober: Prober,
        simulations: dict[str, Simulation],
    ) -> ExactPlan:
        """Return the plan of a circuit of which some parts took more than the first probes."""
        whole = [self._statevector_seconds(tensor) for tensor in hard]
        cuts = None
        if max(whole) > 1.0:
            cuts = self._best_cuts(self._kept_qubits(parts, hard), simulations)
        cut_seconds = math.inf if cuts is None else cuts.plan.cost.predicted_seconds()
        last = _SEARCHES * self._request.search_seconds
        budgets = list(_growing(_FIRST_BUDGETS[-1] * _BUDGET_FACTOR, last))
        left = [
            tensor
            for tensor in hard
            if not self._probe(tensor, prober, budgets, simulations, cut_seconds)
        ]
        by_cuts = [tensor for tensor in left if self._statevector_seconds(tensor) > cut_seconds]
        if by_cuts and len(by_cuts) < len(hard):
            cuts = self._best_cuts(self._kept_qubits(parts, by_cuts), simulations)
        if by_cuts and cuts is not None:
            names = {simulation.engine for simulation in simulations.values()}
            method = "+".join(sorted({"cut", *names}))
            verdict = Verdict(
                method, "no other method is predicted to be quicker", self._others(prober)
            )
            return replace(cuts.plan, verdict=verdict)
        try:
            return self._uncut(parts.simplified, simulations, "the quickest for each part", prober)
        except MemoryLimitError as error:
            raise InputError(
                f"method: no method answers: {self._refusals(prober)}{error}"
            ) from None

    def _best_cuts(
        self, kept: Sequence[int], simulations: dict[str, Simulation]
    ) -> Candidate | None:
        """Return the best cuts of the parts on other qubits than the kept ones, if any fit."""
        limits = self._problem.limits
        widest = max(1, (limits.memory_bytes // (2 * limits.amplitude_bytes)).bit_length() - 1)
        found = []
        for width in sorted({min(widest, _MAX_WIDTH), widest}):
            request = replace(self._request, max_qubits=width)
            candidate = cut_parts(self._problem, request, self._farm, kept, simulations)
            if candidate is not None:
                found.append(candidate)
        return min(found, key=lambda each: each.plan.cost.predicted_seconds(), default=None)

    # ----------------------------------------------------------------------------- costs

    def _statevector_seconds(self, tensor: ExactTensor) -> float:
        """Return the predicted seconds of a part's statevector; infinite if it does not fit."""
        problem = self._problem
        if costs.task_bytes(tensor, problem.limits) > problem.limits.memory_bytes:
            return math.inf
        return costs.tensor_seconds(tensor, problem.limits, problem.speeds)

    def _prober(self, parts_of_terms: int) -> Prober:
        tolerance = string_tolerance(self._asked.error_tolerance, parts_of_terms)
        return Prober(self._problem.limits, self._problem.speeds, tolerance)

    def _uncut(
        self,
        simplified: SimplifiedCircuit,
        simulations: dict[str, Simulation],
        reason: str,
        prober: Prober | None = None,
    ) -> ExactPlan:
        """Return the plan of a circuit that is not cut."""
        cut = cut_circuit(simplified.analysis, Cuts(), simplified.labels)
        plan = assemble(self._problem, simplified, cut, simulations=simulations)
        engines = {t.simulation.engine if t.simulation else "statevector" for t in plan.tensors}
        others = () if prober is None else self._others(prober)
        return replace(plan, verdict=Verdict("+".join(sorted(engines)), reason, others))

    def _kept_qubits(self, parts: _Parts, hard: Sequence[ExactTensor]) -> list[int]:
        """Return the qubits of all parts but the hard ones, by the names of their wires."""
        contents = {tensor.subcircuit.content for tensor in hard}
        return [
            qubit
            for subcircuit in parts.cut.subcircuits
            if subcircuit.content not in contents
            for qubit in subcircuit.qubits
        ]

    def _others(self, prober: Prober) -> tuple[Alternative, ...]:
        gave_up = [
            Alternative(name, math.inf, f"gave up after {seconds:.2g} s of work")
            for name, seconds in prober.spent.items()
        ]
        noted = [Alternative(name, math.inf, note) for name, note in self._notes.items()]
        return (*noted, *gave_up)

    def _refusals(self, prober: Prober) -> str:
        return "".join(f"{each.method}: {each.reason}; " for each in self._others(prober))


def _in_order(tensor: ExactTensor, prober: Prober) -> list[str]:
    """Return the methods to probe a part with, the most promising first."""
    costs_of = {name: prober.supports(name, tensor) for name in ("pauli", "mps")}
    able = {name: cost for name, cost in costs_of.items() if not isinstance(cost, Refusal)}
    return sorted(able, key=lambda name: able[name].seconds)


def _width_of_cones(cones: SimplifiedCircuit) -> list[int]:
    counts: dict[int, int] = {}
    for cone, _ in cones.labels:
        counts[cone] = counts.get(cone, 0) + 1
    return list(counts.values())


def _growing(first: float, last: float) -> list[float]:
    budgets = [first]
    while budgets[-1] * _BUDGET_FACTOR <= last:
        budgets.append(budgets[-1] * _BUDGET_FACTOR)
    return budgets
