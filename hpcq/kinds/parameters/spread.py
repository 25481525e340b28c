"""Evaluations on the ranks of a session: blocks of rows, or pieces, are the tasks.

The ranks receive a program once and keep it. A row has the same bits whatever other rows its block
has, so values do not depend on the number of ranks. An evaluation that takes less time than the
messages would stays on rank 0.
"""

from __future__ import annotations

import math
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hpcq.core.errors import HpcqError, TasksFailedError
from hpcq.core.limits import Device
from hpcq.core.system import blas_threads
from hpcq.engines.registry import EngineSpec
from hpcq.kinds.parameters.evaluator import Evaluator
from hpcq.kinds.parameters.pieces import Rows, Tensor, piece_engines
from hpcq.kinds.parameters.rank_tasks import EvaluationTasks, RankTask
from hpcq.kinds.parameters.setup import ProgramSetup
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import FinishedTasks, Tasks
from hpcq.parallel.world import abort_on_error
from hpcq.runs.collective import all_ranks_or_none
from hpcq.runs.rank_devices import choose_rank_device
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
        farm = session.farm
        farm.gather_names(socket.gethostname())  # for messages about failed tasks
        device: Device = choose_rank_device(farm, self.device)

        def make() -> EvaluationTasks:
            evaluator = Evaluator(
                self.setup, piece_engines(EngineSpec(), self.setup.limits, device)
            )
            _ = evaluator.pieces  # prepared now, so that a refusal comes before the loop
            return EvaluationTasks(self.setup, device, evaluator)

        session.keep(self.key, all_ranks_or_none(farm, make))


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

    Raises:
        HpcqError: If a rank cannot prepare the program.
    """

    def __init__(self, session: Session, setup: ProgramSetup, device: str) -> None:
        self._session, self._setup = session, setup
        self._hold = HoldProgram(uuid.uuid4().hex, setup, device)
        self._local = self._tasks().evaluator

    def values(self, angles: Rows) -> Rows:
        """Return the values of the observables; see :meth:`Evaluator.values`."""
        seconds = self._row_seconds(sums=0)
        if not self._is_spread(seconds * len(angles)):
            return self._local.values(angles)
        if self._by_pieces(angles, sums=0):
            return self._on_ranks(lambda ranks: self._local.values(angles, ranks))
        blocks = self._on_ranks(lambda ranks: self._blocks(ranks, "values", angles, seconds))
        return np.concatenate(blocks).reshape(len(angles), -1)

    def values_and_gradients(self, angles: Rows) -> tuple[Rows, Rows]:
        """Return values and derivatives; see :meth:`Evaluator.values_and_gradients`."""
        self._local.check_gradients()
        observables, slots = self._local.num_observables, self._setup.num_slots
        seconds = self._row_seconds(sums=observables)
        if not self._is_spread(seconds * len(angles)):
            return self._local.values_and_gradients(angles)
        if self._by_pieces(angles, sums=observables):
            return self._on_ranks(lambda ranks: self._local.values_and_gradients(angles, ranks))
        blocks = self._on_ranks(lambda ranks: self._blocks(ranks, "gradients", angles, seconds))
        joined = np.concatenate(blocks).reshape(len(angles), observables, 1 + slots)
        return joined[:, :, 0].copy(), joined[:, :, 1:].copy()

    def _is_spread(self, seconds: float) -> bool:
        return self._session.size > 1 and seconds >= _MIN_SPREAD_SECONDS

    def _by_pieces(self, angles: Rows, sums: int) -> bool:
        """Whether the tasks are pieces, because there are too few rows for all ranks."""
        return len(angles) < min(self._session.size, 1 + self._local.rows_in_memory(sums))

    def _row_seconds(self, sums: int) -> float:
        """Return the predicted seconds of a row: of its values, and derivatives of some sums."""
        pieces = sum(piece.seconds + sums * piece.gradient_seconds for piece in self._local.pieces)
        return pieces + (1 + 3 * sums) * self._local.contraction_seconds

    def _blocks(self, ranks: RankPieces, name: str, angles: Rows, row_seconds: float) -> list[Rows]:
        """Return the results of all rows in blocks; these do not change the bits of a row."""
        size = math.ceil(len(angles) / (_BLOCKS_PER_RANK * self._session.size))
        smallest, largest = _MIN_BLOCK_SECONDS / row_seconds, _MAX_BLOCK_SECONDS / row_seconds
        size = max(1, math.floor(min(largest, max(smallest, size))))
        starts = range(0, len(angles), size)
        return ranks.blocks(name, [angles[start : start + size] for start in starts], row_seconds)

    def _tasks(self) -> EvaluationTasks:
        """Return the program as this rank keeps it; if it was dropped, all ranks prepare it again.

        Programs are kept and dropped in the same order on all ranks.
        """
        session, key = self._session, self._hold.key
        if not session.keeps(key):
            session.start(self._hold)
            with abort_on_error(session.farm):
                self._hold.serve(session)
        tasks = session.kept(key)
        assert isinstance(tasks, EvaluationTasks)
        return tasks

    def _on_ranks(self, evaluate: Callable[[RankPieces], T]) -> T:
        """Return what a function returns that computes its pieces or blocks on all ranks.

        Raises:
            HpcqError: If a task fails, a check of the result does, or no rank is left.
        """
        tasks, session = self._tasks(), self._session
        failure: HpcqError | None = None
        session.start(JoinEvaluation(self._hold.key))
        with abort_on_error(session.farm), session.farm.coordinator(tasks) as coordinator:
            coordinator.prepare(None, in_subprocess=False, function=tasks.compute)
            try:
                result = evaluate(RankPieces(coordinator, self._local))
            except HpcqError as error:
                failure = error
                coordinator.exit_code = error.exit_code
        if failure is not None:
            raise failure
        return result


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
        outcome = self.coordinator.run(
            AllTasks(
                Tasks(
                    np.array(seconds, dtype=float),
                    dtype,
                    payload=lambda task: tasks[task].to_bytes(),
                    describe=lambda task: tasks[task].describe(self.evaluator.setup),
                )
            )
        )
        if outcome.complete:
            return outcome.finished
        if outcome.failures:
            more = len(outcome.failures) - 1
            others = f"; and {more} more tasks" if more else ""
            raise TasksFailedError(f"{outcome.failures[0]}{others}")
        raise HpcqError(f"the evaluation stopped, because {outcome.stopped}")
