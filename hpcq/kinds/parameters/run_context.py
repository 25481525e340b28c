"""What both ways of computing rows share: opening and running stages, and tables of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.protocol import Engine
from hpcq.parallel.task_source import TaskSource
from hpcq.parallel.tasks import FinishedTasks, Tasks
from hpcq.results.progress import Stage
from hpcq.results.result import Result
from hpcq.runs.stages import StageRunner, TaskSet

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunContext:
    """What a run at rows of parameters computes with, on rank 0.

    Attributes:
        runner: Computes stages on all ranks.
        engine: The engine of this rank.
        shape: The numbers of rows and of observables.
        partial: Returns a partial result, given a table of values and the stages so far.
    """

    runner: StageRunner
    engine: Engine
    shape: tuple[int, int]
    partial: Callable[[Values, Sequence[Stage]], Result]

    def open_stage(self, name: str, tasks: Tasks) -> TaskSource:
        """Return the tasks of a stage, with the results of earlier starts, which are logged."""
        source = self.runner.options.output.stage(name, tasks)
        if source.finished.num_done:
            self.runner.options.monitor.log(
                f"going on: {source.finished.num_done} of {len(source.finished)} tasks are done"
            )
        return source

    def simulate(
        self, tasks: TaskSet, source: TaskSource, phase: str, partial: Callable[[], Result]
    ) -> None:
        """Compute the unfinished tasks of a stage on all ranks."""
        is_long = self.runner.are_long(float(source.tasks.costs.sum()))
        self.runner.send(tasks, lambda: self.engine, in_subprocess=is_long)
        self.runner.run(source, phase, partial)

    def table(self, finished: FinishedTasks | None, blocks: Sequence[range]) -> Values:
        """Return the values of all rows, NaN where they are unknown, shape (rows, observables).

        Args:
            finished: The values of each block; None if there are none.
            blocks: The rows of each block.
        """
        table = np.full(self.shape, np.nan)
        done = [] if finished is None else np.flatnonzero(finished.done).tolist()
        for number in done:
            assert finished is not None, "it has finished tasks"
            rows = blocks[number]
            table[rows.start : rows.stop] = finished[number].reshape(len(rows), -1)
        return table
