"""Jobs that are stopped, preempted or lose a node go on, to the same answer bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill_and_resume import value_of, write_circuit
from tests.slurm.conftest import OFTEN, Cluster
from tests.support.launch import hpcq

LongRun = tuple[list[str], tuple[str, ...]]
SMALL = ("--nodes=1", "--ntasks-per-node=2")


def starts(output: Path) -> int:
    shown = json.loads(hpcq("show", output, "--json").stdout)
    return len(shown["provenance"]["starts"])


@pytest.fixture(scope="module")
def timed(
    _cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A job with more work than its time limit, which runs beside the other tests.

    None of these may end a node: a job that SLURM launches there in that moment has failed for it.

    SLURM looks at limits twice a minute: of two minutes, a warning 100 s before the end comes
    within the first half.
    """
    folder = tmp_path_factory.mktemp("timed")
    job = _cluster.submit(
        "until-done",
        *(*write_circuit(folder, layers=160), *OFTEN),
        sbatch_options=["--nodes=1", "--ntasks=1", "--time=2", "--signal=B:USR1@100"],
        cwd=folder,
    )
    yield job, folder / "circuit.h5"
    _cluster.cancel(job)


@pytest.mark.usefixtures("timed")
def test_a_canceled_job_stays_away_and_another_goes_on(
    cluster: Cluster, long_run: LongRun, tmp_path: Path
) -> None:
    arguments, expected = long_run
    output = tmp_path / "circuit.h5"
    job = cluster.submit(
        "until-done", *arguments, *OFTEN, sbatch_options=["--ntasks-per-node=1"], cwd=tmp_path
    )
    cluster.until_saved(output, job)
    cluster.cancel(job)
    assert cluster.wait(job) == "CANCELLED"
    assert "SIGTERM was received" in cluster.log(job)
    after = cluster.submit("one-node", *arguments, sbatch_options=SMALL, cwd=tmp_path)
    said = cluster.finish(after)
    assert "going on" in said
    assert value_of(output) == expected
    assert cluster.states(job) == ["CANCELLED"]
    assert cluster.info(job)["Restarts"] == "0"


def test_a_warned_job_saves_and_comes_back(
    cluster: Cluster, long_run: LongRun, tmp_path: Path
) -> None:
    """What --signal=B:USR1@120 sends, only sooner."""
    arguments, expected = long_run
    output = tmp_path / "circuit.h5"
    how = ["--ntasks-per-node=1"]
    job = cluster.submit("until-done", *arguments, *OFTEN, sbatch_options=how, cwd=tmp_path)
    cluster.until_saved(output, job)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    cluster.until(lambda: cluster.info(job)["Restarts"] == "1", job=job)
    said = cluster.finish(job)
    assert "SIGUSR1 was received" in said  # of the first life: the log was not emptied
    assert "going on" in said
    assert value_of(output) == expected


def test_a_job_that_may_not_come_back_ends_with_75(
    cluster: Cluster, long_run: LongRun, tmp_path: Path
) -> None:
    job = cluster.submit("one-node", *long_run[0], *OFTEN, sbatch_options=SMALL, cwd=tmp_path)
    cluster.until_saved(tmp_path / "circuit.h5", job)
    cluster.run("scancel", "--signal=USR1", "--batch", job)
    assert cluster.wait(job) == "FAILED"
    assert cluster.info(job)["ExitCode"] == "75:0"
    assert cluster.info(job)["Restarts"] == "0"


def test_a_preempted_job_goes_on(cluster: Cluster, long_run: LongRun, tmp_path: Path) -> None:
    arguments, expected = long_run
    output = tmp_path / "circuit.h5"
    how = ["--partition=scavenger", "--nodes=1-2", "--cpus-per-task=2"]
    job = cluster.submit("preemptible", *arguments, *OFTEN, sbatch_options=how, cwd=tmp_path)
    cluster.until_saved(output, job)
    urgent = tmp_path / "urgent.sh"
    urgent.write_text("#!/bin/bash\nsleep 1\n")
    other = cluster.submit(urgent, sbatch_options=["--nodelist=c2", "--exclusive"], cwd=tmp_path)
    cluster.finish(other)
    cluster.finish(job)
    assert int(cluster.info(job)["Restarts"]) >= 1
    assert value_of(output) == expected
    assert starts(output) >= 2


def members(node: str) -> list[int]:
    """Processes of a virtual node: those with its host name."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        is_daemon = command[:3] == [b"slurmd", b"-N", node.encode()]
        is_step = command[0].startswith(b"slurmstepd") and _host_of(entry) == node
        if is_daemon or is_step or b"SLURMD_NODENAME=" + node.encode() in variables:
            found.append(int(entry.name))
    return found


def _host_of(entry: Path) -> str:
    """The host name that a process sees."""
    inside = ["nsenter", "--uts", f"--target={entry.name}", "hostname"]
    return subprocess.run(inside, capture_output=True, text=True, check=False).stdout.strip()


def test_a_time_limit_of_slurm_is_outlived(cluster: Cluster, timed: tuple[str, Path]) -> None:
    job, output = timed
    said = cluster.finish(job, seconds=360)
    assert int(cluster.info(job)["Restarts"]) >= 1
    assert "SIGUSR1 was received" in said
    alone = output.with_name("alone.h5")
    how = write_circuit(output.parent, layers=160)
    assert hpcq("run", *how, "-o", alone, ranks=2).returncode == 0
    assert value_of(output) == value_of(alone)


@pytest.mark.parametrize("lost", ["c1", "c2"])
def test_a_job_goes_on_after_a_node_is_lost(
    lost: str, cluster: Cluster, long_run: LongRun, tmp_path: Path
) -> None:
    """The job script and rank 0 are on c1, which may do the rest before SLURM misses c2."""
    arguments, expected = long_run
    output = tmp_path / "circuit.h5"
    how = ["--nodes=1-2", "--cpus-per-task=2"]
    job = cluster.submit("preemptible", *arguments, *OFTEN, sbatch_options=how, cwd=tmp_path)
    cluster.until_saved(output, job)
    assert cluster.info(job)["NumNodes"] == "2"
    try:
        for pid in members(lost):
            os.kill(pid, signal.SIGKILL)
        cluster.finish(job, seconds=120)
    finally:
        cluster.heal()
    assert value_of(output) == expected
    if lost == "c1":
        assert cluster.info(job)["Restarts"] == "1"
        assert starts(output) == 2
