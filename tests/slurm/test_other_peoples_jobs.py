"""What a job's owner writes into its texts says nothing of the job, on a real SLURM."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hpcq.core.errors import InputError
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.job import Job
from hpcq.jobs.submissions import Submission, save_submission
from tests.slurm.conftest import Cluster

LIE = "x UserId=bob(1000) JobName=out JobState=COMPLETED ExitCode=3:0"


@pytest.mark.parametrize("name", ["my job", f"out\n   {LIE}"])
def test_texts_of_a_job_are_not_what_it_is(
    name: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / LIE
    folder.mkdir()
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nsleep 300\n")
    options = (f"--job-name={name}", f"--comment={LIE}", "--output=/dev/null", "--array=0-1")
    job = cluster.submit(script, sbatch_options=options, cwd=folder)
    for variable, value in cluster.environment(SQUEUE_USERS="nobody").items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cluster.until(lambda: all(task.is_running for task in slurm.tasks_of(job)))
    found = slurm.tasks_of(job)
    assert {task.name for task in found} == {f"{job}_0", f"{job}_1"}
    assert {(task.state, task.uid, task.code) for task in found} == {
        ("RUNNING", os.geteuid(), None)
    }
    record = Submission(job, str(tmp_path / "out.h5"), str(tmp_path / "%j.log"), (), name="out.h5")
    save_submission(record)
    with pytest.raises(InputError, match="nothing is canceled"):
        Job(record).cancel()
    Job(replace(record, name=name)).cancel()
    cluster.until(lambda: all(task.state == "CANCELLED" for task in slurm.tasks_of(job)))
