"""Tasks of equal affinity go to one worker as far as that delays no other."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.task_queue import LeaseLimits, TaskQueue


def groups_of(branches: int) -> np.ndarray:
    return np.repeat(np.arange(branches), np.arange(1, branches + 1))


def changes(order: list[int], affinity: np.ndarray) -> int:
    """Return how often a worker that computes these tasks begins with another group."""
    group = affinity[order]
    return 1 + int((group[1:] != group[:-1]).sum())


def test_a_group_goes_to_one_worker():
    affinity = groups_of(8)
    queue = TaskQueue(np.ones(36), np.zeros(36, dtype=bool), affinity)
    leased: dict[int, list[int]] = {0: [], 1: []}
    while queue:
        for worker, tasks in leased.items():
            tasks += queue.take(worker, LeaseLimits(1.0, 9, fair_cost=queue.cost / 2)).tolist()
    assert sorted(leased[0] + leased[1]) == list(range(36))
    assert abs(len(leased[0]) - len(leased[1])) <= 1
    assert sum(changes(tasks, affinity) for tasks in leased.values()) <= 8 + 2, (
        "8 groups, of which few are divided"
    )


def test_tasks_reserved_for_a_slow_worker_are_shared():
    queue = TaskQueue(np.ones(64), np.zeros(64, dtype=bool), np.zeros(64, dtype=int))
    assert queue.take(0, LeaseLimits(1.0, 9, fair_cost=64.0)).tolist() == [0], (
        "the rest is reserved for it"
    )
    assert queue.cost == 63
    assert queue.take(1, LeaseLimits(4.0, 9, fair_cost=1.0)).tolist() == [33, 34, 35, 36]
    others = []
    while len(tasks := queue.take(1, LeaseLimits(4.0, 9, fair_cost=1.0))):
        others += tasks.tolist()
    assert sorted(others) == [*range(1, 33), *range(37, 64)]
    assert not queue
    assert queue.cost == 0


def test_reserved_tasks_wait_while_only_smaller_ones_fit():
    costs = np.array([5.0, 5.0, 5.0, 1.0, 1.0])
    queue = TaskQueue(costs, np.zeros(5, dtype=bool), np.array([0, 0, 0, 1, 1]))
    assert queue.take(0, LeaseLimits(1.0, 9, fair_cost=99.0)).tolist() == [0]
    assert queue.take(0, LeaseLimits(9.0, 9, max_single_cost=2.0, fair_cost=99.0)).tolist() == [
        3,
        4,
    ]
    assert queue.take(0, LeaseLimits(99.0, 9, fair_cost=99.0)).tolist() == [1, 2]
    assert not queue


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.1, 1.0, 7.0])), max_size=12),
    st.integers(1, 6),
    st.integers(0, 1000),
)
def test_every_task_is_handed_out_once(groups, workers, seed):
    rng = random.Random(seed)
    affinity = np.repeat(np.arange(len(groups)), [length for length, _ in groups]).astype(int)
    costs = np.array([groups[group][1] for group in affinity])
    done = np.array([rng.random() < 0.2 for _ in costs], dtype=bool)
    queue = TaskQueue(costs, done, affinity)
    leased: list[int] = []
    while queue:
        limits = LeaseLimits(
            rng.choice([0.1, 1.0, 20.0]),
            rng.choice([1, 3, 100]),
            rng.choice([0.5, 9.0, float("inf")]),
            rng.choice([0.5, 9.0, float("inf")]),
            rng.choice([0.0, 5.0, 50.0]),
        )
        tasks = queue.take(rng.randrange(workers), limits)
        assert len(tasks) <= limits.max_tasks
        leased += tasks.tolist()
        missing = np.setdiff1d(np.flatnonzero(~done), leased)
        assert queue.cost == pytest.approx(costs[missing].sum(), abs=1e-9)
    assert sorted(leased) == np.flatnonzero(~done).tolist()


@pytest.mark.slow
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
def test_groups_of_lost_workers_are_finished(branches, workers, seed):
    rng = random.Random(seed)
    affinity = groups_of(branches)
    scheduler = Scheduler(np.ones(len(affinity)), workers=range(workers), affinity=affinity)
    now, finished = 0.0, set()
    while not scheduler.complete:
        now += 1.0
        for worker in scheduler.workers:
            scheduler.lease(worker, now)
        worker = rng.choice(scheduler.workers)
        if len(scheduler.workers) > 1 and rng.random() < 0.1:
            scheduler.lose(worker)
        elif held := scheduler.outstanding(worker):
            finished.add(held[0])
            scheduler.finish(worker, np.array(held[:1]), 1.0, now)
    assert finished == set(range(len(affinity)))
