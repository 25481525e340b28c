"""A contraction as tasks for the farm, and as bytes that go to every rank once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel import messages
from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.expectation import Contraction
from hpcq.reconstruction.matrix_product import product_threads
from hpcq.reconstruction.term_table import TermTable


@dataclass(frozen=True, eq=False)
class ContractionTasks:
    """A contraction and its tensors; a task is one part of it.

    Attributes:
        contraction: The contraction.
        tensors: For each subcircuit its bond tensor.
        threads: Threads of large products.
    """

    contraction: Contraction
    tensors: Sequence[NDArray[np.complex128]]
    threads: int = 1

    def tasks(self) -> Tasks:
        """Return all tasks, for the farm; they cost about the same."""
        number = self.contraction.num_parts
        return Tasks(np.ones(number), np.complex128, describe="part {} of the contraction".format)

    def work(self, task: int, _ticket: bytes = b"") -> NDArray[np.complex128]:
        """Do a task."""
        with product_threads(self.threads):
            return self.contraction.part(task, self.tensors)

    def to_bytes(self) -> bytes:
        """Return what a rank needs to know of the parts; arrays are not copied on the way back."""
        terms = TermTable((), self.contraction.terms.picks, ((),) * len(self.tensors))
        contraction = replace(self.contraction, terms=terms)
        # C order whatever theirs is: products of transposed matrices may differ in the last bit.
        tensors = list(map(np.ascontiguousarray, self.tensors))
        return messages.dumps(replace(self, contraction=contraction, tensors=tensors))


def open_contraction(payload: bytes) -> TaskFunction:
    """Make the function that does a part of the contraction that rank 0 shared."""
    tasks: ContractionTasks = messages.loads(payload)
    return tasks.work
