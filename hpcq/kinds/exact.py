"""An exact run: the farm computes blocks of tensors, which are assembled and contracted."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError, InputError, MemoryLimitError
from hpcq.core.limits import Limits
from hpcq.core.strict_json import digest
from hpcq.core.system import format_bytes
from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.contraction_tasks import ContractionTasks
from hpcq.kinds.exact_description import exact_plan_json, exact_plan_text
from hpcq.kinds.exact_tasks import ExactTasks
from hpcq.parallel.tasks import MAX_TASKS, FinishedTasks
from hpcq.planning.candidates import choose_cuts
from hpcq.planning.cost import LONG_CONTRACTION
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, with_cost_for
from hpcq.planning.fingerprint import (
    fingerprint_of,
)
from hpcq.planning.problem import ExpectationValues, Problem
from hpcq.planning.search.objective import ObjectiveName
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.options import RunOptions
from hpcq.runs.prepared_run import PreparedRun, begin_run
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.stages import StageRunner, no_engine

if TYPE_CHECKING:
    from hpcq.parallel.serial import Farm

_NORM_TOLERANCE = {"double": 1e-8, "single": 1e-3}
"""For each precision the tolerated error of the norm of the state and of the values being real."""

_QUICK_SEARCH = 1.0
"""Budget in seconds of the search for a width to name in a message."""

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
        """Check that an engine computes all tensors.

        Raises:
            InputError: If it refuses one.
        """
        self.task_set.check_engine(engine)

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which hands tasks to the others.

        Raises:
            HpcqError: If the run is stopped, tasks fail, or the result fails its own check.
        """
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
        tensors = self._assemble_tensors(simulated)
        values = self._contract(self._bond_tensors(tensors), runner, stage)
        self.options.monitor.end_line()
        return self._result(values, tensors, runner.accounting)

    def _contract(
        self, bond_tensors: list[NDArray[np.complex128]], runner: StageRunner, simulated: Stage
    ) -> NDArray[np.complex128]:
        """Contract the network: on rank 0, or on all ranks if that takes long."""
        plan = self.plan
        contraction = Contraction.within(
            plan.network, plan.terms.picks, plan.limits.memory_bytes // 4
        ).subdivided(plan.cost.contraction_flops)
        if plan.cost.contraction_flops < LONG_CONTRACTION:
            values = contraction.values(bond_tensors)
            runner.accounting.end(_CONTRACT)
            return values
        task_set = ContractionTasks.of(contraction, bond_tensors, plan.limits.threads)
        # The parts depend on the memory: the name of the stage tells parts that cannot be reused.
        name = f"{_CONTRACT}, {contraction.num_parts} parts of {contraction.batch} terms"
        source = self.options.output.stage(name, task_set.farm_tasks())
        stage = Stage(name, source.finished)

        def partial() -> Result:
            return self._partial([simulated, stage], runner.accounting)

        self.options.output.save(partial)
        with self._contraction_runner(runner) as contractor:
            contractor.send(task_set, no_engine, in_subprocess=False)
            contractor.run(source, _CONTRACT, partial)
        return contraction.sum_up(source.finished, bond_tensors)

    def _contraction_runner(self, runner: StageRunner) -> AbstractContextManager[StageRunner]:
        """Return the runner of all ranks; of this one alone where others lack the memory."""
        fits = self.plan.cost.contraction_bytes <= self.plan.limits.memory_bytes
        return nullcontext(runner) if fits or runner.farm.size == 1 else runner.alone()

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
        return self.result(
            accounting,
            plan.terms.sum_up(self._check_values(values)),
            provenance={"tasks": plan.num_tasks, "norm_error": float(abs(values[0] - 1))},
            subcircuits=plan.cut.subcircuits,
            edges=plan.cut.edges,
            strings=tuple(plan.tensors[use].strings for use in plan.uses),
            tensors=tuple(tensors[use] for use in plan.uses),
        )

    def _partial(self, stages: list[Stage], accounting: RunAccounting) -> Result:
        """Return the progress so far, with all that is needed to resume."""
        return self.result(
            accounting,
            None,
            status="partial",
            provenance={"tasks": self.plan.num_tasks},
            unfinished=PartialProgress(tuple(stages)),
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


class ExactKind:
    """The kind of run that computes exact expectation values."""

    name = "exact"
    question = ExpectationValues
    contents = "an exact result"
    title = "an exact run"
    objective: ObjectiveName = "seconds"

    def plan(self, problem: Problem, request: CutRequest, farm: Farm | None) -> ExactPlan:
        """Return the plan whose cuts were given, or the best that a search finds.

        Raises:
            MemoryLimitError: If it does not fit into the memory. With the objective ``overhead``, a
                search returns such a plan, which can be printed, but not run.
        """
        candidate = choose_cuts(problem, request, farm)
        if request.max_qubits is not None:
            is_quickest = request.objective == "seconds"
            found = candidate.plan if is_quickest else candidate.unlimited_plan
        else:
            try:
                found = candidate.plan
            except MemoryLimitError as error:
                raise MemoryLimitError(f"{error}{_width_hint(problem, request.seed)}") from None
        return with_cost_for(found, problem.at_local_speeds)

    def with_limits(self, plan: ExactPlan, limits: Limits) -> ExactPlan:
        """Return the same plan for ranks with these limits; only their threads change.

        Raises:
            MemoryLimitError: If the plan needs more memory than they have.
        """
        if plan.fits and plan.cost.memory_bytes > limits.memory_bytes:
            raise MemoryLimitError(
                f"memory: the run was begun with a plan that needs "
                f"{format_bytes(plan.cost.memory_bytes)} on a rank, which has "
                f"{format_bytes(limits.memory_bytes)} here; expected fewer ranks per node, or more "
                "memory"
            )
        return replace(plan, limits=replace(plan.limits, threads=limits.threads))

    def check(self, plan: ExactPlan, ranks: int) -> None:
        """Check that a plan can be run.

        Raises:
            InputError: If it does not fit into the memory, is predicted to take more than a year,
                or has more tasks than rank 0 can keep track of.
        """
        if not plan.fits:
            raise InputError(
                f"plan: its exact run needs {format_bytes(plan.cost.memory_bytes)} on rank 0, "
                f"which has {format_bytes(plan.limits.memory_bytes)}; expected cuts found for the "
                "exact run (objective seconds), or more memory"
            )
        years = plan.cost.predicted_years(ranks)
        if years > 1:
            raise InputError(
                f"plan: predicted to take {years:.2g} years on {ranks} ranks; expected other cuts "
                "(`hpcq plan` shows what they cost)"
            )
        if plan.num_tasks > MAX_TASKS:
            raise InputError(
                f"plan: its slices make {plan.num_tasks} tasks, expected at most {MAX_TASKS}; "
                "other cuts or more memory would make fewer"
            )

    def describe(self, plan: ExactPlan) -> str:
        """Return a plan as text."""
        return exact_plan_text(plan)

    def to_json(self, plan: ExactPlan) -> dict[str, Any]:
        """Return a plan as plain JSON values."""
        return exact_plan_json(plan)

    def prepare(self, plan: ExactPlan, options: RunOptions) -> ExactRun:
        """Prepare a run, or resume an earlier one.

        Raises:
            InputError: If an option is only for shots, or the output belongs to a different run.
        """
        if options.shot_only_options:
            raise InputError(
                f"{', '.join(options.shot_only_options)}: given for an exact run, expected a plan "
                "with shots"
            )
        engine_spec = EngineSpec.of(engine=options.engine)
        fingerprint = begin_run(plan, options, exact_fingerprint(plan))
        return ExactRun(plan, options, fingerprint, engine_spec, ExactTasks.of(plan))


def exact_fingerprint(plan: ExactPlan) -> dict[str, str]:
    """Return the fingerprint of an exact run; its slices follow from the memory of a rank."""
    slices = [[list(tensor.sliced) for tensor in plan.tensors], list(plan.network.sliced)]
    strings = [[list(map(list, string)) for string in tensor.strings] for tensor in plan.tensors]
    return {
        **fingerprint_of(plan, plan.cut),
        "slices": digest([slices, strings]),
        "precision": plan.limits.precision,
    }


def _width_hint(problem: Problem, seed: int) -> str:
    """Return a hint that names a width limit that works, or nothing if a quick search fails."""
    amplitudes = problem.limits.memory_bytes // (2 * problem.limits.amplitude_bytes)
    width = max(1, min(problem.circuit.num_qubits - 1, amplitudes.bit_length() - 1))
    request = CutRequest(width, objective="seconds", search_seconds=_QUICK_SEARCH, seed=seed)
    try:
        narrower = choose_cuts(problem, request).plan
    except InputError:
        return ""
    return f"; --max-qubits {narrower.width} would work"
