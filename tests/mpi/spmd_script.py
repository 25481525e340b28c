"""Started on every rank by test_spmd.py: calls that differ between ranks, in one or another way."""

from __future__ import annotations

import sys

from mpi4py import MPI
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import hpcq
from hpcq.core.errors import InputError

HOW = {"cut_labels": "AABB", "device": "cpu", "threads": 1, "memory": 1 << 28}
RANK = MPI.COMM_WORLD.rank


def circuit(angle: float = 0.3) -> QuantumCircuit:
    made = QuantumCircuit(4)
    made.ry(angle, 0)
    for qubit in range(3):
        made.cx(qubit, qubit + 1)
    return made


def refused(call: object, *arguments: object, **options: object) -> None:
    try:
        call(*arguments, **options)  # type: ignore[operator]
    except InputError as error:
        if MPI.COMM_WORLD.size - 1 == RANK:
            print("refused:", error, flush=True)
    else:
        raise AssertionError("not refused")


def enter_session() -> None:
    with hpcq.Session():
        raise AssertionError("entered")


def differ() -> None:
    last = MPI.COMM_WORLD.size - 1 == RANK
    hpcq.run(circuit(), "Z0 Z3", **HOW)
    refused(hpcq.run, circuit(0.3 + last), "Z0 Z3", **HOW)
    refused(hpcq.run, circuit(), "Z0 Z2" if last else "Z0 Z3", **HOW)
    refused(hpcq.run, circuit(), "Z0 Z3", shots=1000, seed=int(last), **HOW)
    refused(hpcq.run, hpcq.plan(circuit(0.1 * last), cut_labels="AABB"), device="cpu")
    free = hpcq.plan(circuit(Parameter("a")), cut_labels="AABB", threads=1, memory=1 << 28)
    refused(hpcq.run, free, parameter_values=[[0.1 * last]], device="cpu")
    refused(hpcq.minimize, free, x0=0.1 * last)
    if last:
        refused(enter_session)
    else:
        refused(hpcq.run, circuit(), "Z0 Z3", **HOW)
    # What rank 0 alone gives is for all, and so is a plan that each rank makes.
    hpcq.run(free if RANK == 0 else None, parameter_values=[[0.1]] if RANK == 0 else None)
    hpcq.run(hpcq.plan(circuit(), "Z0", cut_labels="AABB", threads=1 + last), device="cpu")


def leave(rank: int) -> None:
    hpcq.run(circuit(), "Z0 Z3", **HOW)
    if rank == RANK:
        raise ValueError("a reason of its own")
    hpcq.run(circuit(), "Z0 Z3", **HOW)


def leave_early(rank: int) -> None:
    if rank == RANK:
        raise ValueError("a reason of its own")
    hpcq.run(circuit(), "Z0 Z3", **HOW)


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
    print("rank", RANK, "is done", flush=True)
