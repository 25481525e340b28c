"""Copies of what slow workers have, and the account of who is to be waited for."""

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


def test_the_quickest_of_the_idle_helps() -> None:
    scheduler = started([1.0] * 4, 4)
    for worker, seconds in ((1, 3.0), (2, 1.0), (3, 2.0)):
        finish(scheduler, worker, worker, seconds, now=3.0)
    assert copies(scheduler, 9.0) == [(2, [0])]


def test_a_copy_that_is_lost_or_late_is_made_again_but_not_for_ever() -> None:
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
    assert copies(scheduler, 99.0) == [], "three at a time are enough"
    scheduler.lose(0)
    scheduler.lose(second)
    finish(scheduler, third, 0, 1.0, now=99.0)
    assert scheduler.complete


def test_a_task_is_not_copied_to_where_it_failed() -> None:
    scheduler = started([1.0] * 2, 2)
    finish(scheduler, 1, 1, 1.0, now=1.0)
    assert not scheduler.fail(0, 0, now=1.0)
    assert scheduler.lease(1, 1.0).tolist() == [0]
    assert copies(scheduler, 99.0) == []


@pytest.mark.parametrize(("until", "helped"), [(7.0, True), (5.5, False)])
def test_a_copy_must_end_before_the_deadline(until: float, helped: bool) -> None:
    scheduler = started([1.0] * 2, 2)
    scheduler.deadline = until
    finish(scheduler, 1, 1, 1.0, now=1.0)
    assert bool(copies(scheduler, 5.0)) == helped


def test_many_small_tasks_are_divided_among_the_idle() -> None:
    scheduler = Scheduler(np.full(2000, 0.01), workers=range(11))
    finish(scheduler, 0, int(scheduler.lease(0, 0.0)[0]), 0.01, now=0.01)
    out = {worker: scheduler.lease(worker, 0.01) for worker in range(11)}
    for worker in range(1, 11):
        while len(out[worker]):
            scheduler.finish(worker, out[worker], 0.01 * len(out[worker]), 1.0)
            out[worker] = scheduler.lease(worker, 1.0)
    found = copies(scheduler, 8.0)
    spread = [task for _, tasks in found for task in tasks]
    assert sorted(spread) == sorted(scheduler.outstanding(0)), "each of them once"
    assert max(len(tasks) for _, tasks in found) <= 50, "half a second at most for one"


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 30))
def test_the_account_of_charges_is_right_whatever_happens(
    seed: int, workers: int, tasks: int
) -> None:
    chance = random.Random(seed)
    costs = [chance.uniform(0, 3) * chance.choice([0.01, 1]) for _ in range(tasks)]
    scheduler = Scheduler(costs, workers=range(workers))
    now = 0.0
    while not scheduler.complete:
        now += chance.uniform(0, 2)
        for worker in scheduler.workers:
            while len(scheduler.lease(worker, now)):
                pass
        scheduler.duplicate_stragglers(now)
        check(scheduler)
        worker = chance.choice(scheduler.workers)
        had = scheduler.outstanding(worker)
        deed = chance.choice(["finish", "finish", "finish", "fail", "lose"])
        if deed == "lose" and len(scheduler.workers) > 1:
            scheduler.lose(worker)
        elif deed == "fail" and had:
            scheduler.fail(worker, had[0], now)
        elif had:
            some = np.array(had[: chance.randint(1, len(had))])
            scheduler.finish(worker, some, float(scheduler.costs[some].sum()), now)
        check(scheduler)


def check(scheduler: Scheduler) -> None:
    """Hold the account against what is out, task by task."""
    holders: dict[int, list[int]] = {}
    for worker, state in scheduler._workers.items():
        charged = [task for task in state.tasks() if scheduler._is_awaited_from(worker, task)]
        assert state.awaited_cost == pytest.approx(scheduler.costs[charged].sum(), abs=1e-9)
        assert state.cost == pytest.approx(scheduler.costs[state.tasks()].sum(), abs=1e-9)
        for task in state.tasks():
            holders.setdefault(task, []).append(worker)
    for task, workers in holders.items():
        if not scheduler._done[task]:
            charged = [worker for worker in workers if scheduler._is_awaited_from(worker, task)]
            assert len(charged) == 1, "somebody is to be waited for, and nobody else"
