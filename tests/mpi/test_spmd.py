"""Scripts that are started on every rank, where the calls of one differ from the others'."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.launch import run

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("spmd_script.py")


def test_differing_calls_are_refused_on_all_ranks_and_the_next_one_works() -> None:
    done = run(sys.executable, SCRIPT, "differ", ranks=3)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    expected = [
        *("run with other circuit", "run with other observables", "run with other seed"),
        *("run with other circuit", "run with other parameter_values", "minimize with other x0"),
    ]
    for line, how in zip(told, expected, strict=False):
        assert f"ranks: rank 2 calls hpcq.{how} than rank 0, expected" in line
    assert "ranks: rank 2 calls hpcq.Session, and rank 0 hpcq.run, expected" in told[-1]
    assert len(told) == len(expected) + 1
    assert done.stdout.count("is done") == 3


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.nightly), 1])
@pytest.mark.parametrize("when", ["leave", pytest.param("leave_early", marks=pytest.mark.nightly)])
def test_a_rank_that_leaves_ends_the_job_with_its_reason(when: str, rank: int) -> None:
    done = run(sys.executable, SCRIPT, when, rank, ranks=3, seconds=60)
    assert done.returncode == 1
    assert "ValueError: a reason of its own" in done.stderr
    assert f"ranks: rank {rank}" in done.stderr
    assert "ended without the" in done.stderr
    assert "is done" not in done.stdout
