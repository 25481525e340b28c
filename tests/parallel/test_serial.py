"""The farm of one process, with its worker in a thread and in a subprocess."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest

from hpcq.parallel.coordinator import NullMonitor, Progress, StopRequest
from hpcq.parallel.serial import SerialFarm
from hpcq.parallel.subprocess_worker import ProcessWorker
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import FinishedTasks, Lease, Outcome, TaskResults, Tasks
from hpcq.parallel.worker import ThreadWorker
from tests.parallel.task_functions import by_name, plain

BOTH = pytest.mark.parametrize("in_subprocess", [False, True])


def run(
    kind: str,
    tasks: int,
    *,
    in_subprocess: bool,
    finished: FinishedTasks | None = None,
    monitor: NullMonitor | None = None,
) -> Outcome:
    source = AllTasks(Tasks(np.ones(tasks), float), finished)
    with SerialFarm().coordinator(by_name) as coordinator:
        coordinator.prepare(kind.encode(), in_subprocess=in_subprocess)
        return coordinator.run(source, monitor)


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("tasks", [0, 1, 40])
def test_results_are_ordered_by_task(tasks: int, in_subprocess: bool) -> None:
    outcome = run("plain", tasks, in_subprocess=in_subprocess)
    assert outcome.complete
    assert not outcome.stopped
    for task, numbers in enumerate(outcome.finished):
        np.testing.assert_array_equal(numbers, plain(task, b""))


@BOTH
def test_payloads_go_with_their_tasks(in_subprocess: bool) -> None:
    tasks = Tasks(np.ones(9), float, payload=lambda task: b"x" * task)
    with SerialFarm().coordinator(by_name) as coordinator:
        coordinator.prepare(b"plain", in_subprocess=in_subprocess)
        values = [float(numbers[0]) for numbers in coordinator.run(AllTasks(tasks)).finished]
    assert values == [2.0 * task for task in range(9)]


@BOTH
@pytest.mark.parametrize("kind", ["failing", "exiting"])
def test_a_task_that_fails_twice_is_given_up_and_named(kind: str, in_subprocess: bool) -> None:
    outcome = run(kind, 9, in_subprocess=in_subprocess)
    assert outcome.finished.done.tolist() == [task != 3 for task in range(9)]
    (failure,) = outcome.failures
    assert failure.task == 3
    assert len(failure.reasons) == 2
    reason = {
        "failing": "RuntimeError: the dog ate my amplitudes",
        "exiting": "SystemExit: no licence",
    }
    assert reason[kind] in str(failure)


def test_a_killed_subprocess_fails_only_its_current_task() -> None:
    outcome = run("dying", 9, in_subprocess=True)
    assert outcome.finished.done.tolist() == [task != 3 for task in range(9)]
    assert "ended by SIGKILL (out of memory?)" in str(outcome.failures[0])


@pytest.mark.slow
@BOTH
def test_one_coordinator_runs_tasks_of_several_functions(in_subprocess: bool) -> None:
    with SerialFarm().coordinator(by_name) as coordinator:
        for kind in ("plain", "slow", "plain"):
            coordinator.prepare(kind.encode(), in_subprocess=in_subprocess)
            for _ in range(2):
                assert coordinator.run(AllTasks(Tasks(np.ones(3), float))).complete
        assert coordinator.ledger.busy_seconds[0] == pytest.approx(0.6, abs=0.2)
        assert coordinator.ledger.table()[:, 3].sum() == 18


def test_finished_tasks_are_not_computed_again() -> None:
    done = FinishedTasks(5, float)
    done.add(
        TaskResults(0, np.array([1, 3]), np.array([1, 1]), np.zeros(2), np.array([-1.0, -3.0]))
    )
    outcome = run("plain", 5, in_subprocess=False, finished=done)
    assert outcome.complete
    assert outcome.finished[3] == -3 * np.ones(1)
    assert outcome.finished[4][0] == 4


def test_only_the_first_result_of_a_task_counts() -> None:
    def batch(*tasks: int) -> TaskResults:
        numbers = np.array(tasks)
        return TaskResults(
            0, numbers, numbers, np.zeros(len(tasks)), np.repeat(10.0 * numbers, numbers)
        )

    finished = FinishedTasks(4, float)
    assert finished.add(batch(1, 2)).tolist() == [1, 2]
    assert finished.add(batch(2, 3, 1, 0)).tolist() == [3, 0]
    assert finished.add(batch(3)).tolist() == []
    assert finished.num_done == 4
    again = FinishedTasks(4, float)
    for unique in finished.batches:
        assert len(again.add(unique)) == len(unique.tasks)
    assert again.num_done == 4
    for task in range(4):
        np.testing.assert_array_equal(again[task], np.full(task, 10.0 * task))


class ImpatientMonitor(NullMonitor):
    """Requests a stop after some tasks, and lets others finish within some seconds."""

    def __init__(self, after: int, grace: float) -> None:
        self.after, self.grace = after, grace
        self.requested: float | None = None

    def __call__(self, progress: Progress) -> StopRequest | None:
        if progress.finished.num_done < self.after:
            return None
        now = time.monotonic()
        self.requested = self.requested or now
        return StopRequest("enough", now + self.grace)


@pytest.mark.slow
@BOTH
def test_a_stopped_run_keeps_finished_tasks(in_subprocess: bool) -> None:
    monitor = ImpatientMonitor(3, 0.3)
    outcome = run("slow", 100, in_subprocess=in_subprocess, monitor=monitor)
    assert monitor.requested is not None
    assert time.monotonic() - monitor.requested < 5
    assert outcome.stopped == "enough"
    assert not outcome.complete
    assert 3 <= outcome.finished.num_done < 40


@pytest.mark.slow
def test_tasks_end_before_the_deadline() -> None:
    monitor = NullMonitor()
    monitor.deadline = time.monotonic() + 1.5  # type: ignore[assignment]
    outcome = run("slow", 100, in_subprocess=False, monitor=monitor)
    assert "no task fits" in outcome.stopped
    assert 1 <= outcome.finished.num_done <= 16


def test_a_thread_is_over_when_its_worker_is_closed() -> None:
    """Python aborts if it ends while a thread is inside a simulator."""
    worker = ThreadWorker()
    worker.prepare(by_name, b"slow")
    worker.put(Lease(0, np.arange(50), "<f8", flush_seconds=0.0))
    assert worker.collect(wait=5.0) is not None
    worker.close()
    assert not worker._thread.is_alive()


def test_results_for_another_number_of_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="finished: for 4 tasks, expected 5"):
        AllTasks(Tasks(np.ones(5), float), FinishedTasks(4, float))


@pytest.mark.parametrize("kind", [ThreadWorker, ProcessWorker])
def test_a_wait_ends_though_a_signal_takes_longer(
    kind: type[ThreadWorker | ProcessWorker],
) -> None:
    """A run on a device would otherwise never see that it is to stop: no result comes."""
    worker = kind()
    worker.prepare(by_name, b"plain")
    late = TaskResults(0, *(np.zeros(1, dtype=np.int64),) * 2, np.zeros(1), np.zeros(0))
    results = worker._results if isinstance(worker, ThreadWorker) else worker._child._incoming
    end = threading.Timer(2.0, results.put, [late])
    end.start()
    before = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert worker.collect(0.05) is None
    finally:
        signal.signal(signal.SIGALRM, before)
        end.cancel()
        worker.close()
