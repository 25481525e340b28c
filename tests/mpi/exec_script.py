"""Run by ``hpcq exec`` in test_exec.py: rank 0 runs it, and the other ranks serve it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.kinds.parameters import spread
from hpcq.primitives import Estimator

LIMITS = {"threads": 1, "memory": 1 << 28}


def circuit() -> QuantumCircuit:
    made, angles = QuantumCircuit(4), iter(ParameterVector("t", 7))
    for qubit in range(4):
        made.ry(next(angles), qubit)
    for qubit in range(3):
        made.rzz(next(angles), qubit, qubit + 1)
    return made


def stop_soon(seconds: float, number: int = signal.SIGUSR1) -> None:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def check(ranks: int, output: str) -> None:
    """Use every way to call hpcq, from several threads, and stop it at many places."""
    spread._MIN_SPREAD_SECONDS = 0.0
    rows = np.random.default_rng(1).uniform(-3, 3, (5, 7))
    plan = hpcq.plan(circuit(), ["Z0 Z3", "X1"], cut_labels="AABB", **LIMITS)
    result = hpcq.run(plan, parameter_values=rows, device="cpu", output=output)
    assert result.provenance["ranks"] == ranks
    program = plan.compile()
    values, gradients = program.values_and_gradients(rows)
    np.testing.assert_array_equal(values, result.expectation_values)
    estimator = Estimator(cut_labels="AABB", **LIMITS)
    pub = (circuit(), SparsePauliOp("ZIIZ"), rows)
    np.testing.assert_allclose(estimator.run([pub]).result()[0].data.evs, values[:, 0], atol=1e-12)

    found: list[bool] = []

    def work(number: int) -> None:
        for k in range(4):
            if (k + number) % 2:
                again = program.values(rows)
            else:
                again = hpcq.run(plan, parameter_values=rows, device="cpu").expectation_values
            found.append(bool((again == values).all()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12

    stops = 0
    for k in range(12):
        try:
            stop_soon(0.01 * k, signal.SIGTERM if k % 2 else signal.SIGUSR1)
            for _ in range(2000):
                if k % 3:
                    assert (program.values(rows) == values).all()
                else:
                    hpcq.run(plan, parameter_values=rows, device="cpu")
        except hpcq.StoppedError:
            stops += 1
    assert stops == 12
    np.testing.assert_array_equal(program.values_and_gradients(rows)[1], gradients)


def idle(seconds: float) -> None:
    """Print the seconds of CPU that each of the other ranks takes in the meantime."""
    words = Path("/proc/self/cmdline").read_bytes()
    ranks = [
        each
        for each in Path("/proc").iterdir()
        if each.name.isdigit()
        and each.name != str(os.getpid())
        and (each / "cmdline").read_bytes() == words
    ]

    def taken(rank: Path) -> float:
        fields = (rank / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = [taken(rank) for rank in ranks]
    time.sleep(seconds)
    print(*(taken(rank) - start for rank, start in zip(ranks, before, strict=True)))


if __name__ == "__main__":
    how = sys.argv[1]
    if how == "check":
        check(int(sys.argv[2]), sys.argv[3])
        sys.exit(5)
    if how == "idle":
        idle(float(sys.argv[2]))
    if how == "raise":
        raise ValueError("boom")
    if how == "leave":
        os._exit(int(sys.argv[2]))
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stopped":
        stop_soon(0.5)
        time.sleep(60)
