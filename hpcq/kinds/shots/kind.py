"""The kind of run that estimates expectation values from shots."""

from __future__ import annotations

from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.engines.aer import choose_device
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.shots.description import shots_plan_json, shots_plan_text
from hpcq.kinds.shots.program import ShotsProgram
from hpcq.kinds.shots.records import resumed_sampling, shots_fingerprint
from hpcq.kinds.shots.rounds import make_schedule
from hpcq.kinds.shots.run import ShotsRun
from hpcq.kinds.shots.sampling import CutProblem, Sampling, ShotsPlan, check_memory, sampling_of
from hpcq.kinds.shots.tasks import ShotTasks
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.planning.choose_cuts import choose_cuts
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.fingerprint import RequestSummary, check_same_run
from hpcq.planning.problem import DEFAULT_MAX_VARIANTS, Problem, SampledValues
from hpcq.planning.search.objective import ObjectiveName
from hpcq.reconstruction.term_table import tabulate
from hpcq.results.result import Result
from hpcq.results.sampling_record import SamplingRecord
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.output import request_summary
from hpcq.runs.run import run_on_farm
from hpcq.runs.session import Session, current_session

_BUDGET_KEYS = ("shots", "standard_error", "max_variants")
"""Keys of the configuration that must not change before an unfinished run is finished."""


class ShotsKind:
    """The kind of run that estimates expectation values from shots."""

    describe = staticmethod(shots_plan_text)
    to_json = staticmethod(shots_plan_json)
    name = "shots"
    question = SampledValues
    contents = title = "shots"
    takes_parameters = True
    objective: ObjectiveName = "overhead"

    def plan(self, problem: Problem, request: CutRequest, farm: Farm | None) -> ShotsPlan:
        """Return the plan with the given cuts, or the best plan that a search finds.

        Raises:
            InputError: If the shots are too few, or the cuts do not fit the circuit.
        """
        chosen = choose_cuts(problem, request, farm)
        simplified, cut = chosen.simplified, chosen.cut
        terms = tabulate(problem.observables, cut, simplified.cone_of)
        cut_problem = CutProblem(problem.observables, simplified, cut.cuts, terms, problem.limits)
        assert isinstance(problem.question, SampledValues), "this kind answers no other question"
        return ShotsPlan(
            problem.shown_circuit,
            problem.observables,
            problem.limits,
            problem.config,
            None,
            simplified,
            cut,
            chosen.bound,
            terms,
            sampling_of(cut_problem, problem.question.budget),
            parametrised=problem.parametrised,
        )

    def with_limits(self, plan: ShotsPlan, limits: Limits) -> ShotsPlan:
        """Return the same plan for ranks with these limits; only their threads change."""
        return plan.with_threads(limits.threads)

    def check(self, plan: ShotsPlan, ranks: int) -> None:
        """Accept every plan: whether it fits depends on the engine, which :meth:`prepare` knows."""

    def compile(self, plan: ShotsPlan, session: Session | None, device: str) -> ShotsProgram:
        """Return the program of a plan; each of its runs takes new shots.

        Raises:
            InputError: If the plan has no free parameters, so that one run says everything, or if
                the device is wrong.
        """
        self.check(plan, 1)
        if plan.parametrised is None:
            raise InputError("plan: with shots and no free parameters, expected hpcq.run(plan)")
        chosen = session or current_session()
        if chosen is not None:
            return ShotsProgram(plan, lambda bound: chosen.run(bound, device=device))
        options = RunOptions(RunArguments(choose_device(device)))
        return ShotsProgram(plan, lambda bound: run_on_farm(bound, SerialFarm(), options))

    def prepare(self, plan: ShotsPlan, options: RunOptions) -> ShotsRun:
        """Prepare a run with shots, or resume an earlier one.

        Raises:
            InputError: If the noise model or backend is not available, the earlier result belongs
                to a different run, the shots are too few for a round, or a simulation does not fit
                into memory; or if the plan has free parameters.
        """
        if plan.slots is not None:
            raise InputError(
                "parameter_values: rows of values given for a plan with shots, expected values for "
                "all parameters before planning, and a run for each row"
            )
        sampling = plan.sampling
        engine_spec = EngineSpec.of(
            options.arguments.noise, options.arguments.backend, options.arguments.engine
        )
        record = _record(options.previous)
        details = None if options.previous is None else options.previous.details
        unfinished = None if details is None else details.unfinished
        if record is not None:
            sampling = resumed_sampling(record, plan, sampling.budget) or sampling
        fingerprint = shots_fingerprint(plan, sampling, engine_spec)
        if record is not None:
            summaries = request_summary(options.previous), RequestSummary.of(plan)
            check_same_run(record.fingerprint, fingerprint, "shots", *summaries)
            _check_variants(record, sampling, options.previous, plan)
        is_over = record is not None and not options.output.may_add_shots
        if unfinished is not None or is_over:
            _check_budget(options.previous, plan)
        budget = {name: str(plan.config[name]) for name in _BUDGET_KEYS}
        options.output.agree_on_run({**fingerprint, **budget}, RequestSummary.of(plan))
        seed = plan.config["seed"]
        sources = sampling.sources
        task_set = ShotTasks(sources.tensors, plan.limits, seed, engine_spec, sources.uses)
        if engine_spec.backend is None:
            check_memory(sampling, plan.limits)
        rounds = tuple(record.rounds) if record else ()
        num_rounds_before = len(rounds) if unfinished is None else unfinished.rounds_before
        schedule = make_schedule(sampling, seed, rounds[:num_rounds_before])
        for measured in rounds[num_rounds_before:]:
            # The stopped start planned these rounds from earlier ones: plan them again likewise.
            planned = schedule.next_round()
            assert planned is not None, "a round was measured, so there was one"
            schedule.add(planned, measured.counts)
        must_measure = unfinished is None and not is_over and sampling.budget.target_error is None
        if must_measure and schedule.next_round() is None:
            raise InputError(
                f"shots: {sampling.budget.shots}, expected at least {schedule.min_round_shots}: "
                "one for each variant"
            )
        return ShotsRun(
            plan,
            options,
            fingerprint,
            engine_spec,
            sampling,
            task_set,
            schedule,
            num_rounds_before,
            {} if unfinished is None else dict(unfinished.job_ids),
        )


def _record(previous: object) -> SamplingRecord | None:
    """Return the record of an earlier run."""
    if previous is None:
        return None
    details = previous.details if isinstance(previous, Result) else None
    if details is None or details.record is None:
        raise InputError(
            f"previous: a {type(previous).__name__} without shots, expected the result of a run "
            "with shots, with its details, as hpcq.run and hpcq.load return it"
        )
    return details.record


def _check_budget(previous: Result | None, plan: ShotsPlan) -> None:
    """Refuse another budget before an unfinished run is finished."""
    assert previous is not None, "an earlier run exists"
    differences = [
        f"{name} was {previous.config.get(name)}"
        for name in _BUDGET_KEYS
        if previous.config.get(name) != plan.config[name]
    ]
    if differences:
        raise InputError(
            f"output: an unfinished run with another budget ({', '.join(differences)}), expected "
            "the same budget, to finish it first, or another file"
        )


def _check_variants(
    record: SamplingRecord, sampling: Sampling, previous: Result | None, plan: ShotsPlan
) -> None:
    """Refuse a ``max_variants`` that needs another mode of sampling than the earlier shots."""
    max_variants = plan.config["max_variants"]
    assert previous is not None, "the record is part of it"
    if max_variants in (DEFAULT_MAX_VARIANTS, previous.config.get("max_variants")):
        return
    num_variants = max((tensor.num_variants for tensor in sampling.sources.tensors), default=0)
    if record.mode == "enumerated" and max_variants < num_variants:
        raise InputError(
            f"max_variants: {max_variants}, but the earlier shots ran all {num_variants} variants "
            "of a subcircuit, as shots that are added must; expected at least "
            f"{num_variants}, or another file"
        )
    if record.mode == "joint" and plan.sampling.mode == "enumerated":
        raise InputError(
            f"max_variants: {max_variants}, so that all variants of a subcircuit would be run, but "
            "the earlier shots are joint samples, as shots that are added must be; expected "
            f"{previous.config.get('max_variants')} as before, or another file"
        )
