"""Claims, and who is taken to be alive; a folder is driven by several jobs of one process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.tasks import TaskResults
from hpcq.runs.shared.blocks import _BLOCK_SECONDS, _MAX_BLOCKS, _MIN_BLOCKS, block_starts
from hpcq.runs.shared.folder import SharedFolder
from hpcq.runs.shared.result_files import read_part, write_part
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that folders go by."""
    clock = Clock()
    monkeypatch.setattr("hpcq.runs.shared.folder.time", clock)
    return clock


def test_what_is_claimed_once_is_taken(clock: Clock, tmp_path: Path) -> None:
    one, two = SharedFolder(tmp_path), SharedFolder(tmp_path)
    assert one.claim_or_take_over("task 7")
    assert not two.claim_or_take_over("task 7")
    assert two.is_held("task 7", 0)
    one.leave()
    clock.turn(1.1)
    assert not two.is_held("task 7", 0)
    assert two.claim_or_take_over("task 7")
    assert two.claims("task") == {"task 7": 1}


def test_of_many_jobs_one_has_the_claim(tmp_path: Path) -> None:
    jobs = [SharedFolder(tmp_path) for _ in range(16)]
    gone = SharedFolder(tmp_path)
    for round_ in range(20):
        assert gone.claim(f"left {round_}")
    gone.leave()
    with ThreadPoolExecutor(16) as pool:
        for round_ in range(20):
            for name in ("free", "left"):
                won = list(
                    pool.map(lambda job, n=f"{name} {round_}": job.claim_or_take_over(n), jobs)
                )
                assert sum(won) == 1


def test_silence_voids_claims_and_a_heartbeat_keeps_them(clock: Clock, tmp_path: Path) -> None:
    silent, speaking = SharedFolder(tmp_path), SharedFolder(tmp_path)
    other = SharedFolder(tmp_path, claim_seconds=15.0)
    assert silent.claim("a")
    assert speaking.claim("b")
    assert not other.claim_or_take_over("a")
    assert not other.claim_or_take_over("b")
    for second in range(1, 17):
        clock.turn(1.0)
        speaking.update_member(now=True)
        assert other.is_held("a", 0) == (second < 15)
        assert other.is_held("b", 0)
    assert other.claim_or_take_over("a")
    assert not other.claim_or_take_over("b")


def test_a_claim_without_a_name_is_void_after_a_while(clock: Clock, tmp_path: Path) -> None:
    other = SharedFolder(tmp_path, claim_seconds=0.5)
    (tmp_path / "claim.a.0").touch()
    assert not other.claim_or_take_over("a")
    clock.turn(0.4)
    assert not other.claim_or_take_over("a")
    clock.turn(0.2)
    assert other.claim_or_take_over("a")


@pytest.mark.parametrize("at", [0, 5, 20, 44, 60, 100, -1])
def test_a_damaged_part_is_not_read(at: int, tmp_path: Path) -> None:
    batch = TaskResults(0, np.array([3, 1]), np.array([1, 2]), np.ones(2), np.array([5, 6, 7j]))
    write_part(tmp_path / "part", batch)
    same = read_part(tmp_path / "part")
    assert same is not None
    assert same.data.tolist() == batch.data.tolist()
    assert same.tasks.tolist() == [3, 1]
    content = bytearray((tmp_path / "part").read_bytes())
    content[at] ^= 1
    (tmp_path / "part").write_bytes(content)
    assert read_part(tmp_path / "part") is None
    (tmp_path / "part").write_bytes(content[:at])
    assert read_part(tmp_path / "part") is None


@given(st.lists(st.floats(0, 50), min_size=1, max_size=300), st.integers(0, 9))
def test_blocks_hold_all_tasks_and_a_few_seconds_each(costs: list[float], row: int) -> None:
    """A block is over with the task that reaches its seconds; rows stay together if they fit.

    A row of 0 tasks is no row.
    """
    affinity = np.arange(len(costs)) // row if row else None
    starts = block_starts(np.array(costs), affinity).tolist()
    blocks = [range(*ends) for ends in pairwise((*starts, len(costs)))]
    assert [task for block in blocks for task in block] == list(range(len(costs)))
    assert all(len(block) for block in blocks)
    seconds = np.maximum(costs, 1e-9)
    total = float(seconds.sum())
    each = max(total / _MAX_BLOCKS, min(_BLOCK_SECONDS, total / _MIN_BLOCKS)) * (1 + 1e-9)
    assert len(blocks) <= total / each + 1.001
    for block in blocks:
        assert seconds[block.start : block.stop - 1].sum() <= (2 * each if row else each)
        begin = row and block.start // row * row  # of the row
        if begin < block.start and row:
            assert seconds[begin : block.start].sum() >= each * (1 - 2e-9)


def test_blocks_take_a_few_seconds_and_are_not_too_many() -> None:
    assert not len(block_starts(np.zeros(0), None))
    assert len(block_starts(np.full(10_000, 0.1), None)) == pytest.approx(200, rel=0.05)
    assert len(block_starts(np.full(10**6, 10.0), None)) <= 4097
    assert len(block_starts(np.full(1000, 1e-3), None)) == pytest.approx(64, abs=2)
    row = block_starts(np.ones(36), np.repeat(np.arange(8), np.arange(1, 9)))
    assert set(row.tolist()) - {0, 1, 3, 6, 10, 15, 21, 28}, "rows longer than a block are divided"


def test_what_is_no_file_of_ours_is_nobody(clock: Clock, tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, claim_seconds=0.2)
    os.mkfifo(tmp_path / "member.pipe")
    (tmp_path / "member.folder").mkdir()
    (tmp_path / "member.text").write_bytes(b"\xff\xfe")
    (tmp_path / "claim.a.0").write_bytes(b"\xff\xfe\0")
    os.mkfifo(tmp_path / "claim.b.0")
    assert list(folder.members()) == [folder.name]
    assert folder.claim_or_take_over("a")
    assert not folder.claim_or_take_over("b")
    clock.turn(0.3)
    assert folder.claim_or_take_over("b")
