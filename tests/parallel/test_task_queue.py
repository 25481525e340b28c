"""Kin stay with one worker as far as that holds up nobody."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.task_queue import LeaseLimits, TaskQueue


def rows_of(branches: int) -> np.ndarray:
    return np.repeat(np.arange(branches), np.arange(1, branches + 1))


def changes(order: list[int], affinity: np.ndarray) -> int:
    """How often a worker that computes these tasks must begin with another row."""
    row = affinity[order]
    return 1 + int((row[1:] != row[:-1]).sum())


def test_a_row_goes_to_one_worker():
    affinity = rows_of(8)
    waiting = TaskQueue(np.ones(36), np.zeros(36, dtype=bool), affinity)
    had: dict[int, list[int]] = {0: [], 1: []}
    while waiting:
        for worker, own in had.items():
            own += waiting.take(worker, LeaseLimits(1.0, 9, fair_cost=waiting.cost / 2)).tolist()
    assert sorted(had[0] + had[1]) == list(range(36))
    assert abs(len(had[0]) - len(had[1])) <= 1
    assert sum(changes(own, affinity) for own in had.values()) <= 8 + 2, (
        "8 rows, and few are divided"
    )


def test_kin_of_a_slow_worker_are_shared():
    waiting = TaskQueue(np.ones(64), np.zeros(64, dtype=bool), np.zeros(64, dtype=int))
    assert waiting.take(0, LeaseLimits(1.0, 9, fair_cost=64.0)).tolist() == [0], (
        "the rest is kept for it"
    )
    assert waiting.cost == 63
    assert waiting.take(1, LeaseLimits(4.0, 9, fair_cost=1.0)).tolist() == [33, 34, 35, 36]
    others = []
    while len(tasks := waiting.take(1, LeaseLimits(4.0, 9, fair_cost=1.0))):
        others += tasks.tolist()
    assert sorted(others) == [*range(1, 33), *range(37, 64)]
    assert not waiting
    assert waiting.cost == 0


def test_what_is_kept_waits_while_only_something_smaller_fits():
    costs = np.array([5.0, 5.0, 5.0, 1.0, 1.0])
    waiting = TaskQueue(costs, np.zeros(5, dtype=bool), np.array([0, 0, 0, 1, 1]))
    assert waiting.take(0, LeaseLimits(1.0, 9, fair_cost=99.0)).tolist() == [0]
    assert waiting.take(0, LeaseLimits(9.0, 9, max_single_cost=2.0, fair_cost=99.0)).tolist() == [
        3,
        4,
    ]
    assert waiting.take(0, LeaseLimits(99.0, 9, fair_cost=99.0)).tolist() == [1, 2]
    assert not waiting


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.1, 1.0, 7.0])), max_size=12),
    st.integers(1, 6),
    st.integers(0, 1000),
)
def test_every_task_is_handed_out_once(rows, workers, seed):
    chance = random.Random(seed)
    affinity = np.repeat(np.arange(len(rows)), [length for length, _ in rows]).astype(int)
    costs = np.array([rows[row][1] for row in affinity])
    done = np.array([chance.random() < 0.2 for _ in costs], dtype=bool)
    waiting = TaskQueue(costs, done, affinity)
    had: list[int] = []
    while waiting:
        limits = LeaseLimits(
            chance.choice([0.1, 1.0, 20.0]),
            chance.choice([1, 3, 100]),
            chance.choice([0.5, 9.0, float("inf")]),
            chance.choice([0.5, 9.0, float("inf")]),
            chance.choice([0.0, 5.0, 50.0]),
        )
        tasks = waiting.take(chance.randrange(workers), limits)
        assert len(tasks) <= limits.max_tasks
        had += tasks.tolist()
        missing = np.setdiff1d(np.flatnonzero(~done), had)
        assert waiting.cost == pytest.approx(costs[missing].sum(), abs=1e-9)
    assert sorted(had) == np.flatnonzero(~done).tolist()


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
def test_rows_of_lost_workers_are_finished(branches, workers, seed):
    chance = random.Random(seed)
    affinity = rows_of(branches)
    scheduler = Scheduler(np.ones(len(affinity)), workers=range(workers), affinity=affinity)
    now, found = 0.0, set()
    while not scheduler.complete:
        now += 1.0
        for worker in scheduler.workers:
            scheduler.lease(worker, now)
        worker = chance.choice(scheduler.workers)
        if len(scheduler.workers) > 1 and chance.random() < 0.1:
            scheduler.lose(worker)
        elif had := scheduler.outstanding(worker):
            found.add(had[0])
            scheduler.finish(worker, np.array(had[:1]), 1.0, now)
    assert found == set(range(len(affinity)))
