"""The ranks of a real farm that ``farm.py`` starts under the launcher to measure it.

Rank 0 prints a JSON object at the end. Worker subprocesses import this module too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import hpcq.parallel.scheduler
from hpcq.parallel.mpi import _LEASE, MpiFarm, _MpiTransport
from hpcq.parallel.task_source import AllTasks
from hpcq.parallel.tasks import Array, Lease, TaskFunction, TaskResults, Tasks
from hpcq.parallel.world import abort_on_error, open_farm

Report = dict[str, Any]

_BURST_MESSAGES = 200  # batches, and as many leases, of one measurement
_BURSTS = 30  # measurements, of which the median counts
_REST_SECONDS = 0.03  # until the messages of a burst have arrived
_MORE = 1000  # tasks of a large message beside the first
_SETTLE_SECONDS = 3.0  # before processor time is counted
_COUNTED_SECONDS = 15.0  # during which processor time is counted


def one_number(task: int, _payload: bytes) -> Array:
    """Return one number at once."""
    return np.full(1, task, dtype=float)


def a_long_time(_task: int, _payload: bytes) -> Array:
    """Compute without a break, for longer than processor time is counted."""
    end = time.perf_counter() + 2 * _SETTLE_SECONDS + _COUNTED_SECONDS
    number = 0
    while time.perf_counter() < end:
        number += 1
    return np.full(1, number, dtype=float)


def factory(payload: bytes) -> TaskFunction:
    """Return the task function with the name that is the payload."""
    return {"one_number": one_number, "a_long_time": a_long_time}[payload.decode()]


def throughput(farm: MpiFarm, tasks: int, most: int) -> Report | None:
    """Measure trivial tasks, with at most ``most`` of them in a lease; 0: the usual limit."""
    if farm.rank:
        farm.run_worker(factory)
        return None
    hpcq.parallel.scheduler._MAX_LEASE_TASKS = most or hpcq.parallel.scheduler._MAX_LEASE_TASKS
    with farm.coordinator(factory) as coordinator:
        coordinator.prepare(b"one_number", in_subprocess=False)
        start = time.perf_counter()
        outcome = coordinator.run(AllTasks(Tasks(np.full(tasks, 1e-6), float)))
        taken = time.perf_counter() - start
        batches = len(outcome.finished.batches)
    assert outcome.complete, outcome
    return {"tasks": tasks, "seconds": taken, "batches": batches}


def idle(farm: MpiFarm) -> Report | None:
    """Measure every rank's processor time while rank 0's subprocess computes and others wait."""
    shares_of_core: list[float] = []

    def count() -> None:
        time.sleep(_SETTLE_SECONDS)
        before, first = time.perf_counter(), (time.process_time(), children_seconds())
        time.sleep(_COUNTED_SECONDS)
        taken = time.perf_counter() - before
        last = (time.process_time(), children_seconds())
        shares_of_core.extend((end - begin) / taken for end, begin in zip(last, first, strict=True))

    farm._comm.Barrier()
    watcher = threading.Thread(target=count)
    watcher.start()
    if farm.rank:
        farm.run_worker(factory)
    else:
        with farm.coordinator(factory) as coordinator:
            coordinator.prepare(b"a_long_time", in_subprocess=True)
            seconds = np.full(1, 2 * _SETTLE_SECONDS + _COUNTED_SECONDS)
            coordinator.run(AllTasks(Tasks(seconds, float)))
    watcher.join()
    shares = farm._comm.gather(shares_of_core)
    if shares is None:
        return None
    return {"main": [main for main, _ in shares], "child": [child for _, child in shares]}


def children_seconds() -> float:
    """Return the processor seconds that this process's children have used."""
    ticks = 0
    for thread in Path("/proc/self/task").iterdir():
        for child in (thread / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(farm: MpiFarm, tasks: int) -> Report | None:
    """Compute trivial tasks and report every rank's peak memory."""
    report = throughput(farm, tasks, 0)
    peaks = farm._comm.gather(peak_bytes())
    return None if report is None else report | {"peak_bytes": peaks}


def peak_bytes() -> int:
    """Return this process's peak resident memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def messages(farm: MpiFarm) -> Report | None:
    """Measure rank 0's processor time for a batch and a lease, of one task and of many."""
    report: Report = {"more": _MORE}
    for size, name in ((1, "one"), (1 + _MORE, "many")):
        bursts = [_burst(farm, size) for _ in range(_BURSTS)]
        received, sent = (median(seconds) for seconds in zip(*bursts, strict=True))
        report[name] = {"receive": received, "send": sent}
    return None if farm.rank else report


def _burst(farm: MpiFarm, size: int) -> tuple[float, float]:
    """Send batches from rank 1 and leases from rank 0; return rank 0's seconds for one of each."""
    farm._comm.Barrier()
    if farm.rank:
        for _ in range(_BURST_MESSAGES):
            farm._send_results(_batch(size))
        farm._wait_for_sends()
        for _ in range(_BURST_MESSAGES):
            while farm._receive_message(0, (_LEASE,)) is None:
                time.sleep(1e-4)
        return 0.0, 0.0
    transport = _MpiTransport(farm, None, factory)
    lease = Lease(1, np.arange(size), "<f8")
    time.sleep(_REST_SECONDS)
    received = _taken(partial(transport.receive, 1e-6))
    sent = _taken(lambda: [transport.send(1, lease)])
    farm._wait_for_sends()
    return received, sent


def _batch(size: int) -> TaskResults:
    ones = np.ones(size, dtype=np.int64)
    return TaskResults(1, np.arange(size), ones, np.ones(size), np.ones(size))


def _taken(step: Callable[[], Any]) -> float:
    """Return the mean processor seconds of a step; steps that return nothing do not count."""
    total, done = 0.0, 0
    while done < _BURST_MESSAGES:
        before = time.thread_time()
        result = step()
        after = time.thread_time()
        if result:
            total += after - before
            done += 1
    return total / done


def main(arguments: list[str]) -> None:
    """Do the named measurement, and print rank 0's report."""
    name, *numbers = arguments
    farm = open_farm()
    assert isinstance(farm, MpiFarm), "start this with mpirun"
    farm.gather_names(f"host{farm.rank} it")
    with abort_on_error(farm):
        measure = {"throughput": throughput, "idle": idle, "memory": memory, "messages": messages}
        report = measure[name](farm, *map(int, numbers))
        if report is not None:
            print(json.dumps(report))
            sys.stdout.flush()
