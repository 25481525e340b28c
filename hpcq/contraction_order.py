"""A contraction as tasks for the farm, and as bytes that go to every rank once."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.farm.tasks import Tasks, Work
from hpcq.reconstruction.expectation import Contraction
from hpcq.reconstruction.network import Bond, Network, Step
from hpcq.reconstruction.product import product_threads
from hpcq.reconstruction.terms import TermTable

MARK = b"contract "
"""What the bytes of a contraction's order start with."""


@dataclass(frozen=True, eq=False)
class ContractionOrder:
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
            "tensors": len(self.tensors),
            "threads": self.threads,
        }
        buffer = io.BytesIO()
        np.save(buffer, np.frombuffer(json.dumps(header).encode(), dtype=np.uint8))
        for tensor in self.tensors:
            np.save(buffer, tensor)
        return MARK + buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> ContractionOrder:
        """Unpack what :meth:`to_bytes` packed."""
        buffer = io.BytesIO(data)
        buffer.seek(len(MARK))
        header = json.loads(np.load(buffer).tobytes())
        tensors = [np.load(buffer) for _ in range(header["tensors"])]
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
                        Step(
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
                    ((),) * header["tensors"],
                ),
                header["batch"],
            ),
            tensors,
            header["threads"],
        )


def open_contraction(payload: bytes) -> Work:
    """Make the work of what rank 0 shared."""
    return ContractionOrder.from_bytes(payload).work
