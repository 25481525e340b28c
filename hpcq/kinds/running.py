"""From a plan to a result: on one rank or many, exact or with shots."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.limits import Device, Limits, as_seconds, check_threads
from hpcq.core.system import blas_threads, format_bytes, usable_cores
from hpcq.engines.aer_statevector import AerEngine
from hpcq.engines.shot_engine import ShotEngineSpec
from hpcq.kinds.contraction_tasks import ContractionTasks
from hpcq.kinds.exact import ExactRun, prepare_exact
from hpcq.kinds.exact_tasks import ExactTasks
from hpcq.kinds.shot_tasks import ShotTasks
from hpcq.kinds.shots import ShotsRun, prepare_shots, try_templates
from hpcq.parallel import messages
from hpcq.parallel.tasks import MAX_TASKS, TaskFunction
from hpcq.parallel.world import end_before, ending_the_job, open_farm
from hpcq.planning.assembly import Plan
from hpcq.results import load
from hpcq.results.result import Result
from hpcq.runs.checkpoint import DEFAULT_CHECKPOINT_SECONDS, Checkpoint
from hpcq.runs.collective import all_ranks_or_none, decode_result, encode_error, from_rank_0
from hpcq.runs.options import RunOptions
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.provenance import PhaseTimer, RunAccounting
from hpcq.runs.rank_devices import choose_rank_device
from hpcq.runs.shared.checkpoint import SharedCheckpoint
from hpcq.runs.shared.folder import CLAIM_SECONDS, FolderGoneError
from hpcq.runs.stop_conditions import DEFAULT_SIGNAL, StopConditions

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from hpcq.parallel.serial import Coordinator, Farm


def run(
    plan: Plan | None,
    comm: Comm | None = None,
    *,
    device: str = "auto",
    noise: object = None,
    backend: object = None,
    previous: Result | None = None,
    output: str | Path | None = None,
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS,
    time_limit: float | None = None,
    stop_signal: str = DEFAULT_SIGNAL,
    shared: bool = False,
    claim_seconds: float = CLAIM_SECONDS,
) -> Result:
    """Run a plan.

    Args:
        plan: The plan; only rank 0's is used, the other ranks may pass None.
        comm: An mpi4py communicator whose ranks share the work; every one of them calls this
            function. If none is given: all ranks of the job if a launcher started one, else
            this process alone.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where one works.
        noise: For a plan with shots: an Aer NoiseModel, the path of one as JSON, or the name of a
            fake backend of qiskit-ibm-runtime, such as ``fake_brisbane``. Rank 0's is used; the
            other ranks may pass None.
        backend: For a plan with shots: a BackendV2 or a SamplerV2, on every rank, or a name; by
            default Aer.
        previous: For a plan with shots: a result of the same plan, to which shots are added.
        output: A file that is written while the run goes on, and at its end. If it holds what an
            earlier run of the same plan did, this one goes on from there. Only rank 0's is used.
        checkpoint_seconds: How often to write it, at most; above 0.
        time_limit: Seconds after which to stop, all saved; the end of a SLURM allocation is
            watched anyway.
        stop_signal: The signal that asks to stop within seconds; SIGTERM does so at once.
        shared: Whether other jobs may be at work on the same output at the same time: each does
            what the others have not begun.
        claim_seconds: Where it is shared, how long a job may be silent before others take over.

    Returns:
        The result, the same values on every rank; ranks other than 0 get no ``details``.

    Raises:
        InputError: On every rank, if the plan or another argument is missing or wrong.
        StoppedError: On every rank, if the run was stopped and all that was done is in the output.
        HpcqError: If tasks fail, or the result fails its own check. Any other failure of one
            rank among several ends the whole job.
    """
    farm = open_farm(comm)

    def keeper_of() -> Checkpoint | None:
        return checkpoint_for(output, checkpoint_seconds, claim_seconds if shared else None)

    def signs_of() -> StopConditions:
        as_seconds(checkpoint_seconds, "checkpoint_seconds")
        as_seconds(claim_seconds, "claim_seconds")
        if farm.rank > 0:
            ShotEngineSpec.check_same(noise, backend, first)
        return StopConditions(time_limit, stop_signal, check_allocation=farm.rank == 0)

    with ending_the_job(farm):
        # Every rank has arguments of its own, and might be the only one whose are wrong.
        first = messages.loads(
            farm.broadcast(messages.dumps(ShotEngineSpec.argument_texts(noise, backend)))
        )
        signs = all_ranks_or_none(farm, signs_of)
    with ending_the_job(farm), signs:
        with signs.before_start(lambda reason: end_before(farm, reason)):
            prepared = from_rank_0(farm, lambda: _kept(plan, farm.size, previous, keeper_of))
        checked, before, checkpoint = prepared or (None, None, None)
        options = RunOptions(
            device, noise, backend, before, checkpoint, ProgressMonitor(signs, checkpoint)
        )
        if checkpoint is not None:
            options = replace(options, on_result=checkpoint.finish)
        return run_on_farm(checked, farm, options)


def checkpoint_for(
    output: str | Path | None, checkpoint_seconds: float, claim_seconds: float | None
) -> Checkpoint | None:
    """Return who keeps an output; None if there is none.

    Args:
        output: The file.
        checkpoint_seconds: How often to write.
        claim_seconds: How long other jobs may be silent; None if there are none.

    Raises:
        InputError: If it cannot be written, or must not be.
    """
    if output is None:
        if claim_seconds is not None:
            raise InputError("shared: given without an output, expected one that jobs can share")
        return None
    if claim_seconds is None:
        return Checkpoint.open(output, checkpoint_seconds)
    return SharedCheckpoint.open(output, checkpoint_seconds, claim_seconds)


def _kept(
    plan: Plan | None,
    ranks: int,
    previous: Result | None,
    keeper_of: Callable[[], Checkpoint | None],
) -> tuple[Plan, Result | None, Checkpoint | None]:
    """Check a plan, and look at what the output file holds."""
    checked = check_plan(plan, ranks)
    checkpoint = keeper_of()
    if checkpoint is None:
        return checked, previous, None
    if previous is not None:
        raise InputError("previous: given with an output, expected only one of them")
    return checked, checkpoint.load_previous(checked.config["mode"]), checkpoint


@dataclass(frozen=True, eq=False)
class _EngineFactory:
    """Makes the work of what rank 0 shares, on this rank or in a process of its own.

    Attributes:
        limits: What the rank may use.
        device: Where Aer runs.
        wanted: What measures shots; None for an exact run.
        engine: The engine that is open; left out where the opener is sent to a process.
    """

    limits: Limits
    device: Device
    wanted: ShotEngineSpec | None
    engine: Any

    def __call__(self, payload: bytes) -> TaskFunction:
        """Make the work."""
        tasks: ContractionTasks | ExactTasks | ShotTasks = messages.loads(payload)
        if isinstance(tasks, ContractionTasks):
            return tasks.work
        engine = self.engine or _engine(self.limits, self.device, self.wanted, None)
        if isinstance(tasks, ExactTasks):
            return tasks.worker(engine.statevector)
        return tasks.worker(engine)

    def __reduce__(self) -> tuple[Any, ...]:
        return _EngineFactory, (self.limits, self.device, self.wanted, None)


def run_on_farm(plan: Plan | None, farm: Farm, options: RunOptions | None = None) -> Result:
    """Run a plan, which only rank 0 has, on a farm; see :func:`run`."""
    options = options or RunOptions()
    timer = PhaseTimer()
    try:
        prepared = from_rank_0(farm, lambda: _prepare(plan, options))
        if farm.broadcast(b"finished" if prepared and prepared.finished else b""):
            return _shared(prepared, farm, options)
        limits, wanted = _shared_means(prepared, farm)
        factory = _open(limits, wanted, farm, options, prepared)
    except HpcqError:
        if options.checkpoint is not None:
            options.checkpoint.withdraw()
        raise
    name = factory.engine.name if wanted is not None else factory.device
    where = farm.gather_names(f"{socket.gethostname()} {name}")
    timer.end("share")
    with blas_threads(1):
        if prepared is None:
            return decode_result(farm.run_worker(factory))
        failure: HpcqError | None = None
        with farm.coordinator(factory) as coordinator:
            checkpoint = options.checkpoint
            if isinstance(checkpoint, SharedCheckpoint):
                coordinator.share_stage = checkpoint.share_stage
            accounting = RunAccounting(
                farm, where, limits.threads, timer, coordinator.ledger, options.previous
            )
            try:
                result = _computed(prepared, coordinator, farm, accounting, factory.engine)
                options.on_result(result)
                coordinator.closing_message = result.to_bytes()
            except HpcqError as error:
                failure = error
                coordinator.closing_message, coordinator.exit_code = (
                    encode_error(error),
                    error.exit_code,
                )
        if failure is not None:
            failure.on_all_ranks = True
            raise failure
        return result


def _computed(
    prepared: ExactRun | ShotsRun,
    coordinator: Coordinator,
    farm: Farm,
    accounting: RunAccounting,
    engine: Any,
) -> Result:
    """Do a run, or return what another job has written of it meanwhile."""
    checkpoint = prepared.options.checkpoint
    try:
        return prepared.compute(coordinator, farm, accounting, engine)
    except FolderGoneError:
        if not isinstance(checkpoint, SharedCheckpoint) or not checkpoint.is_complete():
            raise
        return load(checkpoint.path)
    except HpcqError:
        if checkpoint is not None:
            checkpoint.remove_status()
        raise


def _shared(prepared: ExactRun | ShotsRun | None, farm: Farm, options: RunOptions) -> Result:
    """Return a result that is finished already."""
    if prepared is None:
        from_rank_0(farm, lambda: None)
        return Result.from_json(farm.broadcast(b""))
    result = prepared.finished
    assert result is not None, "it is finished"
    options.monitor.log("the output is complete already, nothing is left to do")
    checkpoint = options.checkpoint
    from_rank_0(
        farm, lambda: checkpoint.finish(result) if checkpoint and checkpoint.is_shared else None
    )
    farm.broadcast(result.to_bytes())
    return result


def _shared_means(
    prepared: ExactRun | ShotsRun | None, farm: Farm
) -> tuple[Limits, ShotEngineSpec | None]:
    """Tell every rank what it may use, and what measures."""
    content = b""
    if prepared is not None:
        wanted = prepared.order.wanted if isinstance(prepared, ShotsRun) else None
        content = messages.dumps((prepared.order.limits, wanted))
    means: tuple[Limits, ShotEngineSpec | None] = messages.loads(farm.broadcast(content))
    return means


def _open(
    limits: Limits,
    wanted: ShotEngineSpec | None,
    farm: Farm,
    options: RunOptions,
    prepared: ExactRun | ShotsRun | None,
) -> _EngineFactory:
    """Open this rank's engine; where one rank cannot, all refuse."""
    real = wanted is not None and wanted.backend is not None
    device: Device = "cpu" if real else choose_rank_device(farm, options.device)

    def make() -> Any:
        check_threads(limits.threads, len(usable_cores()))
        engine = _engine(limits, device, wanted, options.backend)
        if isinstance(prepared, ShotsRun):
            try_templates(prepared.order, engine)
        return engine

    engine = all_ranks_or_none(farm, make)
    return _EngineFactory(limits, device, wanted, engine)


def _engine(limits: Limits, device: Device, wanted: ShotEngineSpec | None, given: Any) -> Any:
    if wanted is None:
        return AerEngine(limits, device)
    return wanted.open(limits, device, given)


def _prepare(plan: Plan | None, options: RunOptions) -> ExactRun | ShotsRun:
    """Prepare a run on rank 0, so that whatever is wrong with it is refused on all ranks."""
    plan = check_plan(plan, 1) if plan is None else plan
    prepare = prepare_exact if plan.sampling is None else prepare_shots
    while True:
        try:
            return prepare(plan, options)
        except FolderGoneError:
            if options.checkpoint is None:
                raise
            options = replace(
                options, previous=options.checkpoint.load_previous(plan.config["mode"])
            )


def check_plan(plan: object, ranks: int) -> Plan:
    """Return a plan that can be run in a lifetime.

    Raises:
        InputError: If it is no plan, is predicted to take a year or more, or has more tasks
            than rank 0 can keep account of, or needs more memory than there is.
    """
    if not isinstance(plan, Plan):
        where = " on rank 0" if ranks > 1 else ""
        given = "None" if plan is None else f"a {type(plan).__name__}"
        raise InputError(f"plan: {given}{where}, expected what hpcq.plan returns")
    if plan.sampling is not None:
        return plan
    if not plan.fits:
        raise InputError(
            f"plan: its exact run needs {format_bytes(plan.cost.memory_bytes)} on rank 0, which "
            f"has {format_bytes(plan.limits.memory_bytes)}; expected cuts found for the exact run "
            "(objective seconds), or more memory"
        )
    years = plan.cost.predicted_years(ranks)
    if years > 1:
        raise InputError(
            f"plan: predicted to take {years:.2g} years on {ranks} ranks; expected other cuts "
            "(`hpcq plan` shows what they cost)"
        )
    if plan.num_tasks > MAX_TASKS:
        raise InputError(
            f"plan: its slices make {plan.num_tasks} tasks, expected at most {MAX_TASKS}; other "
            "cuts or more memory would make fewer"
        )
    return plan
