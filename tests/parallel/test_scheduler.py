from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.parallel.scheduler import Scheduler


def leased(scheduler: Scheduler, worker: int, now: float = 0.0) -> list[int]:
    return scheduler.lease(worker, now).tolist()


def finish(scheduler: Scheduler, worker: int, *tasks: int, seconds: float, now: float) -> None:
    scheduler.finish(worker, np.array(tasks), seconds, now)


def test_largest_first() -> None:
    scheduler = Scheduler([1.0, 9.0, 3.0], workers=[7, 8], lease_seconds=0.5)
    assert leased(scheduler, 7) == [1]
    assert leased(scheduler, 8) == [2]
    assert not scheduler.complete
    finish(scheduler, 7, 1, seconds=9, now=9)
    finish(scheduler, 8, 2, seconds=3, now=9)
    assert leased(scheduler, 8, 9) == [0]
    assert leased(scheduler, 7, 9) == []
    finish(scheduler, 8, 0, seconds=1, now=10)
    assert scheduler.complete


def test_a_second_lease_only_up_to_the_fair_share() -> None:
    scheduler = Scheduler([10.0, 1.0, 1.0], workers=[0, 1], lease_seconds=0.5)
    assert [leased(scheduler, worker) for worker in (0, 1, 0, 1)] == [[0], [1], [], [2]]
    many = Scheduler([1.0] * 12, workers=[0, 1], lease_seconds=0.5)
    assert [leased(many, worker) for worker in (0, 1) * 3] == [[0], [1], [2], [3], [], []]


def test_leases_grow_to_lease_seconds_once_the_pace_is_known() -> None:
    scheduler = Scheduler(np.full(100_000, 1.0), workers=range(4), lease_seconds=2.0)
    first = leased(scheduler, 0)
    assert len(first) == 1, "before any measurement, one task a lease"
    finish(scheduler, 0, *first, seconds=0.001, now=0.001)
    assert 1900 <= len(leased(scheduler, 0, 0.001)) <= 2000, "each takes 1 ms, not 1 s"


def test_small_tasks_share_a_lease_but_leave_tasks_for_all_workers() -> None:
    scheduler = Scheduler([0.00001] * 1000, workers=range(4))
    lease = leased(scheduler, 0)
    assert 1 < len(lease) <= 250


def test_a_task_of_another_worker_is_refused() -> None:
    scheduler = Scheduler([1.0, 1.0], workers=[0, 1])
    leased(scheduler, 0)
    with pytest.raises(ValueError, match="task: 0 is not leased to worker 1"):
        finish(scheduler, 1, 0, seconds=1, now=1)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        Scheduler([1.0], workers=[])


def test_finished_tasks_are_not_leased() -> None:
    done = np.array([True, False, True])
    scheduler = Scheduler([1.0, 1.0, 1.0], workers=[0], done=done)
    assert scheduler.num_finished == 2
    assert leased(scheduler, 0) == [1]


def test_a_failed_task_is_tried_on_another_worker_then_given_up() -> None:
    scheduler = Scheduler([1.0, 1.0], workers=[0, 1])
    assert leased(scheduler, 0) == [0]
    assert leased(scheduler, 1) == [1]
    assert not scheduler.fail(0, 0, 1.0)
    assert leased(scheduler, 0, 1.0) == [], "it failed on this worker"
    finish(scheduler, 1, 1, seconds=1, now=1)
    assert leased(scheduler, 1, 1.0) == [0]
    assert scheduler.fail(1, 0, 2.0)
    assert scheduler.given_up == {0}
    assert scheduler.complete


def test_a_lost_worker_s_tasks_go_to_others() -> None:
    scheduler = Scheduler([1.0] * 4, workers=[0, 1])
    lost = leased(scheduler, 0) + leased(scheduler, 0)
    scheduler.lose(0)
    scheduler.lose(0)
    computed: list[int] = []
    while tasks := leased(scheduler, 1, 1.0):
        finish(scheduler, 1, *tasks, seconds=1, now=1)
        computed += tasks
    assert set(lost) <= set(computed)
    assert scheduler.complete
    assert scheduler.workers == [1]


def test_a_straggler_s_task_is_duplicated_and_the_first_result_counts() -> None:
    scheduler = Scheduler([1.0] * 3, workers=[0, 1])
    assert leased(scheduler, 0) == [0]
    assert leased(scheduler, 1) == [1]
    finish(scheduler, 1, 1, seconds=1, now=1)
    assert leased(scheduler, 1, 1.0) == [2]
    finish(scheduler, 1, 2, seconds=1, now=2)
    assert scheduler.duplicate_stragglers(2.0) == [], (
        "worker 0 is only one second late, a copy takes as long"
    )
    ((helper, tasks),) = scheduler.duplicate_stragglers(3.5)
    assert (helper, tasks.tolist()) == (1, [0])
    assert scheduler.duplicate_stragglers(9.0) == [], "one copy is enough"
    finish(scheduler, 1, 0, seconds=1, now=4.5)
    assert scheduler.complete
    finish(scheduler, 0, 0, seconds=9, now=9)
    assert scheduler.num_finished == 3


def test_no_task_begins_that_would_end_after_the_deadline() -> None:
    scheduler = Scheduler([10.0, 4.0, 1.0], workers=[0])
    scheduler.deadline = 6.0
    assert leased(scheduler, 0) == [2], "the smallest ones fit best"
    finish(scheduler, 0, 2, seconds=1, now=1)
    assert leased(scheduler, 0, 1.0) == [1]
    finish(scheduler, 0, 1, seconds=4, now=5)
    assert leased(scheduler, 0, 5.0) == []
    assert scheduler.all_idle
    assert not scheduler.complete


@given(
    st.lists(st.floats(0, 100), max_size=60),
    st.integers(1, 7),
    st.integers(0, 1000),
    st.sampled_from(["well", "fails", "dies", "late"]),
)
def test_every_task_is_finished_whatever_happens(
    costs: list[float], workers: int, seed: int, scenario: str
) -> None:
    rng = random.Random(seed)
    scheduler = Scheduler(costs, workers=range(workers))
    held: dict[int, list[int]] = {w: [] for w in range(workers)}
    now, computed = 0.0, []
    while not scheduler.complete:
        now += rng.uniform(0, 5)
        for worker in scheduler.workers:
            while tasks := leased(scheduler, worker, now):
                held[worker] += tasks
        if scenario == "late":
            for worker, tasks in scheduler.duplicate_stragglers(now):
                held[worker] += tasks.tolist()
        if scenario == "dies" and len(scheduler.workers) > 1 and rng.random() < 0.2:
            dead = rng.choice(scheduler.workers)
            scheduler.lose(dead)
            held[dead].clear()
        busy = [w for w, tasks in held.items() if tasks]
        if not busy:
            continue
        worker = rng.choice(busy)
        task = held[worker].pop(0)
        if scenario == "fails" and rng.random() < 0.3:
            scheduler.fail(worker, task, now)
            continue
        computed.append(task)
        finish(scheduler, worker, task, seconds=costs[task], now=now)
    assert set(computed) | scheduler.given_up == set(range(len(costs)))
    assert scheduler.num_finished == len(set(computed))
    if scenario in ("well", "dies"):
        assert len(computed) == len(costs)
