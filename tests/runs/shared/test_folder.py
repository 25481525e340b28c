"""Claims, and who is taken to be alive; a folder is driven by several jobs of one process."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.tasks import TaskResults
from hpcq.runs.shared.blocks import block_starts
from hpcq.runs.shared.folder import SharedFolder
from hpcq.runs.shared.result_files import read_part, write_part


def test_what_is_claimed_once_is_taken(tmp_path: Path) -> None:
    one, two = SharedFolder(tmp_path), SharedFolder(tmp_path)
    assert one.claim_or_take_over("task 7")
    assert not two.claim_or_take_over("task 7")
    assert two.is_held("task 7", 0)
    one.leave()
    assert not two.is_held("task 7", 0) or wait(lambda: not two.is_held("task 7", 0))
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


def test_silence_voids_claims_and_a_sign_of_life_keeps_them(tmp_path: Path) -> None:
    silent, speaking = SharedFolder(tmp_path), SharedFolder(tmp_path)
    other = SharedFolder(tmp_path, claim_seconds=1.5)
    assert silent.claim("a")
    assert speaking.claim("b")
    assert not other.claim_or_take_over("a")
    assert not other.claim_or_take_over("b")
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        speaking.update_member(now=True)
        other.is_held("a", 0)
        other.is_held("b", 0)
        time.sleep(0.1)
    assert other.claim_or_take_over("a")
    assert not other.claim_or_take_over("b")


def test_a_claim_without_a_name_is_void_after_a_while(tmp_path: Path) -> None:
    other = SharedFolder(tmp_path, claim_seconds=0.5)
    (tmp_path / "claim.a.0").touch()
    assert not other.claim_or_take_over("a")
    time.sleep(0.6)
    assert other.claim_or_take_over("a")


def wait(condition: object, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


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


@given(st.lists(st.floats(0, 50), max_size=300), st.integers(0, 9))
def test_blocks_are_all_tasks(costs: list[float], rows: int) -> None:
    affinity = np.repeat(np.arange(len(costs)), rows)[: len(costs)] if rows else None
    if affinity is not None and len(affinity) < len(costs):
        affinity = None
    starts = block_starts(np.array(costs), affinity)
    assert len(starts) <= max(1, len(costs))
    assert starts.tolist() == sorted(set(starts.tolist()))
    assert not len(costs) or starts[0] == 0


def test_blocks_take_a_few_seconds_and_are_not_too_many() -> None:
    assert len(block_starts(np.full(10_000, 0.1), None)) == pytest.approx(200, rel=0.05)
    assert len(block_starts(np.full(10**6, 10.0), None)) <= 4097
    assert len(block_starts(np.full(1000, 1e-3), None)) == pytest.approx(64, abs=2)
    row = block_starts(np.ones(36), np.repeat(np.arange(8), np.arange(1, 9)))
    assert set(row.tolist()) - {0, 1, 3, 6, 10, 15, 21, 28}, "rows longer than a block are divided"


def test_what_is_no_file_of_ours_is_nobody(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, claim_seconds=0.2)
    os.mkfifo(tmp_path / "member.pipe")
    (tmp_path / "member.folder").mkdir()
    (tmp_path / "member.text").write_bytes(b"\xff\xfe")
    (tmp_path / "claim.a.0").write_bytes(b"\xff\xfe\0")
    os.mkfifo(tmp_path / "claim.b.0")
    assert list(folder.members()) == [folder.name]
    assert folder.claim_or_take_over("a")
    assert not folder.claim_or_take_over("b")
    assert wait(lambda: folder.claim_or_take_over("b"))
