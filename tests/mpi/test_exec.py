"""Scripts that run on rank 0 of several; tests/loop has those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.launch import hpcq, is_open_mpi

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("exec_script.py")


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.nightly), 3])
def test_all_calls_use_all_ranks_and_stop_where_nothing_is_lost(ranks: int, tmp_path: Path) -> None:
    done = hpcq("exec", SCRIPT, "check", str(ranks), tmp_path / "out.h5", ranks=ranks)
    assert done.stderr == ""
    assert done.returncode == 5


def test_other_ranks_sleep_and_an_error_ends_all() -> None:
    done = hpcq("exec", SCRIPT, "idle", "5", ranks=3)
    assert done.returncode == 0, done.stderr
    seconds = list(map(float, done.stdout.split()))
    assert len(seconds) == 2
    assert max(seconds) < 0.5
    done = hpcq("exec", SCRIPT, "raise", ranks=3, seconds=60)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "ValueError: boom" in done.stderr
    assert "loop/script.py" not in done.stderr


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("how", "code"), [("leave 0", 0), ("leave 4", 4), ("die", 9), ("stopped", 75)]
)
def test_no_end_of_a_script_leaves_the_other_ranks_waiting(how: str, code: int) -> None:
    done = hpcq("exec", SCRIPT, *how.split(), ranks=3, seconds=60)
    assert done.returncode == (137 if how == "die" and is_open_mpi() else code)
    if code == 75:
        assert "hpcq: error: stopped, because SIGUSR1 was received\n" in done.stderr


@pytest.mark.nightly
def test_a_missing_script_is_one_line(tmp_path: Path) -> None:
    done = hpcq("exec", tmp_path / "missing.py", ranks=3, seconds=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
