"""Jobs in the background of this machine: the same life as SLURM's."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import HpcqError, InputError
from hpcq.jobs.submissions import submissions_of
from tests.kill_and_resume import write_circuit
from tests.support.launch import hpcq as run_hpcq
from tests.support.launch import hpcq_here, launcher


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(Path(hpcq.__file__).parent.parent))
    yield
    for place in tmp_path.glob(".*.jobs"):
        with suppress(InputError):
            for record in submissions_of(tmp_path / place.name[1 : -len(".jobs")]):
                hpcq.Job(record).cancel()


def submit(*words: str | Path) -> str:
    done = hpcq_here("submit", *words, "--local", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["job"]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_from_the_beginning_to_the_end(
    long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "a $(touch x) b.h5"
    job = submit(*long_job, "-o", output)
    assert hpcq.Job.of(job).status().state == "RUNNING"
    again = hpcq_here("submit", *long_job, "-o", output, "--local")
    assert again.returncode == 2
    assert f"is what job {job} writes" in again.stderr
    wait_for((tmp_path / f".{output.name}.status").exists)
    assert json.loads(hpcq_here("status", job, "--json").stdout)["state"] == "RUNNING"
    assert hpcq_here("cancel", job).returncode == 0
    canceled = hpcq.Job.of(job)
    wait_for(lambda: canceled.status().state != "RUNNING", seconds=10)
    assert str(canceled.status()) == "CANCELED (finished work is saved)"
    assert "run the same command again" in canceled.logs()
    with pytest.raises(HpcqError, match="it has no result"):
        canceled.result(wait=True)
    ranks = ("--ranks-per-node", "2") if launcher() is not None else ()
    resumed = run_hpcq("submit", *long_job, "-o", output, "--local", *ranks)
    assert resumed.returncode == 0, resumed.stderr
    done = hpcq_here("result", output, "--wait", "--json")
    assert json.loads(done.stdout)["expectation_values"] == long_job_values
    assert hpcq.Job.of(output).status().state == "DONE"
    assert len(submissions_of(output)) == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "more", [("--array", "2"), ("--until-done",), ("--gpus-per-node", "1"), ("--container", "x")]
)
def test_what_only_slurm_does_is_refused(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    assert main(["submit", "example:lattices", "-o", output, "--local", *more]) == 2
    assert f"local: given with {more[0]}, expected" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_is_shown(tmp_path: Path) -> None:
    output = tmp_path / "a b.h5"
    words = ("--local", "--dry-run", "--time", "1:30", "--max-qubits", "18")
    done = hpcq_here("submit", "example:lattices", "-o", output, *words)
    assert done.returncode == 0, done.stderr
    command = shlex.split(done.stdout)
    assert command[1:6] == ["-m", "hpcq", "run", "example:lattices", f"--output={output}"]
    assert "--time-limit=90" in command
    assert not output.exists()
    assert not list(tmp_path.glob(".*.jobs"))


@pytest.mark.slow
def test_each_start_has_a_log_of_its_own(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    words = ("example:lattices", "--max-qubits", "18", "-o", output, "--observable", "Z0")
    shots = ("--shots", "100000")
    bad = hpcq.Job.of(submit(*words, *shots, "--backend", "generic:0"))
    with pytest.raises(HpcqError, match="ERROR"):
        bad.result(wait=True, timeout=60)
    good = hpcq.Job.of(submit(*words, *shots))
    good.result(wait=True, timeout=60)
    assert "generic:0" in bad.logs()
    assert "generic:0" not in good.logs()


@pytest.mark.slow
def test_from_python(tmp_path: Path) -> None:
    circuit = QuantumCircuit(4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    asked = [SparsePauliOp.from_list([("ZZII", 0.5), ("IIXX", 2.0)]), "Z0 Z3"]
    output = tmp_path / "out.h5"
    job = hpcq.submit(circuit, asked, output=output, local=True, max_qubits=3, seed=3)
    result = job.result(wait=True, timeout=60)
    assert result.expectation_values == pytest.approx([0.5, 1.0])
    assert result.config["seed"] == 3
    assert job.status().state == "DONE"
    assert job.output == output
    with pytest.raises(InputError, match="qubit 9"):
        hpcq.submit(circuit, "Z9", output=tmp_path / "other.h5", local=True)
    with pytest.raises(InputError, match="--max-quits"):
        hpcq.submit(circuit, "Z0", output=tmp_path / "other.h5", local=True, max_quits=3)
    assert not (tmp_path / ".other.h5.jobs").exists()


@pytest.mark.slow
def test_values_of_parameters_from_python(tmp_path: Path) -> None:
    theta, phi = ParameterVector("theta", 2), Parameter("phi")
    circuit = QuantumCircuit(2)
    circuit.ry(theta[0], 0)
    circuit.ry(theta[1] + phi, 1)
    asked, rows = ["Z0", "Z1"], np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    output = tmp_path / "rows.h5"
    job = hpcq.submit(circuit, asked, output=output, local=True, parameter_values=rows)
    result = job.result(wait=True, timeout=60)
    expected = np.cos([rows[:, 1], rows[:, 0] + rows[:, 2]]).T  # phi, theta[0], theta[1]
    assert result.expectation_values == pytest.approx(expected)
    one = {"theta": [0.1, 0.2], "phi": 0.3}
    how = {"output": tmp_path / "one.h5", "local": True}
    job = hpcq.submit(circuit, asked, parameter_values=one, **how)
    assert job.result(wait=True, timeout=60).expectation_values == pytest.approx(np.cos([0.1, 0.5]))
    for wrong, named in (({"x": 1}, "'x'"), ([[1.0]], r"shape \(1, 1\)"), ([], "shape")):
        with pytest.raises(InputError, match=f"^parameter_values: .*{named}"):
            hpcq.submit(circuit, asked, parameter_values=wrong, **how)
    with pytest.raises(InputError, match="no value for 'phi'"):
        hpcq.submit(circuit, asked, output=tmp_path / "other.h5", local=True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"circuit": None}, "circuit: None"),
        ({"circuit": b"a.qasm"}, "circuit: b'a.qasm'"),
        ({"circuit": "--help"}, "--help: cannot be opened"),
        ({"output": None}, "output: None"),
        ({"output": b"x.h5"}, "output: b'x.h5'"),
        ({"output": "/"}, "output: '/'"),
        ({"output": "a\0b.h5"}, "output: "),
        ({"output": "nowhere/x.h5"}, "output: "),
        ({"output": "y" * 240 + ".h5"}, "output: "),
        ({"nodes": [1, 2]}, r"nodes: \[1, 2\]"),
        ({"help": True}, "help"),
        ({"stop_signal": "KILL"}, "stop_signal: 'KILL'"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, object],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    right = {"circuit": QuantumCircuit(2), "output": "x.h5", "local": True}
    with pytest.raises(InputError, match=named):
        hpcq.submit(**{**right, **arguments})
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_fails_says_why(tmp_path: Path) -> None:
    arguments = write_circuit(tmp_path, layers=2)
    output = tmp_path / "out.h5"
    how = ("--shots", "10000", "--backend", "generic:0")
    job = hpcq.Job.of(submit(*arguments, "-o", output, *how))
    with pytest.raises(HpcqError, match="ERROR"):
        job.result(wait=True, timeout=60)
    assert job.status().state == "ERROR"
    assert "backend" in job.status().reason
    wrong = hpcq_here("submit", *arguments, "-o", output, "--local", "--noise", "nothing.json")
    assert wrong.returncode == 2
    assert "noise" in wrong.stderr


@pytest.mark.slow
def test_a_job_that_was_killed_is_no_success(long_job: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    job = submit(*long_job, "-o", output, "--checkpoint-seconds", "0.2")
    wait_for(output.exists)
    assert json.loads(hpcq_here("status", output, "--json").stdout)["state"] == "RUNNING"
    os.killpg(int(job.removeprefix("local-")), signal.SIGKILL)
    wait_for(lambda: hpcq.Job.of(job).status().state != "RUNNING")
    assert hpcq.Job.of(job).status().state == "STOPPED"


@pytest.mark.parametrize("where", ["77", "local-1", "nothing.h5", "1_3"])
def test_what_nobody_submitted(where: str) -> None:
    done = hpcq_here("result", where)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "job: " in done.stderr


def test_without_slurm_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_circuit(tmp_path, layers=2)
    monkeypatch.setattr("hpcq.jobs.slurm_backend.subprocess.run", _not_there)
    assert main(["submit", *arguments, "-o", str(tmp_path / "o.h5")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a login node of a SLURM cluster, or --local" in line


def _not_there(command: list[str], **_: object) -> None:
    raise FileNotFoundError(command[0])


@pytest.mark.parametrize("content", ["", "{}", '{"format": "x", "jobs": []}', "[1]", "\0"])
def test_a_damaged_record(content: str, tmp_path: Path) -> None:
    (tmp_path / ".out.h5.jobs").write_text(content)
    done = hpcq_here("status", tmp_path / "out.h5")
    assert done.returncode == 2
    assert ("not a record" if content else "is empty") in done.stderr
