"""A run of a plan with free parameters at rows of their values, with files, stops and resumption.

Rows are computed group by group: first the tensors of a group, then its values. So rank 0 stores
the tensors of one group at a time, and those of pieces that few of the rows change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import Slots
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.core.strict_json import digest
from hpcq.engines.protocol import Engine
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import piece_engines
from hpcq.kinds.parameters.row_groups import Block, PiecePoints, RowGroups
from hpcq.kinds.parameters.row_tasks import PieceTensors, PointTasks, ValueTasks
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel.tasks import FinishedTasks, TaskResults, Tasks
from hpcq.planning.cost import LONG_CONTRACTION
from hpcq.planning.exact_plan import ExactPlan
from hpcq.results.parameter_rows import ParameterRows
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.output import finished_before
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.stages import StageRunner, no_engine

_SIMULATE, _CONTRACT, _VALUES = "simulate", "contract", "values"

_SHARE_OF_TENSORS = 1 / 3
"""Share of a rank's memory for the tensors of a group: they exist twice while they are assembled,
and blocks of them a third time while they are contracted."""

_BLOCK_FLOPS = 5e9
"""Floating-point operations of a task of a long contraction, about 0.1 s. Larger: fewer messages;
smaller: ranks end together."""


@dataclass(frozen=True, eq=False)
class RowsRun(PreparedRun):
    """A run at rows of parameters that is prepared but not started.

    Attributes:
        rows: Values of the parameters, shape (rows, parameters).
        setup: The program of the plan.
    """

    plan: ExactPlan
    rows: NDArray[np.float64]
    setup: ProgramSetup

    def check_engine(self, engine: Engine) -> None:
        """Check that an engine computes all pieces."""
        _ = self._evaluator(engine).pieces

    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which hands tasks to the others."""
        evaluator = self._evaluator(engine)
        work = _Work(self, runner, engine, evaluator, self._groups(evaluator))
        values = work.values()
        self.options.monitor.end_line()
        plan = self.plan
        pieces: dict[str, Any] = {}
        if plan.cut.edges or "cut" in plan.verdict.method:
            pieces = {
                "subcircuits": plan.cut.subcircuits,
                "engines": tuple(plan.tensors[use].engine_name for use in plan.uses),
                "edges": plan.cut.edges,
                "strings": tuple(plan.tensors[use].strings for use in plan.uses),
            }
        return self.result(
            runner.accounting,
            values,
            bounds=np.full_like(values, self._bound),
            verdict=plan.verdict,
            provenance={"tasks": work.num_tasks},
            parameters=self._parameters,
            **pieces,
        )

    def partial(
        self, values: NDArray[np.float64], stages: Sequence[Stage], accounting: RunAccounting
    ) -> Result:
        """Return a partial result, with everything that a later start needs to resume.

        ``values`` has the values of finished rows, and NaN in the others.
        """
        is_known = ~np.isnan(values)
        return self.result(
            accounting,
            values,
            np.where(is_known, 0.0, np.nan),
            bounds=np.where(is_known, self._bound, np.nan),
            status="partial",
            parameters=self._parameters,
            unfinished=PartialProgress(tuple(stages)),
        )

    def _evaluator(self, engine: Engine) -> Evaluator:
        engines = piece_engines(self.engine_spec, self.plan.limits, engine.simulator_device)
        return Evaluator(self.setup, engines)

    @property
    def _parameters(self) -> ParameterRows:
        return ParameterRows(self.plan.parameters, self.rows)

    @property
    def _bound(self) -> float:
        """The error bound of all values: 0, or NaN if none is known."""
        is_double = self.plan.limits.precision == "double"
        simulations = [tensor.simulation for tensor in self.plan.tensors]
        exact = [is_double if s is None else s.engine == "stabilizer" for s in simulations]
        return 0.0 if all(exact) else np.nan

    def _groups(self, evaluator: Evaluator) -> RowGroups:
        """Return the rows in groups that fit into the memory."""
        plan = self.plan
        assert plan.slots is not None, "the kind of run has checked it"
        angles = plan.slots.angles(self.rows)
        points = [
            PiecePoints.of(
                evaluator.rows_of(number, angles),
                COMPLEX_BYTES * math.prod(self.setup.shape(number)),
                piece.seconds,
            )
            for number, piece in enumerate(evaluator.pieces)
        ]
        available = plan.limits.memory_bytes - plan.cost.task_bytes - plan.network.sweep_bytes
        return RowGroups(tuple(points), int(_SHARE_OF_TENSORS * available))


@dataclass(frozen=True, eq=False)
class _Work:
    """The stages of a run with rows, on rank 0.

    Attributes:
        run: The run.
        runner: Computes the stages.
        engine: Engine of this rank.
        evaluator: The program.
        groups: The rows in groups.
    """

    run: RowsRun
    runner: StageRunner
    engine: Engine
    evaluator: Evaluator
    groups: RowGroups

    @property
    def num_tasks(self) -> int:
        """Number of tasks that simulate pieces."""
        kept = self.groups.kept
        others = [number for number in range(len(self.groups.pieces)) if number not in kept]
        parts = [self.groups.blocks(range(self.groups.num_rows), sorted(kept))]
        parts += [self.groups.blocks(rows, others) for rows in self.groups.groups]
        return sum(map(len, parts))

    def values(self) -> NDArray[np.float64]:
        """Return the values of all rows, shape (rows, observables)."""
        groups, finished = self.groups, self._finished()
        kept = sorted(groups.kept)
        others = [number for number in range(len(groups.pieces)) if number not in groups.kept]
        held: dict[int, PieceTensors] = {}
        stages = [Stage(self._values_name, finished)] if len(groups.groups) > 1 else []
        if kept and finished.num_done < len(finished):
            everything = range(groups.num_rows)
            held, stage = self._tensors(everything, groups.blocks(everything, kept), stages)
            stages.append(stage)
        for number, rows in enumerate(groups.groups):
            if finished.done[number]:
                continue
            found, stage = self._tensors(rows, groups.blocks(rows, others), stages)
            values = self._contract(rows, {**held, **found}, [*stages, stage])
            finished.add(_result_of(number, values))
        return self._table(finished)

    def _finished(self) -> FinishedTasks:
        """Return the values of groups that an earlier start has computed."""
        tasks = Tasks(np.zeros(len(self.groups.groups)), np.float64)
        previous = self.run.options.previous
        return finished_before(previous, self._values_name, tasks)

    @property
    def _values_name(self) -> str:
        return f"{_VALUES}, groups of {len(self.groups.groups[0])} rows"

    def _tensors(
        self, rows: range, blocks: Sequence[Block], before: Sequence[Stage]
    ) -> tuple[dict[int, PieceTensors], Stage]:
        """Compute blocks of points of some rows; return the tensors by piece, and the stage."""
        runner, tasks = self.runner, PointTasks(self.run.setup, self.run.engine_spec)
        # Blocks depend on the memory and the engines. The stage's name includes them, so that a
        # later start does not mistake the results of other blocks for these.
        shapes = digest([[block.piece, len(block.points)] for block in blocks])[:8]
        name = f"{_SIMULATE} rows {rows.start} to {rows.stop - 1}, blocks {shapes}"
        farm_tasks = tasks.farm_tasks(self.groups, blocks)
        source = self.run.options.output.stage(name, farm_tasks)
        stage = Stage(name, source.finished)
        if source.finished.num_done:
            self.run.options.monitor.log(
                f"going on: {source.finished.num_done} of {len(blocks)} tasks are done"
            )
        is_long = runner.are_long(float(farm_tasks.costs.sum()))
        runner.send(tasks, lambda: self.engine, in_subprocess=is_long)
        runner.run(source, _SIMULATE, lambda: self._partial([*before, stage]))
        of_piece: dict[int, list[int]] = {}
        for task, block in enumerate(blocks):
            of_piece.setdefault(block.piece, []).append(task)
        tensors = {}
        for number, own in of_piece.items():
            points = np.concatenate([blocks[task].points for task in own])
            data = np.concatenate([source.finished[task] for task in own])
            shape = len(points), *self.run.setup.shape(number)
            tensors[number] = PieceTensors(points, data.reshape(shape))
        return tensors, stage

    def _contract(
        self, rows: range, tensors: dict[int, PieceTensors], before: Sequence[Stage]
    ) -> NDArray[np.float64]:
        """Return values of rows from tensors: on rank 0, or on all ranks if that takes long."""
        plan, runner = self.run.plan, self.runner
        flops, memory = plan.cost.contraction_flops, plan.limits.memory_bytes
        block = min(self.evaluator.rows_in_memory(0), max(1, int(_BLOCK_FLOPS / max(flops, 1.0))))
        of_row = np.array([piece.of_row[rows.start : rows.stop] for piece in self.groups.pieces])
        ordered = tuple(tensors[number] for number in range(len(of_row)))
        tasks = ValueTasks(self.run.setup, ordered, of_row, block)
        farm_tasks = tasks.farm_tasks(flops * plan.cost.speeds.flop)
        if flops * len(rows) < LONG_CONTRACTION:
            compute = tasks.task_function()
            parts = [compute(task, b"") for task in range(len(farm_tasks.costs))]
            runner.accounting.end(_CONTRACT)
            return np.concatenate(parts)
        name = f"{_CONTRACT} rows {rows.start} to {rows.stop - 1}, {block} at once"
        source = self.run.options.output.stage(name, farm_tasks)
        stages = [*before, Stage(name, source.finished)]
        # If the other ranks have too little memory, rank 0 contracts alone.
        fits = 3 * sum(piece.tensors.nbytes for piece in ordered) <= memory
        with nullcontext(runner) if fits or runner.farm.size == 1 else runner.alone() as contractor:
            contractor.send(tasks, no_engine, in_subprocess=False)
            contractor.run(source, _CONTRACT, lambda: self._partial(stages))
        return np.concatenate(list(source.finished)).reshape(len(rows), -1)

    def _partial(self, stages: Sequence[Stage]) -> Result:
        values = next((stage.finished for stage in stages if stage.name == self._values_name), None)
        return self.run.partial(self._table(values), stages, self.runner.accounting)

    def _table(self, finished: FinishedTasks | None) -> NDArray[np.float64]:
        """Return the values of finished groups, and NaN for the others."""
        shape = (self.groups.num_rows, len(self.run.plan.observables))
        table = np.full(shape, np.nan)
        for number, rows in enumerate(self.groups.groups):
            if finished is not None and finished.done[number]:
                table[rows.start : rows.stop] = finished[number].reshape(len(rows), -1)
        return table


def _result_of(task: int, values: NDArray[np.float64]) -> TaskResults:
    """Return values as the result of a task."""
    sizes = np.array([values.size])
    return TaskResults(0, np.array([task]), sizes, np.zeros(1), values.reshape(-1))


def fingerprint_of_rows(slots: Slots, rows: NDArray[np.float64]) -> dict[str, str]:
    """Return the part of the fingerprint of a run that says which angles it is for."""
    matrix = slots.matrix
    arrays = (matrix.data, matrix.indices, matrix.indptr, slots.offsets, rows)
    expressions = {number: str(each.expression) for number, each in slots.nonlinear.items()}
    content = [array.tobytes().hex() for array in arrays]
    return {"parameters": digest([list(slots.names), content, expressions])}
