"""What one rank of a real farm does for ``farm.py``, which starts it under the launcher.

Rank 0 prints a JSON object in the end. This is a module that worker processes can import too.
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
from hpcq.parallel.tasks import Array, Lease, TaskFunction, TaskResults, Tasks
from hpcq.parallel.world import ending_the_job, open_farm

Report = dict[str, Any]

_PIECES = 200
_BURSTS = 30
_REST_SECONDS = 0.03
_MORE = 1000
_SETTLE_SECONDS = 3.0
_COUNTED_SECONDS = 15.0


def one_number(task: int, _ticket: bytes) -> Array:
    """Compute next to nothing."""
    return np.full(1, task, dtype=float)


def a_long_time(_task: int, _ticket: bytes) -> Array:
    """Compute without a break for as long as is asked, and a little more than is counted."""
    end = time.perf_counter() + 2 * _SETTLE_SECONDS + _COUNTED_SECONDS
    number = 0
    while time.perf_counter() < end:
        number += 1
    return np.full(1, number, dtype=float)


def factory(payload: bytes) -> TaskFunction:
    """Return the work that is named."""
    return {"one_number": one_number, "a_long_time": a_long_time}[payload.decode()]


def throughput(farm: MpiFarm, tasks: int, most: int) -> Report | None:
    """Have trivial tasks computed, with at most so many in a lease; 0 for no such limit."""
    if farm.rank:
        farm.run_worker(factory)
        return None
    hpcq.parallel.scheduler._MAX_LEASE_TASKS = most or hpcq.parallel.scheduler._MAX_LEASE_TASKS
    with farm.coordinator(factory) as coordinator:
        coordinator.prepare(b"one_number", in_subprocess=False)
        start = time.perf_counter()
        outcome = coordinator.run(Tasks(np.full(tasks, 1e-6), float))
        taken = time.perf_counter() - start
        batches = len(outcome.finished.batches)
    assert outcome.complete, outcome
    return {"tasks": tasks, "seconds": taken, "batches": batches}


def idle(farm: MpiFarm) -> Report | None:
    """Count every rank's processor seconds while rank 0's child computes and others wait."""
    found: list[float] = []

    def count() -> None:
        time.sleep(_SETTLE_SECONDS)
        before, own = time.perf_counter(), (time.process_time(), children_seconds())
        time.sleep(_COUNTED_SECONDS)
        taken = time.perf_counter() - before
        now = (time.process_time(), children_seconds())
        found.extend((after - first) / taken for after, first in zip(now, own, strict=True))

    farm._comm.Barrier()
    watcher = threading.Thread(target=count)
    watcher.start()
    if farm.rank:
        farm.run_worker(factory)
    else:
        with farm.coordinator(factory) as coordinator:
            coordinator.prepare(b"a_long_time", in_subprocess=True)
            coordinator.run(Tasks(np.full(1, 2 * _SETTLE_SECONDS + _COUNTED_SECONDS), float))
    watcher.join()
    shares = farm._comm.gather(found)
    if shares is None:
        return None
    return {"main": [main for main, _ in shares], "child": [child for _, child in shares]}


def children_seconds() -> float:
    """Return the processor seconds of this process's children so far."""
    ticks = 0
    for thread in Path("/proc/self/task").iterdir():
        for child in (thread / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(farm: MpiFarm, tasks: int) -> Report | None:
    """Have trivial tasks computed, and tell every rank's peak memory."""
    report = throughput(farm, tasks, 0)
    peaks = farm._comm.gather(peak_bytes())
    return None if report is None else report | {"peak_bytes": peaks}


def peak_bytes() -> int:
    """Return the peak of this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def messages(farm: MpiFarm) -> Report | None:
    """Measure what MPI takes on rank 0 for a batch and for a lease, of one task and of many."""
    report: Report = {"more": _MORE}
    for size, name in ((1, "one"), (1 + _MORE, "many")):
        bursts = [_burst(farm, size) for _ in range(_BURSTS)]
        received, sent = (median(own) for own in zip(*bursts, strict=True))
        report[name] = {"receive": received, "send": sent}
    return None if farm.rank else report


def _burst(farm: MpiFarm, size: int) -> tuple[float, float]:
    """Have rank 1 send some batches and rank 0 as many leases; return seconds for one on rank 0."""
    farm._comm.Barrier()
    if farm.rank:
        for _ in range(_PIECES):
            farm._send_results(_batch(size))
        farm._wait_for_sends()
        for _ in range(_PIECES):
            while farm._receive_message(0, (_LEASE,)) is None:
                time.sleep(1e-4)
        return 0.0, 0.0
    far = _MpiTransport(farm, None, factory)
    lease = Lease(1, np.arange(size), "<f8")
    time.sleep(_REST_SECONDS)
    received = _taken(partial(far.receive, 1e-6))
    sent = _taken(lambda: [far.send(1, lease)])
    farm._wait_for_sends()
    return received, sent


def _batch(size: int) -> TaskResults:
    ones = np.ones(size, dtype=np.int64)
    return TaskResults(1, np.arange(size), ones, np.ones(size), np.ones(size))


def _taken(step: Callable[[], Any]) -> float:
    """Return the mean processor seconds of a step, those not counted that do nothing."""
    total, done = 0.0, 0
    while done < _PIECES:
        before = time.thread_time()
        worked = step()
        after = time.thread_time()
        if worked:
            total += after - before
            done += 1
    return total / done


def main(words: list[str]) -> None:
    """Do what is named, and print what rank 0 found."""
    name, *numbers = words
    farm = open_farm()
    assert isinstance(farm, MpiFarm), "it wants to be started with mpirun"
    farm.gather_names(f"host{farm.rank} it")
    with ending_the_job(farm):
        what = {"throughput": throughput, "idle": idle, "memory": memory, "messages": messages}
        report = what[name](farm, *map(int, numbers))
        if report is not None:
            print(json.dumps(report))
            sys.stdout.flush()
