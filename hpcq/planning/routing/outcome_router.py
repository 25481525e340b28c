"""The router of questions about outcomes: which method simulates each part of the circuit."""

from __future__ import annotations

import math
from dataclasses import replace

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulation
from hpcq.engines.protocol import Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import Samples
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.problem import MAX_PART_QUBITS, MeasuredOutcomes
from hpcq.planning.routing.decision import Decision
from hpcq.planning.routing.probes import Prober
from hpcq.planning.routing.router import QUICK_SECONDS, Router
from hpcq.planning.verdict import NOT_CONSIDERED

_NO_SEARCH_SECONDS = 1.0
"""Minimum predicted seconds of statevectors, or of matrix product states without truncation, for
which a search for cuts comes first."""

_MAX_OPEN_SECONDS = 10.0
"""Maximum predicted seconds of states that are computed before it is known what will be asked for.
Larger: more circuits can be asked for amplitudes; smaller: answers about others begin sooner."""

_MANY_SHOTS = 1 << 16
"""Number of shots for which memory must suffice: those of a chunk."""


class OutcomeRouter(Router):
    """Decides for a question about outcomes; the arguments are those of its base class.

    Stabilizer simulation and matrix product states give no amplitudes, and no marginals of many
    qubits. They are not considered where these are asked for, and only as a last resort where it is
    not known what will be.
    """

    _needs_states = False

    def choose(self) -> ExactPlan:
        """Return the plan by the first method that fits: statevector, stabilizer, mps, cut."""
        question = self._question
        self._needs_states = question.is_open or question.wants_states
        if not question.is_open:
            return self._choose()
        try:
            found = self._choose()
            if found.cost.predicted_seconds(self._request.ranks) <= _MAX_OPEN_SECONDS:
                return found
        except MemoryLimitError:
            pass
        self._needs_states = False
        return self._choose()

    def _choose(self) -> ExactPlan:
        if self._problem.uncut_statevector_seconds < QUICK_SECONDS:
            notes = dict.fromkeys(("stabilizer", "mps", "cut"), NOT_CONSIDERED)
            decision = Decision(self._parts("unchanged"), notes=notes)
            return self._uncut_plan(decision, "its statevector is quick")
        joint = Decision(self._parts("joint"))
        prober = self._prober(joint.parts)
        for tensor in joint.parts.tensors:
            if self._needs_states:
                joint.hard.append(tensor)
            else:
                self._decide_simply(tensor, prober, joint)
        for tensor in joint.hard:
            fallback = self._fallback(tensor, prober)
            if self._needs_states or isinstance(self._simulated_by("mps", tensor, prober), Refusal):
                fallback = replace(
                    fallback, seconds=self._statevector_seconds(tensor), simulation=None
                )
            joint.fallbacks[tensor.subcircuit.content] = fallback
        joint.use_fallbacks(_NO_SEARCH_SECONDS)
        if not joint.hard:
            return self._uncut_plan(joint, "the quickest")
        best = self._best_cuts(joint)
        cut_seconds = math.inf if best is None else best.plan.cost.predicted_seconds()
        joint.notes["cut"] = "slower" if best else "no cuts fit into the memory"
        joint.seconds["cut"] = cut_seconds
        hard_before = len(joint.hard)
        joint.use_fallbacks(cut_seconds)
        if not joint.hard or best is None:
            return self._uncut_plan_or_error(joint)
        if len(joint.hard) < hard_before:
            best = self._best_cuts(joint) or best
        joint.notes.setdefault("statevector", "slower, or it does not fit into the memory")
        return replace(best.plan, verdict=joint.verdict("no other method is quicker"))

    def named(self, name: str) -> ExactPlan:
        """Return the plan by stabilizer simulation or a matrix product state for all parts."""
        if name == "pauli":
            raise InputError(
                "method: 'pauli' gives expectation values only, and has no state to sample; "
                "expected auto, cut, statevector, stabilizer or mps"
            )
        if self._question.wants_states:
            raise InputError(
                f"method: {name!r} gives marginals of at most {MAX_PART_QUBITS} qubits, expected "
                "auto, cut or statevector"
            )
        return super().named(name)

    @property
    def _question(self) -> MeasuredOutcomes:
        question = self._problem.question
        assert isinstance(question, MeasuredOutcomes), "the kind of run has checked it"
        return question

    def _simulated_by(
        self,
        name: str,
        tensor: ExactTensor,
        prober: Prober,  # noqa: ARG002 (base class)
    ) -> Simulation | Refusal:
        """Return the simulation of a part by the named method, or why it refuses."""
        shots = max(1, min(self._question.shots, _MANY_SHOTS))
        engine = open_engine(EngineSpec(name), self._problem.limits, "cpu")
        cost = engine.supports(tensor, Samples(shots, 0))
        return (
            cost if isinstance(cost, Refusal) else Simulation(name, cost.seconds, cost.memory_bytes)
        )
