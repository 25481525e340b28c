"""The tasks of a contraction: its parts. Rank 0 sends the tensors to all ranks once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.matrix_product import product_threads


@dataclass(frozen=True, eq=False)
class ContractionTasks:
    """A contraction and its tensors; a task is one part of it.

    Attributes:
        contraction: The contraction.
        tensors: The bond tensor of each subcircuit, shape (strings, bond sizes).
        threads: Threads for large matrix products.
    """

    contraction: Contraction
    tensors: Sequence[NDArray[np.complex128]]
    threads: int = 1

    @classmethod
    def of(
        cls, contraction: Contraction, tensors: Sequence[NDArray[np.complex128]], threads: int = 1
    ) -> ContractionTasks:
        """Return the tasks of a contraction."""
        # C order on every rank: products of transposed matrices may differ in the last bit.
        return cls(contraction, list(map(np.ascontiguousarray, tensors)), threads)

    def farm_tasks(self) -> Tasks:
        """Return all tasks, of about equal cost, for the farm."""
        num_parts = self.contraction.num_parts
        return Tasks(
            np.ones(num_parts), np.complex128, describe="part {} of the contraction".format
        )

    def task_function(self, _open_engine: object = None) -> TaskFunction:
        """Return the function that computes one part; it takes no engine."""

        def compute(task: int, _payload: bytes = b"") -> NDArray[np.complex128]:
            with product_threads(self.threads):
                return self.contraction.part(task, self.tensors)

        return compute
