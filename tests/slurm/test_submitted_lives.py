"""Submitted jobs that stop by themselves, lose a node, wait, fail or are shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

import hpcq
from tests.kill_and_resume import value_of, write_circuit
from tests.slurm.conftest import OFTEN, Cluster, Commands, done_tasks
from tests.slurm.test_stops import members
from tests.support.launch import hpcq as run_hpcq

Run = tuple[list[str], tuple[str, ...]]
SMALL = ("--nodes", "1", "--ranks-per-node", "1", "--time", "10")
TASKS = 272
"""Tasks of the circuit that ``write_circuit`` writes by default."""


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Arguments of a run that takes a few seconds of one core, and its values, bit for bit."""
    folder = tmp_path_factory.mktemp("short")
    arguments = write_circuit(folder, layers=16)
    output = folder / "plain.h5"
    done = run_hpcq("run", *arguments, "-o", output, HPCQ_SITE="none")
    assert done.returncode == 0, done.stderr
    return arguments, value_of(output)


def starts(output: Path) -> list[dict]:
    return json.loads(run_hpcq("show", output, "--json").stdout)["provenance"]["starts"]


def test_the_script_is_sound_and_submitting_is_quick(
    command: Commands, short_run: Run, tmp_path: Path
) -> None:
    arguments, expected = short_run
    words = (*arguments, "-o", tmp_path / "out.h5", *SMALL)
    gpus = ("--gpus-per-node", "1", "--device", "cpu")  # Aer may be built without them here
    for more in ((), ("--until-done",), ("--array", "4"), gpus):
        script = tmp_path / "script"
        script.write_text(command("submit", *words, *more, "--dry-run"))
        for checker in ("bash -n", "shellcheck"):
            said = subprocess.run([*checker.split(), script], capture_output=True, text=True)
            assert said.returncode == 0, said.stdout + said.stderr
    begun = time.monotonic()
    job = command.submit(*words)
    seconds = time.monotonic() - begun
    print(f"submit returned after {seconds:.2f} s")
    assert seconds < 10
    seen = [command.until(job, "QUEUED", "RUNNING", "DONE")["state"]]
    seen.append(command.until(job, "DONE")["state"])
    assert seen[0] != "STOPPED"
    assert value_of(tmp_path / "out.h5") == expected


def test_a_time_limit_of_a_run_puts_the_job_back_until_it_is_done(
    cluster: Cluster, command: Commands, long_run: Run, tmp_path: Path
) -> None:
    """Every start stops by itself, and the next one goes on where it was."""
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    job = command.submit(
        *arguments, "-o", output, *SMALL, *OFTEN, "--time-limit", "10", "--until-done"
    )
    seen: dict[str, str] = {}
    end = time.monotonic() + 240
    while (stands := command("status", job, "--json"))["state"] != "DONE":
        assert time.monotonic() < end, f"{stands}\n{cluster.log(job)}"
        assert stands["state"] in ("QUEUED", "RUNNING", "STOPPED"), cluster.log(job)
        seen[stands["state"]] = stands["reason"]
    assert "resumes by itself" in seen["STOPPED"]
    assert value_of(output) == expected
    busy = [start["busy_seconds"] for start in starts(output)]
    assert len(busy) >= 2
    assert all(seconds > 0 for seconds in busy), busy
    assert int(cluster.info(job)["Restarts"]) == len(busy) - 1


def test_an_array_does_each_task_once(
    cluster: Cluster, command: Commands, short_run: Run, tmp_path: Path
) -> None:
    arguments, expected = short_run
    output = tmp_path / "out.h5"
    job = command.submit(*arguments, "-o", output, *SMALL, "--array", "4")
    command.until(job, "DONE")
    assert value_of(output) == expected
    cluster.wait(job)
    done = [member["tasks"] or 0 for member in hpcq.load(output).provenance["members"]]
    assert sum(done) == TASKS, done
    assert set(cluster.states(job)) == {"COMPLETED"}
    assert not output.with_name("out.h5.parts").exists()


@pytest.mark.parametrize("lost", ["c1", "c2"])
def test_a_submitted_job_outlives_a_node(
    lost: str, cluster: Cluster, command: Commands, long_run: Run, tmp_path: Path
) -> None:
    """The script and rank 0 are on c1; an administrator says that the node is down.

    The job goes on at once, on the one node that is left.
    """
    arguments, expected = long_run
    output = tmp_path / "out.h5"
    job = command.submit(
        *(*arguments, "-o", output, "--nodes", "1-2", "--ranks-per-node", "2", "--time", "10"),
        *(*OFTEN, "--until-done"),
    )
    cluster.until_saved(output, job)
    assert cluster.info(job)["NumNodes"] == "2"
    try:
        for pid in members(lost):
            os.kill(pid, signal.SIGKILL)
        cluster.run("scontrol", "update", f"nodename={lost}", "state=down", "reason=lost")
        cluster.until(lambda: cluster.info(job)["Restarts"] != "0", seconds=45, job=job)
        command.until(job, "DONE")
    finally:
        cluster.heal()
    assert value_of(output) == expected
    assert len(starts(output)) == 2
    assert hpcq.load(output).provenance["ranks"] == 2


def test_a_job_waits_for_what_others_hold(
    cluster: Cluster, command: Commands, short_run: Run, tmp_path: Path
) -> None:
    holder = tmp_path / "holder.sh"
    holder.write_text("#!/bin/bash\nsleep 60\n")
    held = cluster.submit(holder, sbatch_options=["--nodelist=c1", "--exclusive"], cwd=tmp_path)
    cluster.wait(held, "RUNNING")
    words = (*short_run[0], "-o", tmp_path / "out.h5", "--ranks-per-node", "1", "--time", "10")
    job = command.submit(*words, "--nodes", "2")
    cluster.until(lambda: cluster.info(job)["Reason"] == "Resources", job=job)
    assert command("status", job, "--json")["state"] == "QUEUED"
    assert "QUEUED (Resources)" in command("status", job)
    cluster.cancel(held)
    command.until(job, "DONE")


def test_another_circuit_in_its_place_is_an_error(
    cluster: Cluster, command: Commands, long_run: Run, tmp_path: Path
) -> None:
    arguments, _ = long_run
    circuit, output = tmp_path / "circuit.qasm", tmp_path / "out.h5"
    circuit.write_text(Path(arguments[0]).read_text())
    words = (circuit, *arguments[1:], "-o", output, *SMALL, *OFTEN)
    job = command.submit(*words, "--until-done")
    cluster.until_saved(output, job)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    command.until(job, "STOPPED")
    circuit.write_text(circuit.read_text().replace("rzz(0.7)", "rzz(0.6)"))
    stands = command.until(job, "ERROR", "DONE")
    assert stands["state"] == "ERROR"
    assert "circuit" in stands["reason"], stands
    assert done_tasks(output) > 0, "what was done is still there"


def test_an_observables_file_that_is_gone_is_an_error(
    cluster: Cluster, command: Commands, short_run: Run, tmp_path: Path
) -> None:
    observables = tmp_path / "energy.json"
    observables.write_text(json.dumps([{"name": "energy", "terms": [["Z0 Z27", 1.0]]}]))
    circuit, *rest = short_run[0]
    plain = [rest[i] for i in range(len(rest)) if "--observable" not in (rest[i], rest[i - 1])]
    words = (circuit, *plain, "--observables", observables, "-o", tmp_path / "out.h5", *SMALL)
    job = command.submit(*words, "--sbatch=--hold")
    assert command("status", job, "--json")["state"] == "QUEUED"
    observables.unlink()
    cluster.run("scontrol", "release", job)
    reason = command.until(job, "ERROR")["reason"]
    assert "energy.json" in reason
    assert "exit code 2" in reason
