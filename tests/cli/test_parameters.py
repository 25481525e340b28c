"""Values of free parameters on the command line: from flags, files and job files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.circuits import qpy
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from tests.support.launch import hpcq_here

HEAD = 'OPENQASM 3.0; include "stdgates.inc"; input float[64] theta; input angle[32] phi;'
FIXED = {"phi": 0.7, "theta": [0.3, -1.1, 2.0, 0.4]}


def ansatz() -> QuantumCircuit:
    theta, phi = ParameterVector("theta", 4), Parameter("phi")
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(theta[qubit], qubit)
    circuit.rzz(phi * theta[0], 1, 2)
    circuit.crx(phi.sin(), 0, 1)
    circuit.cx(2, 3)
    return circuit


def by_name(values: dict[str, Any]) -> dict[str, float]:
    elements = {f"theta[{n}]": value for n, value in enumerate(values["theta"])}
    return {**elements, "phi": values["phi"]}


def expected(values: dict[str, Any], observable: str = "ZIIX") -> float:
    bound = ansatz().assign_parameters(by_name(values))
    return float(Statevector(bound).expectation_value(SparsePauliOp(observable)).real)


@pytest.fixture
def circuit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.qpy").write_bytes(qpy.dump(ansatz()))
    return "c.qpy"


def run(*words: str) -> dict[str, Any]:
    done = hpcq_here("run", *words, "--observable", "ZIIX", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def flags(values: dict[str, Any]) -> list[str]:
    return [f"--parameter={name}={value!r}" for name, value in by_name(values).items()]


def test_values_from_flags_files_and_job_files_are_the_same(circuit: str) -> None:
    Path("values.json").write_text(json.dumps(FIXED))
    Path("vector.json").write_text(json.dumps({"theta": FIXED["theta"]}))
    Path("job.toml").write_text(f'circuit = "{circuit}"\nparameters = "values.json"\n')
    Path("flags.toml").write_text(
        f'circuit = "{circuit}"\nparameters = "vector.json"\nparameter = ["phi=0.7"]\n'
    )
    told = [
        run(circuit, *flags(FIXED)),
        run(circuit, "--parameters", "values.json"),
        run(circuit, "--parameters", "vector.json", "--parameter", "phi=0.7"),
        run("job.toml"),
        run("flags.toml"),
        run(circuit, "--parameters", "values.json", "--cut-labels", "AABB"),
    ]
    for each in told:
        assert each["expectation_values"] == pytest.approx([expected(FIXED)], abs=1e-10)
        assert "parameters" not in each


def test_flags_replace_what_a_job_file_says(circuit: str) -> None:
    Path("job.toml").write_text(f'circuit = "{circuit}"\nparameters = "missing.json"\n')
    told = run("job.toml", *flags(FIXED))
    assert told["expectation_values"] == pytest.approx([expected(FIXED)], abs=1e-10)


def test_openqasm_3_has_inputs(tmp_path: Path) -> None:
    path = tmp_path / "c.qasm"
    path.write_text(f"{HEAD} qubit[2] q; rx(theta) q[0]; cp(2*phi) q[0],q[1]; ry(theta/2) q[1];")
    told = run_z(path, "--parameter", "theta=0.3", "--parameter", "phi=1.5")
    assert told == pytest.approx([np.cos(0.3), np.cos(0.15)], abs=1e-10)


def test_inputs_without_an_effect_may_have_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, rows = tmp_path / "c.qasm", tmp_path / "rows.json"
    path.write_text(f"{HEAD} qubit[1] q; rx(theta) q[0];")
    assert run_z(path, "--parameter", "theta=0.3") == pytest.approx([np.cos(0.3)])
    assert run_z(path, "--parameter", "theta=0.3", "--parameter", "phi=1") == pytest.approx(
        [np.cos(0.3)]
    )
    rows.write_text('[{"theta": 0.3, "phi": 1}, {"theta": 0.4, "phi": 2}]')
    expected = np.cos([[0.3], [0.4]])
    np.testing.assert_allclose(run_z(path, "--parameters", str(rows)), expected, atol=1e-10)
    rows.write_text('[{"theta": 0.3}, {"theta": 0.4}]')
    for more in ((), ("--parameter", "phi=3")):
        values = run_z(path, "--parameters", str(rows), *more)
        np.testing.assert_allclose(values, expected, atol=1e-10)
    rows.write_text('[{"phi": 0.3}]')
    line = refusal(capsys, "run", str(path), "--parameters", str(rows))
    assert "row 0 has no value for 'theta'" in line


def run_z(path: Path, *words: str) -> list[float]:
    done = hpcq_here("run", path, *words, "--json")
    assert done.returncode == 0, done.stderr
    values: list[float] = json.loads(done.stdout)["expectation_values"]
    return values


def test_shots_take_one_assignment(circuit: str) -> None:
    told = run(circuit, *flags(FIXED), "--cut-labels", "AABB", "--shots", "200000")
    (value,), (error,) = told["expectation_values"], told["standard_errors"]
    assert error > 0
    assert abs(value - expected(FIXED)) < 6 * error


def test_a_plan_needs_no_values_and_names_the_parameters(
    circuit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", circuit, "--cut-labels", "AABB"]) == 0
    assert "free parameters    5: 'phi', 'theta[0]'" in capsys.readouterr().out
    assert main(["plan", circuit, "--parameter", "phi=0.3", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["parameters"] == [f"theta[{number}]" for number in range(4)]
    assert "no free parameter 'thet', expected 'theta[" in refusal(
        capsys, "plan", circuit, "--parameter", "thet=0.3"
    )


@pytest.mark.parametrize("labels", [[], ["--cut-labels", "AABB"]])
def test_what_is_missing_or_wrong_gets_one_line(
    labels: list[str], circuit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(*words: str) -> str:
        return refusal(capsys, "run", circuit, *labels, *words)

    assert "no value for 'phi', 'theta[0]', 'theta[1]', 'theta[2]', 'theta[3]', expected" in line()
    assert "no value for 'theta[0]'" in line("--parameter", "phi=1")
    assert "'phi', expected NAME=VALUE" in line("--parameter", "phi")
    assert "'phi=pi', expected NAME=VALUE with a finite number" in line("--parameter", "phi=pi")
    assert "'phi=nan', expected NAME=VALUE" in line("--parameter", "phi=nan")
    assert "'phi' has two values" in line("--parameter", "phi=1", "--parameter", "phi=2")
    assert "missing.json" in line("--parameters", "missing.json")
    Path("values.json").write_text("[1]")
    assert "values.json: got a number, expected an object" in line("--parameters", "values.json")
    Path("values.json").write_text(json.dumps([FIXED, {"phi": 1}]))
    assert "row 1 has no value for 'theta[0]'" in line("--parameters", "values.json")
    assert "rows of values given with shots" in line("--parameters", "values.json", "--shots", "9")
    Path("values.json").write_text(json.dumps([FIXED]))
    more = ("--parameters", "values.json", *flags(FIXED))
    assert "rows of values for a circuit without free parameters" in line(*more)


def test_a_circuit_without_parameters_takes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "example:lattices", "--parameter", "phi=1"]
    assert "'phi' has a value, but the circuit has no free parameters" in refusal(capsys, *words)
    (tmp_path / "rows.json").write_text('[{"phi": 1}]')
    words = ["run", "example:lattices", "--parameters", str(tmp_path / "rows.json")]
    assert "rows of values for a circuit without free parameters" in refusal(capsys, *words)


def test_many_circuits_share_their_values(circuit: str) -> None:
    other = ansatz()
    other.x(0)
    Path("d.qpy").write_bytes(qpy.dump(other))
    (Path("e.qasm")).write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; h q;')
    Path("values.json").write_text(json.dumps(FIXED))
    done = hpcq_here(
        *("run", circuit, "d.qpy", "e.qasm", "--observable", "ZIIX", "--json"),
        *("--parameters", "values.json", "-o", "out"),
    )
    told = {line["circuit"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert told["c.qpy"]["expectation_values"] == pytest.approx([expected(FIXED)], abs=1e-10)
    assert "e.qasm: parameters: 'theta' has a value" in done.stderr.replace("'phi'", "'theta'")
    assert done.returncode == 1
    assert set(told) == {"c.qpy", "d.qpy"}


def row_values(number: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(number)
    return [
        {"phi": float(rng.uniform(-3, 3)), "theta": rng.uniform(-3, 3, 4).tolist()}
        for _ in range(number)
    ]


def test_rows_are_computed_printed_and_kept(
    circuit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = row_values(3)
    Path("rows.json").write_text(json.dumps(rows))
    words = ("--parameters", "rows.json", "--cut-labels", "AABB", "-o", "out.h5")
    told = run(circuit, *words)
    values = np.array([[expected(row)] for row in rows])
    np.testing.assert_allclose(told["expectation_values"], values, atol=1e-10)
    assert told["standard_errors"] == told["error_bounds"] == [[0.0]] * 3
    assert told["parameters"]["names"] == ["phi", *(f"theta[{n}]" for n in range(4))]
    assert told["parameters"]["values"] == [[row["phi"], *row["theta"]] for row in rows]
    assert main(["show", "out.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["expectation_values"] == told["expectation_values"]
    assert main(["show", "out.h5"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"row 0: phi = {rows[0]['phi']:.6g}, theta[0] = ")
    assert "method      cut" in shown
    Path("rows.json").write_text(json.dumps(rows[:2]))
    line = refusal(capsys, "run", circuit, "--observable", "ZIIX", *words)
    assert "a result of another run (parameters differ)" in line


def test_some_values_are_fixed_and_the_others_in_rows(circuit: str) -> None:
    rows = row_values(2)
    Path("rows.json").write_text(json.dumps([{"theta": row["theta"]} for row in rows]))
    told = run(circuit, "--parameters", "rows.json", "--parameter", "phi=0.7")
    values = [[expected({**row, "phi": 0.7})] for row in rows]
    np.testing.assert_allclose(told["expectation_values"], values, atol=1e-10)
    assert told["parameters"]["names"] == [f"theta[{number}]" for number in range(4)]


def test_many_circuits_share_their_rows(circuit: str) -> None:
    Path("d.qpy").write_bytes(qpy.dump(ansatz()))
    rows = row_values(2)
    Path("rows.json").write_text(json.dumps(rows))
    done = hpcq_here(
        *("run", circuit, "d.qpy", "--observable", "ZIIX", "--parameters", "rows.json"),
        *("-o", "out", "--json"),
    )
    assert done.returncode == 0, done.stderr
    for line in map(json.loads, done.stdout.splitlines()):
        values = [[expected(row)] for row in rows]
        np.testing.assert_allclose(line["expectation_values"], values, atol=1e-10)
    held = hpcq.load("out/d.h5")
    assert held.expectation_values.shape == (2, 1)
    assert held.parameters is not None


def test_python_says_what_is_missing() -> None:
    plan = hpcq.plan(ansatz(), "ZIIX", cut_labels="AABB")
    with pytest.raises(InputError, match="parameter_values: not given for the free parameters"):
        hpcq.run(plan)
    bound = hpcq.plan(ansatz().assign_parameters(by_name(FIXED)), "ZIIX", cut_labels="AABB")
    with pytest.raises(InputError, match="parameter_values: given for a plan without free"):
        hpcq.run(bound, parameter_values=[[1.0]])
    shots = hpcq.plan(ansatz(), "ZIIX", cut_labels="AABB", shots=1000)
    with pytest.raises(InputError, match="given for a plan with shots"):
        hpcq.run(shots, parameter_values=[[1.0] * 5])
