"""The router decides by which method each part of a problem is answered, cheapest tests first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.engines.protocol import Refusal
from hpcq.parallel.serial import Farm
from hpcq.planning import cost as costs
from hpcq.planning.candidates import Candidate
from hpcq.planning.choose_cuts import cut_parts, natural_seconds
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, assemble
from hpcq.planning.problem import Problem
from hpcq.planning.routing.decision import Decision, Fallback
from hpcq.planning.routing.parts import CircuitName, Parts
from hpcq.planning.routing.probes import PROBED, Prober, string_tolerance
from hpcq.planning.verdict import NOT_CONSIDERED, MethodRequest, checked_settings

QUICK_SECONDS = 0.03
"""Predicted seconds of a statevector from which other methods are considered. Larger: fewer
problems pay for a decision, but more of them are answered slower than possible."""

_QUICK_CONES_SECONDS = 0.15
"""The same for the statevectors of all separate light cones together."""

_FIRST_BUDGETS = (0.03, 0.12, 0.48)
"""Budgets in seconds of the probes of each method before a search for cuts. The last one comes
after it if cuts between natural groups are quick. Each is four times the one before: with a smaller
ratio, more work is lost in probes that give up; with a larger one, the last probe is given more
than it needs."""

_MAX_PROBE_FRACTION = 0.25
"""Largest budget of a probe, as a fraction of the predicted seconds of the fallback. Budgets grow
by four for two methods, so that all probes together take at most 2/3 of these seconds."""

_QUICK_CUTS_SECONDS = 1.5
"""Seconds of a search for cuts and of the run below which it comes before larger budgets."""

_SEARCH_SECONDS = 0.7
"""Usual seconds of a search for cuts that finds a run of less than a second."""

_LAST_BUDGETS = (0.6, 1.0)
"""Budgets of the probes after the search for cuts, in multiples of its seconds."""

_ROUNDING = 1e-9
"""Relative difference below which two tolerances count as equal."""

_MANY_GATES = 800
"""Number of gates from which planning a matrix-product-state simulation takes 0.1 s or more."""


def route(
    problem: Problem,
    asked: MethodRequest,
    request: CutRequest,
    farm: Farm | None = None,
    router_class: type[Router] | None = None,
) -> ExactPlan:
    """Return the plan of a problem without given cuts or width limit.

    Call it on rank 0 only; the ranks of ``farm`` share the search for cuts. ``router_class`` is
    that of the question, by default for expectation values.

    Raises:
        InputError: If the method that is asked for cannot answer, or if no method can.
    """
    router = (router_class or Router)(problem, asked, request, farm)
    if problem.verdict is not None:
        plan = router.repeat(problem.verdict)
    elif asked.method == "auto":
        plan = router.choose()
    elif asked.method == "statevector":
        plan = router.statevector()
    elif asked.method == "cut":
        plan = router.cut()
    else:
        plan = router.named(asked.method)
    return replace(plan, config={**plan.config, "verdict": list(map(list, plan.verdict.settings))})


class Router:
    """Decides for one problem; see :func:`route` for the arguments."""

    def __init__(
        self, problem: Problem, asked: MethodRequest, request: CutRequest, farm: Farm | None
    ) -> None:
        self._problem, self._asked, self._request, self._farm = problem, asked, request, farm

    def choose(self) -> ExactPlan:
        """Return the plan by the quickest method with an error bound within the tolerance."""
        if self._problem.uncut_statevector_seconds < QUICK_SECONDS:
            notes = dict.fromkeys(("stabilizer", "pauli", "mps", "cut"), NOT_CONSIDERED)
            decision = Decision(self._parts("unchanged"), notes=notes)
            return self._uncut_plan(decision, "its statevector is quick")
        joint = Decision(self._parts("joint"))
        prober = self._prober(joint.parts)
        for tensor in joint.parts.tensors:
            self._decide_simply(tensor, prober, joint)
        cones = Parts.of(self._problem, "cones") if joint.hard else None
        by_cones, cones_seconds = None, math.inf
        if cones is not None:
            by_cones, cones_seconds = self._by_cones(cones, prober)
            if cones_seconds < _QUICK_CONES_SECONDS:
                return self._uncut_plan(by_cones, "statevectors of the light cones are quick")
        self._probe(joint, prober, _FIRST_BUDGETS[:2], cones_seconds)
        by_cuts = self._seconds_by_natural_cuts(joint)
        if by_cuts > _QUICK_CUTS_SECONDS:  # no search for cuts is promising enough to come next
            self._probe(joint, prober, _FIRST_BUDGETS, cones_seconds)
            by_cuts = self._request.search_seconds
        joint.use_fallbacks(min(cones_seconds, by_cuts))
        if joint.hard:
            return self._decide_hard(joint, prober, by_cones, cones_seconds)
        return self._uncut_plan(joint, "the quickest")

    def statevector(self) -> ExactPlan:
        """Return the plan by statevectors of the parts, or of separate light cones if quicker."""
        plans, errors = [], []
        for name in ("joint", "cones"):
            parts = Parts.of(self._problem, name)
            if parts is None:
                continue
            try:
                plans.append(self._uncut_plan(Decision(parts), "it was asked for"))
            except MemoryLimitError as error:
                errors.append(error)
        if not plans:
            raise MemoryLimitError(f"{errors[0]}, or --method auto")
        return min(plans, key=lambda plan: plan.cost.predicted_seconds(self._request.ranks))

    def named(self, name: str) -> ExactPlan:
        """Return the plan by the named method for all parts, however large its error bound."""
        decision = Decision(self._parts("joint"))
        prober = self._prober(decision.parts)
        for tensor in decision.parts.tensors:
            found = self._simulated_by(name, tensor, prober)
            if isinstance(found, Refusal):
                raise InputError(
                    f"method: {name!r} cannot answer: {found.reason}; expected another method, or "
                    "auto"
                )
            decision.simulations[tensor.subcircuit.content] = found
        return self._uncut_plan(decision, "it was asked for")

    def _simulated_by(self, name: str, tensor: ExactTensor, prober: Prober) -> Simulation | Refusal:
        """Return the simulation of a part by the named method, or why it refuses."""
        return prober.named(name, tensor, _FIRST_BUDGETS[-1])

    def cut(self) -> ExactPlan:
        """Return the plan with the best cuts that are found."""
        decision = Decision(self._parts("joint"))
        decision.hard = list(decision.parts.tensors)
        best = self._best_cuts(decision)
        if best is None:
            raise MemoryLimitError(
                "method: 'cut', but no cuts were found that fit into the memory; expected more "
                "memory, or another method"
            )
        return replace(best.plan, verdict=decision.verdict("it was asked for"))

    def repeat(self, settings: object) -> ExactPlan:
        """Return the plan of an earlier start of the run, without deciding again.

        Raises:
            InputError: If the settings are not those of a verdict on this problem.
        """
        try:
            (name, width), *of_tensors = checked_settings(settings)
            decision = Decision(self._parts(name), width=width)
            prober = self._prober(decision.parts)
            for tensor, (engine, *how) in zip(decision.parts.tensors, of_tensors, strict=True):
                if engine == "cut":
                    decision.hard.append(tensor)
                elif engine != "statevector":
                    simulation = prober.repeated(engine, tensor, *how)
                    decision.simulations[tensor.subcircuit.content] = simulation
        except ValueError as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(
                f"output: a result of another circuit or of other observables, or its verdict is "
                f"damaged ({reason}); expected the same run, or another file"
            ) from None
        self._check_answers(decision)
        reason = "an earlier start of the run decided it"
        if not decision.hard:
            return self._uncut_plan(decision, reason)
        best = self._best_cuts(decision)
        if best is None:
            raise InputError("output: the cuts of its verdict do not fit into the memory")
        return replace(best.plan, verdict=decision.verdict(reason))

    def _check_answers(self, decision: Decision) -> None:
        """Check that the decisions of an earlier start answer what is asked for now.

        Raises:
            InputError: If they are of another method, or may have larger errors.
        """
        methods, asked = decision.methods, self._asked
        if asked.method == "auto":
            tolerance = self._prober(decision.parts).tolerance * (1 + _ROUNDING)
            inexact = [s for s in decision.simulations.values() if s.engine in PROBED]
            if all(s.tolerance is not None and s.tolerance <= tolerance for s in inexact):
                return
            current = f"error tolerance {asked.error_tolerance:g}"
        elif methods == [asked.method]:
            return
        else:
            current = f"method {asked.method!r}"
        raise InputError(
            f"output: a result of another run (by {'+'.join(methods)}; you ask for {current}), "
            "expected the same run, or another file"
        )

    # ---------------------------------------------------------------------------- decisions

    def _by_cones(self, cones: Parts, prober: Prober) -> tuple[Decision, float]:
        """Decide for statevectors of separate light cones; return their predicted seconds too."""
        decision = Decision(cones)
        seconds = 0.0
        for tensor in cones.tensors:
            self._decide_simply(tensor, prober, decision)
            if tensor.subcircuit.content not in decision.simulations:
                seconds += self._statevector_seconds(tensor)
        decision.hard.clear()
        return decision, seconds

    def _decide_simply(self, tensor: ExactTensor, prober: Prober, decision: Decision) -> None:
        """Decide on a part whose statevector is quick, or whose gates are Clifford."""
        if self._statevector_seconds(tensor) < QUICK_SECONDS:
            return
        cost = prober.supports("stabilizer", tensor)
        if isinstance(cost, Refusal):
            decision.notes["stabilizer"] = cost.reason
            decision.hard.append(tensor)
            return
        found = Simulation("stabilizer", cost.seconds, cost.memory_bytes)
        decision.simulations[tensor.subcircuit.content] = found

    def _probe(
        self, decision: Decision, prober: Prober, budgets: Sequence[float], other_seconds: float
    ) -> None:
        """Try methods on the hard parts, with these budgets in seconds for each method.

        Another way to answer the whole problem is predicted to take ``other_seconds``.
        """
        left = []
        for tensor in decision.hard:
            content = tensor.subcircuit.content
            found = None
            if content not in decision.fallbacks:
                limit = min(other_seconds, self._statevector_seconds(tensor))
                # To plan a matrix-product-state simulation takes time, above all with many gates:
                # quick probes of Pauli propagation come first.
                first = budgets[: 1 if tensor.subcircuit.circuit.size() < _MANY_GATES else 2]
                quick = [budget for budget in first if budget <= _MAX_PROBE_FRACTION * limit]
                found = prober.first_answer(tensor, quick, decision.notes, ("pauli",))
            if found is None:
                if content not in decision.fallbacks:
                    decision.fallbacks[content] = self._fallback(tensor, prober)
                limit = min(other_seconds, decision.fallbacks[content].seconds)
                within = [budget for budget in budgets if budget <= _MAX_PROBE_FRACTION * limit]
                found = prober.first_answer(tensor, within, decision.notes)
            if found is None:
                left.append(tensor)
            else:
                decision.simulations[content] = found
        decision.hard = left

    def _fallback(self, tensor: ExactTensor, prober: Prober) -> Fallback:
        """Return the quickest simulation of a part that is certain to answer."""
        seconds = self._statevector_seconds(tensor)
        chain = prober.without_truncation(tensor)
        if chain is not None and chain.seconds < seconds:
            return Fallback(chain.seconds, chain)
        return Fallback(seconds, None)

    def _decide_hard(
        self,
        decision: Decision,
        prober: Prober,
        by_cones: Decision | None,
        cones_seconds: float,
    ) -> ExactPlan:
        """Return the plan of a circuit of which the first probes did not answer some parts.

        The decision for separate light cones, if there are any, is predicted to take
        ``cones_seconds``.
        """
        best, cut_seconds = None, math.inf
        if cones_seconds > self._request.search_seconds:
            best = self._best_cuts(decision)
            cut_seconds = math.inf if best is None else best.plan.cost.predicted_seconds()
            decision.notes["cut"] = "slower" if best else "no cuts fit into the memory"
            decision.seconds["cut"] = cut_seconds
        hard_before = len(decision.hard)
        budgets = [factor * self._request.search_seconds for factor in _LAST_BUDGETS]
        self._probe(decision, prober, budgets, min(cones_seconds, cut_seconds))
        uncut = sum(decision.fallbacks[each.subcircuit.content].seconds for each in decision.hard)
        if decision.hard:
            decision.notes["statevector"] = "slower, or it does not fit into the memory"
        if decision.hard and by_cones is not None and cones_seconds < min(cut_seconds, uncut):
            return self._uncut_plan(by_cones, "light cones are the quickest")
        decision.use_fallbacks(cut_seconds)
        if not decision.hard or best is None:
            return self._uncut_plan_or_error(decision)
        if len(decision.hard) < hard_before:
            best = self._best_cuts(decision) or best
        return replace(best.plan, verdict=decision.verdict("no other method is quicker"))

    def _uncut_plan_or_error(self, decision: Decision) -> ExactPlan:
        """Return the uncut plan, or raise an error that says why no method answers."""
        decision.hard = []
        try:
            return self._uncut_plan(decision, "the quickest")
        except MemoryLimitError:
            limits = self._problem.limits
            parts = [t for t in decision.parts.tensors if not decision.is_simulated(t)]
            size = max(costs.task_bytes(tensor, limits) for tensor in parts)
            needed, available = format_bytes(size), format_bytes(limits.memory_bytes)
            more = "slightly more than" if needed == available else f"{needed}, more than"
            statevector = f"it needs {more} the {available} of a rank"
            notes = {**decision.notes, "statevector": statevector}
            reasons = "; ".join(f"{name}: {note}" for name, note in notes.items())
            is_close = size < 3 * limits.memory_bytes
            closer = "more --memory, --dtype complex64, " if is_close else ""
            raise MemoryLimitError(
                f"method: none answers within the error tolerance ({reasons}); expected {closer}"
                "a longer search (--search-seconds), a larger --error-tolerance, or a --method, "
                "whose error may be larger"
            ) from None

    # --------------------------------------------------------------------------------- plans

    def _parts(self, name: CircuitName) -> Parts:
        parts = Parts.of(self._problem, name)
        if parts is None:
            raise ValueError("the terms have no separate light cones")
        return parts

    def _prober(self, parts: Parts) -> Prober:
        tolerance = string_tolerance(self._asked.error_tolerance, parts.max_parts_of_term)
        return Prober(self._problem.limits, self._problem.speeds, tolerance)

    def _statevector_seconds(self, tensor: ExactTensor) -> float:
        """Return the predicted seconds of a part's statevector; infinite if it does not fit."""
        problem = self._problem
        if costs.task_bytes(tensor, problem.limits) > problem.limits.memory_bytes:
            return math.inf
        return costs.tensor_seconds(tensor, problem.limits, problem.speeds)

    def _uncut_plan(self, decision: Decision, reason: str) -> ExactPlan:
        """Return the plan of a circuit that is not cut."""
        parts = decision.parts
        plan = assemble(
            self._problem, parts.simplified, parts.cut, simulations=decision.simulations
        )
        return replace(plan, verdict=decision.verdict(reason))

    def _best_cuts(self, decision: Decision) -> Candidate | None:
        """Return the best cuts of the hard parts, if any fit, and set the width limit."""
        request = self._cut_request(decision)
        kept = decision.parts.qubits_except(decision.hard)
        best = cut_parts(self._problem, request, self._farm, kept, decision.simulations)
        if best is not None:
            decision.width = request.max_qubits
        return best

    def _seconds_by_natural_cuts(self, decision: Decision) -> float:
        """Return about how long a search for cuts of the hard parts and the run would take."""
        if not decision.hard:
            return 0.0
        kept = decision.parts.qubits_except(decision.hard)
        return _SEARCH_SECONDS + natural_seconds(self._problem, self._cut_request(decision), kept)

    def _cut_request(self, decision: Decision) -> CutRequest:
        """Return the request for cuts: within the memory, where the search finds narrow blocks."""
        limits = self._problem.limits
        widest = max(1, (limits.memory_bytes // (2 * limits.amplitude_bytes)).bit_length() - 1)
        return replace(self._request, max_qubits=decision.width or widest)
