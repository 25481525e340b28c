"""The work order: all that a rank must know to compute any task, sent once as bytes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor, Simulate
from hpcq.parallel.tasks import Numbers, TaskFunction, Tasks
from hpcq.planning import cost as costs
from hpcq.planning.assembly import Plan
from hpcq.planning.machine_speeds import Speeds


@dataclass(frozen=True, eq=False)
class ExactTasks:
    """The distinct tensors to compute; a task is an integer, decoded by strides.

    Attributes:
        tensors: The tensors.
        limits: What a rank may use.
        speeds: How fast rank 0's machine is.
        names: Number of the first subcircuit that each tensor is that of.
    """

    tensors: tuple[ExactTensor, ...]
    limits: Limits
    speeds: Speeds
    names: tuple[int, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> ExactTasks:
        """Return a plan's work order."""
        names = tuple(plan.uses.index(number) for number in range(len(plan.tensors)))
        return cls(plan.tensors, plan.limits, plan.cost.speeds, names)

    @cached_property
    def _starts(self) -> list[int]:
        """First task of each tensor, and the number of all tasks at the end."""
        return list(accumulate((tensor.num_tasks for tensor in self.tensors), initial=0))

    def decode(self, task: int) -> tuple[int, int]:
        """Return the tensor that a task belongs to, and its number there."""
        tensor = bisect_right(self._starts, task) - 1
        return tensor, task - self._starts[tensor]

    def tasks_of(self, tensor: int) -> range:
        """Return the tasks that fill one tensor, in order."""
        return range(self._starts[tensor], self._starts[tensor + 1])

    def tasks(self) -> Tasks:
        """Return all tasks, for the farm."""
        return Tasks(
            self.predicted_seconds(),
            np.complex128,
            affinity=self._rows() if any(tensor.sliced for tensor in self.tensors) else None,
            owner=lambda tasks: np.searchsorted(self._starts, tasks, "right") - 1,
            describe=self.describe,
        )

    def predicted_seconds(self) -> NDArray[np.float64]:
        """Return the predicted seconds of every task: of each tensor, the mean."""
        seconds = [
            costs.tensor_seconds(tensor, self.limits, self.speeds) / tensor.num_tasks
            for tensor in self.tensors
        ]
        return np.repeat(seconds, [tensor.num_tasks for tensor in self.tensors])

    def _rows(self) -> Numbers:
        """Return a number for each task, the same for those with the same first branch.

        A worker keeps that branch's state from one task to the next.
        """
        lengths = [np.arange(1, tensor.num_branches + 1) for tensor in self.tensors]
        every = np.concatenate(lengths)
        return np.repeat(np.arange(len(every)), every)

    def describe(self, task: int) -> str:
        """Return in words what a task is."""
        tensor, number = self.decode(task)
        return f"subcircuit {self.names[tensor]}, {self.tensors[tensor].describe(number)}"

    def worker(self, simulate: Simulate) -> TaskFunction:
        """Return the function that computes a task with the given engine."""
        last: dict[tuple[int, int], NDArray[np.complexfloating]] = {}

        def work(task: int, _ticket: bytes = b"") -> NDArray[np.complex128]:
            number, own = self.decode(task)
            tensor = self.tensors[number]
            ket, bra = tensor.branches(own)
            if (number, ket) not in last:
                last.clear()
                last[number, ket] = tensor.states(ket, simulate)
            left = last[number, ket]
            right = left if ket == bra else tensor.states(bra, simulate)
            if not tensor.sliced:
                last.clear()
            return tensor.products(left, right, self.limits.threads)

        return work
