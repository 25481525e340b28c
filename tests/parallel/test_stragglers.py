"""Copies of slow workers' tasks, and the account of the latest holder of each task."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.scheduler import Scheduler


def started(costs: list[float], workers: int) -> Scheduler:
    """Lease a task to each worker, the largest to the first."""
    scheduler = Scheduler(costs, workers=range(workers), lease_seconds=1e-9)
    for worker in range(workers):
        assert len(scheduler.lease(worker, 0.0)) == 1
    return scheduler


def finish(scheduler: Scheduler, worker: int, task: int, seconds: float, now: float) -> None:
    scheduler.finish(worker, np.array([task]), seconds, now)


def copies(scheduler: Scheduler, now: float) -> list[tuple[int, list[int]]]:
    return [(worker, tasks.tolist()) for worker, tasks in scheduler.duplicate_stragglers(now)]


def test_the_fastest_idle_worker_helps() -> None:
    scheduler = started([1.0] * 4, 4)
    for worker, seconds in ((1, 3.0), (2, 1.0), (3, 2.0)):
        finish(scheduler, worker, worker, seconds, now=3.0)
    assert copies(scheduler, 9.0) == [(2, [0])]


def test_a_lost_or_late_copy_is_made_again_up_to_a_limit() -> None:
    scheduler = started([1.0] * 5, 5)
    for worker in range(1, 5):
        finish(scheduler, worker, worker, 1.0, now=1.0)
    ((first, tasks),) = copies(scheduler, 5.0)
    assert tasks == [0]
    assert copies(scheduler, 5.5) == [], "the copy is in time"
    scheduler.lose(first)
    ((second, tasks),) = copies(scheduler, 6.0)
    assert tasks == [0]
    ((third, tasks),) = copies(scheduler, 15.0)
    assert tasks == [0]
    assert len({0, first, second, third}) == 4
    assert copies(scheduler, 99.0) == [], "at most three workers at a time compute it"
    scheduler.lose(0)
    scheduler.lose(second)
    finish(scheduler, third, 0, 1.0, now=99.0)
    assert scheduler.complete


def test_a_task_is_not_copied_to_a_worker_on_which_it_failed() -> None:
    scheduler = started([1.0] * 2, 2)
    finish(scheduler, 1, 1, 1.0, now=1.0)
    assert not scheduler.fail(0, 0, now=1.0)
    assert scheduler.lease(1, 1.0).tolist() == [0]
    assert copies(scheduler, 99.0) == []


@pytest.mark.parametrize(("until", "is_copied"), [(7.0, True), (5.5, False)])
def test_a_copy_must_end_before_the_deadline(until: float, is_copied: bool) -> None:
    scheduler = started([1.0] * 2, 2)
    scheduler.deadline = until
    finish(scheduler, 1, 1, 1.0, now=1.0)
    assert bool(copies(scheduler, 5.0)) == is_copied


def test_many_small_tasks_are_divided_among_idle_workers() -> None:
    scheduler = Scheduler(np.full(2000, 0.01), workers=range(11))
    finish(scheduler, 0, int(scheduler.lease(0, 0.0)[0]), 0.01, now=0.01)
    leased = {worker: scheduler.lease(worker, 0.01) for worker in range(11)}
    for worker in range(1, 11):
        while len(leased[worker]):
            scheduler.finish(worker, leased[worker], 0.01 * len(leased[worker]), 1.0)
            leased[worker] = scheduler.lease(worker, 1.0)
    duplicated = copies(scheduler, 8.0)
    tasks_copied = [task for _, tasks in duplicated for task in tasks]
    assert sorted(tasks_copied) == sorted(scheduler.outstanding(0)), "each of them once"
    assert max(len(tasks) for _, tasks in duplicated) <= 50, "half a second at most for one"


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 30))
def test_awaited_costs_are_right_whatever_happens(seed: int, workers: int, tasks: int) -> None:
    rng = random.Random(seed)
    costs = [rng.uniform(0, 3) * rng.choice([0.01, 1]) for _ in range(tasks)]
    scheduler = Scheduler(costs, workers=range(workers))
    now = 0.0
    while not scheduler.complete:
        now += rng.uniform(0, 2)
        for worker in scheduler.workers:
            while len(scheduler.lease(worker, now)):
                pass
        scheduler.duplicate_stragglers(now)
        check(scheduler)
        worker = rng.choice(scheduler.workers)
        held = scheduler.outstanding(worker)
        event = rng.choice(["finish", "finish", "finish", "fail", "lose"])
        if event == "lose" and len(scheduler.workers) > 1:
            scheduler.lose(worker)
        elif event == "fail" and held:
            scheduler.fail(worker, held[0], now)
        elif held:
            finished = np.array(held[: rng.randint(1, len(held))])
            scheduler.finish(worker, finished, float(scheduler.costs[finished].sum()), now)
        check(scheduler)


def check(scheduler: Scheduler) -> None:
    """Compare the scheduler's account with the leases, task by task."""
    holders: dict[int, list[int]] = {}
    for worker, state in scheduler._workers.items():
        awaited = [task for task in state.tasks() if scheduler._is_awaited_from(worker, task)]
        assert state.awaited_cost == pytest.approx(scheduler.costs[awaited].sum(), abs=1e-9)
        assert state.cost == pytest.approx(scheduler.costs[state.tasks()].sum(), abs=1e-9)
        for task in state.tasks():
            holders.setdefault(task, []).append(worker)
    for task, workers in holders.items():
        if not scheduler._done[task]:
            awaited = [worker for worker in workers if scheduler._is_awaited_from(worker, task)]
            assert len(awaited) == 1, "one worker is awaited, and no other"
