"""A run of a plan with free parameters at rows of their values, with files, stops and resumption.

There are two ways to compute rows, which give the same bits: block by block, and piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import Slots
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.core.strict_json import digest
from hpcq.engines.protocol import Engine
from hpcq.kinds.parameters.by_pieces import RunByPieces
from hpcq.kinds.parameters.by_rows import RunByRows, block_size
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import piece_engines
from hpcq.kinds.parameters.row_bounds import row_bounds
from hpcq.kinds.parameters.row_groups import DistinctAngles, RowGroups
from hpcq.kinds.parameters.row_tasks import PieceTasks, RowTasks
from hpcq.kinds.parameters.run_context import RunContext
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.planning.exact_plan import ExactPlan
from hpcq.results.parameter_rows import ParameterRows
from hpcq.results.progress import PartialProgress, Stage
from hpcq.results.result import Result
from hpcq.runs.prepared_run import PreparedRun
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.stages import StageRunner

_SHARE_OF_TENSORS = 1 / 3
"""Share of rank 0's memory for the tensors of a group: they exist twice while they are assembled,
and blocks of them a third time while they are contracted."""


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
        context = RunContext(
            runner,
            engine,
            (len(self.rows), len(self.plan.observables)),
            lambda values, stages: self._partial(values, stages, runner.accounting),
        )
        computation = self._computation(context, evaluator)
        values = computation.values()
        self.options.monitor.end_line()
        plan = self.plan
        return self.result(
            runner.accounting,
            values,
            bounds=np.tile(self._bounds, (len(values), 1)),
            verdict=plan.verdict,
            simulators=[
                piece.engine_name for piece in evaluator.pieces if piece.tensor.simulation is None
            ],
            provenance={"tasks": computation.num_tasks},
            parameters=self._parameters,
            **plan.stored_pieces,
        )

    def _partial(
        self, values: NDArray[np.float64], stages: Sequence[Stage], accounting: RunAccounting
    ) -> Result:
        """Return a partial result, with everything that a later start needs to resume.

        Args:
            values: Values of the finished rows, NaN in the others, shape (rows, observables).
            stages: The stages so far.
            accounting: What the run has used so far.
        """
        is_known = ~np.isnan(values)
        return self.result(
            accounting,
            values,
            np.where(is_known, 0.0, np.nan),
            bounds=np.where(is_known, self._bounds, np.nan),
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

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """Bounds on the errors of the observables' values, in any row, shape (observables,)."""
        return row_bounds(self.plan)

    def _computation(self, context: RunContext, evaluator: Evaluator) -> RunByRows | RunByPieces:
        """Return the computation of all rows, in blocks of rows or piece by piece."""
        plan, setup = self.plan, self.setup
        assert plan.slots is not None, "the kind of run has checked it"
        angles = plan.slots.angles(self.rows)
        pieces = tuple(
            DistinctAngles.of(
                evaluator.rows_of(number, angles),
                COMPLEX_BYTES * math.prod(setup.shape(number)),
                piece.seconds,
            )
            for number, piece in enumerate(evaluator.pieces)
        )
        size = block_size(pieces)
        if size:
            row_seconds = sum(piece.seconds_each for piece in pieces)
            return RunByRows(context, RowTasks(setup, self.engine_spec), angles, size, row_seconds)
        available = plan.limits.memory_bytes - plan.cost.task_bytes - plan.network.sweep_bytes
        groups = RowGroups(pieces, int(_SHARE_OF_TENSORS * available))
        flops, flop_seconds = plan.cost.contraction_flops, plan.cost.speeds.flop
        return RunByPieces(
            context, PieceTasks(setup, self.engine_spec), groups, flops, flop_seconds
        )


def fingerprint_of_rows(slots: Slots, rows: NDArray[np.float64]) -> dict[str, str]:
    """Return the part of the fingerprint of a run that says which angles it is for."""
    matrix = slots.matrix
    arrays = (matrix.data, matrix.indices, matrix.indptr, slots.offsets, rows)
    expressions = {number: each.text for number, each in slots.nonlinear.items()}
    content = [array.tobytes().hex() for array in arrays]
    return {"parameters": digest([list(slots.names), content, expressions])}
