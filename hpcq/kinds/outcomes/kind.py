"""The kind of run for the outcomes of a circuit's measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.core.strict_json import digest
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.exact.kind import ExactKind, exact_fingerprint
from hpcq.kinds.outcomes.description import outcomes_plan_json, outcomes_plan_text
from hpcq.kinds.outcomes.run import OutcomesRun
from hpcq.kinds.outcomes.state_tasks import StateTasks
from hpcq.planning.choose_cuts import choose_cuts
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, with_local_cost
from hpcq.planning.outcome_plan import OutcomesPlan
from hpcq.planning.plan import CompiledPlan
from hpcq.planning.problem import MeasuredOutcomes, Problem
from hpcq.planning.routing.outcome_router import OutcomeRouter
from hpcq.planning.routing.router import route
from hpcq.planning.search.objective import ObjectiveName
from hpcq.runs.options import RunOptions
from hpcq.runs.prepared_run import PreparedRun, begin_run

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm
    from hpcq.runs.session import Session


class OutcomesKind:
    """The kind of run for the outcomes of a circuit's measurements."""

    describe = staticmethod(outcomes_plan_text)
    to_json = staticmethod(outcomes_plan_json)
    name = "outcomes"
    question = MeasuredOutcomes
    contents = "outcomes"
    title = "a run for outcomes"
    takes_parameters = False
    objective: ObjectiveName = "seconds"

    def plan(self, problem: Problem, request: CutRequest, farm: Farm | None) -> OutcomesPlan:
        """Return the plan with the given cuts, or the best plan that a search finds.

        Raises:
            MemoryLimitError: If the plan does not fit into the memory.
        """
        problem = _with_amplitudes_if_free(problem)
        question = problem.question
        assert isinstance(question, MeasuredOutcomes), "the planner has checked it"
        # A cut that suits the number of ranks would make samples depend on it.
        found = self._states_plan(problem, question, replace(request, ranks=1), farm)
        found = replace(found, config={**found.config, "ranks": request.ranks})
        return OutcomesPlan.of(with_local_cost(found, problem), question)

    def _states_plan(
        self, problem: Problem, question: MeasuredOutcomes, request: CutRequest, farm: Farm | None
    ) -> ExactPlan:
        """Return the exact plan of the identity, whose states answer the question."""
        asked = question.method
        if not request.says_where_to_cut:
            return route(problem, asked, request, farm, OutcomeRouter)
        if asked.method not in ("auto", "cut"):
            raise InputError(
                f"method: {asked.method!r} given with cuts or a width limit, expected auto or cut"
            )
        return choose_cuts(problem, request, farm).plan

    def with_limits(self, plan: OutcomesPlan, limits: Limits) -> OutcomesPlan:
        """Return the same plan for ranks with these limits; only their threads change."""
        return ExactKind().with_limits(plan, limits)  # type: ignore[return-value]

    def check(self, plan: OutcomesPlan, ranks: int) -> None:
        """Check that a plan can be run.

        Raises:
            InputError: If it is predicted to take more than a year, or has too many tasks.
        """
        ExactKind().check(plan, ranks)

    def prepare(self, plan: OutcomesPlan, options: RunOptions) -> PreparedRun:
        """Prepare a run, or resume an earlier one.

        Raises:
            InputError: If an option is only for shots on devices, or the output belongs to a
                different run.
        """
        if options.shot_only_options:
            raise InputError(
                f"{', '.join(options.shot_only_options)}: given for exact outcomes, expected none"
            )
        if options.arguments.parameter_values is not None:
            raise InputError("parameter_values: given for outcomes, expected a circuit with values")
        engine_spec = EngineSpec.of(engine=options.arguments.engine)
        fingerprint = {
            **exact_fingerprint(plan),
            "measurements": digest(plan.question.measurements.to_json()),
            "seed": str(plan.config["seed"]),
            "outcomes": digest({**plan.question.config(), "method": None}),
        }
        begin_run(plan, options, fingerprint)
        return OutcomesRun(plan, options, fingerprint, engine_spec, StateTasks.of(plan))

    def compile(self, plan: OutcomesPlan, session: Session | None, device: str) -> CompiledPlan:
        """Refuse: outcomes of circuits with free parameters have no programs."""
        del plan, session, device
        raise InputError("plan: a plan for outcomes, expected a plan for observables")


def _with_amplitudes_if_free(problem: Problem) -> Problem:
    """Return the problem with amplitudes, if all qubits are measured and no cut gate depends on it.

    Gates that change no probability can only be dropped at the end of the circuit; where none of
    them is a two-qubit gate, nothing is lost by keeping them.
    """
    question = problem.question
    assert isinstance(question, MeasuredOutcomes), "the planner has checked it"
    if question.with_amplitudes:
        return problem
    if len(question.measurements.qubits) < problem.circuit.num_qubits:
        return problem
    whole = replace(problem, question=replace(question, with_amplitudes=True))
    is_free = len(whole.simplifier.joint_cone.pairs) == len(problem.simplifier.joint_cone.pairs)
    return whole if is_free else problem
