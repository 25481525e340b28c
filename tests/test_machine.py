from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpcq.errors import InputError
from hpcq.machine import (
    format_bytes,
    launched,
    launched_rank,
    launched_size,
    parse_bytes,
    read_duration,
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
    assert not launched({})
    assert (launched_size({}), launched_rank({})) == (1, 0)
    for environment in (
        {"PMI_SIZE": "4", "PMI_RANK": "3"},
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"},
        {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"},
    ):
        assert launched(environment)
        assert (launched_size(environment), launched_rank(environment)) == (4, 3)
    # A batch script is one process, whatever the job asked for.
    assert not launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})


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
    assert read_duration(text) == seconds


def test_slurm_is_asked_for_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm_seconds_left({}) is None
    assert slurm_seconds_left({"SLURM_JOB_END_TIME": str(int(time.time()) + 60)}) == pytest.approx(
        60, abs=2
    )
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho 1-00:00:10\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) == 86410
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert slurm_seconds_left({"SLURM_JOB_ID": "7"}) is None
