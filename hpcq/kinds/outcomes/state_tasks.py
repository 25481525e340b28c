"""The tasks that simulate: all amplitudes of one branch of a subcircuit each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Engine, check_supported
from hpcq.engines.requests import NO_PARAMETERS, Amplitudes
from hpcq.parallel.tasks import FinishedTasks, TaskFunction, Tasks
from hpcq.planning.outcome_plan import OutcomesPlan


@dataclass(frozen=True, eq=False)
class StateTasks:
    """The states that are computed once and kept; a task is one branch of one of the tensors.

    Attributes:
        tensors: The distinct tensors of the plan.
        kept: Numbers of those whose states are kept, ascending.
        seconds: Predicted seconds of a branch of each of these.
        uses: The tensor of each subcircuit, for messages.
    """

    tensors: tuple[ExactTensor, ...]
    kept: tuple[int, ...]
    seconds: tuple[float, ...]
    uses: tuple[int, ...]

    @classmethod
    def of(cls, plan: OutcomesPlan) -> StateTasks:
        """Return the tasks of a plan."""
        kept = plan.kept
        tensors = plan.tensors
        seconds = tuple(plan.tensor_seconds[k] / tensors[k].num_tasks for k in kept)
        return cls(tensors, kept, seconds, plan.uses)

    @cached_property
    def branches(self) -> list[tuple[int, int]]:
        """Tensor and branch of each task."""
        return [(k, branch) for k in self.kept for branch in range(self.tensors[k].num_branches)]

    def farm_tasks(self) -> Tasks:
        """Return all tasks, for the farm."""
        counts = [self.tensors[k].num_branches for k in self.kept]
        return Tasks(
            np.repeat(np.array(self.seconds, dtype=float), counts),
            np.complex128,
            owner=lambda tasks: np.repeat(np.array(self.kept, dtype=np.int64), counts)[tasks],
            describe=self.describe,
        )

    def describe(self, task: int) -> str:
        """Return the name of a task in messages."""
        number, branch = self.branches[task]
        return f"subcircuit {self.uses.index(number)}, branch {branch}"

    def check_engine(self, engine: Engine) -> None:
        """Check before the run that an engine supports all tasks.

        Raises:
            InputError: If it refuses one of them.
        """
        for number, tensor in enumerate(self.tensors):
            if tensor.simulation is None:
                name = f"subcircuit {self.uses.index(number)}"
                check_supported(engine, tensor, Amplitudes(), name)

    def task_function(self, open_main_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that computes tasks; the argument returns this rank's engine."""
        source = branch_source(self.tensors, open_main_engine())

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.complex128]:
            return np.asarray(source(*self.branches[task]), dtype=complex).reshape(-1)

        return compute

    def states(self, finished: FinishedTasks) -> Callable[[int, int], NDArray[np.complex128]]:
        """Return the function that returns the result of a branch, shape (D, 2**bits)."""
        task_of = {branch: task for task, branch in enumerate(self.branches)}

        def result(number: int, branch: int) -> NDArray[np.complex128]:
            rows = self.tensors[number].block_shape[1]
            return finished[task_of[number, branch]].reshape(rows, -1)

        return result


def branch_source(
    tensors: tuple[ExactTensor, ...], engine: Engine
) -> Callable[[int, int], NDArray[np.complexfloating]]:
    """Return the function that simulates a branch of a tensor, shape (D, 2**bits)."""

    def simulate(number: int, branch: int) -> NDArray[np.complexfloating]:
        (states,) = engine.prepared(tensors[number]).execute(NO_PARAMETERS, Amplitudes(branch))
        found: NDArray[np.complexfloating] = states
        return found

    return simulate
