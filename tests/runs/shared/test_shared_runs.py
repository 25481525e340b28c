"""Several jobs that share one output: each task is computed once, the same answer bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.runs.shared.output import SharedOutput
from hpcq.runs.status import read_members, read_run_status
from tests.kill_and_resume import write_circuit
from tests.support.launch import environment, hpcq_here, launcher


def start(*arguments: str | Path, ranks: int = 1, workers: str = "") -> subprocess.Popen[str]:
    prefix = [] if ranks == 1 else [str(launcher()), "-n", str(ranks)]
    command = [*prefix, sys.executable, "-m", "hpcq", "run", *map(str, arguments), "--shared"]
    return subprocess.Popen(
        [*command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(HPCQ_WORKERS=workers),
    )


def wait_for(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def ended(running: subprocess.Popen[str]) -> dict:
    stdout, stderr = running.communicate(timeout=90)
    assert running.returncode == 0, stderr
    return json.loads(stdout)


def tasks_done(output: Path, key: str = "tasks") -> int:
    return sum(member[key] or 0 for member in hpcq.load(output).provenance["members"])


@pytest.mark.slow
def test_four_jobs_do_each_task_once(
    long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    first = start(*long_job, "-o", output)
    wait_for((tmp_path / "out.h5.parts").exists)
    others = [start(*long_job, "-o", output) for _ in range(3)]
    results = [ended(running) for running in (first, *others)]
    assert all(result["expectation_values"] == long_job_values for result in results)
    assert hpcq.load(output).expectation_values.tolist() == long_job_values
    assert tasks_done(output) == 72
    assert tasks_done(output, "again") == 0
    assert [file.name for file in tmp_path.iterdir()] == ["out.h5"]
    again = hpcq_here("run", *long_job, "-o", output, "--shared")
    assert again.returncode == 0
    assert "already complete" in again.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.slow
def test_tasks_of_a_killed_job_are_computed_by_others(
    long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    arguments = (*long_job, "-o", output, "--claim-seconds", "2", "--checkpoint-seconds", "0.2")
    killed, other = start(*arguments), start(*arguments)
    wait_for(lambda: any((tmp_path / "out.h5.parts").glob("part.*")))
    killed.kill()
    killed.wait()
    assert ended(other)["expectation_values"] == long_job_values
    assert 72 <= tasks_done(output) < 100, "what the dead one had claimed is done again"


@pytest.mark.mpi
def test_all_stop_and_others_go_on(
    long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    words = (*long_job, "-o", output)
    both = [start(*words, workers="process") for _ in range(2)]  # see test_resume.py
    folder = tmp_path / "out.h5.parts"
    wait_for(lambda: [member["done"] > 0 for member in read_members(folder)] == [True, True])
    assert read_run_status(output)["state"] == "RUNNING"
    for running in both:
        running.terminate()
    for running in both:
        _, stderr = running.communicate(timeout=20)
        assert running.returncode == 75, stderr
    status = read_run_status(output)
    assert status["state"] == "STOPPED"
    assert len(status["members"]) == 2
    alone = hpcq_here("run", *long_job, "-o", output)
    assert alone.returncode == 2
    assert "expected --shared" in alone.stderr
    other = hpcq_here("run", *long_job, "-o", output, "--shared", "--dtype", "complex64")
    assert other.returncode == 2
    assert "precision" in other.stderr
    assert ended(start(*words, ranks=2))["expectation_values"] == long_job_values
    assert tasks_done(output) == 72, "nobody was killed, so nothing is done twice"
    assert read_run_status(output)["state"] == "DONE"


@pytest.mark.nightly
def test_shots_are_shared_too(tmp_path: Path) -> None:
    asked = ("example:lattices", "--max-qubits", "18", "--memory", "1G", "--threads", "1")
    shots = (*asked, "--shots", "200000")
    alone, shared = tmp_path / "alone.h5", tmp_path / "shared.h5"
    assert hpcq_here("run", *shots, "-o", alone).returncode == 0
    wanted = hpcq.load(alone)
    jobs = [start(*shots, "-o", shared) for _ in range(2)]
    wait_for((tmp_path / "shared.h5.parts" / "run").exists)
    more = hpcq_here("run", *asked, "--shots", "300000", "-o", shared, "--shared")
    assert more.returncode == 2
    assert "shots" in more.stderr
    results = [ended(running) for running in jobs]
    assert all(
        result["expectation_values"] == wanted.expectation_values.tolist() for result in results
    )
    assert hpcq.load(shared).standard_errors.tolist() == wanted.standard_errors.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("shots", [(), ("--shots", "1000")])
def test_what_others_finish_before_this_job_begins_is_its_result(
    shots: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    arguments = ["run", *write_circuit(tmp_path, layers=2, qubits=3), *shots, "--shared", "--json"]
    arguments += ["-o", str(tmp_path / "out.h5")]
    agree_on_run = SharedOutput.agree_on_run

    def too_late(self: SharedOutput, *agreed: object) -> None:
        monkeypatch.setattr(SharedOutput, "agree_on_run", agree_on_run)
        assert main(arguments) == 0
        agree_on_run(self, *agreed)  # type: ignore[arg-type]

    monkeypatch.setattr(SharedOutput, "agree_on_run", too_late)
    assert main(arguments) == 0
    printed = capsys.readouterr()
    first, second = (json.loads(line) for line in printed.out.splitlines())
    assert first["expectation_values"] == second["expectation_values"]
    assert "already complete" in printed.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["circuit.qasm", "out.h5"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", [("--dtype", "complex64"), ("--observable", "X1"), ("--device", "gpu")]
)
def test_a_refused_run_leaves_nothing(
    wrong: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Or the right command would be refused afterwards."""
    output = tmp_path / "out.h5"
    asked = ["run", "example:lattices", "--max-qubits", "18", "-o", str(output)]
    assert main([*asked, "--observable", "Z0"]) == 0
    if "gpu" in wrong:
        output.unlink()
    assert main([*asked, "--observable", "Z0", "--shared", *wrong]) == 2
    assert not (tmp_path / "out.h5.parts").exists()
    assert main([*asked, "--observable", "Z0"]) == 0
    assert main([*asked, "--observable", "Z0", "--shared"]) == 0
    capsys.readouterr()


def test_without_an_output_it_is_refused(long_job: list[str]) -> None:
    done = hpcq_here("run", *long_job, "--shared")
    assert done.returncode == 2
    assert "shared: given without an output" in done.stderr
