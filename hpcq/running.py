"""From a plan to a result: farm the tasks out, put the tensors together, contract."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcq.assembly import Plan
from hpcq.config import Device
from hpcq.cost import LARGE_CONTRACTION
from hpcq.engines.aer import AerEngine, choose_device
from hpcq.engines.sampling import ShotEngine
from hpcq.errors import HpcqError, InputError, MissingDependencyError
from hpcq.farm.mpi import ending_the_job, open_farm
from hpcq.farm.serial import silent
from hpcq.machine import format_bytes
from hpcq.order import WorkOrder
from hpcq.reconstruction.expectation import contract
from hpcq.reconstruction.network import bond_tensor
from hpcq.result import Details, Result
from hpcq.search.order import MARK, take_part
from hpcq.shots.engine import Wanted
from hpcq.shots.order import MARK as MARK_OF_SHOTS
from hpcq.shots.order import ShotOrder
from hpcq.shots.record import Record, identity_of, tensors_of
from hpcq.shots.running import Note, begin, follow, measure, order_of, try_templates
from hpcq.version import versions

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from hpcq.farm.serial import Farm, Progress

_REFUSALS: dict[str, type[HpcqError]] = {
    "input": InputError,
    "dependency": MissingDependencyError,
}
Made = TypeVar("Made")

_MOST_TASKS = 5_000_000
_NORM_TOLERANCE = {"double": 1e-8, "single": 1e-3}
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_CLUSTER_NAME",
)


def run(
    plan: Plan | None,
    comm: Comm | None = None,
    *,
    device: str = "auto",
    noise: object = None,
    backend: object = None,
    previous: Result | None = None,
) -> Result:
    """Run a plan.

    Args:
        plan: The plan; only rank 0's is used, the other ranks may pass None.
        comm: An mpi4py communicator whose ranks share the work; every one of them calls this
            function. If none is given: all ranks of the job if a launcher started one, else
            this process alone.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where one works.
        noise: For a plan with shots: an Aer NoiseModel, the path of one as JSON, or the name of a
            fake backend of qiskit-ibm-runtime, such as ``fake_brisbane``.
        backend: For a plan with shots: a BackendV2 or a SamplerV2, on every rank, or a name; by
            default Aer.
        previous: For a plan with shots: a result of the same plan, to which shots are added.

    Returns:
        The result, the same values on every rank; ranks other than 0 get no ``details``.

    Raises:
        InputError: On every rank, if the plan or another argument is missing or wrong.
        HpcqError: If the result fails its own check. Any other failure of one rank among
            several ends the whole job.
    """
    farm = open_farm(comm)
    with ending_the_job(farm):
        return run_on_farm(
            from_rank_0(farm, lambda: check_plan(plan, farm.size)),
            farm,
            device=device,
            noise=noise,
            backend=backend,
            previous=previous,
        )


def from_rank_0(farm: Farm, make: Callable[[], Made]) -> Made | None:
    """Plan on rank 0, which may share out its search for cuts.

    Where that is refused, every rank raises the same error.
    """
    if farm.rank > 0:
        while (refusal := farm.share(b"")).startswith(MARK):
            take_part(farm, refusal)
        if refusal:
            kind, message = json.loads(refusal)
            raise _REFUSALS[kind](message)
        return None
    try:
        made = make()
    except tuple(_REFUSALS.values()) as error:
        kind = next(name for name, known in _REFUSALS.items() if isinstance(error, known))
        farm.share(json.dumps([kind, str(error)]).encode())
        raise
    farm.share(b"")
    return made


def run_on_farm(
    plan: Plan | None,
    farm: Farm,
    *,
    device: str = "auto",
    noise: object = None,
    backend: object = None,
    previous: Result | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Result:
    """Run a plan, which only rank 0 has, on a farm; see :func:`run`."""
    laps = _Laps()
    if plan is None:
        payload = farm.share(b"")
        if payload.startswith(MARK_OF_SHOTS):
            return _run_shots_elsewhere(payload, farm, device, backend, progress)
        _compute(WorkOrder.from_bytes(payload), farm, device, progress)
        return Result.from_json(farm.share(b""))
    if plan.sampling is not None:
        return _run_shots(plan, farm, device, noise, backend, previous, progress, note)
    if not (noise is None and backend is None and previous is None):
        raise InputError("noise, backend, previous: given, expected a plan with shots for them")
    order = WorkOrder.of(plan)
    if farm.size > 1:
        farm.share(order.to_bytes())
    laps.end("share")
    blocks, where = _compute(order, farm, device, progress)
    laps.end("simulate")
    tensors = [
        tensor.assemble([blocks[t].reshape(tensor.block_shape) for t in order.tasks_of(number)])
        for number, tensor in enumerate(plan.tensors)
    ]
    blocks.clear()
    large = plan.cost.contraction_flops > LARGE_CONTRACTION
    with _blas_threads(plan.limits.threads if large else 1):
        values = _values(plan, tensors)
    laps.end("contract")
    expectation_values = plan.terms.sum_up(values)
    result = Result(
        names=tuple(observable.name for observable in plan.observables),
        expectation_values=expectation_values,
        standard_errors=np.zeros_like(expectation_values),
        status="complete",
        config={**plan.config, "device": device},
        provenance={
            **_provenance(farm, where, laps),
            "tasks": plan.num_tasks,
            "norm_error": float(abs(values[0] - 1)),
        },
        details=Details(
            plan.circuit,
            plan.cuts,
            plan.observables,
            plan.reduced.cone_of,
            plan.cut.subcircuits,
            plan.cut.edges,
            tuple(plan.tensors[use].strings for use in plan.uses),
            tuple(tensors[use] for use in plan.uses),
        ),
    )
    farm.share(result.to_json().encode())
    return result


def _compute(
    order: WorkOrder, farm: Farm, device: str, progress: Progress | None
) -> tuple[list[NDArray[Any]], list[str]]:
    """Compute all blocks of an exact run; return them, and where they were computed."""
    engine = AerEngine(order.limits, _device_of(farm, device))
    where = farm.names(f"{socket.gethostname()} {engine.device}")
    with _blas_threads(1):
        work = order.worker(engine.statevector)
        blocks = farm.run(order.predicted_seconds(), np.complex128, work, progress or silent)
    return blocks, where


def _run_shots(
    plan: Plan,
    farm: Farm,
    device: str,
    noise: object,
    backend: object,
    previous: Result | None,
    progress: Progress | None,
    note: Note | None,
) -> Result:
    """Run a plan with shots, on rank 0."""
    laps = _Laps()
    wanted = Wanted.of(noise, backend)
    order = order_of(plan, wanted)
    identity = identity_of(plan, {"noise": wanted.noise, "backend": wanted.backend})
    record = previous.details.record if previous is not None and previous.details else None
    schedule = begin(plan, record, identity, "previous")
    farm.share(order.to_bytes())
    engine = _shot_engine(order, farm, device, backend)
    where = farm.names(f"{socket.gethostname()} {engine.name}")
    laps.end("share")
    with _blas_threads(1):
        measure(order, schedule, farm, engine, progress or silent, note or (lambda _: None))
        laps.end("measure")
        tensors = tensors_of(plan.sampling, schedule.rounds) if plan.sampling else ()
        result = Result(
            names=tuple(observable.name for observable in plan.observables),
            expectation_values=schedule.values(),
            standard_errors=schedule.errors(),
            status="complete",
            config={
                **plan.config,
                "device": device,
                "noise": _shown(noise),
                "backend": _shown(backend),
            },
            provenance={
                **_provenance(farm, where, laps),
                "shots": schedule.shots,
                "rounds": len(schedule.rounds),
            },
        )
    assert plan.sampling is not None, "it is a plan with shots"
    cut = plan.sampling.cut
    details = Details(
        plan.circuit,
        plan.cuts,
        plan.observables,
        plan.reduced.cone_of,
        cut.subcircuits,
        cut.edges,
        plan.sampling.parts.terms.strings,
        tensors,
        Record.of(plan.sampling, identity, schedule.rounds),
    )
    farm.share(result.to_json().encode())
    return replace(result, details=details)


def _run_shots_elsewhere(
    payload: bytes, farm: Farm, device: str, backend: object, progress: Progress | None
) -> Result:
    """Measure on a rank other than 0."""
    order = ShotOrder.from_bytes(payload)
    engine = _shot_engine(order, farm, device, backend)
    farm.names(f"{socket.gethostname()} {engine.name}")
    follow(order, farm, engine, progress or silent)
    return Result.from_json(farm.share(b""))


def _shot_engine(order: ShotOrder, farm: Farm, device: str, backend: object) -> ShotEngine:
    """Open this rank's engine; where one rank cannot, all refuse."""
    chosen: Device = "cpu" if order.wanted.backend is not None else _device_of(farm, device)
    engine: ShotEngine | None = None
    refusal: HpcqError | None = None
    try:
        engine = order.wanted.open(order.limits, chosen, backend)
        if farm.rank == 0:
            try_templates(order, engine)
    except tuple(_REFUSALS.values()) as error:
        refusal = error
    if not farm.smallest(0 if refusal else 1) or engine is None:
        raise refusal or InputError("backend: it is not usable on another rank")
    return engine


def _shown(value: object) -> str | None:
    """Return how a noise model or a backend is named in a file."""
    if value is None or isinstance(value, str):
        return value
    return str(getattr(value, "name", None) or type(value).__name__)


def _provenance(farm: Farm, where: Sequence[str], laps: _Laps) -> dict[str, Any]:
    return {
        "hosts": sorted({name.split()[0] for name in where}),
        "devices": [name.split(maxsplit=1)[1] for name in where],
        "ranks": farm.size,
        "seconds": laps.seconds,
        "versions": versions(),
        "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ},
    }


def check_plan(plan: object, ranks: int) -> Plan:
    """Return a plan that can be run in a lifetime.

    Raises:
        InputError: If it is no plan, is predicted to take a year or more, or has more tasks
            than rank 0 can keep account of, or needs more memory than there is.
    """
    if not isinstance(plan, Plan):
        raise InputError(f"plan: it is a {type(plan).__name__} on rank 0, expected a plan there")
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
    if plan.num_tasks > _MOST_TASKS:
        raise InputError(
            f"plan: its slices make {plan.num_tasks} tasks, expected at most {_MOST_TASKS}; other "
            "cuts or more memory would make fewer"
        )
    return plan


def _device_of(farm: Farm, device: str) -> Device:
    """Choose this rank's device; where one rank cannot, all refuse."""
    chosen: Device = "cpu"
    refusal: HpcqError | None = None
    try:
        chosen = choose_device(device)
    except tuple(_REFUSALS.values()) as error:
        refusal = error
    if not farm.smallest(0 if refusal else 1):
        raise refusal or InputError(f"device: {device!r} is not usable on another rank")
    return chosen


def _values(plan: Plan, tensors: list[NDArray[np.complex128]]) -> NDArray[np.float64]:
    """Contract all terms, and check that the identity's value is 1 and no value is complex."""
    bonds = []
    for number, use in enumerate(plan.uses):
        place = plan.strings[use]
        places = [place[string] for string in plan.terms.strings[number]]
        own = tensors[use]
        if places != list(range(len(own))):
            own = own[places]
        bonds.append(bond_tensor(own, number, plan.cut, plan.network))
    values = contract(bonds, plan.network, plan.terms, plan.limits.memory_bytes // 4)
    tolerance = _NORM_TOLERANCE[plan.limits.precision]
    error = max(float(abs(values[0] - 1)), float(np.max(np.abs(values.imag))))
    if not error <= tolerance:
        raise HpcqError(
            f"the reconstructed state has norm {values[0]:.6g}, expected 1 to {tolerance:g}: the "
            "result would be wrong and is not written; please report the circuit and its cuts"
        )
    return values.real


def _blas_threads(threads: int) -> AbstractContextManager[object]:
    """Keep numpy's matrix products to so many threads.

    More than one pays only where single products are large; many small ones on several threads
    wait for each other, the longer the busier the machine is.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(threads, user_api="blas")
    return limits


class _Laps:
    """Seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = round(now - self._last, 6)
        self._last = now
