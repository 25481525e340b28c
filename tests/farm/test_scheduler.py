from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.farm.scheduler import Scheduler


def test_largest_first() -> None:
    scheduler = Scheduler([1.0, 9.0, 3.0], workers=["a", "b"], lease_seconds=0.5)
    assert scheduler.lease("a") == (1,)
    assert scheduler.lease("b") == (2,)
    assert not scheduler.complete
    scheduler.finish("a", 1)
    scheduler.finish("b", 2)
    assert scheduler.lease("b") == (0,)
    assert scheduler.lease("a") == ()
    scheduler.finish("b", 0)
    assert scheduler.complete


def test_a_second_lease_only_up_to_the_fair_share() -> None:
    scheduler = Scheduler([10.0, 1.0, 1.0], workers=["a", "b"], lease_seconds=0.5)
    assert [scheduler.lease(worker) for worker in "abab"] == [(0,), (1,), (), (2,)]
    many = Scheduler([1.0] * 12, workers=["a", "b"], lease_seconds=0.5)
    assert [many.lease(worker) for worker in "ababab"] == [(0,), (1,), (2,), (3,), (), ()]


def test_small_tasks_travel_together_but_leave_work_for_all() -> None:
    scheduler = Scheduler([0.001] * 1000, workers=range(4))
    lease = scheduler.lease(0)
    assert 1 < len(lease) <= 250


def test_a_task_of_another_worker_is_refused() -> None:
    scheduler = Scheduler([1.0, 1.0], workers=["a", "b"])
    scheduler.lease("a")
    with pytest.raises(ValueError, match="task: 0 is not leased to worker 'b'"):
        scheduler.finish("b", 0)


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="workers"):
        Scheduler([1.0], workers=[])


@given(st.lists(st.floats(0, 100), max_size=60), st.integers(1, 7), st.integers(0, 1000))
def test_every_task_is_computed_once_in_any_order_of_answers(
    costs: list[float], workers: int, seed: int
) -> None:
    chance = random.Random(seed)
    scheduler = Scheduler(costs, workers=range(workers))
    out: dict[int, list[int]] = {w: list(scheduler.lease(w)) for w in range(workers)}
    for worker in range(workers):
        out[worker] += scheduler.lease(worker)
    computed: list[int] = []
    while not scheduler.complete:
        worker = chance.choice([w for w, tasks in out.items() if tasks])
        task = out[worker].pop(0)
        computed.append(task)
        scheduler.finish(worker, task)
        out[worker] += scheduler.lease(worker)
    assert sorted(computed) == list(range(len(costs)))
    assert scheduler.num_finished == len(costs)
