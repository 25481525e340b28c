"""The work order: all that a rank must know to compute any task, sent once as bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hpcq import cost as costs
from hpcq.assembly import Plan
from hpcq.config import Limits
from hpcq.cutting.packing import pack, unpack
from hpcq.inputs.pauli_text import as_strings
from hpcq.speeds import Speeds
from hpcq.variants.exact import ExactTensor, Simulate


@dataclass(frozen=True, eq=False)
class WorkOrder:
    """The distinct tensors to compute; a task is an integer, decoded by strides.

    Attributes:
        tensors: The tensors.
        limits: What a rank may use.
        speeds: How fast rank 0's machine is.
    """

    tensors: tuple[ExactTensor, ...]
    limits: Limits
    speeds: Speeds

    @classmethod
    def of(cls, plan: Plan) -> WorkOrder:
        """Return a plan's work order."""
        return cls(plan.tensors, plan.limits, plan.cost.speeds)

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

    def predicted_seconds(self) -> list[float]:
        """Return the predicted seconds of every task."""
        seconds = []
        for tensor in self.tensors:
            single, double = (
                costs.task_seconds(tensor, diagonal, self.limits, self.speeds)
                for diagonal in (True, False)
            )
            for branch in range(tensor.num_branches):
                seconds += [double] * branch + [single]
        return seconds

    def worker(self, simulate: Simulate) -> Callable[[int], NDArray[np.complex128]]:
        """Return the function that computes a task with the given engine."""

        def work(task: int) -> NDArray[np.complex128]:
            tensor, number = self.decode(task)
            return self.tensors[tensor].compute(number, simulate, self.limits.threads)

        return work

    def to_bytes(self) -> bytes:
        """Pack the order."""
        header = {
            "limits": asdict(self.limits),
            "speeds": asdict(self.speeds),
            "strings": [tensor.strings for tensor in self.tensors],
            "sliced": [tensor.sliced for tensor in self.tensors],
        }
        return pack(header, [tensor.subcircuit for tensor in self.tensors])

    @classmethod
    def from_bytes(cls, data: bytes) -> WorkOrder:
        """Unpack what :meth:`to_bytes` packed."""
        header, subcircuits = unpack(data)
        tensors = tuple(
            ExactTensor(subcircuit, as_strings(strings), tuple(sliced))
            for subcircuit, strings, sliced in zip(
                subcircuits, header["strings"], header["sliced"], strict=True
            )
        )
        return cls(tensors, Limits(**header["limits"]), Speeds(**header["speeds"]))
