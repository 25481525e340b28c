"""A contraction as tasks for the farm, and as bytes that go to every rank once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import TaskFunction, Tasks
from hpcq.reconstruction.expectation import Contraction
from hpcq.reconstruction.matrix_product import product_threads
from hpcq.reconstruction.network import Bond, Network, PairContraction
from hpcq.reconstruction.term_table import TermTable

MARK = b"contract "
"""What the bytes of a contraction's order start with."""

_LENGTH = 8


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
        """Pack the order: what a part needs to know as JSON, the tensors as arrays."""
        network, terms = self.contraction.network, self.contraction.terms
        header = {
            "network": asdict(network),
            "picks": terms.picks,
            "batch": self.contraction.batch,
            "threads": self.threads,
            "shapes": [tensor.shape for tensor in self.tensors],
        }
        words = json.dumps(header).encode()
        length = len(words).to_bytes(_LENGTH, "little")
        arrays = (np.ascontiguousarray(tensor).data.cast("B") for tensor in self.tensors)
        return b"".join([MARK, length, words, *arrays])

    @classmethod
    def from_bytes(cls, data: bytes) -> ContractionTasks:
        """Unpack what :meth:`to_bytes` packed; the tensors stay where they are."""
        start = len(MARK) + _LENGTH
        stop = start + int.from_bytes(data[len(MARK) : start], "little")
        header = json.loads(data[start:stop])
        tensors = []
        for shape in header["shapes"]:
            size = math.prod(shape)
            tensors.append(np.frombuffer(data, np.complex128, size, stop).reshape(shape))
            stop += 16 * size
        network = header["network"]
        return cls(
            Contraction(
                Network(
                    bonds=tuple(
                        Bond(tuple(b["subcircuits"]), tuple(b["edges"]), b["size"])
                        for b in network["bonds"]
                    ),
                    loops=tuple(map(tuple, network["loops"])),
                    legs=tuple(map(tuple, network["legs"])),
                    linked=tuple(network["linked"]),
                    steps=tuple(
                        PairContraction(
                            step["left"],
                            step["right"],
                            *(tuple(step[k]) for k in ("left_only", "shared", "right_only")),
                        )
                        for step in network["steps"]
                    ),
                    sliced=tuple(network["sliced"]),
                ),
                TermTable(
                    (),
                    tuple(tuple((k, s) for k, s in pick) for pick in header["picks"]),
                    ((),) * len(tensors),
                ),
                header["batch"],
            ),
            tensors,
            header["threads"],
        )


def open_contraction(payload: bytes) -> TaskFunction:
    """Make the work of what rank 0 shared."""
    return ContractionTasks.from_bytes(payload).work
