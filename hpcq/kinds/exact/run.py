"""An exact run: the farm computes blocks of tensors, which are assembled and contracted."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.protocol import Engine
from hpcq.kinds.exact.contraction_tasks import ContractionTasks
from hpcq.kinds.exact.error_bounds import observable_bounds, statevector_bounds
from hpcq.kinds.exact.tasks import ExactTasks
from hpcq.kinds.identity_check import checked_values
from hpcq.parallel.tasks import FinishedTasks
from hpcq.planning.cost import LONG_CONTRACTION
from hpcq.planning.exact_plan import ExactPlan
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.stages import StageRunner, no_engine

_SIMULATE, _CONTRACT = "simulate", "contract"


@dataclass(frozen=True, eq=False)
class ExactRun(PreparedRun):
    """An exact run that is prepared but not started.

    Attributes:
        task_set: The tasks of the plan.
    """

    plan: ExactPlan
    task_set: ExactTasks

    def check_engine(self, engine: Engine) -> None:
        """Check that an engine computes all tensors."""
        self.task_set.check_engine(engine)

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which hands tasks to the others."""
        source = self.options.output.stage(_SIMULATE, self.task_set.farm_tasks())
        simulated = source.finished
        stage = Stage(_SIMULATE, simulated)
        if simulated.num_done:
            self.options.monitor.log(
                f"going on: {simulated.num_done} of {len(simulated)} tasks are done"
            )
        is_long = runner.are_long(self.plan.cost.simulation_seconds)
        runner.send(self.task_set, lambda: engine, in_subprocess=is_long)
        runner.run(source, _SIMULATE, lambda: self._partial([stage], runner.accounting))
        tensors, bounds = self._assemble_tensors(simulated)
        values = self._contract(self._bond_tensors(tensors), runner, stage)
        self.options.monitor.end_line()
        plan = self.plan
        stored: dict[str, Any] = dict(plan.stored_pieces)
        if stored:
            stored["tensors"] = tuple(tensors[use] for use in plan.uses)
        return self.result(
            runner.accounting,
            plan.terms.sum_up(checked_values(values, plan.limits.precision)),
            bounds=observable_bounds(plan, tensors, bounds, self._contraction),
            verdict=plan.verdict,
            provenance={"tasks": plan.num_tasks, "norm_error": float(abs(values[0] - 1))},
            **stored,
        )

    @cached_property
    def _contraction(self) -> Contraction:
        plan = self.plan
        return Contraction.within(
            plan.network, plan.terms.picks, plan.limits.memory_bytes // 4
        ).subdivided(plan.cost.contraction_flops)

    def _contract(
        self, bond_tensors: list[NDArray[np.complex128]], runner: StageRunner, simulated: Stage
    ) -> NDArray[np.complex128]:
        """Contract the network: on rank 0, or on all ranks if that takes long."""
        plan, contraction = self.plan, self._contraction
        if plan.cost.contraction_flops < LONG_CONTRACTION:
            values = contraction.values(bond_tensors)
            runner.accounting.end(_CONTRACT)
            return values
        task_set = ContractionTasks.of(contraction, bond_tensors, plan.limits.threads)
        # The parts depend on the memory. The stage's name includes them, so that a later start does
        # not mistake the results of other parts for these.
        name = f"{_CONTRACT}, {contraction.num_parts} parts of {contraction.batch} terms"
        source = self.options.output.stage(name, task_set.farm_tasks())
        stage = Stage(name, source.finished)

        def partial() -> Result:
            return self._partial([simulated, stage], runner.accounting)

        self.options.output.save(partial)
        # If the other ranks have too little memory, rank 0 contracts alone.
        fits = plan.cost.contraction_bytes <= plan.limits.memory_bytes or runner.farm.size == 1
        with nullcontext(runner) if fits else runner.alone() as contractor:
            contractor.send(task_set, no_engine, in_subprocess=False)
            contractor.run(source, _CONTRACT, partial)
        return contraction.sum_up(source.finished, bond_tensors)

    def _assemble_tensors(
        self, blocks: FinishedTasks
    ) -> tuple[list[NDArray[np.complex128]], list[NDArray[np.float64]]]:
        """Assemble every tensor from its blocks; return bounds on the errors of entries too."""
        tensors, bounds = [], []
        for number, tensor in enumerate(self.plan.tensors):
            tasks = self.task_set.tasks_of(number)
            if tensor.has_bounds:
                values, errors = blocks[tasks[0]].reshape(2, len(tensor.strings))
                tensors.append(values.reshape(tensor.shape))
                bounds.append(errors.real)
                continue
            tensors.append(tensor.assemble([blocks[t].reshape(tensor.block_shape) for t in tasks]))
            bounds.append(statevector_bounds(tensor, self.plan.limits.precision))
        return tensors, bounds

    def _bond_tensors(self, tensors: list[NDArray[np.complex128]]) -> list[NDArray[np.complex128]]:
        """Return the bond tensor of each subcircuit, shape (strings, bond sizes)."""
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

    def _partial(self, stages: list[Stage], accounting: RunAccounting) -> Result:
        """Return a partial result, with everything that a later start needs to resume."""
        return self.result(
            accounting,
            None,
            status="partial",
            provenance={"tasks": self.plan.num_tasks},
            unfinished=PartialProgress(tuple(stages)),
        )
