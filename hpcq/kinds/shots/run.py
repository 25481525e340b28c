"""A run with shots: rounds planned on rank 0, measured on all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hpcq.core.errors import HpcqError
from hpcq.engines.protocol import Engine, QueuedEngine
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.shots.records import record_of, tensors_of
from hpcq.kinds.shots.sampling import Sampling, ShotsPlan
from hpcq.kinds.shots.schedule import PlannedRound, Schedule
from hpcq.kinds.shots.tasks import ShotTasks
from hpcq.parallel.tasks import FinishedTasks
from hpcq.reconstruction.estimation.counts import Counts, unpack
from hpcq.reconstruction.estimation.variant_batches import Task
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.resumable_device import ResumableDevice
from hpcq.runs.stages import StageRunner

_MAX_MISSING_SHOTS = 1e13
"""Missing shots beyond which a run toward a target error is given up; no plan may ask for more."""

_MAX_MISSING_ROUNDS = 1e5
"""Missing rounds of joint samples beyond which a run is given up: at a few hundredths of a second
each, planning alone would take hours."""


@dataclass(frozen=True, eq=False)
class ShotsRun(PreparedRun):
    """A run with shots that is prepared but not started.

    Attributes:
        sampling: The sampling of the plan, or of the record that is continued.
        task_set: The sources to measure.
        schedule: The schedule of rounds.
        rounds_before: Number of rounds that were measured before this run was first started.
        job_ids: Jobs of the current round that a device has not finished; see
            :class:`hpcq.runs.resumable_device.ResumableDevice`.
    """

    plan: ShotsPlan
    sampling: Sampling
    task_set: ShotTasks
    schedule: Schedule
    rounds_before: int
    job_ids: dict[str, Sequence[str]]

    def check_engine(self, engine: Engine) -> None:
        """Prepare a template of every source, so that an unfit engine is refused before the run."""
        if self.engine_spec != EngineSpec():
            self.task_set.check_engine(engine)

    @property
    def finished(self) -> Result | None:
        """The complete result in an output that jobs share, to which no job adds shots."""
        return None if self.options.output.may_add_shots else super().finished

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which plans rounds and hands their tasks to the other ranks.

        Raises:
            HpcqError: If the run is stopped, tasks fail, or the target error is out of reach.
        """
        with self._driver(runner, engine) as (driver, open_engine):
            self._run_rounds(driver, open_engine)
        runner.accounting.end("measure")
        return self._result("complete", runner.accounting)

    @contextmanager
    def _driver(
        self, runner: StageRunner, engine: Engine
    ) -> Iterator[tuple[StageRunner, Callable[[], Engine]]]:
        """Yield the runner of the rounds, and the function that returns its engine.

        All ranks run the rounds; for a device with a queue, rank 0 alone, in a thread that waits.
        """
        if not isinstance(engine, QueuedEngine):
            yield runner, lambda: engine
            return
        device = ResumableDevice(engine, self.job_ids, self.options.output.save_soon)
        with runner.alone() as alone:
            try:
                yield alone, lambda: device
            finally:
                device.stop()

    def _run_rounds(self, runner: StageRunner, open_engine: Callable[[], Engine]) -> None:
        schedule = self.schedule
        in_subprocess: bool | None = None
        first_round, shots_before = len(schedule.rounds), schedule.shots
        started = time.perf_counter()
        while (planned := schedule.next_round()) is not None:
            tasks = self.task_set.divide(planned.batches)
            seconds = sum(part.seconds for task in tasks for part in task)
            wants_subprocess = in_subprocess or runner.are_long(seconds)
            if wants_subprocess != in_subprocess and (
                in_subprocess is None or runner.coordinator.has_all_ranks
            ):
                runner.send(self.task_set, open_engine, in_subprocess=wants_subprocess)
                in_subprocess = wants_subprocess
            schedule.add(planned, self._measure(planned, tasks, runner))
            new_rounds = len(schedule.rounds) - first_round
            new_shots = max(1, schedule.shots - shots_before)
            seconds_per_shot = (time.perf_counter() - started) / new_shots
            self.options.monitor.log(_status_line(schedule, new_rounds, seconds_per_shot))
            _check_reachable(schedule)

    def _measure(
        self, planned: PlannedRound, tasks: list[Task], runner: StageRunner
    ) -> list[Counts]:
        """Return the counts of a round, for each source."""
        round_number = len(self.schedule.rounds)
        farm_tasks = self.task_set.farm_tasks(round_number, tasks)
        name = f"round {round_number + 1}"
        source = self.options.output.stage(name, farm_tasks)
        stage = Stage(name, source.finished)

        def partial() -> Result:
            return self._result("partial", runner.accounting, (stage,))

        runner.run(source, "measure", partial)
        self.options.monitor.end_line()
        self.job_ids.clear()
        return _gather_counts(planned, tasks, source.finished)

    def _result(
        self, status: str, accounting: RunAccounting, stages: tuple[Stage, ...] | None = None
    ) -> Result:
        """Return values, standard errors and all counts; ``stages`` make it a partial result."""
        sampling, schedule, options = self.sampling, self.schedule, self.options
        values = errors = None
        tensors: tuple[Any, ...] = (None,) * len(sampling.cut.subcircuits)
        if schedule.rounds or stages is None:
            values, tensors = schedule.values(), tensors_of(sampling, schedule.rounds)
            errors = schedule.errors if stages is None else schedule.rough_errors
        return self.result(
            accounting,
            values,
            errors,
            status=status,
            config={
                "noise": _engine_name(options.arguments.noise),
                "backend": _engine_name(options.arguments.backend),
            },
            provenance={"shots": schedule.shots, "rounds": len(schedule.rounds)},
            subcircuits=sampling.cut.subcircuits,
            edges=sampling.cut.edges,
            strings=sampling.parts.terms.strings,
            tensors=tensors,
            sections=(record_of(sampling, self.fingerprint, schedule.rounds),),
            unfinished=None
            if stages is None
            else PartialProgress(stages, self.rounds_before, dict(self.job_ids)),
        )


def _gather_counts(
    planned: PlannedRound, tasks: Sequence[Task], results: FinishedTasks
) -> list[Counts]:
    """Return the counts of all tasks of a round, for each source."""
    rows: list[list[Any]] = [[] for _ in planned.batches]
    for task, result in zip(tasks, results, strict=True):
        keys = [(part.source, row) for part in task for row in part.rows.tolist()]
        for (source, row), (outcomes, frequencies) in zip(keys, unpack(result), strict=True):
            rows[source].append((row, outcomes, frequencies))
    return [
        Counts.gather(len(batch.rows), source_rows)
        for batch, source_rows in zip(planned.batches, rows, strict=True)
    ]


def _status_line(schedule: Schedule, rounds: int, seconds_per_shot: float) -> str:
    """Return a line on the error so far, and on the shots and seconds to the target error."""
    target_error = schedule.budget.target_error
    errors = schedule.rough_errors if target_error is None else schedule.cautious_errors
    worst_error = float(errors.max(initial=0))
    line = f"round {rounds}: {schedule.shots} shots, standard error {worst_error:.3g}"
    if target_error is not None and worst_error > target_error:
        missing_shots = _missing_shots(schedule)
        seconds = seconds_per_shot * missing_shots
        line += f"; {target_error:g} takes at most about {missing_shots:.3g} more, {seconds:.2g} s"
    return line


def _missing_shots(schedule: Schedule) -> float:
    """Return about how many more shots the target error takes; 0 without one."""
    target_error = schedule.budget.target_error
    if target_error is None:
        return 0.0
    worst_error = float(schedule.cautious_errors.max(initial=0))
    return max(0.0, schedule.shots * ((worst_error / target_error) ** 2 - 1))


def _check_reachable(schedule: Schedule) -> None:
    """Give up a run that would take far too long.

    Raises:
        HpcqError: If far too many shots or rounds are missing.
    """
    missing_shots, budget = _missing_shots(schedule), schedule.budget
    if budget.shots is not None:
        return
    if missing_shots > _MAX_MISSING_SHOTS:
        raise HpcqError(
            f"target_error: {budget.target_error:g} would take about {missing_shots:.2g} more "
            "shots; expected a larger one, other cuts, or a limit by --shots"
        )
    if (
        schedule.max_round_shots is not None
        and missing_shots > _MAX_MISSING_ROUNDS * schedule.max_round_shots
    ):
        raise HpcqError(
            f"max_variants: {budget.max_variants}, so that a round has at most "
            f"{schedule.max_round_shots} shots, but a target error of {budget.target_error:g} "
            f"would take about {missing_shots:.2g} more; expected more variants, a larger "
            "target error, other cuts, or a limit by --shots"
        )


def _engine_name(value: object) -> str | None:
    """Return the name of a noise model or backend for the output file."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "name", None) or type(value).__name__)
