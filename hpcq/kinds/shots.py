"""A run with shots: rounds planned on rank 0, measured on all ranks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.core.errors import HpcqError, InputError
from hpcq.engines.protocol import ShotEngine
from hpcq.engines.shot_engine import ShotEngineSpec
from hpcq.kinds.shot_records import record_of, sampling_again, shots_fingerprint, tensors_of
from hpcq.kinds.shot_rounds import make_schedule
from hpcq.kinds.shot_schedule import PlannedRound, Schedule
from hpcq.kinds.shot_tasks import ShotTasks
from hpcq.parallel import messages
from hpcq.parallel.local_worker import uses_subprocess
from hpcq.parallel.tasks import FinishedTasks
from hpcq.planning.assembly import Plan
from hpcq.planning.fingerprint import RequestSummary, check_same_run
from hpcq.planning.sampling import MAX_VARIANTS, Sampling, check_memory
from hpcq.reconstruction.estimation.counts import Counts, unpack
from hpcq.reconstruction.estimation.variant_batches import Task
from hpcq.results.result import PartialProgress, Result, ResultDetails, Stage
from hpcq.results.sampling_record import SamplingRecord
from hpcq.runs.checkpoint import request_summary
from hpcq.runs.options import RunOptions
from hpcq.runs.outcome import check_outcome
from hpcq.runs.provenance import RunAccounting

if TYPE_CHECKING:
    from hpcq.parallel.serial import Coordinator, Farm

_BUDGET = ("shots", "standard_error", "max_variants")
_HOPELESS_SHOTS = 1e13
_HOPELESS_ROUNDS = 1e5
"""Rounds of joint samples that take hours for planning alone, at a few hundredths of a second."""

_SUBPROCESS_SECONDS = 2.0
"""Predicted seconds of a round on each rank from which ranks measure in processes of their own."""


@dataclass(frozen=True, eq=False)
class ShotsRun:
    """A run with shots that is about to begin.

    Attributes:
        plan: The plan.
        sampling: Its shots.
        order: The work order.
        options: How to run.
        schedule: The rounds.
        fingerprint: What must be the same for a run to go on from this one.
        before: Rounds that were there before the run was first started.
        done: What an earlier start has done of the round that comes next.
    """

    plan: Plan
    sampling: Sampling
    order: ShotTasks
    options: RunOptions
    schedule: Schedule
    fingerprint: dict[str, str]
    before: int
    done: PartialProgress

    @property
    def finished(self) -> Result | None:
        """The result, where jobs share one and it is there: then none adds shots of its own."""
        previous, checkpoint = self.options.previous, self.options.checkpoint
        if previous is None or checkpoint is None or not checkpoint.is_shared:
            return None
        return previous if previous.status == "complete" else None

    def compute(
        self, coordinator: Coordinator, farm: Farm, accounting: RunAccounting, engine: ShotEngine
    ) -> Result:
        """Measure round after round on rank 0.

        Raises:
            HpcqError: If it is stopped, tasks fail, or the precision is out of reach.
        """
        watch, schedule = self.options.monitor, self.schedule
        work, payload = self.order.worker(engine), b""
        in_subprocess: bool | None = None
        begun, before, start = len(schedule.rounds), schedule.shots, time.perf_counter()
        while (step := schedule.next()) is not None:
            tasks = self.order.tasks(step.batches)
            seconds = sum(piece.seconds for task in tasks for piece in task) / farm.size
            device = self.order.wanted.backend is not None
            long = in_subprocess or (not device and seconds > _SUBPROCESS_SECONDS)
            if long != in_subprocess and (in_subprocess is None or coordinator.has_all_ranks):
                if not payload and (farm.size > 1 or uses_subprocess(in_subprocess=long)):
                    payload = messages.dumps(self.order)
                coordinator.prepare(payload, in_subprocess=long, function=work)
                in_subprocess = long
            counts = self._measured(step, tasks, coordinator, accounting)
            schedule.take(step, counts)
            rounds = len(schedule.rounds) - begun
            pace = (time.perf_counter() - start) / max(1, schedule.shots - before)
            watch.log(_said(schedule, rounds, pace))
            _check_hope(schedule)
        accounting.end("measure")
        return self._result("complete", accounting)

    def _measured(
        self,
        step: PlannedRound,
        tasks: list[Task],
        coordinator: Coordinator,
        accounting: RunAccounting,
    ) -> list[Counts]:
        """Measure one round."""
        number = len(self.schedule.rounds)
        farmed = self.order.farmed(number, step.batches, tasks)
        name = f"round {number + 1}"
        done = self.done.stage(name, len(tasks)) or FinishedTasks(len(tasks), farmed.dtype)

        def partial() -> Result:
            accounting.end("measure")
            return self._result("partial", accounting, (Stage(name, done),))

        self.options.monitor.begin_phase(name, partial)
        outcome = coordinator.run(farmed, done, self.options.monitor, name)
        self.options.monitor.end_line()
        accounting.end("measure")
        check_outcome(outcome, self.options.checkpoint, partial)
        return _gathered(step, tasks, done)

    def _result(
        self, status: str, accounting: RunAccounting, stages: tuple[Stage, ...] | None = None
    ) -> Result:
        """Return what is known, with all counts."""
        plan, sampling, schedule = self.plan, self.sampling, self.schedule
        options = self.options
        values = errors = np.full(len(plan.observables), np.nan)
        tensors: tuple[Any, ...] = (None,) * len(sampling.cut.subcircuits)
        if schedule.rounds or stages is None:
            values, tensors = schedule.values(), tensors_of(sampling, schedule.rounds)
            errors = schedule.errors() if stages is None else schedule.rough_errors()
        engine = {"noise": _shown(options.noise), "backend": _shown(options.backend)}
        return Result(
            names=tuple(observable.name for observable in plan.observables),
            expectation_values=values,
            standard_errors=errors,
            status=status,
            config={**plan.config, "device": options.device, **engine},
            provenance={
                **accounting.provenance(),
                "shots": schedule.shots,
                "rounds": len(schedule.rounds),
            },
            details=ResultDetails(
                plan.circuit,
                plan.cuts,
                plan.observables,
                plan.simplified.cone_of,
                sampling.cut.subcircuits,
                sampling.cut.edges,
                sampling.parts.terms.strings,
                tensors,
                record_of(sampling, self.fingerprint, schedule.rounds),
                self.fingerprint,
                None if stages is None else PartialProgress(stages, self.before),
                accounting.timelines(),
            ),
        )


def prepare_shots(plan: Plan, options: RunOptions) -> ShotsRun:
    """Prepare a run, or go on from an earlier one.

    Raises:
        InputError: If noise or backend are not to be had, the earlier run is another, the shots
            are too few to add a round, or a simulation does not fit into the memory.
    """
    sampling = plan.sampling
    assert sampling is not None, "it is a plan with shots"
    wanted = ShotEngineSpec.of(options.noise, options.backend)
    record = _record(options.previous)
    unfinished = _unfinished(options.previous)
    if record is not None:
        sampling = sampling_again(record, plan, sampling.budget) or sampling
    fingerprint = shots_fingerprint(plan, sampling, wanted)
    if record is not None:
        asked = request_summary(options.previous), RequestSummary.by(plan)
        check_same_run(record.fingerprint, fingerprint, "shots", *asked)
        _check_variants(record, sampling, options.previous, plan)
    checkpoint = options.checkpoint
    over = checkpoint is not None and checkpoint.is_shared and record is not None
    if unfinished is not None or over:
        _check_budget(options.previous, plan)
    if checkpoint is not None:
        budget = {name: str(plan.config[name]) for name in _BUDGET}
        checkpoint.agree_on_run({**fingerprint, **budget}, RequestSummary.by(plan))
    seed = plan.config["seed"]
    uses = sampling.sources.uses
    names = tuple(uses.index(number) for number in range(len(sampling.sources.tensors)))
    order = ShotTasks(sampling.sources.tensors, plan.limits, seed, wanted, names)
    if wanted.backend is None:
        check_memory(sampling, plan.limits)
    rounds = tuple(record.rounds) if record else ()
    before = len(rounds) if unfinished is None else unfinished.rounds_before
    schedule = make_schedule(sampling, seed, rounds[:before])
    for own in rounds[before:]:
        # The rounds of the start that was stopped are decided on once more, from what was known.
        step = schedule.next()
        assert step is not None, "a round was measured, so there was one"
        schedule.take(step, own.counts)
    new = unfinished is None and not over and sampling.budget.precision is None
    if new and schedule.next() is None:
        raise InputError(
            f"shots: {sampling.budget.shots}, expected at least {schedule.fewest}: one for each "
            "variant"
        )
    done = unfinished or PartialProgress(())
    return ShotsRun(plan, sampling, order, options, schedule, fingerprint, before, done)


def _record(previous: object) -> SamplingRecord | None:
    """Return the shots of an earlier run."""
    if previous is None:
        return None
    details = previous.details if isinstance(previous, Result) else None
    if details is None or details.record is None:
        raise InputError(
            f"previous: a {type(previous).__name__} without shots, expected the result of a run "
            "with shots, with its details, as hpcq.run and hpcq.load return it"
        )
    return details.record


def _unfinished(previous: Result | None) -> PartialProgress | None:
    return None if previous is None or previous.details is None else previous.details.unfinished


def _check_budget(previous: Result | None, plan: Plan) -> None:
    """Make sure that an unfinished run is finished before more is asked for."""
    assert previous is not None, "it is unfinished"
    differ = [
        f"{name} was {previous.config.get(name)}"
        for name in _BUDGET
        if previous.config.get(name) != plan.config[name]
    ]
    if differ:
        raise InputError(
            f"output: an unfinished run of other shots ({', '.join(differ)}), expected the same, "
            "to finish it first, or another file"
        )


def _check_variants(
    record: SamplingRecord, sampling: Sampling, previous: Result | None, plan: Plan
) -> None:
    """Refuse a ``max_variants`` that asks for another way of sampling than the earlier shots."""
    most = plan.config["max_variants"]
    assert previous is not None, "it has a record"
    if most in (MAX_VARIANTS, previous.config.get("max_variants")):
        return
    variants = max((tensor.num_variants for tensor in sampling.sources.tensors), default=0)
    if record.mode == "enumerated" and most < variants:
        raise InputError(
            f"max_variants: {most}, but the earlier shots ran all {variants} variants of a "
            f"subcircuit, as shots that are added must; expected at least {variants}, or another "
            "file"
        )
    assert plan.sampling is not None, "it is a plan with shots"
    if record.mode == "joint" and plan.sampling.mode == "enumerated":
        raise InputError(
            f"max_variants: {most}, so that all variants of a subcircuit would be run, but the "
            "earlier shots are joint samples, as shots that are added must be; expected "
            f"{previous.config.get('max_variants')} as before, or another file"
        )


def try_templates(order: ShotTasks, engine: ShotEngine) -> None:
    """Prepare a template of every source, so that what cannot run is refused before anything has.

    Raises:
        InputError: If the engine is not fit for it.
    """
    if order.wanted == ShotEngineSpec():
        return
    for source, tensor in enumerate(order.tensors):
        if tensor.num_bits:
            every = [p for p, port in enumerate(tensor.ports) if port.kind == "gate"]
            order.prepared(source, tuple(every), engine, deferred=engine.defers_measurements)


def _gathered(step: PlannedRound, tasks: Sequence[Task], results: FinishedTasks) -> list[Counts]:
    """Put the counts of all tasks of a round together."""
    rows: list[list[Any]] = [[] for _ in step.batches]
    for task, result in zip(tasks, results, strict=True):
        places = [(piece.source, row) for piece in task for row in piece.rows.tolist()]
        for (source, row), (outcomes, times) in zip(places, unpack(result), strict=True):
            rows[source].append((row, outcomes, times))
    return [
        Counts.gather(len(batch.rows), own) for batch, own in zip(step.batches, rows, strict=True)
    ]


def _said(schedule: Schedule, rounds: int, pace: float) -> str:
    """Say in one line how a run stands, and what is likely to be missing, at a pace a shot."""
    precision = schedule.budget.precision
    errors = schedule.rough_errors() if precision is None else schedule.cautious_errors()
    worst = float(errors.max(initial=0))
    line = f"round {rounds}: {schedule.shots} shots, standard error {worst:.3g}"
    if precision is not None and worst > precision:
        missing = _missing(schedule)
        line += f"; {precision:g} takes at most about {missing:.3g} more, {pace * missing:.2g} s"
    return line


def _missing(schedule: Schedule) -> float:
    """Estimate how many more shots a precision takes."""
    precision = schedule.budget.precision
    if precision is None:
        return 0.0
    worst = float(schedule.cautious_errors().max(initial=0))
    return max(0.0, schedule.shots * ((worst / precision) ** 2 - 1))


def _check_hope(schedule: Schedule) -> None:
    """End a run that would take for ever."""
    missing, budget = _missing(schedule), schedule.budget
    if budget.shots is not None:
        return
    if missing > _HOPELESS_SHOTS:
        raise HpcqError(
            f"precision: {budget.precision:g} would take about {missing:.2g} more shots; "
            "expected a larger one, other cuts, or a limit by --shots"
        )
    if schedule.largest is not None and missing > _HOPELESS_ROUNDS * schedule.largest:
        raise HpcqError(
            f"max_variants: {budget.max_variants}, so that a round has at most {schedule.largest} "
            f"shots, but a precision of {budget.precision:g} would take about {missing:.2g} more; "
            "expected more variants, a larger precision, other cuts, or a limit by --shots"
        )


def _shown(value: object) -> str | None:
    """Return how a noise model or a backend is named in a file."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "name", None) or type(value).__name__)
