"""Rows computed block by block: a rank simulates and contracts a block, and returns its values.

It suits many short rows that have little in common: no tensor leaves its rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcq.kinds.parameters.row_groups import DistinctAngles
from hpcq.kinds.parameters.row_tasks import RowTasks
from hpcq.kinds.parameters.run_context import RunContext, Values
from hpcq.results.progress import Stage
from hpcq.results.result import Result

_PHASE = "rows"

_BLOCK_SECONDS = 0.1
"""Predicted seconds of a block on a usual machine. Longer: ranks wait longer for the last blocks;
shorter: more messages, and smaller batches for engines that compute several rows at once."""

_MIN_BLOCKS = 16
"""Minimum number of blocks, however short the rows are, so that several ranks share them."""

_MAX_BLOCK_ROWS = 256
"""Maximum number of rows of a block, so that a stop does not wait long for it if the prediction was
far too low."""

_MAX_ROW_SECONDS = 10.0
"""Maximum predicted seconds of a row that is computed by one task. A longer row takes longer to
compute than its tensors take to send, so its pieces are better spread over ranks."""

_MAX_REPEATED = 1.25
"""Maximum factor by which the predicted seconds may increase because several blocks compute a piece
at the same angles."""


def block_size(pieces: Sequence[DistinctAngles]) -> int:
    """Return the number of rows of a block; 0 if the pieces are better computed one by one.

    It does not depend on the number of ranks, so that a run can resume on another one.
    """
    num_rows = len(pieces[0].of_row)
    row_seconds = sum(piece.seconds_each for piece in pieces)
    if num_rows < _MIN_BLOCKS or row_seconds > _MAX_ROW_SECONDS:
        return 0
    by_time = max(1, int(_BLOCK_SECONDS / max(row_seconds, 1e-9)))
    size = min(by_time, -(-num_rows // _MIN_BLOCKS), _MAX_BLOCK_ROWS)
    once = sum(len(piece) * piece.seconds_each for piece in pieces)
    in_blocks = sum(_computed_in_blocks(piece, size) * piece.seconds_each for piece in pieces)
    return size if in_blocks <= _MAX_REPEATED * once else 0


def _computed_in_blocks(piece: DistinctAngles, size: int) -> int:
    """Return how many sets of angles all blocks compute, if each knows those of the one before."""
    blocks = np.arange(len(piece.of_row)) // size
    present = np.unique(blocks * len(piece) + piece.of_row)
    return int((~np.isin(present, present + len(piece))).sum())


@dataclass(frozen=True, eq=False)
class RunByRows:
    """Computes a run in one stage, whose tasks are blocks of rows, on rank 0.

    Attributes:
        context: What the run computes with.
        tasks: The tasks that compute values of rows.
        angles: Angles of all slots in radians, shape (rows, slots).
        size: Number of rows of a block.
        row_seconds: Predicted seconds of a row.
    """

    context: RunContext
    tasks: RowTasks
    angles: Values
    size: int
    row_seconds: float

    @property
    def blocks(self) -> list[range]:
        """The rows of each block."""
        num_rows = len(self.angles)
        starts = range(0, num_rows, self.size)
        return [range(start, min(start + self.size, num_rows)) for start in starts]

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.blocks)

    def values(self) -> Values:
        """Return the values of all rows, shape (rows, observables)."""
        context, blocks = self.context, self.blocks
        name = f"{_PHASE}, {self.size} at once"
        source = context.open_stage(
            name, self.tasks.farm_tasks(self.angles, blocks, self.row_seconds)
        )
        finished = source.finished

        def partial() -> Result:
            return context.partial(context.table(finished, blocks), [Stage(name, finished)])

        context.simulate(self.tasks, source, _PHASE, partial)
        return context.table(finished, blocks)
