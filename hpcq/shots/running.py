"""A run with shots: rounds planned on rank 0, measured on all ranks."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.assembly import Plan
from hpcq.engines.sampling import ShotEngine
from hpcq.errors import HpcqError, InputError
from hpcq.machine import blas_threads, format_bytes
from hpcq.options import Note, RunOptions
from hpcq.provenance import Laps, provenance_of
from hpcq.result import Details, Result
from hpcq.shots.batches import Batch, pack_batches, unpack_batches
from hpcq.shots.counts import Counts, unpack
from hpcq.shots.engine import Wanted
from hpcq.shots.order import ShotOrder
from hpcq.shots.record import Record, identity_of, tensors_of
from hpcq.shots.rounds import make_schedule
from hpcq.shots.sampling import Sampling
from hpcq.shots.schedule import Schedule, Step
from hpcq.together import device_of, on_every_rank

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm, Progress

_HOPELESS_SHOTS = 1e13


@dataclass(frozen=True, eq=False)
class PreparedShots:
    """A run with shots that is about to begin.

    Attributes:
        plan: The plan.
        sampling: Its shots.
        order: The work order.
        schedule: The rounds.
        identity: What must be the same for a run to go on from this one.
    """

    plan: Plan
    sampling: Sampling
    order: ShotOrder
    schedule: Schedule
    identity: dict[str, str]

    @property
    def payload(self) -> bytes:
        """The work order as bytes for every rank."""
        return self.order.to_bytes()


def prepare_shots(plan: Plan, options: RunOptions) -> PreparedShots:
    """Prepare a run, or go on from an earlier one.

    Raises:
        InputError: If noise or backend are not to be had, the earlier run is another, the shots
            are too few to add a round, or a simulation does not fit into the memory.
    """
    sampling = plan.sampling
    assert sampling is not None, "it is a plan with shots"
    wanted = Wanted.of(options.noise, options.backend)
    record = _record(options.previous)
    if record is not None:
        sampling = record.sampling(plan, sampling.budget) or sampling
    identity = identity_of(plan, sampling, wanted)
    if record is not None:
        record.check(identity)
    seed = plan.config["seed"]
    order = ShotOrder(sampling.sources.tensors, plan.limits, seed, wanted)
    if wanted.backend is None:
        _check_memory(plan, sampling)
    schedule = make_schedule(sampling, seed, record.rounds if record else ())
    if sampling.budget.precision is None and schedule.next() is None:
        raise InputError(
            f"shots: {sampling.budget.shots}, expected at least {schedule.fewest}: one for each "
            "variant"
        )
    return PreparedShots(plan, sampling, order, schedule, identity)


def _record(previous: object) -> Record | None:
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


def run_shots(
    prepared: object, payload: bytes, farm: Farm, options: RunOptions, laps: Laps
) -> Result:
    """Run a plan with shots.

    Args:
        prepared: What :func:`prepare_shots` returned on rank 0.
        payload: The work order that rank 0 shared.
        farm: The ranks.
        options: How to run.
        laps: Seconds so far.
    """
    here = prepared if isinstance(prepared, PreparedShots) else None
    order = here.order if here else ShotOrder.from_bytes(payload)
    engine = _open(order, farm, options)
    where = farm.names(f"{socket.gethostname()} {engine.name}")
    laps.end("share")
    with blas_threads(1):
        if here is None:
            follow(order, farm, engine, options.progress)
            return Result.from_json(farm.share(b""))
        measure(order, here.schedule, farm, engine, options.progress, options.note)
        laps.end("measure")
        result = _result(here, farm, where, options, laps)
    farm.share(result.to_json().encode())
    return result


def _result(
    prepared: PreparedShots, farm: Farm, where: Sequence[str], options: RunOptions, laps: Laps
) -> Result:
    plan, sampling, schedule = prepared.plan, prepared.sampling, prepared.schedule
    engine = {"noise": _shown(options.noise), "backend": _shown(options.backend)}
    return Result(
        names=tuple(observable.name for observable in plan.observables),
        expectation_values=schedule.values(),
        standard_errors=schedule.errors(),
        status="complete",
        config={**plan.config, "device": options.device, **engine},
        provenance={
            **provenance_of(farm, where, laps),
            "shots": schedule.shots,
            "rounds": len(schedule.rounds),
        },
        details=Details(
            plan.circuit,
            plan.cuts,
            plan.observables,
            plan.reduced.cone_of,
            sampling.cut.subcircuits,
            sampling.cut.edges,
            sampling.parts.terms.strings,
            tensors_of(sampling, schedule.rounds),
            Record.of(sampling, prepared.identity, schedule.rounds),
        ),
    )


def _open(order: ShotOrder, farm: Farm, options: RunOptions) -> ShotEngine:
    """Open this rank's engine; where one rank cannot, all refuse."""
    device = "cpu" if order.wanted.backend is not None else device_of(farm, options.device)

    def make() -> ShotEngine:
        engine = order.wanted.open(order.limits, device, options.backend)
        if farm.rank == 0:
            _try_templates(order, engine)
        return engine

    return on_every_rank(farm, make, "backend: it is not usable on another rank")


def _check_memory(plan: Plan, sampling: Sampling) -> None:
    for number, tensor in enumerate(sampling.sources.tensors):
        size = plan.limits.amplitude_bytes << tensor.simulated_qubits
        if size > plan.limits.memory_bytes:
            raise InputError(
                f"memory: subcircuit {sampling.sources.uses.index(number)} and its ancillas are "
                f"{tensor.simulated_qubits} qubits, which need {format_bytes(size)}; a rank has "
                f"{format_bytes(plan.limits.memory_bytes)}, expected narrower subcircuits or "
                "more memory"
            )


def _try_templates(order: ShotOrder, engine: ShotEngine) -> None:
    """Prepare a template of every source, so that what cannot run is refused before anything has.

    Raises:
        InputError: If the engine is not fit for it.
    """
    if order.wanted == Wanted():
        return
    for source, tensor in enumerate(order.tensors):
        if tensor.num_bits:
            every = [p for p, port in enumerate(tensor.ports) if port.kind == "gate"]
            order.prepared(source, tuple(every), engine, deferred=engine.deferred)


def measure(
    order: ShotOrder,
    schedule: Schedule,
    farm: Farm,
    engine: ShotEngine,
    progress: Progress,
    note: Note,
) -> None:
    """Measure round after round on rank 0; the other ranks are in :func:`follow`."""
    begun = len(schedule.rounds)
    before, start = schedule.shots, time.perf_counter()
    while (step := schedule.next()) is not None:
        number = len(schedule.rounds)
        if farm.size > 1:
            farm.share(pack_batches(number, step.batches))
        schedule.take(step, _measured(order, number, step, farm, engine, progress))
        pace = (time.perf_counter() - start) / max(1, schedule.shots - before)
        note(_said(schedule, len(schedule.rounds) - begun, pace))
        _check_hope(schedule)
    farm.share(b"")


def follow(order: ShotOrder, farm: Farm, engine: ShotEngine, progress: Progress) -> None:
    """Measure what rank 0 shares, on a rank other than 0."""
    while payload := farm.share(b""):
        number, batches = unpack_batches(payload)
        _farm_out(order, number, batches, farm, engine, progress)


def _measured(
    order: ShotOrder,
    number: int,
    step: Step,
    farm: Farm,
    engine: ShotEngine,
    progress: Progress,
) -> list[Counts]:
    """Measure one round."""
    batches = list(step.batches)
    tasks = order.tasks(batches)
    results = _farm_out(order, number, batches, farm, engine, progress)
    rows: list[list[Any]] = [[] for _ in batches]
    for task, result in zip(tasks, results, strict=True):
        places = [(piece.source, row) for piece in task for row in piece.rows.tolist()]
        for (source, row), (outcomes, times) in zip(places, unpack(result), strict=True):
            rows[source].append((row, outcomes, times))
    return [Counts.gather(len(batch.rows), own) for batch, own in zip(batches, rows, strict=True)]


def _farm_out(
    order: ShotOrder,
    number: int,
    batches: Sequence[Batch],
    farm: Farm,
    engine: ShotEngine,
    progress: Progress,
) -> list[Any]:
    tasks = order.tasks(batches)
    work = order.worker(number, batches, tasks, engine)
    seconds = [sum(piece.seconds for piece in task) for task in tasks]
    return farm.run(seconds, np.uint64, work, progress)


def _said(schedule: Schedule, rounds: int, pace: float) -> str:
    """Say in one line how a run stands, and what is likely to be missing, at a pace a shot."""
    worst = float(schedule.rough_errors().max(initial=0))
    line = f"round {rounds}: {schedule.shots} shots, standard error {worst:.3g}"
    precision = schedule.budget.precision
    if precision is not None and worst > precision:
        missing = _missing(schedule)
        line += f"; {precision:g} takes at most about {missing:.3g} more, {pace * missing:.2g} s"
    return line


def _missing(schedule: Schedule) -> float:
    """Estimate how many more shots a precision takes."""
    precision = schedule.budget.precision
    if precision is None:
        return 0.0
    worst = float(schedule.rough_errors().max(initial=0))
    return max(0.0, schedule.shots * ((worst / precision) ** 2 - 1))


def _check_hope(schedule: Schedule) -> None:
    """End a run that would take for ever."""
    missing = _missing(schedule)
    if missing > _HOPELESS_SHOTS and schedule.budget.shots is None:
        raise HpcqError(
            f"precision: {schedule.budget.precision:g} would take about {missing:.2g} more shots; "
            "expected a larger one, other cuts, or a limit by --shots"
        )


def _shown(value: object) -> str | None:
    """Return how a noise model or a backend is named in a file."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "name", None) or type(value).__name__)
