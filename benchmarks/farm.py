"""The farm: efficiency on thousands of ranks (simulated), throughput, idle ranks, memory.

    python benchmarks/farm.py simulate [--ranks 1000 10000] [--only uniform small]
    python benchmarks/farm.py saturate [--ranks 5000 10000 20000]
    python benchmarks/farm.py throughput [--ranks 3]
    python benchmarks/farm.py idle
    python benchmarks/farm.py memory

Each prints a table, and with ``--json FILE`` writes all numbers. The exit code is 1 if a target is
missed. All need ``mpirun``, except that the first two then assume durations of messages, which they
measure otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from farm_cases import saturating, simulated, simulation_table
from report import grid, machine
from simulated_farm import Messages

from hpcq.parallel import messages
from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.tasks import FinishedTasks, TaskResults

Record = dict[str, Any]

_TASKS = 1_000_000  # in leases of the usual size
_SINGLE_TASKS = 20_000  # in leases of one task, which take 100 times as long
_TARGET_RATE = 100_000.0  # trivial tasks per second
_TARGET_IDLE = 0.05  # share of a core that a waiting rank takes
_MEMORY_TASKS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # numbers of tasks
_BATCH_SIZES = (1, 1_000)  # tasks
_LIMIT_SECONDS = 300.0  # of one measurement
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from farm_ranks import main; main(sys.argv[2:])"
)


def launcher() -> str | None:
    """Return the launcher that is installed beside this Python, or on the path."""
    beside = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which("mpirun", path=beside)


def on_ranks(ranks: int, what: str, *numbers: int) -> Record:
    """Start real ranks for a measurement and return the report of rank 0; see ``farm_ranks.py``.

    Raises:
        RuntimeError: If it fails.
    """
    mpirun = launcher()
    if mpirun is None:
        raise RuntimeError("mpirun: not found; pip install 'hpcq[mpich]'")
    folder = str(Path(__file__).absolute().parent)
    python = [sys.executable, "-c", _START, folder, what, *map(str, numbers)]
    command = [mpirun, "-n", str(ranks), *python]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_SECONDS)
    reports = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not reports:
        raise RuntimeError(f"{what} on {ranks} ranks: exit code {done.returncode}")
    report: Record = json.loads(reports[-1])
    return report


def measured_messages() -> Messages:
    """Measure the durations of messages between two ranks, or assume them without mpirun."""
    if launcher() is None:
        sys.stderr.write("no mpirun: durations of messages are assumed\n")
        return Messages()
    report = on_ranks(2, "messages")
    one, many, more = report["one"], report["many"], report["more"]
    each = {name: max(0.0, many[name] - one[name]) / more for name in one}
    messages = Messages(one["receive"], one["send"], each["receive"], each["send"])
    sys.stderr.write(f"on rank 0 MPI takes, in seconds: {messages}\n")
    return messages


def throughput(options: argparse.Namespace) -> list[Record]:
    """Measure trivial tasks per second, in leases of the usual size and of one task."""
    records = []
    for name, tasks, most in (("leases as they are", _TASKS, 0), ("one a lease", _SINGLE_TASKS, 1)):
        reports = [
            on_ranks(options.ranks, "throughput", tasks, most) for _ in range(options.repeats)
        ]
        rates = [report["tasks"] / report["seconds"] for report in reports]
        batches = median(report["batches"] for report in reports)
        shown = f"{spread(rates, ',.0f')} tasks a second, in {batches:,.0f} batches"
        record = {"what": f"{tasks} trivial tasks, {name}", "shown": shown, "values": rates}
        if not most:
            record |= {"target": f"at least {_TARGET_RATE:,.0f}", "met": max(rates) >= _TARGET_RATE}
        records.append(record)
    return records


def idle(options: argparse.Namespace) -> list[Record]:
    """Measure the share of a core that ranks take while they do not compute."""
    reports = [on_ranks(options.ranks, "idle") for _ in range(options.repeats)]
    records = []
    for rank in range(options.ranks):
        shares, children = (
            [report[process][rank] for report in reports] for process in ("main", "child")
        )
        what = f"rank {rank}, which waits" if rank else "rank 0, whose child computes"
        shown = f"{spread(shares, '.2%')} of a core, the child {spread(children, '.2%')}"
        most = max(shares if rank == 0 else map(sum, zip(shares, children, strict=True)))
        goal = f"less than {_TARGET_IDLE:.0%}"
        record = {"what": what, "shown": shown, "values": shares, "children": children}
        records.append(record | {"target": goal, "met": most < _TARGET_IDLE})
    return records


def memory(options: argparse.Namespace) -> list[Record]:
    """Measure the peak memory of rank 0 and of another rank, by number of trivial tasks."""
    leading: list[Record] = []
    following: list[Record] = []
    for tasks in _MEMORY_TASKS:
        reports = [on_ranks(options.ranks, "memory", tasks) for _ in range(options.repeats)]
        peaks = [[float(peak) / 2**20 for peak in report["peak_bytes"]] for report in reports]
        for rank, records in ((0, leading), (1, following)):
            values = [by_rank[rank] for by_rank in peaks]
            what = f"rank {rank}, {tasks} tasks"
            record = {"what": what, "shown": f"peak {spread(values, '.1f')} MiB", "values": values}
            records.append(record)
    # A worker holds at most two leases, whose size has a limit.
    first, last = (median(records["values"]) for records in following[-2:])
    following[-1] |= {"target": f"within 10 % of {first:.1f} MiB", "met": last <= 1.1 * first}
    first, last = (median(records["values"]) for records in (leading[0], leading[-1]))
    each = 2**20 * (last - first) / (_MEMORY_TASKS[-1] - _MEMORY_TASKS[0])
    records = [*leading, *following, {"what": "rank 0", "shown": f"{each:.0f} bytes a task"}]
    for size in _BATCH_SIZES:
        scheduler, finished = account_bytes(_TASKS // 10, size)
        shown = f"{scheduler:.0f} + {finished:.0f} bytes a task"
        records.append({"what": f"Scheduler + FinishedTasks, batches of {size}", "shown": shown})
    return records


def account_bytes(tasks: int, size: int) -> tuple[float, float]:
    """Return rank 0's bytes of scheduler and results for a task that returns one number."""
    costs = np.ones(tasks)
    ones, seconds = np.ones(size, dtype=np.int64), np.ones(size)
    tracemalloc.start()
    _kept = Scheduler(costs, range(3))
    between = tracemalloc.get_traced_memory()[0]
    finished = FinishedTasks(tasks, float)
    for start in range(0, tasks, size):
        batch = TaskResults(0, np.arange(start, start + size), ones, seconds, seconds)
        header = messages.loads(messages.dumps(replace(batch, data=np.empty(0))))
        finished.add(replace(header, data=seconds.copy()))
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return between / tasks, (after - between) / tasks


def spread(values: Sequence[float], style: str) -> str:
    """Format the median, the minimum and the maximum."""
    low, middle, high = (format(f(values), style) for f in (min, median, max))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("simulate", "saturate"):
        command = commands.add_parser(name)
        usual = [1_000, 10_000] if name == "simulate" else [5_000, 10_000, 20_000]
        command.add_argument("--ranks", type=int, nargs="+", default=usual)
        command.add_argument("--json", type=Path)
        if name == "simulate":
            command.add_argument("--chunks", type=int, default=_TASKS)
            command.add_argument(
                "--only", nargs="+", default=[], help="beginnings of names of cases"
            )
    for name in ("throughput", "idle", "memory"):
        command = commands.add_parser(name)
        command.add_argument("--ranks", type=int, default=3)
        command.add_argument("--repeats", type=int, default=3)
        command.add_argument("--json", type=Path)
    options = parser.parse_args()
    machine_info = machine()
    if options.command == "simulate":
        messages = measured_messages()
        records = list(simulated(options.ranks, options.chunks, options.only, messages))
    elif options.command == "saturate":
        records = list(saturating(options.ranks, measured_messages()))
    else:
        real = {"throughput": throughput, "idle": idle, "memory": memory}
        records = real[options.command](options)
    if options.command in ("simulate", "saturate"):
        print(simulation_table(records))
    else:
        print(table(records))
    print("\n{cpu}, {cores} cores, load before: {load:.2f}".format(**machine_info))
    if options.json:
        content = {"machine": machine_info, "records": records}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if any(record.get("met") is False for record in records) else 0


def table(records: Sequence[Record]) -> str:
    """Return a Markdown table of measurements of real ranks."""
    lines = [["what", "measured", "target", "met"]]
    for record in records:
        met = {True: "yes", False: "**NO**", None: ""}[record.get("met")]
        lines.append([record["what"], record["shown"], record.get("target", ""), met])
    return grid(lines)


if __name__ == "__main__":
    sys.exit(main())
