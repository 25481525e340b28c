"""The tasks of an exact run, with everything that a rank needs to compute any of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.part_values import part_values
from hpcq.engines.protocol import Engine, check_supported
from hpcq.engines.requests import NO_PARAMETERS, Tensors
from hpcq.parallel.tasks import Numbers, TaskFunction, Tasks
from hpcq.planning import cost as costs
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.machine_speeds import Speeds


@dataclass(frozen=True, eq=False)
class ExactTasks:
    """The distinct tensors to compute; a task is an integer that encodes a tensor and its block.

    Rank 0 sends this to every rank once.

    Attributes:
        tensors: The tensors.
        limits: Limits of a rank.
        speeds: Speeds of rank 0's machine.
        uses: The tensor of each subcircuit, for messages.
    """

    tensors: tuple[ExactTensor, ...]
    limits: Limits
    speeds: Speeds
    uses: tuple[int, ...] = ()

    @classmethod
    def of(cls, plan: ExactPlan) -> ExactTasks:
        """Return the tasks of a plan."""
        return cls(plan.tensors, plan.limits, plan.cost.speeds, plan.uses)

    @cached_property
    def _starts(self) -> list[int]:
        """First task of each tensor, then the number of all tasks."""
        return list(accumulate((tensor.num_tasks for tensor in self.tensors), initial=0))

    def decode(self, task: int) -> tuple[int, int]:
        """Return the number of a task's tensor, and the task's number within that tensor."""
        tensor = bisect_right(self._starts, task) - 1
        return tensor, task - self._starts[tensor]

    def tasks_of(self, tensor: int) -> range:
        """Return the tasks that fill one tensor, in order."""
        return range(self._starts[tensor], self._starts[tensor + 1])

    def farm_tasks(self) -> Tasks:
        """Return all tasks, for the farm; each takes the mean seconds of those of its tensor."""
        seconds = [
            costs.tensor_seconds(tensor, self.limits, self.speeds) / tensor.num_tasks
            for tensor in self.tensors
        ]
        return Tasks(
            np.repeat(seconds, [tensor.num_tasks for tensor in self.tensors]),
            np.complex128,
            affinity=self._affinity() if any(tensor.sliced for tensor in self.tensors) else None,
            owner=lambda tasks: np.searchsorted(self._starts, tasks, "right") - 1,
            describe=self.describe,
        )

    def _affinity(self) -> Numbers:
        """Return the affinity of every task: equal for tasks with the same first branch.

        A worker keeps that branch's states from one task to the next.
        """
        lengths = [np.arange(1, tensor.num_branches + 1) for tensor in self.tensors]
        branches = np.concatenate(lengths)
        return np.repeat(np.arange(len(branches)), branches)

    def describe(self, task: int) -> str:
        """Return the name of a task in messages: its subcircuit and block."""
        tensor, number = self.decode(task)
        return f"subcircuit {self.uses.index(tensor)}, {self.tensors[tensor].describe(number)}"

    def check_engine(self, engine: Engine) -> None:
        """Check before the run that an engine supports all tasks.

        Raises:
            InputError: If it refuses one of them.
        """
        for number, tensor in enumerate(self.tensors):
            if tensor.simulation is not None:
                continue  # the planner has asked its engine
            name = f"subcircuit {self.uses.index(number)}"
            check_supported(engine, tensor, Tensors(tensor.strings), name)

    def task_function(self, open_main_engine: Callable[[], Engine]) -> TaskFunction:
        """Return the function that computes tasks; the argument returns this rank's engine."""
        engine = open_main_engine()
        workspace: dict[int, Any] = {}
        last_tensor: int | None = None

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.complex128]:
            nonlocal last_tensor
            number, block = self.decode(task)
            if number != last_tensor:
                workspace.clear()
                last_tensor = number
            tensor = self.tensors[number]
            if tensor.simulation is not None:
                return part_values(tensor, self.limits).astype(complex)
            request = Tensors(tensor.strings, block, workspace)
            (result,) = engine.prepared(tensor).execute(NO_PARAMETERS, request)
            return np.asarray(result)

        return compute
