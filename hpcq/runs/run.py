"""Run a plan of any kind, on one rank or many."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.core.limits import Device, Limits, as_seconds, check_threads
from hpcq.core.system import blas_threads, usable_cores
from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction
from hpcq.parallel.world import abort_on_error, check_free, open_farm, stop_before_start
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.results import check_output
from hpcq.results.result import Result
from hpcq.runs.collective import all_ranks_or_none, decode_result, encode_error, from_rank_0
from hpcq.runs.file_output import DEFAULT_CHECKPOINT_SECONDS, FileOutput
from hpcq.runs.options import RunOptions
from hpcq.runs.output import FinishedElsewhereError, NoOutput, RunOutput
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.progress import ProgressMonitor
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.rank_devices import choose_rank_device
from hpcq.runs.shared.folder import DEFAULT_CLAIM_SECONDS
from hpcq.runs.shared.output import SharedOutput
from hpcq.runs.stages import StageRunner, TaskSet
from hpcq.runs.status import shared_folder
from hpcq.runs.stop_conditions import DEFAULT_SIGNAL, StopConditions

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from hpcq.parallel.serial import Farm


def run(
    plan: Plan | None,
    comm: Comm | None = None,
    *,
    device: str = "auto",
    engine: str | None = None,
    noise: object = None,
    backend: object = None,
    previous: Result | None = None,
    output: str | Path | None = None,
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS,
    time_limit: float | None = None,
    stop_signal: str = DEFAULT_SIGNAL,
    shared: bool = False,
    claim_seconds: float = DEFAULT_CLAIM_SECONDS,
) -> Result:
    """Run a plan.

    Args:
        plan: The plan. Only rank 0's is used; other ranks may pass None.
        comm: An mpi4py communicator whose ranks share the work; all of them must call this
            function. By default all ranks of the MPI job, or this process alone if there is none.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where one works.
        engine: Name of the engine that simulates: ``aer``, the default, or one that another package
            registers by an entry point of the group ``hpcq.engines``.
        noise: For a plan with shots: an Aer NoiseModel, the path of one as JSON, or the name of a
            fake backend of qiskit-ibm-runtime, such as ``fake_brisbane``. Rank 0's is used; other
            ranks may pass None.
        backend: For a plan with shots: a BackendV2 or a SamplerV2, on every rank, or a name; by
            default Aer.
        previous: For a plan with shots: a result of the same plan, to which shots are added.
        output: A file that is written during the run and at its end. If it holds the progress of an
            earlier run of the same plan, this run resumes it. Only rank 0's is used.
        checkpoint_seconds: Minimum seconds between writes of the output; above 0.
        time_limit: Seconds after which to save and stop. The end of a SLURM allocation is always
            observed.
        stop_signal: The signal that asks the run to stop within seconds; SIGTERM stops it at once.
        shared: Whether other jobs may work on the same output at the same time; each takes tasks
            that no other has taken.
        claim_seconds: For a shared output: seconds of silence after which other jobs take over a
            job's tasks.

    Returns:
        The result, with the same values on every rank; only rank 0's has ``details``.

    Raises:
        InputError: On every rank, if the plan or another argument is missing or wrong.
        StoppedError: On every rank, if the run was stopped; the output holds all finished work.
        HpcqError: If tasks fail, or the result fails its own check. Any other failure of one
            rank among several ends the whole job.
    """
    arguments = RunArguments(
        device,
        engine,
        noise,
        backend,
        previous,
        output,
        checkpoint_seconds,
        time_limit,
        stop_signal,
        shared,
        claim_seconds,
    )
    farm = open_farm(comm)
    check_free(farm)
    return run_plan(farm, plan, arguments)


@dataclass(frozen=True)
class RunArguments:
    """The arguments of :func:`run` apart from plan and communicator."""

    device: str = "auto"
    engine: str | None = None
    noise: object = None
    backend: object = None
    previous: Result | None = None
    output: str | Path | None = None
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS
    time_limit: float | None = None
    stop_signal: str = DEFAULT_SIGNAL
    shared: bool = False
    claim_seconds: float = DEFAULT_CLAIM_SECONDS

    def for_other_ranks(self) -> RunArguments:
        """Return the arguments that every rank needs; the rest is known to rank 0 alone."""
        return replace(
            self, engine=None, noise=None, backend=None, previous=None, output=None, shared=False
        )

    def stop_conditions(self, rank: int, rank_0_engine: Sequence[str | None]) -> StopConditions:
        """Check the arguments of a rank, and return when its run stops.

        Raises:
            InputError: If an argument is wrong, or not the same as on rank 0.
        """
        as_seconds(self.checkpoint_seconds, "checkpoint_seconds")
        as_seconds(self.claim_seconds, "claim_seconds")
        if rank > 0:
            EngineSpec.check_same(self.noise, self.backend, rank_0_engine, self.engine)
        return StopConditions(self.time_limit, self.stop_signal, check_allocation=rank == 0)


def run_plan(farm: Farm, plan: Plan | None, arguments: RunArguments) -> Result:
    """Run a plan on the ranks of a farm, all of which must call this function; see :func:`run`."""
    with abort_on_error(farm):
        # Each rank checks its own arguments, because those of a single rank may be wrong.
        texts = EngineSpec.argument_texts(arguments.noise, arguments.backend, arguments.engine)
        rank_0_texts = messages.loads(farm.broadcast(messages.dumps(texts)))
        stop_conditions = all_ranks_or_none(
            farm, lambda: arguments.stop_conditions(farm.rank, rank_0_texts)
        )
    with abort_on_error(farm), stop_conditions:
        with stop_conditions.before_start(lambda reason: stop_before_start(farm, reason)):
            prepared = from_rank_0(farm, lambda: _check_with_output(plan, farm.size, arguments))
        checked_plan, output = prepared or (None, NoOutput())
        monitor = ProgressMonitor(stop_conditions, output)
        options = RunOptions(
            arguments.device,
            arguments.noise,
            arguments.backend,
            output,
            monitor,
            output.finish,
            arguments.engine,
        )
        return run_on_farm(checked_plan, farm, options)


def output_for(
    path: str | Path | None,
    checkpoint_seconds: float,
    claim_seconds: float | None,
    previous: Result | None = None,
) -> RunOutput:
    """Return the output of a run: a file, or none, so that shots are added to ``previous``.

    Jobs that share it take over the tasks of others after ``claim_seconds`` of silence; it is None
    if the output is not shared.

    Raises:
        InputError: If the output cannot be written, exists but hpcq did not write it, or is shared
            and ``claim_seconds`` is None.
    """
    if path is None:
        if claim_seconds is not None:
            raise InputError("shared: given without an output, expected one for jobs to share")
        return NoOutput(previous)
    if not isinstance(path, str | PathLike):
        raise InputError(f"output: {str(path)[:40]!r}, expected a path")
    file = check_output(Path(path))
    if claim_seconds is not None:
        return SharedOutput(file, checkpoint_seconds, claim_seconds)
    if shared_folder(file).is_dir():
        raise InputError(
            f"output: {printable_path(file)!r} is shared by several jobs, which keep "
            f"{shared_folder(file).name!r}; expected --shared, or another file"
        )
    return FileOutput(file, checkpoint_seconds)


def _check_with_output(
    plan: Plan | None, ranks: int, arguments: RunArguments
) -> tuple[Plan, RunOutput]:
    """Return the checked plan, and the output with its earlier result."""
    checked_plan = check_plan(plan, ranks)
    path, previous = arguments.output, arguments.previous
    if path is not None and previous is not None:
        raise InputError("previous: given with an output, expected only one of them")
    claim_seconds = arguments.claim_seconds if arguments.shared else None
    output = output_for(path, arguments.checkpoint_seconds, claim_seconds, previous)
    output.load_previous(kind_of(checked_plan))
    return checked_plan, output


@dataclass(frozen=True, eq=False)
class _TaskFunctionFactory:
    """Makes the function that computes a set of tasks, on this rank or in a separate process.

    A separate process opens its own engine: there ``engine`` is None.
    """

    limits: Limits
    device: Device
    engine_spec: EngineSpec
    engine: Engine | None

    def __call__(self, tasks: TaskSet) -> TaskFunction:
        """Return the function that computes the tasks."""
        return tasks.task_function(self._open_engine)

    def _open_engine(self) -> Engine:
        return self.engine or open_engine(self.engine_spec, self.limits, self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        return _TaskFunctionFactory, (self.limits, self.device, self.engine_spec, None)


def run_on_farm(plan: Plan | None, farm: Farm, options: RunOptions | None = None) -> Result:
    """Run a plan, which only rank 0 needs to have, on a farm; see :func:`run`."""
    options = options or RunOptions()
    started = time.perf_counter()
    try:
        prepared = from_rank_0(farm, lambda: _prepare(plan, options))
        if farm.broadcast(b"finished" if prepared and prepared.finished else b""):
            return _share_finished(prepared, farm, options)
        payload = messages.dumps((prepared.limits, prepared.engine_spec)) if prepared else b""
        limits, engine_spec = messages.loads(farm.broadcast(payload))
        device, engine = _open_engine(limits, engine_spec, farm, options, prepared)
    except HpcqError:
        options.output.close()
        raise
    factory = _TaskFunctionFactory(limits, device, engine_spec, engine)
    rank_engines = farm.gather_names(f"{socket.gethostname()} {engine.name}")
    with blas_threads(1):
        if prepared is None:
            return decode_result(farm.run_worker(factory))
        failure: HpcqError | None = None
        with farm.coordinator(factory) as coordinator:
            accounting = RunAccounting(
                farm, rank_engines, limits.threads, started, coordinator.ledger, options.previous
            )
            try:
                runner = StageRunner(coordinator, farm, accounting, options)
                result = _compute(prepared, runner, engine)
                options.on_result(result)
                coordinator.closing_message = result.to_bytes()
            except HpcqError as error:
                failure = error
                coordinator.closing_message = encode_error(error)
                coordinator.exit_code = error.exit_code
        if failure is not None:
            failure.on_all_ranks = True
            raise failure
        return result


def _compute(prepared: PreparedRun, runner: StageRunner, engine: Engine) -> Result:
    """Return the result of a run, or the one that another job wrote during it."""
    output = prepared.options.output
    try:
        return prepared.compute(runner, engine)
    except FinishedElsewhereError:
        assert output.previous is not None, "another job has written it"
        return output.previous
    except HpcqError:
        output.close()
        raise


def _share_finished(prepared: PreparedRun | None, farm: Farm, options: RunOptions) -> Result:
    """Return on every rank the result that the output already holds."""
    if prepared is None:
        from_rank_0(farm, lambda: None)
        return Result.from_json(farm.broadcast(b""))
    result = prepared.finished
    assert result is not None, "a complete result exists"
    options.monitor.log("the output is already complete, nothing is left to do")
    from_rank_0(farm, lambda: options.output.finish(result))
    farm.broadcast(result.to_bytes())
    return result


def _open_engine(
    limits: Limits,
    engine_spec: EngineSpec,
    farm: Farm,
    options: RunOptions,
    prepared: PreparedRun | None,
) -> tuple[Device, Engine]:
    """Return this rank's device and its engine, opened; if a rank fails, all raise."""
    is_hardware = engine_spec.backend is not None
    device: Device = "cpu" if is_hardware else choose_rank_device(farm, options.device)

    def make_engine() -> Engine:
        check_threads(limits.threads, len(usable_cores()))
        engine = open_engine(engine_spec, limits, device, options.backend)
        if prepared is not None:
            prepared.check_engine(engine)
        return engine

    return device, all_ranks_or_none(farm, make_engine)


def _prepare(plan: Plan | None, options: RunOptions) -> PreparedRun:
    """Return the prepared run, on rank 0, so that errors are found before other ranks start."""
    plan = check_plan(plan, 1) if plan is None else plan
    kind = kind_of(plan)
    while True:
        with suppress(FinishedElsewhereError):  # then once more, to return the other job's result
            prepared: PreparedRun = kind.prepare(plan, options)
            return prepared


def check_plan(plan: object, ranks: int) -> Plan:
    """Return the plan, if it can be run.

    Raises:
        InputError: If it is not a plan, takes too long, or needs too much memory.
    """
    if not isinstance(plan, Plan):
        where = " on rank 0" if ranks > 1 else ""
        given = "None" if plan is None else f"a {type(plan).__name__}"
        raise InputError(f"plan: {given}{where}, expected what hpcq.plan returns")
    kind_of(plan).check(plan, ranks)
    return plan
