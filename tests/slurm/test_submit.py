"""hpcq submit, status, logs, cancel and result on a real SLURM."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpcq
from tests.kill_and_resume import value_of
from tests.slurm.conftest import Cluster

LongRun = tuple[list[str], tuple[str, ...]]
Hpcq = Callable[..., Any]
OFTEN = ("--checkpoint-seconds", "0.5")


@pytest.fixture
def command(cluster: Cluster, tmp_path: Path) -> Hpcq:
    """Runs hpcq in the test's folder, and returns what it printed."""

    def run(*words: str | Path, code: int = 0) -> Any:
        done = cluster.run(
            *(sys.executable, "-m", "hpcq", *words),
            cwd=tmp_path,
            env={"XDG_STATE_HOME": str(tmp_path / "state")},
        )
        assert done.returncode == code, done.stderr + done.stdout
        if code:
            assert done.stderr.count("\n") == 1, done.stderr
            return done.stderr
        if words[0] == "submit" and "--dry-run" not in words:
            cluster.jobs.append(json.loads(done.stdout)["job"])
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return run


def submit(command: Hpcq, *words: str | Path) -> str:
    return command("submit", *words, "--json")["job"]


def until(cluster: Cluster, command: Hpcq, job: str, *states: str, seconds: float = 90) -> dict:
    seen: dict[str, Any] = {}

    def there() -> bool:
        seen.update(command("status", job, "--json"))
        return seen["state"] in states

    cluster.until(there, seconds=seconds, job=job)
    return seen


def test_from_the_queue_to_the_result(
    cluster: Cluster, command: Hpcq, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "a $(touch x) 'b' %j; `touch y`.h5"
    words = (*arguments, "-o", output, "--nodes", "2", "--ranks-per-node", "1", "--time", "10")
    assert "#SBATCH --nodes=2\n" in command("submit", *words, "--dry-run")
    job = submit(command, *words)
    assert "is what job" in command("submit", *words, code=2)
    until(cluster, command, job, "RUNNING", "DONE")
    assert until(cluster, command, job, "DONE")["job"] == job
    assert value_of(output) == expected
    shown = command("result", output, "--wait", "--json")
    assert shown["expectation_values"] == hpcq.load(output).expectation_values.tolist()
    assert "wrote" in command("logs", job)
    names = {own.name for own in tmp_path.iterdir()}
    assert not names & {"x", "y"}
    assert json.loads(json.dumps(shown))["status"] == "complete"


def test_until_done_and_canceled(
    cluster: Cluster, command: Hpcq, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    words = (*arguments, "-o", output, "--ranks-per-node", "1", "--time", "10", *OFTEN)
    job = submit(command, *words, "--until-done")
    cluster.until(output.exists, job=job)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    stopped = until(cluster, command, job, "STOPPED")
    assert "goes on by itself" in stopped["reason"]
    until(cluster, command, job, "RUNNING")
    command("cancel", job)
    assert "what is done is saved" in until(cluster, command, job, "CANCELED")["reason"]
    with pytest.raises(AssertionError):
        command("result", output)
    again = submit(command, *arguments, "-o", output, "--nodes", "1-2", "--time", "10")
    until(cluster, command, again, "DONE")
    assert value_of(output) == expected
    assert cluster.states(job) == ["CANCELLED"]


def test_jobs_that_share_a_result(
    cluster: Cluster, command: Hpcq, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    words = (*arguments, "-o", output, "--ranks-per-node", "1", "--time", "10", *OFTEN)
    job = submit(command, *words, "--array", "4", "--claim-seconds", "4")
    parts = tmp_path / "out.h5.parts"
    cluster.until(lambda: len(list(parts.glob("part.*"))) > 3, job=job)
    cluster.run("scancel", "--signal=KILL", f"{job}_1")
    until(cluster, command, job, "DONE")
    assert value_of(output) == expected
    done = [own["tasks"] or 0 for own in hpcq.load(output).provenance["members"]]
    assert len(done) >= 3
    assert 272 <= sum(done) < 300, "none twice, but what the killed one had not written"


def test_what_waits_and_what_is_refused(
    cluster: Cluster, command: Hpcq, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, _ = long_run
    words = (*arguments, "-o", tmp_path / "out.h5", "--ranks-per-node", "1", "--time", "10")
    refused = {
        ("--nodes", "30"): "cannot begin",
        ("--slurm-partition", "nowhere"): "cannot begin",
        ("--gpus-per-node", "30"): "cannot begin",
        ("--account", "a b"): "account: 'a b'",
        ("--observable", "Z999"): "qubit 999",
        ("--time", "1h"): "time: '1h'",
    }
    for more, said in refused.items():
        assert said in command("submit", *words, *more, code=2)
    assert not list(tmp_path.glob(".out.h5.*"))
    job = submit(command, *words, "--sbatch=--begin=now+1hour")
    assert "BeginTime" in until(cluster, command, job, "QUEUED")["reason"]
    command("cancel", job)
    until(cluster, command, job, "CANCELED")
    late = tmp_path / "late.qasm"
    late.write_text(Path(arguments[0]).read_text())
    held = submit(command, late, *arguments[1:], "--time", "10", "--sbatch=--hold")
    late.unlink()
    cluster.run("scontrol", "release", held)
    assert "cannot be opened" in until(cluster, command, held, "ERROR")["reason"]
