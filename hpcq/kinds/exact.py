"""An exact run: farm the tasks out, put the tensors together, contract."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError, InputError
from hpcq.engines.aer_statevector import AerEngine
from hpcq.kinds.contraction_tasks import ContractionTasks, open_contraction
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
_SUBPROCESS_SECONDS = 2.0
"""Predicted seconds of simulation on each rank from which ranks simulate in own processes."""

_SIMULATE, _CONTRACT = "simulate", "contract"


@dataclass(frozen=True, eq=False)
class ExactRun:
    """An exact run that is about to begin.

    Attributes:
        plan: The plan.
        order: Its tasks.
        options: How to run.
        fingerprint: What must be the same for a run to go on from this one.
        done: What an earlier one has done.
    """

    plan: Plan
    order: ExactTasks
    options: RunOptions
    fingerprint: dict[str, str]
    done: PartialProgress

    @property
    def finished(self) -> Result | None:
        """The result, if the file holds it already."""
        previous = self.options.previous
        return previous if previous is not None and previous.status == "complete" else None

    def compute(
        self, coordinator: Coordinator, farm: Farm, accounting: RunAccounting, engine: AerEngine
    ) -> Result:
        """Do the run on rank 0.

        Raises:
            HpcqError: If it is stopped, tasks fail, or the result fails its own check.
        """
        watch = self.options.monitor
        tasks = self.order.tasks()
        total = len(tasks.costs)
        simulated = self.done.stage(_SIMULATE, total) or FinishedTasks(total, tasks.dtype)
        stages = [Stage(_SIMULATE, simulated)]

        def partial() -> Result:
            accounting.end(_SIMULATE)
            return self._partial(stages, accounting)

        watch.begin_phase(_SIMULATE, partial)
        if simulated.num_done:
            watch.log(f"going on: {simulated.num_done} of {len(simulated)} tasks are there")
        in_subprocess = self.plan.cost.simulation_seconds / farm.size > _SUBPROCESS_SECONDS
        needed = farm.size > 1 or uses_subprocess(in_subprocess=in_subprocess)
        payload = messages.dumps(self.order) if needed else b""
        coordinator.prepare(
            payload, in_subprocess=in_subprocess, function=self.order.worker(engine.statevector)
        )
        outcome = coordinator.run(tasks, simulated, watch, _SIMULATE)
        accounting.end(_SIMULATE)
        check_outcome(outcome, self.options.checkpoint, partial)
        tensors = self._tensors(simulated)
        values = self._contract(self._bonds(tensors), coordinator, farm, stages, accounting)
        watch.end_line()
        return self._result(values, tensors, accounting)

    def _contract(
        self,
        bonds: list[NDArray[np.complex128]],
        coordinator: Coordinator,
        farm: Farm,
        stages: list[Stage],
        accounting: RunAccounting,
    ) -> NDArray[np.complex128]:
        """Contract: here, or if that takes long, on all ranks."""
        plan, watch = self.plan, self.options.monitor
        contraction = Contraction.within(
            plan.network, plan.terms, plan.limits.memory_bytes // 4
        ).spread(plan.cost.contraction_flops)
        if plan.cost.contraction_flops < LONG_CONTRACTION:
            parts = (contraction.part(n, bonds) for n in range(contraction.num_parts))
            values = contraction.sum_up(parts, bonds)
            accounting.end(_CONTRACT)
            return values
        order = ContractionTasks(contraction, bonds, plan.limits.threads)
        tasks = order.tasks()
        # With other memory the parts may be others; then those that are done are of no use.
        name = f"{_CONTRACT}, {contraction.num_parts} parts of {contraction.batch} terms"
        total = len(tasks.costs)
        done = self.done.stage(name, total) or FinishedTasks(total, tasks.dtype)
        stages.append(Stage(name, done))

        def partial() -> Result:
            accounting.end(_CONTRACT)
            return self._partial(stages, accounting)

        watch.begin_phase(_CONTRACT, partial)
        if self.options.checkpoint is not None:
            self.options.checkpoint.try_to_save(partial)
        with self._contractors(coordinator, farm) as contractors:
            needed = contractors is coordinator and farm.size > 1
            payload = order.to_bytes() if needed or uses_subprocess(in_subprocess=False) else b""
            contractors.prepare(payload, in_subprocess=False, function=order.work)
            outcome = contractors.run(tasks, done, watch, name)
        accounting.end(_CONTRACT)
        check_outcome(outcome, self.options.checkpoint, partial)
        return contraction.sum_up(done, bonds)

    def _contractors(
        self, coordinator: Coordinator, farm: Farm
    ) -> AbstractContextManager[Coordinator]:
        """Return who contracts: all ranks, or this one alone where others lack the memory."""
        fits = self.plan.cost.contraction_bytes <= self.plan.limits.memory_bytes
        if fits or farm.size == 1:
            return nullcontext(coordinator)
        return SerialFarm().coordinator(open_contraction)

    def _tensors(self, blocks: FinishedTasks) -> list[NDArray[np.complex128]]:
        """Put the blocks of every tensor together."""
        return [
            tensor.assemble(
                [blocks[t].reshape(tensor.block_shape) for t in self.order.tasks_of(number)]
            )
            for number, tensor in enumerate(self.plan.tensors)
        ]

    def _bonds(self, tensors: list[NDArray[np.complex128]]) -> list[NDArray[np.complex128]]:
        """Turn tensors into those of the network."""
        plan = self.plan
        bonds = []
        for number, use in enumerate(plan.uses):
            place = plan.strings[use]
            places = [place[string] for string in plan.terms.strings[number]]
            own = tensors[use]
            if places != list(range(len(own))):
                own = own[places]
            bonds.append(bond_tensor(own, number, plan.cut, plan.network))
        return bonds

    def _result(
        self,
        values: NDArray[np.complex128],
        tensors: list[NDArray[np.complex128]],
        accounting: RunAccounting,
    ) -> Result:
        plan = self.plan
        expectation_values = plan.terms.sum_up(self._checked(values))
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
        """Return what is done so far, with all that is needed to go on."""
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

    def _checked(self, values: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Check that the identity's value is 1 and no value is complex."""
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
    """Prepare an exact run, or go on from an earlier one.

    Raises:
        InputError: If an option is for shots, or the earlier run is another.
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
        options.checkpoint.agree_on_run(fingerprint, RequestSummary.by(plan))
    previous = options.previous.details if options.previous is not None else None
    done = PartialProgress(())
    if previous is not None:
        known = previous.fingerprint
        what = "an unfinished result" if previous.unfinished else "a result"
        check_same_run(
            known, fingerprint, what, request_summary(options.previous), RequestSummary.by(plan)
        )
        done = previous.unfinished or done
    return ExactRun(plan, ExactTasks.of(plan), options, fingerprint, done)
