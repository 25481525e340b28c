from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpcq.core.errors import InputError
from hpcq.core.system import (
    format_bytes,
    is_launched,
    launched_rank,
    launched_size,
    parse_bytes,
    parse_duration,
    slurm_seconds_left,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("512m", 512 << 20), ("1.5GiB", 3 << 29), ("7KB", 7 << 10), ("12345", 12345)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "nan", "inf", "1e400", "4 apples", "0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="memory: "):
        parse_bytes(text)


def test_sizes_are_written() -> None:
    assert format_bytes(0) == "0 B"
    assert format_bytes(1536) == "1.5 KiB"
    assert format_bytes(4 << 50) == "4.0 PiB"
    assert format_bytes(16 << 2000) == "2^2004 B"


def test_launchers_are_told_by_their_variables() -> None:
    assert not is_launched({})
    assert (launched_size({}), launched_rank({})) == (1, 0)
    for environment in (
        {"PMI_SIZE": "4", "PMI_RANK": "3"},
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"},
        {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"},
    ):
        assert is_launched(environment)
        assert (launched_size(environment), launched_rank(environment)) == (4, 3)
    # A batch script is one process, whatever the job asked for.
    assert not is_launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})


@pytest.mark.parametrize(
    "name", ["PMI_RANK", "PALS_RANKID", "MV2_COMM_WORLD_RANK", "FLUX_TASK_RANK"]
)
def test_a_number_of_no_size_is_no_rank(name: str) -> None:
    for more in ({}, {"SLURM_PROCID": "0"}, {"SLURM_STEP_NUM_TASKS": "x"}):
        environment = {name: "1", **more}
        assert is_launched(environment), "MPI knows"
        assert (launched_rank(environment), launched_size(environment)) == (0, 1)
    srun = {name: "5", "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4"}
    assert (launched_rank(srun), launched_size(srun)) == (2, 4), "of the launcher that tells both"


@pytest.mark.parametrize(
    ("environment", "rank_and_size"),
    [
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "1"}, (0, 1)),
        ({"SLURM_STEP_NUM_TASKS": "x", "SLURM_PROCID": "1"}, (0, 1)),
        ({"PMI_SIZE": "2", "PMI_RANK": "2"}, (0, 2)),
        ({"PMI_SIZE": "0", "PMI_RANK": "0"}, (0, 1)),
        ({"PMI_SIZE": "4"}, (0, 4)),
        ({"PMI_SIZE": "1", "OMPI_COMM_WORLD_RANK": "1"}, (0, 1)),
        ({"PMI_SIZE": "-1", "PMI_RANK": "-2"}, (0, 1)),
    ],
)
def test_rank_and_size_are_of_one_launcher(
    environment: dict[str, str], rank_and_size: tuple[int, int]
) -> None:
    assert (launched_rank(environment), launched_size(environment)) == rank_and_size
    assert is_launched(environment)


def test_the_rank_of_pmix_counts_where_its_server_is() -> None:
    assert not is_launched({"PMIX_RANK": "1"})
    assert is_launched({"PMIX_RANK": "1", "PMIX_SERVER_URI2": "prte.0;tcp4://10.0.0.1:999"})
    assert is_launched({"PMIX_RANK": "1", "PMI_SIZE": "2"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("1-00:00:01", 86401),
        ("1-2", 93600),
        ("UNLIMITED", None),
        ("", None),
        ("-5", None),
        ("0", None),
        ("1:-2", None),
        ("1:2:3:4", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_times_as_slurm_writes_them(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_slurm_is_asked_for_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert slurm_seconds_left({}) is None
    assert slurm_seconds_left({"SLURM_JOB_END_TIME": str(int(time.time()) + 60)}) == pytest.approx(
        60, abs=2
    )
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 1-00:00:10\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) == 86410
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("hpcq.core.system._SQUEUE_SECONDS", 0.5)
    for script, reason in (
        ("exit 1", "exit code 1"),
        ("echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1", "Unable to contact"),
        ("exec sleep 30", "no answer within 0.5 s"),
    ):
        squeue.write_text(f"#!/bin/sh\n{script}\n")
        begun = time.monotonic()
        assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) is None
        assert time.monotonic() - begun < 10
        (line,) = capsys.readouterr().err.splitlines()
        assert "squeue does not say when SLURM job 7 ends" in line
        assert reason in line
        assert "--time-limit" in line
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) is None
    assert capsys.readouterr().err == "", "there is no SLURM here"
