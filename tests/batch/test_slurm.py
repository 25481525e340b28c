"""What SLURM's commands may answer, by stand-ins for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import hpcq
from hpcq.batch import job, slurm
from hpcq.batch.record import Record
from hpcq.batch.request import Request
from hpcq.batch.submit import Order, put_into_the_queue
from hpcq.errors import HpcqError
from tests.doctor.test_launching import executable


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


@pytest.mark.parametrize("said", ["42", "42;cluster", "Welcome to the 7 seas\n42"])
def test_the_number_is_found(said: str, commands: Path) -> None:
    executable(commands / "sbatch", f"echo '{said}'")
    assert slurm.submit("#!/bin/sh") == "42"


@pytest.mark.parametrize("said", ["", "no", "42 jobs", "-1"])
def test_what_is_no_number_is_said(said: str, commands: Path) -> None:
    executable(commands / "sbatch", f"echo '{said}'")
    with pytest.raises(slurm.SlurmError, match=r"sbatch said '.*', expected the number"):
        slurm.submit("#!/bin/sh")


def test_nodes_are_read_between_other_lines(commands: Path) -> None:
    lines = "Welcome\nmain*|8+|16000|1-00:00:00|2\nmain*|4|32000+|1-00:00:00|1\nbig|64|1|infinite|1"
    executable(commands / "sinfo", f"echo '{lines}'")
    assert slurm.nodes_of(None) == slurm.Node("main", 4, 16000 << 20, 86400.0, 3)
    executable(commands / "sinfo", "echo nothing")
    assert slurm.nodes_of(None) is None


def test_a_forgotten_job_is_looked_up(commands: Path) -> None:
    executable(commands / "scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    executable(commands / "sacct", "echo greeting; echo '7_0|CANCELLED by 0|0:15'")
    (task,) = slurm.tasks_of("7")
    assert (task.name, task.state, task.code) == ("7_0", "CANCELLED", 143)


def test_who_waits_for_a_result_outlasts_a_silence(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(
        commands / "scontrol",
        f"cd {tmp_path}; echo >> asked; n=$(wc -l < asked); state=RUNNING; "
        '[ "$n" -lt 5 ] || state=CANCELLED; if [ "$n" = 2 ] || [ "$n" = 3 ]; then '
        "echo 'Unable to contact slurm controller' >&2; exit 1; fi; "
        'echo "JobId=7 JobState=$state ExitCode=0:0"',
    )
    monkeypatch.setattr(job, "_FIRST_POLL", 0.01)
    own = hpcq.Job(Record("7", str(tmp_path / "out.h5"), str(tmp_path / "%j.log"), ()))
    with pytest.raises(HpcqError, match="CANCELED"):
        own.result(wait=True)
    assert len((tmp_path / "asked").read_text()) == 5
    (tmp_path / "asked").unlink()
    monkeypatch.setattr(job, "_PATIENCE", 0.0)
    with pytest.raises(slurm.SlurmError, match="Unable to contact"):
        own.result(wait=True)


def test_a_job_without_a_record_is_named(commands: Path, tmp_path: Path) -> None:
    executable(commands / "sbatch", "echo 42")
    nowhere = tmp_path / "gone" / "out.h5"
    order = Order("c.qasm", nowhere, (), Request(), "#!/bin/sh", "%j.log", ())
    with pytest.raises(HpcqError, match="job 42 is in the queue, but"):
        put_into_the_queue(order)
