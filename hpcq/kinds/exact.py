"""An exact run: the farm computes blocks of tensors, which are assembled and contracted."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError, InputError
from hpcq.engines.aer_statevector import AerEngine
from hpcq.kinds.contraction_tasks import ContractionTasks, load_contraction
from hpcq.kinds.exact_tasks import ExactTasks
from hpcq.parallel import messages
from hpcq.parallel.local_worker import uses_subprocess
from hpcq.parallel.serial import SerialFarm
from hpcq.parallel.tasks import FinishedTasks
from hpcq.planning.assembly import Plan
from hpcq.planning.cost import LONG_CONTRACTION
from hpcq.planning.fingerprint import RequestSummary, check_same_run, exact_fingerprint
from hpcq.reconstruction.expectation import Contraction
from hpcq.reconstruction.network import bond_tensor
from hpcq.results.result import PartialProgress, Result, ResultDetails, Stage
from hpcq.runs.checkpoint import request_summary
from hpcq.runs.options import RunOptions
from hpcq.runs.outcome import check_outcome
from hpcq.runs.provenance import RunAccounting

if TYPE_CHECKING:
    from hpcq.parallel.serial import Coordinator, Farm

_NORM_TOLERANCE = {"double": 1e-8, "single": 1e-3}
"""For each precision the tolerated error of the norm of the state and of the values being real."""

_SUBPROCESS_SECONDS = 2.0
"""Predicted seconds of simulation per rank from which ranks simulate in separate processes: shorter
runs would not make up for starting them."""

_SIMULATE, _CONTRACT = "simulate", "contract"


@dataclass(frozen=True, eq=False)
class ExactRun:
    """An exact run that is prepared but not started.

    Attributes:
        plan: The plan.
        task_set: The tasks of the plan.
        options: How to run.
        fingerprint: What must be the same for a later run to resume this one.
        progress: Progress of the run that is resumed.
    """

    plan: Plan
    task_set: ExactTasks
    options: RunOptions
    fingerprint: dict[str, str]
    progress: PartialProgress

    @property
    def finished(self) -> Result | None:
        """The result, if the output file is complete already."""
        previous = self.options.previous
        return previous if previous is not None and previous.status == "complete" else None

    def compute(
        self, coordinator: Coordinator, farm: Farm, accounting: RunAccounting, engine: AerEngine
    ) -> Result:
        """Run on rank 0, which hands tasks to the others.

        Raises:
            HpcqError: If the run is stopped, tasks fail, or the result fails its own check.
        """
        monitor = self.options.monitor
        tasks = self.task_set.farm_tasks()
        total = len(tasks.costs)
        simulated = self.progress.stage(_SIMULATE, total) or FinishedTasks(total, tasks.dtype)
        stages = [Stage(_SIMULATE, simulated)]

        def partial() -> Result:
            accounting.end(_SIMULATE)
            return self._partial(stages, accounting)

        monitor.begin_phase(_SIMULATE, partial)
        if simulated.num_done:
            monitor.log(f"going on: {simulated.num_done} of {len(simulated)} tasks are done")
        in_subprocess = self.plan.cost.simulation_seconds / farm.size > _SUBPROCESS_SECONDS
        is_payload_needed = farm.size > 1 or uses_subprocess(in_subprocess=in_subprocess)
        payload = messages.dumps(self.task_set) if is_payload_needed else b""
        coordinator.prepare(
            payload,
            in_subprocess=in_subprocess,
            function=self.task_set.task_function(engine.statevector),
        )
        outcome = coordinator.run(tasks, simulated, monitor, _SIMULATE)
        accounting.end(_SIMULATE)
        check_outcome(outcome, self.options.checkpoint, partial)
        tensors = self._assemble_tensors(simulated)
        values = self._contract(self._bond_tensors(tensors), coordinator, farm, stages, accounting)
        monitor.end_line()
        return self._result(values, tensors, accounting)

    def _contract(
        self,
        bond_tensors: list[NDArray[np.complex128]],
        coordinator: Coordinator,
        farm: Farm,
        stages: list[Stage],
        accounting: RunAccounting,
    ) -> NDArray[np.complex128]:
        """Contract the network: on rank 0, or on all ranks if that takes long."""
        plan, monitor = self.plan, self.options.monitor
        contraction = Contraction.within(
            plan.network, plan.terms, plan.limits.memory_bytes // 4
        ).subdivided(plan.cost.contraction_flops)
        if plan.cost.contraction_flops < LONG_CONTRACTION:
            parts = (contraction.part(part, bond_tensors) for part in range(contraction.num_parts))
            values = contraction.sum_up(parts, bond_tensors)
            accounting.end(_CONTRACT)
            return values
        contraction_tasks = ContractionTasks(contraction, bond_tensors, plan.limits.threads)
        tasks = contraction_tasks.farm_tasks()
        # The parts depend on the memory: the name of the stage tells parts that cannot be reused.
        name = f"{_CONTRACT}, {contraction.num_parts} parts of {contraction.batch} terms"
        total = len(tasks.costs)
        finished = self.progress.stage(name, total) or FinishedTasks(total, tasks.dtype)
        stages.append(Stage(name, finished))

        def partial() -> Result:
            accounting.end(_CONTRACT)
            return self._partial(stages, accounting)

        monitor.begin_phase(_CONTRACT, partial)
        if self.options.checkpoint is not None:
            self.options.checkpoint.try_to_save(partial)
        with self._contraction_coordinator(coordinator, farm) as contractor:
            is_payload_needed = contractor is coordinator and farm.size > 1
            payload = (
                contraction_tasks.to_bytes()
                if is_payload_needed or uses_subprocess(in_subprocess=False)
                else b""
            )
            contractor.prepare(payload, in_subprocess=False, function=contraction_tasks.compute)
            outcome = contractor.run(tasks, finished, monitor, name)
        accounting.end(_CONTRACT)
        check_outcome(outcome, self.options.checkpoint, partial)
        return contraction.sum_up(finished, bond_tensors)

    def _contraction_coordinator(
        self, coordinator: Coordinator, farm: Farm
    ) -> AbstractContextManager[Coordinator]:
        """Return the coordinator of all ranks; of this one alone where others lack the memory."""
        fits = self.plan.cost.contraction_bytes <= self.plan.limits.memory_bytes
        if fits or farm.size == 1:
            return nullcontext(coordinator)
        return SerialFarm().coordinator(load_contraction)

    def _assemble_tensors(self, blocks: FinishedTasks) -> list[NDArray[np.complex128]]:
        """Assemble every tensor from its blocks."""
        return [
            tensor.assemble(
                [
                    blocks[task].reshape(tensor.block_shape)
                    for task in self.task_set.tasks_of(number)
                ]
            )
            for number, tensor in enumerate(self.plan.tensors)
        ]

    def _bond_tensors(self, tensors: list[NDArray[np.complex128]]) -> list[NDArray[np.complex128]]:
        """Return for each subcircuit its tensor over the bonds of the network."""
        plan = self.plan
        bonds = []
        for number, tensor_number in enumerate(plan.uses):
            string_index = plan.strings[tensor_number]
            indices = [string_index[string] for string in plan.terms.strings[number]]
            tensor = tensors[tensor_number]
            if indices != list(range(len(tensor))):
                tensor = tensor[indices]
            bonds.append(bond_tensor(tensor, number, plan.cut, plan.network))
        return bonds

    def _result(
        self,
        values: NDArray[np.complex128],
        tensors: list[NDArray[np.complex128]],
        accounting: RunAccounting,
    ) -> Result:
        plan = self.plan
        expectation_values = plan.terms.sum_up(self._check_values(values))
        return Result(
            names=tuple(observable.name for observable in plan.observables),
            expectation_values=expectation_values,
            standard_errors=np.zeros_like(expectation_values),
            status="complete",
            config={**plan.config, "device": self.options.device},
            provenance={
                **accounting.provenance(),
                "tasks": plan.num_tasks,
                "norm_error": float(abs(values[0] - 1)),
            },
            details=ResultDetails(
                plan.circuit,
                plan.cuts,
                plan.observables,
                plan.simplified.cone_of,
                plan.cut.subcircuits,
                plan.cut.edges,
                tuple(plan.tensors[use].strings for use in plan.uses),
                tuple(tensors[use] for use in plan.uses),
                fingerprint=self.fingerprint,
                timelines=accounting.timelines(),
            ),
        )

    def _partial(self, stages: list[Stage], accounting: RunAccounting) -> Result:
        """Return the progress so far, with all that is needed to resume."""
        plan = self.plan
        unknown = np.full(len(plan.observables), np.nan)
        return Result(
            names=tuple(observable.name for observable in plan.observables),
            expectation_values=unknown,
            standard_errors=unknown,
            status="partial",
            config={**plan.config, "device": self.options.device},
            provenance={**accounting.provenance(), "tasks": plan.num_tasks},
            details=ResultDetails(
                plan.circuit,
                plan.cuts,
                plan.observables,
                plan.simplified.cone_of,
                (),
                (),
                (),
                (),
                fingerprint=self.fingerprint,
                unfinished=PartialProgress(tuple(stages)),
                timelines=accounting.timelines(),
            ),
        )

    def _check_values(self, values: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Return the real parts, if the identity's value is 1 and no value is complex."""
        tolerance = _NORM_TOLERANCE[self.plan.limits.precision]
        error = max(float(abs(values[0] - 1)), float(np.max(np.abs(values.imag))))
        if not error <= tolerance:
            raise HpcqError(
                f"the reconstructed state has norm {values[0]:.6g}, expected 1 to {tolerance:g}: "
                "the result would be wrong and is not written; please report the circuit and its "
                "cuts"
            )
        return values.real


def prepare_exact(plan: Plan, options: RunOptions) -> ExactRun:
    """Prepare an exact run, or resume an earlier one.

    Raises:
        InputError: If an option is only for shots, or the output belongs to a different run.
    """
    if options.shot_only_options:
        raise InputError(
            f"{', '.join(options.shot_only_options)}: given for an exact run, expected a plan with "
            "shots"
        )
    fingerprint = (
        exact_fingerprint(plan) if options.checkpoint is not None or options.previous else {}
    )
    if options.checkpoint is not None:
        options.checkpoint.agree_on_run(fingerprint, RequestSummary.of(plan))
    details = options.previous.details if options.previous is not None else None
    progress = PartialProgress(())
    if details is not None:
        known = details.fingerprint
        existing = "an unfinished result" if details.unfinished else "a result"
        check_same_run(
            known, fingerprint, existing, request_summary(options.previous), RequestSummary.of(plan)
        )
        progress = details.unfinished or progress
    return ExactRun(plan, ExactTasks.of(plan), options, fingerprint, progress)
