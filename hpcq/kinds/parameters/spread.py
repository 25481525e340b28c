"""Evaluations on the ranks of a session: blocks of rows, or pieces, are the tasks.

The ranks receive a program once and keep it. A row has the same bits whatever other rows its block
has, so values do not depend on the number of ranks. An evaluation that takes less time than the
messages would stays on rank 0; short evaluations of several programs can share the ranks
(:mod:`hpcq.kinds.parameters.together`).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hpcq.core.system import blas_threads
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import Rows, Tensor
from hpcq.kinds.parameters.rank_farm import finish_tasks, on_ranks
from hpcq.kinds.parameters.rank_tasks import EvaluationTasks, RankTask
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.kinds.parameters.shared_programs import SharedProgram, open_programs, shared_programs
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.tasks import FinishedTasks
from hpcq.parallel.world import abort_on_error
from hpcq.runs.collective import all_ranks_or_none
from hpcq.runs.session import Session

_MIN_SPREAD_SECONDS = 0.05
"""Minimum predicted seconds of an evaluation that all ranks compute. Smaller: more messages, which
took 3 ms an evaluation on two ranks, and 8 ms while other work kept the cores busy."""

_MIN_BLOCK_SECONDS, _MAX_BLOCK_SECONDS = 0.01, 1.0
"""Minimum and maximum predicted seconds of the rows of a task. Larger: fewer messages, and larger
batches, in which a row of a narrow piece takes half the time; smaller: the ranks finish closer
together."""

_BLOCKS_PER_RANK = 2
"""Number of blocks of rows for each rank, within these limits. Fewer: larger blocks, which take
less time a row, but a slow rank keeps the others waiting."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class HoldProgram:
    """Has every rank prepare a program and keep it.

    Attributes:
        key: Key by which the ranks keep it.
        setup: The program.
        device: ``auto``, ``cpu`` or ``gpu``.
    """

    key: str
    setup: ProgramSetup
    device: str

    def serve(self, session: Session) -> None:
        """Prepare the program; all ranks call this together, and all raise the same error."""
        shared = shared_programs(session, self.device)
        tasks = all_ranks_or_none(
            session.farm, lambda: EvaluationTasks.of(self.setup, shared.device)
        )
        session.keep(self.key, tasks)


@dataclass(frozen=True, eq=False)
class JoinEvaluation:
    """Has a rank compute tasks of a program that it keeps, until rank 0 ends the evaluation.

    Attributes:
        key: Key of the program.
    """

    key: str

    def serve(self, session: Session) -> None:
        """Compute the tasks that rank 0 sends."""
        with blas_threads(1):
            session.farm.run_worker(session.kept(self.key))


class SpreadEvaluator:
    """Evaluates a program at rows of angles, on all ranks of a session or on rank 0 alone.

    Args:
        session: The session, which is open.
        setup: The program.
        device: ``auto``, ``cpu`` or ``gpu``.

    Attributes:
        session: The session.
        setup: The program.
        device: ``auto``, ``cpu`` or ``gpu``.
        local: The program on rank 0.
        shared: The program as it is sent to ranks that evaluate several at a time.
        is_new: Whether it has not been evaluated yet.

    Raises:
        InputError: If no engine computes one of the pieces.
        HpcqError: If a rank cannot prepare the program, whose evaluations are long; the ranks
            receive others when they are first to compute them.
    """

    def __init__(self, session: Session, setup: ProgramSetup, device: str) -> None:
        self.session, self.setup, self.device = session, setup, device
        self._hold = HoldProgram(uuid.uuid4().hex, setup, device)
        self.shared = SharedProgram(self._hold.key, setup)
        self.is_new = True
        tasks = EvaluationTasks.of(setup, open_programs(session, device).device)
        self.local = tasks.evaluator
        if self.is_spread(self.row_seconds(self.local.num_observables)):
            self.local = self._tasks().evaluator

    def values(self, angles: Rows) -> Rows:
        """Return the values of the observables; see :meth:`Evaluator.values`."""
        self.is_new = False
        seconds = self.row_seconds(sums=0)
        if not self.is_spread(seconds * len(angles)):
            return self.local.values(angles)
        if self._by_pieces(angles, sums=0):
            return self._on_ranks(lambda ranks: self.local.values(angles, ranks))
        blocks = self._on_ranks(lambda ranks: self._blocks(ranks, "values", angles, seconds))
        return np.concatenate(blocks).reshape(len(angles), -1)

    def values_and_gradients(self, angles: Rows) -> tuple[Rows, Rows]:
        """Return values and derivatives; see :meth:`Evaluator.values_and_gradients`."""
        self.is_new = False
        self.local.check_gradients()
        observables, slots = self.local.num_observables, self.setup.num_slots
        seconds = self.row_seconds(sums=observables)
        if not self.is_spread(seconds * len(angles)):
            return self.local.values_and_gradients(angles)
        if self._by_pieces(angles, sums=observables):
            return self._on_ranks(lambda ranks: self.local.values_and_gradients(angles, ranks))
        blocks = self._on_ranks(lambda ranks: self._blocks(ranks, "gradients", angles, seconds))
        joined = np.concatenate(blocks).reshape(len(angles), observables, 1 + slots)
        return joined[:, :, 0].copy(), joined[:, :, 1:].copy()

    def is_spread(self, seconds: float) -> bool:
        """Whether ranks share an evaluation of so many predicted seconds."""
        return self.session.size > 1 and seconds >= _MIN_SPREAD_SECONDS

    def _by_pieces(self, angles: Rows, sums: int) -> bool:
        """Whether the tasks are pieces, because there are too few rows for all ranks."""
        return len(angles) < min(self.session.size, 1 + self.local.rows_in_memory(sums))

    def row_seconds(self, sums: int) -> float:
        """Return the predicted seconds of a row: of its values, and derivatives of some sums."""
        pieces = sum(piece.seconds + sums * piece.gradient_seconds for piece in self.local.pieces)
        return pieces + (1 + 3 * sums) * self.local.contraction_seconds

    def _blocks(self, ranks: RankPieces, name: str, angles: Rows, row_seconds: float) -> list[Rows]:
        """Return the results of all rows in blocks; these do not change the bits of a row."""
        blocks = blocks_of(angles, row_seconds, row_seconds * len(angles), self.session.size)
        return ranks.blocks(name, blocks, row_seconds)

    def _tasks(self) -> EvaluationTasks:
        """Return the program as this rank keeps it; if it was dropped, all ranks prepare it again.

        Programs are kept and dropped in the same order on all ranks.
        """
        session, key = self.session, self._hold.key
        if not session.keeps(key):
            with session.commanding(), abort_on_error(session.farm):
                session.start(self._hold)
                self._hold.serve(session)
        tasks = session.kept(key)
        assert isinstance(tasks, EvaluationTasks)
        return tasks

    def _on_ranks(self, evaluate: Callable[[RankPieces], T]) -> T:
        """Return what a function returns that computes its pieces or blocks on all ranks.

        Raises:
            HpcqError: If a task fails, a check of the result does, or no rank is left.
        """
        with self.session.commanding():
            tasks = self._tasks()
            return on_ranks(
                self.session,
                JoinEvaluation(self._hold.key),
                tasks,
                lambda coordinator: evaluate(RankPieces(coordinator, self.local)),
                function=tasks.compute,
            )


def blocks_of(angles: Rows, row_seconds: float, total_seconds: float, ranks: int) -> list[Rows]:
    """Return rows of angles in blocks, each of which is a task.

    Args:
        angles: Shape (rows, slots).
        row_seconds: Predicted seconds of a row.
        total_seconds: Predicted seconds of all that the ranks compute together.
        ranks: Number of ranks.
    """
    seconds = total_seconds / (_BLOCKS_PER_RANK * ranks)
    seconds = min(_MAX_BLOCK_SECONDS, max(_MIN_BLOCK_SECONDS, seconds))
    size = max(1, math.floor(seconds / row_seconds))
    return [angles[start : start + size] for start in range(0, len(angles), size)]


@dataclass(frozen=True, eq=False)
class RankPieces:
    """Computes pieces of a program on all ranks; a task is a piece at one row.

    Attributes:
        coordinator: Hands tasks to the ranks.
        evaluator: The program on rank 0.
    """

    coordinator: Coordinator
    evaluator: Evaluator

    def tensors(self, numbers: Sequence[int], rows: Sequence[Rows]) -> list[Tensor]:
        """Return the tensors of some pieces."""
        tasks = [
            RankTask("tensors", number, of[row : row + 1])
            for number, of in zip(numbers, rows, strict=True)
            for row in range(len(of))
        ]
        pieces = self.evaluator.pieces
        seconds = [pieces[n].seconds for n, of in zip(numbers, rows, strict=True) for _ in of]
        results = iter(self._run(tasks, seconds, complex))
        return [
            np.concatenate([next(results) for _ in of]).reshape(
                len(of), *self.evaluator.setup.shape(number)
            )
            for number, of in zip(numbers, rows, strict=True)
        ]

    def derivatives(
        self, numbers: Sequence[int], rows: Sequence[Rows], environments: Sequence[Tensor]
    ) -> list[Rows]:
        """Return derivatives with respect to the angles of some pieces."""
        tasks = [
            RankTask("derivatives", number, of[row : row + 1], given[row : row + 1])
            for number, of, given in zip(numbers, rows, environments, strict=True)
            for row in range(len(of))
        ]
        seconds = [
            self.evaluator.pieces[number].gradient_seconds
            for number, of in zip(numbers, rows, strict=True)
            for _ in of
        ]
        results = iter(self._run(tasks, seconds, float))
        return [
            np.concatenate([next(results) for _ in of]).reshape(*given.shape[:2], of.shape[1])
            for of, given in zip(rows, environments, strict=True)
        ]

    def blocks(self, name: str, blocks: Sequence[Rows], row_seconds: float) -> list[Rows]:
        """Return the results of blocks of rows, in order.

        Args:
            name: ``values`` or ``gradients``.
            blocks: Angles of all slots, each of shape (rows, slots).
            row_seconds: Predicted seconds of a row.
        """
        tasks = [RankTask(name, None, block) for block in blocks]
        seconds = [row_seconds * len(block) for block in blocks]
        return list(self._run(tasks, seconds, float))

    def _run(
        self, tasks: Sequence[RankTask], seconds: Sequence[float], dtype: type
    ) -> FinishedTasks:
        """Return the results of all tasks, each a flat array.

        Raises:
            HpcqError: If a task fails twice, or no rank is left.
        """
        return finish_tasks(
            self.coordinator,
            [task.to_bytes() for task in tasks],
            seconds,
            dtype,
            lambda task: tasks[task].describe(self.evaluator.setup),
        )
