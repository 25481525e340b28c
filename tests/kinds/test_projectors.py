"""Projectors from the user's side: wide ones, files, resuming, the command line."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector

import hpcq
from hpcq.circuits.observables import read_observables
from hpcq.cli.main import main
from hpcq.cli.submitting import _InputFiles, _observable_arguments
from hpcq.kinds.shots.sampling import joint_sampling_of
from hpcq.planning.problem import Budget
from hpcq.results.tables import values_text
from tests.kinds.distributions import Device
from tests.support.strategies import uncut_value

LABELS = ("1101", "0000", "Z0+-", "1rl0", "XYI+")


def small() -> QuantumCircuit:
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.u(0.4 + qubit, 1.1, 0.3 * qubit, qubit)
    for qubit in range(3):
        circuit.cz(qubit, qubit + 1)
    for qubit in range(4):
        circuit.u(0.9 - 0.2 * qubit, 0.5, 0.2, qubit)
    return circuit


@pytest.fixture
def path(tmp_path: Path) -> str:
    place = tmp_path / "small.qasm"
    place.write_text(qasm2.dumps(small()))
    return str(place)


def observable_texts(labels: tuple[str, ...] = LABELS) -> list[str]:
    """Labels as options: outcomes as they are, others as labels."""
    texts = [label if set(label) <= {"0", "1"} else f"label:{label}" for label in labels]
    return [f"--observable={text}" for text in texts]


def truth() -> list[float]:
    return [uncut_value(small(), SparseObservable.from_label(label)) for label in LABELS]


def rotated_ghz(angles: np.ndarray) -> QuantumCircuit:
    circuit = QuantumCircuit(len(angles))
    circuit.h(0)
    for qubit in range(1, len(angles)):
        circuit.cx(qubit - 1, qubit)
    for qubit, angle in enumerate(angles):
        circuit.ry(angle, qubit)
    return circuit


def ghz_probability(angles: np.ndarray, outcome: str) -> float:
    """|<outcome| prod_q RY(angle_q) (|0...0> + |1...1>)>|^2 / 2."""
    ones = np.array([bit == "1" for bit in reversed(outcome)])
    cosine, sine = np.cos(angles / 2), np.sin(angles / 2)
    of_zeros = np.prod(np.where(ones, sine, cosine))
    of_ones = np.prod(np.where(ones, cosine, -sine))
    return float((of_zeros + of_ones) ** 2 / 2)


@pytest.mark.slow
def test_outcomes_of_a_hundred_qubits() -> None:
    angles = np.random.default_rng(2).uniform(-0.2, 0.2, 100)
    outcomes = ["0" * 100, "1" * 100, "0" * 50 + "1" + "0" * 49]
    expected = [ghz_probability(angles, outcome) for outcome in outcomes]
    how = {"cut_labels": [qubit // 10 for qubit in range(100)], "threads": 1}
    exact = hpcq.run(hpcq.plan(rotated_ghz(angles), outcomes, **how), device="cpu")
    assert max(expected) > 0.2
    assert exact.expectation_values == pytest.approx(expected, rel=1e-10, abs=1e-14)
    plan = hpcq.plan(rotated_ghz(angles), outcomes, shots=50_000, **how)
    sampled = hpcq.run(plan, device="cpu")
    assert (np.abs(sampled.expectation_values - expected) < 5 * sampled.standard_errors).all()
    assert sampled.standard_errors[0] < 0.05


@pytest.mark.slow
def test_joint_samples_of_a_hundred_qubits() -> None:
    rng = np.random.default_rng(3)
    circuit = QuantumCircuit(100)
    for qubit in range(100):
        circuit.ry(rng.uniform(-0.3, 0.3), qubit)
    for qubit in range(99):
        if qubit % 10 == 9:
            circuit.rzz(0.05, qubit, qubit + 1)
        else:
            circuit.cz(qubit, qubit + 1)
    for qubit in range(100):
        circuit.rx(rng.uniform(-0.2, 0.2), qubit)
    texts = ["0" * 100, "label:" + "I" * 60 + "Z+" + "0" * 38]
    how = {"cut_labels": [qubit // 10 for qubit in range(100)], "threads": 1}
    plan = hpcq.plan(circuit, texts, **how)
    expected = hpcq.run(plan, device="cpu").expectation_values
    sampled = Device(joint_sampling_of(plan, Budget(20_000))).run(0)
    assert (np.abs(sampled.values() - expected) < 5 * sampled.errors).all()
    assert (sampled.errors < 0.2).all()


def test_joint_error_bars() -> None:
    plan = hpcq.plan(small(), ["1101", "label:Z0+-"], cut_labels="AABB", threads=1)
    expected = hpcq.run(plan, device="cpu").expectation_values
    device = Device(joint_sampling_of(plan, Budget(3000)))
    runs = [device.run(seed) for seed in range(40)]
    sigmas = np.array([(run.values() - expected) / run.errors for run in runs])
    assert (np.mean(sigmas**2, axis=0) < 1.8).all()
    assert (np.mean(sigmas**2, axis=0) > 0.3).all()


@pytest.mark.slow
def test_values_files_and_what_belongs_together(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out.h5")
    command = ["run", path, "--cut-labels", "AABB", "--json", "-o", output]
    assert main([*command, *observable_texts()]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["observables"][:3] == ["1101", "0000", "label:Z0+-"]
    assert shown["expectation_values"] == pytest.approx(truth(), abs=1e-10)
    with h5py.File(output) as file:
        found = [file[f"observables/{i}/paulis"].asstr()[0] for i in range(len(LABELS))]
    assert found == ["label:1101", "label:0000", "label:Z0+-", "label:1rl0", "label:XYI+"]
    details = hpcq.load(output).details
    assert details is not None
    again = hpcq.plan(details.circuit, details.observables, cut_labels="AABB", threads=1)
    assert again.observables == details.observables
    assert hpcq.run(again, device="cpu").expectation_values == pytest.approx(truth(), abs=1e-10)
    assert main(["show", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expectation_values"] == shown["expectation_values"]
    assert main([*command, *observable_texts()]) == 0
    assert "already complete" in capsys.readouterr().err
    assert main([*command, *observable_texts(("1100", *LABELS[1:]))]) == 2
    assert "observables" in capsys.readouterr().err


def test_outcomes_of_many_qubits_can_be_told_apart() -> None:
    names = ["0" * 50, "0" * 49 + "1", "label:" + "0" * 50, "label:" + "0" * 50]
    shown = [
        line.split()[0] for line in values_text(names, [0.1] * 4, [0.0] * 4, [0.0] * 4).splitlines()
    ]
    assert shown == [*names[:2], *["label:" + "0" * 31 + "..."] * 2]


@pytest.mark.slow
def test_a_run_with_shots_can_be_refined(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out.h5")
    command = ["run", path, "--cut-labels", "AABB", *observable_texts(), "--json", "-o", output]
    errors = []
    for options in (("--shots", "20000"), ("--shots", "20000")):
        assert main([*command, *options]) == 0
        shown = json.loads(capsys.readouterr().out)
        values, bars = np.array(shown["expectation_values"]), np.array(shown["standard_errors"])
        assert (np.abs(values - truth()) < 5 * bars).all()
        errors.append(bars)
    assert (errors[1] < errors[0]).all()


@pytest.mark.slow
def test_a_file_of_observables(path: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = [
        {"label": "Z0+-"},
        {"name": "p", "label": "1101"},
        {"name": "sum", "terms": [[{"label": "1101"}, 0.5], ["0000", -2], ["Z0 X1", 1]]},
    ]
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(content))
    assert main(["run", path, "--cut-labels", "AABB", "--observables", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["observables"] == ["label:Z0+-", "p", "sum"]
    terms = [("1101", 0.5), ("0000", -2), ("IIXZ", 1)]
    expected = [truth()[2], truth()[0], uncut_value(small(), SparseObservable.from_list(terms))]
    assert shown["expectation_values"] == pytest.approx(expected, abs=1e-10)


def test_what_is_submitted_from_python_keeps_projectors(tmp_path: Path) -> None:
    operator = SparseObservable.from_list([("1101", 0.5), ("Z0+-", 1), ("IIXZ", 2)])
    (word,) = _observable_arguments(small(), operator, _InputFiles(tmp_path / "out.h5"))
    (found,) = read_observables(word.partition("=")[2], 4)
    (expected,) = hpcq.plan(small(), operator, threads=1).observables
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("text", ["3", "1.5", "1111", "1e3", "-2", "011", "11111 + Z0", "01Z0"])
def test_a_number_is_one_line(text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    place = tmp_path / "three.qasm"
    place.write_text(qasm2.dumps(rotated_ghz(np.ones(5))))
    assert main(["run", str(place), "--observable", text]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
    assert "expected" in line


def test_many_outcomes_add_up_to_one() -> None:
    outcomes = [format(number, "04b") for number in range(16)]
    plan = hpcq.plan(small(), outcomes, cut_labels="ABBA", threads=1)
    values = hpcq.run(plan, device="cpu").expectation_values
    assert values == pytest.approx(Statevector(small()).probabilities(), abs=1e-10)
    total = SparsePauliOp.from_list([("IIII", 1.0)])
    assert values.sum() == pytest.approx(uncut_value(small(), total), abs=1e-10)
