from __future__ import annotations

import pytest

from hpcq.errors import InputError
from hpcq.machine import format_bytes, launched, launched_rank, launched_size, parse_bytes


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
