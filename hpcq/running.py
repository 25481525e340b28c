"""From a plan to a result: farm the tasks out, put the tensors together, contract."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.assembly import Plan
from hpcq.cost import LARGE_CONTRACTION
from hpcq.engines.aer import AerEngine
from hpcq.errors import HpcqError, InputError
from hpcq.farm.mpi import ending_the_job, open_farm
from hpcq.machine import blas_threads, format_bytes
from hpcq.options import RunOptions
from hpcq.order import WorkOrder
from hpcq.provenance import Laps, provenance_of
from hpcq.reconstruction.expectation import contract
from hpcq.reconstruction.network import bond_tensor
from hpcq.result import Details, Result
from hpcq.shots.order import MARK as MARK_OF_SHOTS
from hpcq.shots.running import PreparedShots, prepare_shots, run_shots
from hpcq.together import device_of, from_rank_0

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from hpcq.farm.serial import Farm

_MOST_TASKS = 5_000_000
_NORM_TOLERANCE = {"double": 1e-8, "single": 1e-3}


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
    options = RunOptions(device, noise, backend, previous)
    with ending_the_job(farm):
        checked = from_rank_0(farm, lambda: check_plan(plan, farm.size))
        return run_on_farm(checked, farm, options)


def run_on_farm(plan: Plan | None, farm: Farm, options: RunOptions | None = None) -> Result:
    """Run a plan, which only rank 0 has, on a farm; see :func:`run`."""
    options = options or RunOptions()
    laps = Laps()
    prepared = from_rank_0(farm, lambda: _prepared(plan, options))
    payload = farm.share(prepared.payload if prepared is not None else b"")
    if payload.startswith(MARK_OF_SHOTS):
        return run_shots(prepared, payload, farm, options, laps)
    if plan is None:
        _compute(WorkOrder.from_bytes(payload), farm, options)
        return Result.from_json(farm.share(b""))
    order = WorkOrder.of(plan)
    laps.end("share")
    blocks, where = _compute(order, farm, options)
    laps.end("simulate")
    tensors = [
        tensor.assemble([blocks[t].reshape(tensor.block_shape) for t in order.tasks_of(number)])
        for number, tensor in enumerate(plan.tensors)
    ]
    blocks.clear()
    large = plan.cost.contraction_flops > LARGE_CONTRACTION
    with blas_threads(plan.limits.threads if large else 1):
        values = _values(plan, tensors)
    laps.end("contract")
    expectation_values = plan.terms.sum_up(values)
    result = Result(
        names=tuple(observable.name for observable in plan.observables),
        expectation_values=expectation_values,
        standard_errors=np.zeros_like(expectation_values),
        status="complete",
        config={**plan.config, "device": options.device},
        provenance={
            **provenance_of(farm, where, laps),
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


@dataclass(frozen=True, eq=False)
class _Exact:
    """An exact run that is about to begin."""

    payload: bytes


def _prepared(plan: Plan | None, options: RunOptions) -> _Exact | PreparedShots:
    """Prepare a run on rank 0, so that whatever is wrong with it is refused on all ranks."""
    plan = check_plan(plan, 1) if plan is None else plan
    if plan.sampling is not None:
        return prepare_shots(plan, options)
    if options.for_shots:
        raise InputError(
            f"{', '.join(options.for_shots)}: given for an exact run, expected a plan with shots"
        )
    return _Exact(WorkOrder.of(plan).to_bytes())


def _compute(
    order: WorkOrder, farm: Farm, options: RunOptions
) -> tuple[list[NDArray[Any]], list[str]]:
    """Compute all blocks of an exact run; return them, and where they were computed."""
    engine = AerEngine(order.limits, device_of(farm, options.device))
    where = farm.names(f"{socket.gethostname()} {engine.device}")
    with blas_threads(1):
        work = order.worker(engine.statevector)
        blocks = farm.run(order.predicted_seconds(), np.complex128, work, options.progress)
    return blocks, where


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
