"""A run with shots: rounds planned on rank 0, measured on all ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.assembly import Plan
from hpcq.engines.sampling import ShotEngine
from hpcq.errors import HpcqError, InputError
from hpcq.machine import format_bytes
from hpcq.shots.batches import Batch, pack_batches, unpack_batches
from hpcq.shots.counts import Counts, unpack
from hpcq.shots.engine import Wanted
from hpcq.shots.order import ShotOrder
from hpcq.shots.record import Record
from hpcq.shots.rounds import Schedule, Step, make_schedule

if TYPE_CHECKING:
    from hpcq.farm.serial import Farm, Progress

Note = Callable[[str], None]
"""Is told now and then how the run goes, in one line."""

_HOPELESS_SHOTS = 1e13


def order_of(plan: Plan, wanted: Wanted) -> ShotOrder:
    """Return a plan's work order.

    Raises:
        InputError: If its widest simulation does not fit into the memory.
    """
    sampling = plan.sampling
    assert sampling is not None, "it is a plan with shots"
    if wanted.backend is None:
        for number, tensor in enumerate(sampling.sources.tensors):
            size = plan.limits.amplitude_bytes << tensor.simulated_qubits
            if size > plan.limits.memory_bytes:
                raise InputError(
                    f"memory: subcircuit {sampling.sources.uses.index(number)} and its ancillas "
                    f"are {tensor.simulated_qubits} qubits, which need {format_bytes(size)}; a "
                    f"rank has {format_bytes(plan.limits.memory_bytes)}, expected narrower "
                    "subcircuits or more memory"
                )
    return ShotOrder(sampling.sources.tensors, plan.limits, plan.config["seed"], wanted)


def try_templates(order: ShotOrder, engine: ShotEngine) -> None:
    """Prepare a template of every source, so that what cannot run is refused before anything has.

    Raises:
        InputError: If the engine is not fit for it.
    """
    if order.wanted == Wanted():
        return
    for source, tensor in enumerate(order.tensors):
        if tensor.num_bits:
            every = [p for p, port in enumerate(tensor.ports) if port.kind == "gate"]
            order.prepared(source, tuple(every), engine)


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
    while (step := schedule.next()) is not None:
        number = len(schedule.rounds)
        if farm.size > 1:
            farm.share(pack_batches(number, step.batches))
        schedule.take(step, _measured(order, number, step, farm, engine, progress))
        note(_said(schedule, len(schedule.rounds) - begun))
        _check_hope(schedule)
    farm.share(b"")


def follow(order: ShotOrder, farm: Farm, engine: ShotEngine, progress: Progress) -> None:
    """Measure what rank 0 shares, on a rank other than 0."""
    while payload := farm.share(b""):
        number, batches = unpack_batches(payload)
        _farm_out(order, number, batches, farm, engine, progress)


def begin(plan: Plan, previous: Record | None, identity: dict[str, str], name: str) -> Schedule:
    """Begin a run, or go on from an earlier one.

    Raises:
        InputError: If the earlier one is another, or the shots are too few to add a round.
    """
    sampling = plan.sampling
    assert sampling is not None, "it is a plan with shots"
    if previous is not None:
        previous.check(identity, name)
    rounds = () if previous is None else previous.rounds
    schedule = make_schedule(sampling, plan.config["seed"], rounds)
    if sampling.budget.precision is None and schedule.next() is None:
        raise InputError(
            f"shots: {sampling.budget.shots}, expected at least one for each of the "
            f"{sampling.num_variants} variants"
        )
    return schedule


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
        for row, (outcomes, times) in zip(task.rows.tolist(), unpack(result), strict=True):
            batch = batches[task.source]
            settings = batch.rows[row].tolist()
            # Bits that no entry depends on only tell equal outcomes apart.
            mask = order.tensors[task.source].bits(settings[:-1], settings[-1])
            rows[task.source].append((row, outcomes & np.uint64(mask), times))
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
    return farm.run([task.seconds for task in tasks], np.uint64, work, progress)


def _said(schedule: Schedule, rounds: int) -> str:
    """Say in one line how a run stands."""
    worst = float(schedule.errors().max(initial=0))
    line = f"round {rounds}: {schedule.shots} shots, standard error {worst:.3g}"
    precision = schedule.budget.precision
    if precision is not None and worst > precision:
        line += f"; {precision:g} takes about {_missing(schedule):.3g} more"
    return line


def _missing(schedule: Schedule) -> float:
    """Estimate how many more shots a precision takes."""
    precision = schedule.budget.precision
    if precision is None:
        return 0.0
    worst = float(schedule.errors().max(initial=0))
    return max(0.0, schedule.shots * ((worst / precision) ** 2 - 1))


def _check_hope(schedule: Schedule) -> None:
    """End a run that would take for ever."""
    missing = _missing(schedule)
    if missing > _HOPELESS_SHOTS and schedule.budget.shots is None:
        raise HpcqError(
            f"precision: {schedule.budget.precision:g} would take about {missing:.2g} more shots; "
            "expected a larger one, other cuts, or a limit by --shots"
        )
