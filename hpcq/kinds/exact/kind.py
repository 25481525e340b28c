"""The kind of run that computes exact expectation values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.core.limits import Limits
from hpcq.core.strict_json import digest
from hpcq.core.system import format_bytes
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.exact.description import exact_plan_json, exact_plan_text
from hpcq.kinds.exact.run import ExactRun
from hpcq.kinds.exact.tasks import ExactTasks
from hpcq.kinds.parameters.program import Program, compile_plan
from hpcq.kinds.parameters.run import RowsRun, fingerprint_of_rows
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel.tasks import MAX_TASKS
from hpcq.planning.choose_cuts import choose_cuts
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, with_local_cost
from hpcq.planning.fingerprint import fingerprint_of
from hpcq.planning.problem import ExpectationValues, Problem
from hpcq.planning.routing.router import route
from hpcq.planning.search.objective import ObjectiveName
from hpcq.runs.options import RunOptions
from hpcq.runs.prepared_run import PreparedRun, begin_run

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm
    from hpcq.runs.session import Session

_HINT_SEARCH_SECONDS = 1.0
"""Seconds of the search for a width limit that an error message can suggest."""


class ExactKind:
    """The kind of run that computes exact expectation values."""

    describe = staticmethod(exact_plan_text)
    to_json = staticmethod(exact_plan_json)
    name = "exact"
    question = ExpectationValues
    contents = "an exact result"
    title = "an exact run"
    takes_parameters = True
    objective: ObjectiveName = "seconds"

    def plan(self, problem: Problem, request: CutRequest, farm: Farm | None) -> ExactPlan:
        """Return the plan with the given cuts, or the best plan that a search finds.

        Raises:
            MemoryLimitError: If the plan does not fit into the memory. With the objective
                ``overhead``, a search returns it nevertheless: it can be printed, but not run.
        """
        assert isinstance(problem.question, ExpectationValues), "the planner has checked it"
        asked = problem.question.method
        if not request.says_where_to_cut:
            return with_local_cost(route(problem, asked, request, farm), problem)
        if asked.method not in ("auto", "cut"):
            raise InputError(
                f"method: {asked.method!r} given with cuts or a width limit, expected auto or cut"
            )
        candidate = choose_cuts(problem, request, farm)
        if request.max_qubits is not None:
            is_quickest = request.objective == "seconds"
            found = candidate.plan if is_quickest else candidate.unlimited_plan
        else:
            try:
                found = candidate.plan
            except MemoryLimitError as error:
                raise MemoryLimitError(f"{error}{_width_hint(problem, request.seed)}") from None
        return with_local_cost(found, problem)

    def with_limits(self, plan: ExactPlan, limits: Limits) -> ExactPlan:
        """Return the same plan for ranks with these limits; only their threads change."""
        if plan.fits and plan.cost.memory_bytes > limits.memory_bytes:
            raise MemoryLimitError(
                f"memory: the run was begun with a plan that needs "
                f"{format_bytes(plan.cost.memory_bytes)} on a rank, which has "
                f"{format_bytes(limits.memory_bytes)} here; expected fewer ranks per node, or more "
                "memory"
            )
        return plan.with_threads(limits.threads)

    def check(self, plan: ExactPlan, ranks: int) -> None:
        """Check that a plan can be run.

        Raises:
            InputError: If it does not fit into the memory, is predicted to take more than a year,
                or has more tasks than rank 0 can keep track of.
        """
        if not plan.fits:
            raise InputError(
                f"plan: its exact run needs {format_bytes(plan.cost.memory_bytes)} on rank 0, "
                f"which has {format_bytes(plan.limits.memory_bytes)}; expected cuts found for the "
                "exact run (objective seconds), or more memory"
            )
        years = plan.cost.predicted_years(ranks)
        if years > 1:
            raise InputError(
                f"plan: predicted to take {years:.2g} years on {ranks} ranks; expected other cuts "
                "(`hpcq plan` shows what they cost)"
            )
        if plan.num_tasks > MAX_TASKS:
            raise InputError(
                f"plan: its slices make {plan.num_tasks} tasks, expected at most {MAX_TASKS}; "
                "other cuts or more memory would make fewer"
            )

    def prepare(self, plan: ExactPlan, options: RunOptions) -> PreparedRun:
        """Prepare a run, or resume an earlier one.

        Raises:
            InputError: If an option is only for shots, or the output belongs to a different run.
        """
        if options.shot_only_options:
            raise InputError(
                f"{', '.join(options.shot_only_options)}: given for an exact run, expected a plan "
                "with shots"
            )
        engine_spec = EngineSpec.of(engine=options.arguments.engine)
        fingerprint = exact_fingerprint(plan)
        rows = options.arguments.parameter_values
        if plan.slots is not None:
            fingerprint |= fingerprint_of_rows(plan.slots, rows)
        begin_run(plan, options, fingerprint)
        if plan.slots is not None:
            setup = ProgramSetup.of(plan)
            return RowsRun(plan, options, fingerprint, engine_spec, rows, setup)
        return ExactRun(plan, options, fingerprint, engine_spec, ExactTasks.of(plan))

    def compile(self, plan: ExactPlan, session: Session | None, device: str) -> Program:
        """Return the program of a plan."""
        self.check(plan, 1)
        return compile_plan(plan, session, device)


def exact_fingerprint(plan: ExactPlan) -> dict[str, str]:
    """Return the fingerprint of an exact run; its slices follow from the memory of a rank."""
    slices = [[list(tensor.sliced) for tensor in plan.tensors], list(plan.network.sliced)]
    strings = [[list(map(list, string)) for string in tensor.strings] for tensor in plan.tensors]
    how = [tensor.simulation and tensor.simulation.content for tensor in plan.tensors]
    return {
        **fingerprint_of(plan, plan.cut),
        **({"method": digest(how)} if any(how) else {}),
        "slices": digest([slices, strings]),
        "precision": plan.limits.precision,
    }


def _width_hint(problem: Problem, seed: int) -> str:
    """Return a hint that names a width limit that works, or nothing if a quick search fails."""
    amplitudes = problem.limits.memory_bytes // (2 * problem.limits.amplitude_bytes)
    width = max(1, min(problem.circuit.num_qubits - 1, amplitudes.bit_length() - 1))
    request = CutRequest(width, objective="seconds", search_seconds=_HINT_SEARCH_SECONDS, seed=seed)
    try:
        narrower = choose_cuts(problem, request).plan
    except InputError:
        return ""
    return f"; --max-qubits {narrower.width} would work"
