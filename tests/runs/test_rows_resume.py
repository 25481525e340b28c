"""Runs at rows of parameters that are killed, and go on; the values are the same bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from hpcq.circuits import qpy
from hpcq.results import load_progress
from tests.runs.test_resume import has_saved, start, wait_for
from tests.support.launch import hpcq, hpcq_here

QUBITS, POINTS = 11, 200


@pytest.fixture(
    scope="module",
    params=[pytest.param("in blocks", marks=pytest.mark.nightly), "piece by piece"],
)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run of two halves and about two seconds.

    It is computed in blocks of rows, or piece by piece because pieces have the same angles in
    rows that are far apart.
    """
    folder = tmp_path_factory.mktemp("rows")
    theta = ParameterVector("theta", 4 * QUBITS)
    circuit = QuantumCircuit(2 * QUBITS)
    for layer in range(2):
        for qubit in range(2 * QUBITS):
            circuit.ry(theta[2 * QUBITS * layer + qubit], qubit)
        for qubit in range(0, 2 * QUBITS - 1):
            circuit.cz(qubit, qubit + 1)
    (folder / "c.qpy").write_bytes(qpy.dump(circuit))
    rows = np.random.default_rng(0).uniform(-3, 3, (POINTS, 4 * QUBITS))
    if request.param == "piece by piece":
        is_left, numbers = np.arange(4 * QUBITS) % (2 * QUBITS) < QUBITS, np.arange(2 * POINTS)
        rows = np.where(is_left, rows[numbers // 2], rows[numbers % POINTS])
    content = [{"theta": row} for row in rows.tolist()]
    (folder / "rows.json").write_text(json.dumps(content))
    labels = "A" * QUBITS + "B" * QUBITS
    observables = ["--observable", "Z0 Z21", "--observable", "X3 + 0.5 Z10 Z11"]
    limits = ["--memory", "64M", "--threads", "1"]
    given = ["--parameters", str(folder / "rows.json"), "--cut-labels", labels]
    return [str(folder / "c.qpy"), *given, *observables, *limits]


@pytest.fixture(scope="module")
def values(job: list[str]) -> list[list[float]]:
    """The values of a run that nothing happens to."""
    done = hpcq_here("run", *job, "--json")
    assert done.returncode == 0, done.stderr
    found: list[list[float]] = json.loads(done.stdout)["expectation_values"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "ranks", [pytest.param(0, marks=pytest.mark.nightly), pytest.param(3, marks=pytest.mark.mpi)]
)
def test_a_killed_run_goes_on(
    ranks: int, job: list[str], values: list[list[float]], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    arguments = (*job, "-o", output, "--checkpoint-seconds", "0.1")
    running = start(*arguments, workers="thread")
    wait_for(has_saved(output))
    running.kill()
    running.wait()
    held, stages = load_progress(output)
    assert held.status == "partial"
    assert np.shape(held.expectation_values) == np.shape(values)
    assert 0 < stages[0]["done"] < stages[0]["total"]
    again = hpcq("run", *arguments, "--json", ranks=ranks)
    assert again.returncode == 0, again.stderr
    assert "going on" in again.stderr
    assert json.loads(again.stdout)["expectation_values"] == values


@pytest.mark.mpi
def test_ranks_and_processes_change_no_bit(job: list[str], values: list[list[float]]) -> None:
    done = hpcq("run", *job, "--json", ranks=3, HPCQ_WORKERS="process")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["expectation_values"] == values
    assert told["provenance"]["ranks"] == 3
