"""A program at many rows of parameters on one rank and on two.

    python benchmarks/program_ranks.py [--json OUT.json]

It starts MPI jobs of either size in turn, each on one thread a rank, and compares the wall times of
the fastest calls: as many cores must be idle. All numbers must be the same bit for bit.
"""

from __future__ import annotations

import hashlib
import sys
import time
from typing import Any

from program_circuits import ANSATZES
from two_ranks import compare

import hpcq

_ROWS = 64
"""Rows of parameters of each call."""

_CALLS = 7
"""Calls of a job, each at new rows; the first is not measured."""

_WORKLOAD = "vqe-24-3x8"


def on_this_job() -> dict[str, Any] | None:
    """Evaluate a program on all ranks of this job; return rank 0's report, None on the others."""
    with hpcq.Session() as session:
        if session.rank > 0:
            return None
        ansatz = next(each for each in ANSATZES if each.name == _WORKLOAD)
        circuit = ansatz.build()
        plan = hpcq.plan(circuit, ansatz.energy(), cut_labels=ansatz.cut_labels, threads=1)
        program = session.compile(plan)
        taken: dict[str, list[float]] = {"energies": [], "energies and gradients": []}
        numbers = hashlib.sha256()
        for turn in range(_CALLS):
            # Rows of their own for either: tensors of known rows are not computed again.
            first, second = (
                ansatz.rows(_ROWS, circuit.num_parameters, 2 * turn + k) for k in (0, 1)
            )
            start = time.perf_counter()
            values = program.values(first)
            between = time.perf_counter()
            both = program.values_and_gradients(second)
            end = time.perf_counter()
            taken["energies"].append(between - start)
            taken["energies and gradients"].append(end - between)
            for array in (values, *both):
                numbers.update(array.tobytes())
    return {name: min(each[1:]) for name, each in taken.items()} | {"digest": numbers.hexdigest()}


if __name__ == "__main__":
    names = {what: f"{_ROWS} rows, {what}" for what in ("energies", "energies and gradients")}
    sys.exit(compare(__file__, __doc__, on_this_job, _WORKLOAD, names))
