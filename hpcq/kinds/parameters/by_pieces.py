"""Rows computed piece by piece: ranks return the tensors of pieces, which are then contracted.

It suits rows at which pieces have the same angles, and rows that are few and take long. Rows are
computed group by group: first the tensors of a group, then its values. So rank 0 stores the tensors
of one group at a time, and those of the pieces with few distinct sets of angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.core.strict_json import digest
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.row_groups import Block, RowGroups
from hpcq.kinds.parameters.row_tasks import PieceTasks, PieceTensors, ValueTasks
from hpcq.kinds.parameters.run_context import RunContext
from hpcq.parallel.tasks import FinishedTasks, TaskResults, Tasks
from hpcq.planning.cost import LONG_CONTRACTION
from hpcq.results.progress import Stage
from hpcq.results.result import Result
from hpcq.runs.output import finished_before
from hpcq.runs.stages import no_engine

_SIMULATE, _CONTRACT, _VALUES = "simulate", "contract", "values"

_BLOCK_FLOPS = 5e9
"""Floating-point operations of one task of a long contraction: about 0.1 s. Larger: fewer messages;
smaller: the ranks finish closer together."""


@dataclass(frozen=True, eq=False)
class RunByPieces:
    """Computes a run piece by piece, on rank 0.

    Attributes:
        context: What the run computes with.
        tasks: The tasks that compute tensors of pieces.
        groups: The rows in groups.
        row_flops: Floating-point operations of the contraction of a row.
        flop_seconds: Predicted seconds of one floating-point operation.
    """

    context: RunContext
    tasks: PieceTasks
    groups: RowGroups
    row_flops: float
    flop_seconds: float

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
        return self.context.table(finished, groups.groups)

    def _finished(self) -> FinishedTasks:
        """Return the values of groups that an earlier start has computed."""
        tasks = Tasks(np.zeros(len(self.groups.groups)), np.float64)
        previous = self.context.runner.options.previous
        return finished_before(previous, self._values_name, tasks)

    @property
    def _values_name(self) -> str:
        return f"{_VALUES}, groups of {len(self.groups.groups[0])} rows"

    def _tensors(
        self, rows: range, blocks: Sequence[Block], before: Sequence[Stage]
    ) -> tuple[dict[int, PieceTensors], Stage]:
        """Compute the blocks of some rows; return the tensors of each piece, and the stage."""
        # Blocks depend on the memory and the engines. The stage's name includes them, so that a
        # later start does not mistake the results of other blocks for these.
        shapes = digest([[block.piece, len(block.indices)] for block in blocks])[:8]
        name = f"{_SIMULATE} rows {rows.start} to {rows.stop - 1}, blocks {shapes}"
        source = self.context.open_stage(name, self.tasks.farm_tasks(self.groups, blocks))
        stage = Stage(name, source.finished)
        stages = [*before, stage]
        self.context.simulate(self.tasks, source, _SIMULATE, lambda: self._partial(stages))
        of_piece: dict[int, list[int]] = {}
        for task, block in enumerate(blocks):
            of_piece.setdefault(block.piece, []).append(task)
        tensors = {}
        for number, numbers in of_piece.items():
            indices = np.concatenate([blocks[task].indices for task in numbers])
            data = np.concatenate([source.finished[task] for task in numbers])
            shape = len(indices), *self.tasks.setup.shape(number)
            tensors[number] = PieceTensors(indices, data.reshape(shape))
        return tensors, stage

    def _contract(
        self, rows: range, tensors: dict[int, PieceTensors], before: Sequence[Stage]
    ) -> NDArray[np.float64]:
        """Return values of rows from tensors: on rank 0, or on all ranks if that takes long."""
        setup, runner, flops = self.tasks.setup, self.context.runner, self.row_flops
        at_once = Evaluator(setup).rows_in_memory(0)
        block = min(at_once, max(1, int(_BLOCK_FLOPS / max(flops, 1.0))))
        of_row = np.array([piece.of_row[rows.start : rows.stop] for piece in self.groups.pieces])
        ordered = tuple(tensors[number] for number in range(len(of_row)))
        tasks = ValueTasks(setup, ordered, of_row, block)
        farm_tasks = tasks.farm_tasks(flops * self.flop_seconds)
        if flops * len(rows) < LONG_CONTRACTION:
            compute = tasks.task_function()
            parts = [compute(task, b"") for task in range(len(farm_tasks.costs))]
            runner.accounting.end(_CONTRACT)
            return np.concatenate(parts)
        name = f"{_CONTRACT} rows {rows.start} to {rows.stop - 1}, {block} at once"
        source = self.context.open_stage(name, farm_tasks)
        stages = [*before, Stage(name, source.finished)]
        # If the other ranks have too little memory, rank 0 contracts alone.
        fits = 3 * sum(piece.tensors.nbytes for piece in ordered) <= setup.limits.memory_bytes
        with nullcontext(runner) if fits or runner.farm.size == 1 else runner.alone() as contractor:
            contractor.send(tasks, no_engine, in_subprocess=False)
            contractor.run(source, _CONTRACT, lambda: self._partial(stages))
        return np.concatenate(list(source.finished)).reshape(len(rows), -1)

    def _partial(self, stages: Sequence[Stage]) -> Result:
        known = [stage.finished for stage in stages if stage.name == self._values_name]
        table = self.context.table(known[0] if known else None, self.groups.groups)
        return self.context.partial(table, stages)


def _result_of(task: int, values: NDArray[np.float64]) -> TaskResults:
    """Return values as the result of a task."""
    sizes = np.array([values.size])
    return TaskResults(0, np.array([task]), sizes, np.zeros(1), values.reshape(-1))
