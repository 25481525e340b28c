"""Thousands of runs in one MPI job, in which memory, threads and files must not grow.

    mpirun -n 2 python benchmarks/many_runs.py --runs 10000

Every rank prints its resident memory, threads, open files and child processes now and then. The
exit code is 1 if threads, files or children grew, or the memory by more than --kib a run.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI
from qiskit import QuantumCircuit

import hpcq

_WARM = 100
"""Runs before the first measurement, in which everything is loaded."""

_PAGE_KIB = 4
"""KiB of a page of memory, the unit of ``/proc/self/statm``."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--kib", type=float, default=2.0, help="growth allowed a run; default: 2")
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    how = {"cut_labels": "AABB", "threads": 1, "memory": 1 << 28}
    plan = hpcq.plan(circuit, ["Z0 Z3", "X0 X1 X2 X3"], **how)
    begun, first = time.perf_counter(), standing()
    for number in range(1, options.runs + 1):
        result = hpcq.run(plan if comm.rank == 0 else None, comm, device="cpu")
        np.testing.assert_allclose(result.expectation_values, 1.0, atol=1e-10)
        if number == _WARM:
            first = standing()
        if number % max(1, options.runs // 10) == 0:
            said = ", ".join(f"{name} {value}" for name, value in standing().items())
            seconds = time.perf_counter() - begun
            print(f"rank {comm.rank}: {number} runs, {seconds:.1f} s, {said}", flush=True)
    last = standing()
    grown = {name: last[name] - first[name] for name in last}
    too_much = grown.pop("KiB") > options.kib * options.runs
    # A thread of the last run may still be on its way out.
    bad = too_much or any(value > (name == "threads") for name, value in grown.items())
    return int(comm.allreduce(int(bad), op=MPI.MAX))


def standing() -> dict[str, int]:
    """Return what this process holds: memory, threads, open files, children."""
    process = Path("/proc/self")
    children = [task / "children" for task in (process / "task").iterdir()]
    return {
        "KiB": int((process / "statm").read_text().split()[1]) * _PAGE_KIB,
        "threads": threading.active_count(),
        "files": len(list((process / "fd").iterdir())),
        "children": sum(len(place.read_text().split()) for place in children),
    }


if __name__ == "__main__":
    sys.exit(main())
