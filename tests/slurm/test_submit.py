"""hpcq submit, status, logs, cancel and result on a real SLURM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hpcq
from tests.kill_and_resume import value_of
from tests.slurm.conftest import OFTEN, Cluster, Commands

LongRun = tuple[list[str], tuple[str, ...]]


def test_from_the_queue_to_the_result(command: Commands, long_run: LongRun, tmp_path: Path) -> None:
    arguments, expected = long_run
    output = tmp_path / "a $(touch x) 'b' %j; `touch y`.h5"
    words = (*arguments, "-o", output, "--nodes", "2", "--ranks-per-node", "1", "--time", "10")
    assert "#SBATCH --nodes=2\n" in command("submit", *words, "--dry-run")
    job = command.submit(*words)
    assert "is what job" in command("submit", *words, code=2)
    command.until(job, "RUNNING", "DONE")
    assert command.until(job, "DONE")["job"] == job
    assert value_of(output) == expected
    shown = command("result", output, "--wait", "--json")
    assert shown["expectation_values"] == hpcq.load(output).expectation_values.tolist()
    assert "wrote" in command("logs", job)
    names = {path.name for path in tmp_path.iterdir()}
    assert not names & {"x", "y"}
    assert json.loads(json.dumps(shown))["status"] == "complete"


def test_until_done_and_canceled(
    cluster: Cluster, command: Commands, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    words = (*arguments, "-o", output, "--ranks-per-node", "1", "--time", "10", *OFTEN)
    job = command.submit(*words, "--until-done")
    cluster.until_saved(output, job)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    stopped = command.until(job, "STOPPED")
    assert "resumes by itself" in stopped["reason"]
    command.until(job, "RUNNING")
    command("cancel", job)
    assert "finished work is saved" in command.until(job, "CANCELED")["reason"]
    with pytest.raises(AssertionError):
        command("result", output)
    again = command.submit(*arguments, "-o", output, "--nodes", "1-2", "--time", "10")
    command.until(again, "DONE")
    assert value_of(output) == expected
    assert cluster.states(job) == ["CANCELLED"]


def test_jobs_that_share_a_result(
    cluster: Cluster, command: Commands, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    words = (*arguments, "-o", output, "--ranks-per-node", "1", "--time", "10")
    often = ("--checkpoint-seconds", "0.5", "--claim-seconds", "4")
    job = command.submit(*words, *often, "--array", "4")
    parts = tmp_path / "out.h5.parts"
    cluster.until(lambda: len(list(parts.glob("part.*"))) > 3, job=job)
    cluster.run("scancel", "--signal=KILL", f"{job}_1")
    command.until(job, "DONE")
    assert value_of(output) == expected
    done = [member["tasks"] or 0 for member in hpcq.load(output).provenance["members"]]
    assert len(done) >= 3
    assert 272 <= sum(done) < 300, "none twice, but what the killed one had not written"


def test_what_waits_and_what_is_refused(
    cluster: Cluster, command: Commands, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, _ = long_run
    words = (*arguments, "-o", tmp_path / "out.h5", "--ranks-per-node", "1", "--time", "10")
    refused = {
        ("--nodes", "30"): "cannot begin",
        ("--slurm-partition", "nowhere"): "cannot begin",
        ("--gpus-per-node", "30", "--device", "cpu"): "cannot begin",
        ("--account", "a b"): "account: 'a b'",
        ("--observable", "Z999"): "qubit 999",
        ("--time", "1h"): "time: '1h'",
    }
    for more, said in refused.items():
        assert said in command("submit", *words, *more, code=2)
    assert not list(tmp_path.glob(".out.h5.*"))
    job = command.submit(*words, "--sbatch=--begin=now+1hour")
    assert "BeginTime" in command.until(job, "QUEUED")["reason"]
    command("cancel", job)
    command.until(job, "CANCELED")
    late = tmp_path / "late.qasm"
    late.write_text(Path(arguments[0]).read_text())
    held = command.submit(late, *arguments[1:], "--time", "10", "--sbatch=--hold")
    late.unlink()
    cluster.run("scontrol", "release", held)
    assert "cannot be opened" in command.until(held, "ERROR")["reason"]
