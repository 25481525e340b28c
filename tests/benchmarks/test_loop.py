"""The benchmark of loops, on a small circuit and in this process."""

from __future__ import annotations

from itertools import pairwise

import loop as benchmark
import pytest
from program_circuits import Ansatz, heisenberg, rotated_chain

_SMALL = Ansatz(
    "small",
    "RY, RZ and a chain of CX on six qubits",
    "AAABBB",
    lambda: rotated_chain(6, 2),
    lambda: heisenberg(pairwise(range(6))),
    seed=0,
)


@pytest.mark.slow
def test_a_loop_is_compared_with_its_program() -> None:
    pytest.importorskip("qiskit_algorithms")
    report = benchmark.loop(_SMALL, evaluations=4)
    assert report["evaluations"] == 4
    assert 0 < report["program"] < report["vqe"]
    rows = benchmark.rows_of(3, {**report, "idle": [0.01, 0.2]}, "small")
    assert [row.met for row in rows[-2:]] == [True, False]


def test_the_targets_of_a_loop_are_upper_limits() -> None:
    report = {"evaluations": 2, "planned": 1.0, "vqe": 1.6, "program": 1.0, "overhead": 1e-3}
    rows = benchmark.rows_of(1, {**report, "idle": []}, "small")
    assert [row.met for row in rows] == [False, None, True]
