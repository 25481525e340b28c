"""``hpcq sample``: what it prints, what its files show, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.qasm2 import loads
from qiskit.quantum_info import Statevector

from hpcq.cli.main import main

CIRCUIT = """OPENQASM 2.0; include "qelib1.inc"; qreg q[6]; creg low[2]; creg high[3];
h q[0]; cx q[0],q[1]; cx q[1],q[2]; ry(0.3) q[2]; cz q[2],q[3]; ry(0.4) q[3]; cx q[3],q[4];
ry(1.1) q[5]; cx q[4],q[5];
measure q[0] -> low[1]; measure q[3] -> high[0]; measure q[5] -> high[2];
"""
BASE = ("--cut-labels", "AAABBB", "--memory", "1G", "--threads", "1")


@pytest.fixture
def circuit(tmp_path: Path) -> str:
    path = tmp_path / "circuit.qasm"
    path.write_text(CIRCUIT)
    return str(path)


def exact_probabilities() -> dict[str, float]:
    """Return the probabilities of all possible outcomes, as bit strings of both registers."""
    unmeasured: QuantumCircuit = loads(CIRCUIT).remove_final_measurements(inplace=False)
    found = Statevector(unmeasured).probabilities([0, 3, 5])
    return {
        f"{index >> 2 & 1}0{index >> 1 & 1} {index & 1}0": float(p) for index, p in enumerate(found)
    }


def test_samples_come_with_their_probabilities(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    asked = ["--shots", "2000", "--probabilities", "000 00", "010 00", "--marginal", "5", "0"]
    command = ["sample", circuit, *BASE, *asked, "-o", output]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    exact = exact_probabilities()
    assert [each["name"] for each in printed["registers"]] == ["low", "high"]
    assert printed["registers"][1]["qubits"] == [3, None, 5]
    assert sum(printed["counts"].values()) == printed["shots"] == 2000
    for text, count in printed["counts"].items():
        assert abs(count - 2000 * exact[text]) < 6 * np.sqrt(2000 * exact[text])
    for text, probability in printed["probabilities"].items():
        assert probability == pytest.approx(exact.get(text, 0.0), abs=1e-12)
    assert printed["probabilities"].keys() == {*printed["counts"], "000 00", "010 00"}
    (marginal,) = printed["marginals"]
    expected = np.zeros(4)
    for text, probability in exact.items():
        expected[int(text[0]) + 2 * int(text[-2])] += probability
    assert marginal["qubits"] == [5, 0]
    np.testing.assert_allclose(marginal["probabilities"], expected, atol=1e-12)
    assert (printed["status"], printed["method"]) == ("complete", "cut")
    assert printed["predicted_seconds"] > 0
    assert printed["taken_seconds"] > 0
    assert main(["show", output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == printed


@pytest.mark.slow
def test_files_of_samples_are_shown(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    command = ["sample", circuit, *BASE, "--shots", "500", "--marginal=0,3", "-o", output]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "500 samples of high low" in table
    assert "marginal of qubits 0 3" in table
    assert main(["show", output]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(table.rstrip())
    assert "status      complete" in shown
    assert main(["show", output, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    samples = [row for row in rows if row["what"] == "samples"]
    assert sum(int(row["count"]) for row in samples) == 500
    exact = exact_probabilities()
    for row in samples:
        assert float(row["probability"]) == pytest.approx(exact[row["outcome"]], abs=1e-12)
    assert [row["outcome"] for row in rows if row["what"] == "marginal"] == ["00", "01", "10", "11"]
    assert main(command) == 0  # nothing is left to do
    assert capsys.readouterr().out == table
    assert main(["sample", circuit, *BASE, "--shots", "501", "-o", output]) == 2
    assert main(["run", circuit, *BASE, "-o", output]) == 2


@pytest.mark.slow
def test_a_stopped_run_goes_on(circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = str(tmp_path / "out.h5")
    command = ["sample", circuit, *BASE, "--shots", "100000", "--json"]
    assert main(command) == 0
    expected = json.loads(capsys.readouterr().out)["counts"]
    assert main([*command, "-o", output, "--time-limit", "0.01"]) == 75
    capsys.readouterr()
    assert main(["show", output]) == 0
    assert capsys.readouterr().out.startswith("status      partial")
    assert main(["show", output, "--json"]) == 0
    partial = json.loads(capsys.readouterr().out)
    assert partial["status"] == "partial"
    assert "observables" not in partial
    assert main([*command, "-o", output]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == expected


@pytest.mark.slow
def test_the_most_probable_outcomes_come_with_what_is_certain(
    circuit: str, capsys: pytest.CaptureFixture
) -> None:
    exact = sorted(exact_probabilities().items(), key=lambda item: -item[1])
    command = ["sample", circuit, *BASE, "--top", "3"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "counts" not in printed
    top = printed["top"]
    assert top["probabilities"] == pytest.approx(dict(exact[:3]), abs=1e-12)
    assert list(top["probabilities"].values()) == sorted(top["probabilities"].values())[::-1]
    assert top["is_exact"] is True
    assert top["missed_probability"] == 0
    assert exact[3][1] <= top["others"] + 1e-12
    assert main(command) == 0
    table = capsys.readouterr().out
    assert table.rstrip().endswith(top["guarantee"])
    assert exact[0][0] in table


@pytest.mark.slow
def test_many_outcomes_are_counted_rather_than_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "wide.qasm"
    path.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[8]; h q;')
    assert main(["sample", str(path), "--marginal", *"01234567", "--shots", "900"]) == 0
    table = capsys.readouterr().out
    assert "236 more outcomes" in table  # of the marginal, whose 256 outcomes are equally probable
    assert len(table.splitlines()) < 60


@pytest.mark.slow
def test_a_job_file_asks_for_outcomes(
    circuit: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "job.toml"
    start = f'circuit = "{circuit}"\ncut-labels = "AAABBB"\nprobabilities = ["000 00"]\n'
    sets = []
    for marginal in ("[[0, 3], [5]]", '["0,3", "5"]', "[0, 3]", '"0,3"'):
        job.write_text(f"{start}marginal = {marginal}")
        assert main(["sample", str(job), "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert list(printed["probabilities"]) == ["000 00"]
        sets.append([each["qubits"] for each in printed["marginals"]])
    assert sets == [[[0, 3], [5]], [[0, 3], [5]], [[0, 3]], [[0, 3]]]
    monkeypatch.setenv("HPCQ_MARGINAL", "5,0")
    assert main(["sample", circuit, *BASE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["marginals"][0]["qubits"] == [5, 0]


@pytest.mark.slow
def test_parameters_have_values(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "free.qasm"
    path.write_text(
        'OPENQASM 3.0; include "stdgates.inc"; input float theta; qubit[2] q; ry(theta) q[0]; '
        "cx q[0], q[1];"
    )
    command = ["sample", str(path), "--probabilities", "11", "--json"]
    assert main([*command, "--parameter", "theta=0.7"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["probabilities"]["11"] == pytest.approx(np.sin(0.35) ** 2)
    assert "counts" not in printed
    rows = tmp_path / "rows.json"
    rows.write_text('[{"theta": 0.1}, {"theta": 0.2}]')
    for wrong, said in (([], "no value for 'theta'"), (["--parameters", str(rows)], "rows")):
        assert main([*command, *wrong]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_noise_gives_estimates_and_no_samples(circuit: str, capsys: pytest.CaptureFixture) -> None:
    noisy = ["sample", circuit, *BASE, "--noise", "fake_manila", "--json"]
    asked = ["--shots", "20000", "--marginal", "0", "3", "--probabilities", "000 00"]
    assert main([*noisy, *asked]) == 0
    printed = json.loads(capsys.readouterr().out)
    (marginal,) = printed["marginals"]
    assert sum(marginal["projected"]) == pytest.approx(1.0)
    assert all(0 < error < 0.05 for error in marginal["standard_errors"])
    exact = exact_probabilities()
    assert printed["probabilities"]["000 00"] == pytest.approx(exact["000 00"], abs=0.15)
    assert printed["standard_errors"]["000 00"] > 0
    for wrong, said in (
        (["--shots", "100"], "no samples"),
        (["--top", "2", "--shots", "100"], "top: given with noise"),
        (["--marginal", "0"], "shots: not given"),
    ):
        assert main([*noisy, *wrong]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_plans_and_jobs_of_samples(
    circuit: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", circuit, *BASE, "--outcomes", "--shots", "70", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["asked"]["shots"] == 70
    assert planned["registers"][0] == {"name": "low", "size": 2, "qubits": [None, 0]}
    words = [circuit, *BASE, "--shots", "70", "--marginal", "0", "3", "-o", "out.h5"]
    assert main(["submit", "--local", "--dry-run", "--nodes=2", "--", "sample", *words]) == 0
    script = capsys.readouterr().out
    assert "hpcq sample" in script
    assert "--marginal=0,3" in script
    assert "--shots=70" in script
    wrong = ["--local", "--dry-run", "--nodes=1", "--ranks-per-node=1"]
    assert main(["submit", *wrong, "--", "sample", circuit, *BASE, "--marginal", "1"]) == 2
    assert "qubit 1" in capsys.readouterr().err
    shared = ["--dry-run", "--array=3", "--nodes=1"]
    assert main(["submit", *shared, "--", "sample", *words]) in (1, 2)


BAD = {
    "short bit string": (["--probabilities", "0101"], "'0101'"),
    "letters in a bit string": (["--probabilities", "00x 00"], "'00x 00'"),
    "no bit string": (["--probabilities"], "--probabilities"),
    "qubit out of range": (["--marginal", "6"], "qubit 6"),
    "qubit that is not measured": (["--marginal", "1"], "qubit 1, expected one of the measured"),
    "qubit given twice": (["--marginal", "0", "0"], "each qubit once"),
    "qubit is a word": (["--marginal", "few"], "'few'"),
    "no shots": (["--shots", "0"], "'0'"),
    "shots beyond all limits": (["--shots", "1e30"], "'1e30'"),
    "shots beyond the memory": (
        ["--cut-labels", "AAABBB", "--shots", "3000000000", "--memory", "1G"],
        "shots: 3000000000 samples need",
    ),
    "no outcomes": (["--top", "0"], "'0'"),
    "target error": (["--precision", "0.1"], "target_error: given for outcomes"),
    "method without states": (["--method", "pauli"], "pauli"),
    "observable": (["--observable", "Z0"], "unrecognized"),
    "backend without shots": (["--backend", "generic:6", "--marginal", "0"], "shots: not given"),
    "output is a circuit": (["-o", "{c}"], "not a valid hpcq result"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str, circuit: str, capsys: pytest.CaptureFixture) -> None:
    words, said = BAD[case]
    assert main(["sample", circuit, *(word.format(c=circuit) for word in words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert said in printed.err
