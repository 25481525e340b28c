"""Evaluations of several programs: one after the other, or side by side on the ranks of a session.

Blocks of rows of all programs are then the tasks of one run, so that short evaluations, none of
which would pay to be spread, keep all ranks busy. A row has the same bits on any rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hpcq.kinds.parameters.program import Program, one_evaluation
from hpcq.kinds.parameters.rank_farm import finish_tasks, on_ranks
from hpcq.kinds.parameters.rank_tasks import EvaluationTasks, RankTask
from hpcq.kinds.parameters.shared_programs import (
    JoinPrograms,
    ProgramTask,
    SharedPrograms,
    open_programs,
)
from hpcq.kinds.parameters.spread import SpreadEvaluator, blocks_of
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.tasks import FinishedTasks

_MAX_TOGETHER = 256
"""Maximum number of evaluations of one run on the ranks. Larger: more programs are in memory at a
time; smaller: ranks wait for each other more often."""

_MIN_NEW_SECONDS = 0.01
"""Minimum predicted seconds of a program's first evaluation on other ranks, which have to prepare
it: 6 ms for 24 qubits. Smaller: circuits that are evaluated once take longer than on rank 0."""

Rows = NDArray[np.float64]
Answer = tuple[Rows, Rows | None]
"""Values, shape (rows, observables), and their derivatives, shape (rows, observables, parameters),
or None if they were not asked for."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation of a program.

    Attributes:
        program: The program.
        rows: Values of its parameters, shape (rows, parameters).
        gradients: Whether to return derivatives too.
    """

    program: Program
    rows: Rows
    gradients: bool = False

    def alone(self) -> Answer:
        """Return the answer, evaluated by all ranks or by this one."""
        if self.gradients:
            return self.program.values_and_gradients(self.rows)
        return self.program.values(self.rows), None


def evaluate_together(evaluations: Iterable[Evaluation]) -> list[Answer]:
    """Return the answers of evaluations, in order.

    Args:
        evaluations: The evaluations, which may be made one by one.

    Raises:
        InputError: If rows are wrong, or there are no derivatives.
        HpcqError: If a task fails, or a result fails its own check.
    """
    answers: list[Answer] = []
    remaining = iter(evaluations)
    for first in remaining:
        if _Spread.of(first) is None:
            answers.append(first.alone())
            continue
        chunk = [first, *islice(remaining, _MAX_TOGETHER - 1)]
        shared = _shared([_Spread.of(each) for each in chunk])
        found = dict(zip(shared, _side_by_side(list(shared.values())), strict=True))
        answers += [found.get(number) or each.alone() for number, each in enumerate(chunk)]
    return answers


@dataclass(frozen=True, eq=False)
class _Spread:
    """An evaluation of a program that several ranks can evaluate."""

    evaluation: Evaluation
    evaluator: SpreadEvaluator

    @classmethod
    def of(cls, evaluation: Evaluation) -> _Spread | None:
        """Return an evaluation with its evaluator; None if only this process evaluates it."""
        evaluator = evaluation.program.evaluator
        return cls(evaluation, evaluator) if isinstance(evaluator, SpreadEvaluator) else None

    @cached_property
    def row_seconds(self) -> float:
        """Predicted seconds of a row."""
        observables = self.evaluator.local.num_observables if self.evaluation.gradients else 0
        return self.evaluator.row_seconds(observables)

    @property
    def seconds(self) -> float:
        """Predicted seconds."""
        return self.row_seconds * len(self.evaluation.rows)

    @property
    def pays(self) -> bool:
        """Whether a rank computes for longer than it prepares the program."""
        return not self.evaluator.is_new or self.seconds >= _MIN_NEW_SECONDS

    def tasks(self, number: int, total_seconds: float) -> list[ProgramTask]:
        """Return the tasks; the program has a number among those that are evaluated."""
        evaluation, evaluator = self.evaluation, self.evaluator
        if evaluation.gradients:
            evaluator.local.check_gradients()
        evaluator.is_new = False
        slots = evaluation.program.slots
        angles = slots.angles(slots.rows(evaluation.rows, "rows"))
        blocks = blocks_of(angles, self.row_seconds, total_seconds, evaluator.session.size)
        name = "gradients" if evaluation.gradients else "values"
        return [ProgramTask(number, RankTask(name, None, block)) for block in blocks]

    def answer(self, blocks: Sequence[Rows]) -> Answer:
        """Return the answer from the results of the tasks, each a flat array."""
        evaluation, local = self.evaluation, self.evaluator.local
        shape = len(evaluation.rows), local.num_observables
        numbers = np.concatenate(blocks)
        if not evaluation.gradients:
            return numbers.reshape(shape), None
        joined = numbers.reshape(*shape, 1 + local.setup.num_slots)
        slots = evaluation.program.slots
        by_angle = joined[:, :, 1:].copy()
        return joined[:, :, 0].copy(), slots.pull_back(slots.rows(evaluation.rows), by_angle)


def _shared(evaluations: Sequence[_Spread | None]) -> dict[int, _Spread]:
    """Return the evaluations that are to take place side by side, by their numbers.

    One whose single row takes longer than a rank's share of all of them is left out: all ranks
    compute its pieces together.
    """
    spread = {number: each for number, each in enumerate(evaluations) if each is not None}
    total = sum(each.seconds for each in spread.values())
    shared = {
        number: each
        for number, each in spread.items()
        if 0 < each.row_seconds <= total / each.evaluator.session.size
        and len(each.evaluation.rows)
        and each.pays
    }
    seconds = sum(each.seconds for each in shared.values())
    first = next(iter(shared.values()), None)
    is_worth_it = first is not None and len(shared) > 1 and first.evaluator.is_spread(seconds)
    return shared if is_worth_it else {}


def _side_by_side(evaluations: Sequence[_Spread]) -> list[Answer]:
    """Return the answers of evaluations on the ranks of their session."""
    if not evaluations:
        return []
    evaluators = [each.evaluator for each in evaluations]
    session, device = evaluators[0].session, evaluators[0].device
    total = sum(each.seconds for each in evaluations)
    of_each = [each.tasks(number, total) for number, each in enumerate(evaluations)]
    tasks = [task for tasks in of_each for task in tasks]

    def compute(coordinator: Coordinator) -> FinishedTasks:
        return finish_tasks(
            coordinator,
            [task.to_bytes() for task in tasks],
            [evaluations[each.program].row_seconds * len(each.task.rows) for each in tasks],
            float,
            lambda number: tasks[number].task.describe(evaluators[tasks[number].program].setup),
        )

    here = open_programs(session, device)
    prepared = [EvaluationTasks(each.setup, here.device, each.local) for each in evaluators]
    programs = tuple(each.shared for each in evaluators)
    mine = SharedPrograms(here.device, zip(programs, prepared, strict=True))
    with one_evaluation():
        finished = on_ranks(
            session, JoinPrograms(device), here, compute, setup=programs, function=mine(programs)
        )
    results = iter(finished)
    return [
        each.answer([next(results) for _ in tasks])
        for each, tasks in zip(evaluations, of_each, strict=True)
    ]
