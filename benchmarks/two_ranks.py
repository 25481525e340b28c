"""One rank against two: what the benchmarks of jobs on several ranks have in common."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farm import launcher
from report import Row, machine, seconds, table

_SPEEDUP = 1.7
"""Target: two ranks are so many times faster than one."""

_LIMIT_SECONDS = 300.0
"""Wall time after which a job is given up."""

Report = dict[str, Any]
"""Seconds by name, and a ``digest`` of everything that was computed."""


def compare(
    script: str,
    about: str,
    on_this_job: Callable[[], Report | None],
    workload: str,
    names: Mapping[str, str],
) -> int:
    """Compare jobs on one rank and on two, print the table, and return the exit code.

    Args:
        script: The benchmark, which is started for each job with ``--job``.
        about: Its description, for the help.
        on_this_job: Returns rank 0's report of this job, and None on the other ranks.
        workload: The workload.
        names: What is compared in the table, by the names of its seconds in the reports.

    Returns:
        1 if a target is missed.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="jobs of either size; default: 3")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        report = on_this_job()
        if report is not None:
            print(json.dumps(report))
        return 0
    machine_before = machine()
    reports: dict[int, list[Report]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for ranks, found in reports.items():
            found.append(_on_ranks(ranks, script))
    rows = []
    for name, what in names.items():
        one, two = (min(each[name] for each in reports[ranks]) for ranks in (1, 2))
        rows.append(
            Row(
                f"{workload}, {what}",
                f"{seconds(two)} (2 ranks)",
                "1 rank",
                seconds(one),
                f"{one / two:.2f} times faster",
                f"at least {_SPEEDUP:g} times faster",
                one >= _SPEEDUP * two,
            )
        )
    digests = {report["digest"] for found in reports.values() for report in found}
    rows.append(Row(workload, compared="bits of all jobs", target="equal", met=len(digests) == 1))
    print(f"{machine_before}\nload at the end: {machine()['load']}\n\n{table(rows)}")
    if options.json:
        written = {"machine": machine_before, "reports": reports, "rows": list(map(asdict, rows))}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


def _on_ranks(ranks: int, script: str) -> Report:
    """Start an MPI job of a benchmark and return its report.

    Raises:
        RuntimeError: If it fails.
    """
    mpirun = launcher()
    if mpirun is None:
        raise RuntimeError("mpirun: not found; pip install 'hpcq[mpich]'")
    command = [mpirun, "-n", str(ranks), sys.executable, script, "--job"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_SECONDS)
    reports = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not reports:
        raise RuntimeError(f"{ranks} ranks: exit code {done.returncode}")
    report: Report = json.loads(reports[-1])
    return report
