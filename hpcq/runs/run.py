"""The steps of a run of any kind, on one rank or many."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.limits import Device, Limits, check_threads
from hpcq.core.system import blas_threads, usable_cores
from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.parallel import messages
from hpcq.parallel.serial import Farm
from hpcq.parallel.tasks import TaskFunction
from hpcq.planning.kind import kind_of
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.collective import all_ranks_or_none, decode_result, encode_error, from_rank_0
from hpcq.runs.options import RunOptions
from hpcq.runs.output import FinishedElsewhereError
from hpcq.runs.parameter_values import rows_for
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.rank_devices import choose_rank_device
from hpcq.runs.stages import StageRunner, TaskSet


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
    """Run a plan, which only rank 0 needs to have, on a farm; see :func:`hpcq.run`."""
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
                options.finish(result)
                if farm.size > 1:
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
    device: Device = "cpu" if is_hardware else choose_rank_device(farm, options.arguments.device)

    def make_engine() -> Engine:
        check_threads(limits.threads, len(usable_cores()))
        engine = open_engine(engine_spec, limits, device, options.arguments.backend)
        if prepared is not None:
            prepared.check_engine(engine)
        return engine

    return device, all_ranks_or_none(farm, make_engine)


def _prepare(plan: Plan | None, options: RunOptions) -> PreparedRun:
    """Return the prepared run, on rank 0, so that errors are found before other ranks start."""
    plan = check_plan(plan, 1) if plan is None else plan
    kind = kind_of(plan)
    rows = rows_for(plan, options.arguments.parameter_values)
    options = replace(options, arguments=replace(options.arguments, parameter_values=rows))
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
