"""Several starts side by side: each rank takes turns at starts, with its own compiled program.

In a turn, a rank replays the evaluations of a start through a fresh optimizer and continues for a
few seconds; rank 0 collects the new evaluations. Trajectories depend neither on where turns end nor
on which ranks take them.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import TasksFailedError
from hpcq.kinds.parameters.rank_farm import on_ranks
from hpcq.kinds.parameters.spread import JoinEvaluation
from hpcq.loop.evaluators import Evaluators
from hpcq.loop.problem import LoopProblem
from hpcq.loop.progress import LoopMonitor
from hpcq.loop.trajectory import Evaluation, Rows, as_table, from_table
from hpcq.parallel import messages
from hpcq.parallel.coordinator import Coordinator
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.parallel.world import abort_on_error
from hpcq.runs.collective import all_ranks_or_none
from hpcq.runs.rank_devices import choose_rank_device
from hpcq.runs.session import Session

_TURN_SECONDS = 2.0
"""Minimum seconds of a turn, which has at least one new evaluation. Longer: fewer messages and
replays; shorter: the ranks finish closer together, and less is lost when a job is killed."""

_REPLAY_FACTOR = 20.0
"""Minimum length of a turn in multiples of its replay, which so takes at most 5 % of the time."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A turn at a start, as rank 0 sends it.

    Attributes:
        number: Number of the start.
        known: Its evaluations so far, as :func:`hpcq.loop.trajectory.as_table` returns them.
    """

    number: int
    known: Rows


class _TurnOverError(Exception):
    """A turn is over; ends an optimizer, and is caught."""


@dataclass(frozen=True, eq=False)
class TurnTasks:
    """A loop that is ready for turns on a rank.

    It is also the factory of the task function of the rank's worker. A worker in a process of its
    own prepares the program anew.

    Attributes:
        problem: The loop, with the device of this rank.
        evaluators: Evaluate its observable.
    """

    problem: LoopProblem
    evaluators: Evaluators

    @classmethod
    def of(cls, problem: LoopProblem) -> TurnTasks:
        """Return the loop with a program of this process."""
        gradients = problem.optimizer.uses_gradients
        evaluators = Evaluators(problem.plan, problem.arguments, gradients=gradients, session=None)
        return cls(problem, evaluators)

    def __call__(self, _setup: object = None) -> TaskFunction:
        """Return the function that computes tasks."""
        return self.compute

    def compute(self, _task: int, payload: bytes) -> NDArray[Any]:
        """Take a turn.

        Returns:
            1 if the start is finished and 0 if it is not, followed by the table of the new
            evaluations as a flat array.
        """
        turn: Turn = messages.loads(payload)
        problem = self.problem
        trajectory = from_table(turn.known, problem.num_parameters)
        known = len(trajectory)
        evaluate = self.evaluators.of_start(turn.number, known)
        began = time.monotonic()
        end = began + _TURN_SECONDS if not known else None

        def within_turn(x: Rows) -> Evaluation:
            nonlocal end
            now = time.monotonic()
            if end is None:
                end = now + max(_TURN_SECONDS, _REPLAY_FACTOR * (now - began))
            if now >= end and len(trajectory) > known:
                raise _TurnOverError
            return evaluate(x)

        try:
            problem.start(turn.number).minimize(trajectory, within_turn)
            is_finished = True
        except _TurnOverError:
            is_finished = False
        table = as_table(trajectory[known:], problem.num_parameters)
        return np.concatenate([[float(is_finished)], table.reshape(-1)])

    def __reduce__(self) -> tuple[Any, ...]:
        return TurnTasks.of, (self.problem,)


@dataclass(frozen=True, eq=False)
class HoldLoop:
    """Command by which every rank prepares a loop and keeps it.

    Attributes:
        key: Key by which the ranks keep it.
        problem: The loop.
    """

    key: str
    problem: LoopProblem

    def serve(self, session: Session) -> None:
        """Prepare the loop; all ranks call this together, and all raise the same error."""
        farm, problem = session.farm, self.problem
        farm.gather_names(socket.gethostname())  # for messages about failed tasks
        device = choose_rank_device(farm, problem.arguments.device)
        here = replace(problem, arguments=replace(problem.arguments, device=device))
        session.keep(self.key, all_ranks_or_none(farm, lambda: TurnTasks.of(here)))


def take_turns(
    session: Session,
    problem: LoopProblem,
    trajectories: list[list[Evaluation]],
    monitor: LoopMonitor,
    is_finished: Callable[[int], bool],
) -> None:
    """Finish all starts on all ranks; call it on rank 0 of a session.

    Args:
        session: The session.
        problem: The loop.
        trajectories: The evaluations of each start; new ones are appended.
        monitor: Shows progress, saves and stops.
        is_finished: Returns whether the evaluations of a start are those of the whole start.

    Raises:
        HpcqError: If the loop is stopped or an evaluation fails; all evaluations that have arrived
            are saved.
    """
    left = [number for number in range(problem.num_starts) if not is_finished(number)]
    if not left:
        return
    hold = HoldLoop(uuid.uuid4().hex, problem)
    with session.commanding(), abort_on_error(session.farm):
        session.start(hold)
        hold.serve(session)
    tasks = session.kept(hold.key)
    on_ranks(
        session,
        JoinEvaluation(hold.key),
        tasks,
        lambda coordinator: _take_all(coordinator, problem, trajectories, monitor, left),
        function=tasks.compute,
    )


def _take_all(
    coordinator: Coordinator,
    problem: LoopProblem,
    trajectories: list[list[Evaluation]],
    monitor: LoopMonitor,
    left: list[int],
) -> None:
    """Take turns at the starts that are left.

    Raises:
        HpcqError: If the loop is stopped, or an evaluation fails. Everything is saved before rank 0
            waits for ranks in the middle of a long evaluation.
    """
    coordinator.ledger = monitor.ledger
    while left:
        turns = [
            Turn(number, as_table(trajectories[number], problem.num_parameters)) for number in left
        ]
        outcome = coordinator.run(AllTasks(_tasks_of(turns)), monitor)
        done = outcome.finished.done
        is_over = [
            bool(done[task]) and _take(outcome.finished[task], problem, trajectories[turn.number])
            for task, turn in enumerate(turns)
        ]
        monitor.after_turn()
        left = [number for number, over in zip(left, is_over, strict=True) if not over]
        if outcome.failures:
            monitor.save()
            raise TasksFailedError(str(outcome.failures[0]))
        if outcome.stopped and left:
            monitor.stop(outcome.stopped)


def _tasks_of(turns: list[Turn]) -> Tasks:
    return Tasks(
        np.full(len(turns), _TURN_SECONDS),
        float,
        payload=lambda task: messages.dumps(turns[task]),
        describe=lambda task: f"start {turns[task].number}",
    )


def _take(result: Rows, problem: LoopProblem, trajectory: list[Evaluation]) -> bool:
    """Append the new evaluations of a turn; return whether its start is finished."""
    width = 2 + problem.num_parameters * (1 + problem.optimizer.uses_gradients)
    trajectory += from_table(result[1:].reshape(-1, width), problem.num_parameters)
    return bool(result[0])
