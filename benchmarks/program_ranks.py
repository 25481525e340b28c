"""A program at many rows of parameters on one rank and on two.

    python benchmarks/program_ranks.py [--json OUT.json]

It starts MPI jobs of either size in turn, each on one thread a rank, and compares the wall times of
the fastest calls: as many cores must be idle. All numbers must be the same bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farm import launcher
from program_circuits import ANSATZES
from report import Row, machine, seconds, table

import hpcq

_ROWS = 64
"""Rows of parameters of each call."""

_CALLS = 7
"""Calls of a job, each at new rows; the first is not measured."""

_WORKLOAD = "vqe-24-3x8"
_SPEEDUP = 1.7
"""Target: two ranks are so many times faster than one."""

_LIMIT_SECONDS = 300.0
"""Wall time after which a job is given up."""


def on_this_job() -> dict[str, Any] | None:
    """Evaluate a program on all ranks of this job; return rank 0's report, None on the others."""
    with hpcq.Session() as session:
        if session.rank > 0:
            return None
        ansatz = next(each for each in ANSATZES if each.name == _WORKLOAD)
        circuit = ansatz.build()
        plan = hpcq.plan(circuit, ansatz.energy(), cut_labels=ansatz.cut_labels, threads=1)
        program = session.compile(plan)
        taken: dict[str, list[float]] = {"energies": [], "energies and gradients": []}
        numbers = hashlib.sha256()
        for turn in range(_CALLS):
            # Rows of their own for either: tensors of known rows are not computed again.
            first, second = (
                ansatz.rows(_ROWS, circuit.num_parameters, 2 * turn + k) for k in (0, 1)
            )
            start = time.perf_counter()
            values = program.values(first)
            between = time.perf_counter()
            both = program.values_and_gradients(second)
            end = time.perf_counter()
            taken["energies"].append(between - start)
            taken["energies and gradients"].append(end - between)
            for array in (values, *both):
                numbers.update(array.tobytes())
    return {name: min(each[1:]) for name, each in taken.items()} | {"digest": numbers.hexdigest()}


def on_ranks(ranks: int, script: str = __file__) -> dict[str, Any]:
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
    report: dict[str, Any] = json.loads(reports[-1])
    return report


def main() -> int:
    """Compare both sizes, print the table, and return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="jobs of either size; default: 3")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        report = on_this_job()
        if report is not None:
            print(json.dumps(report))
        return 0
    about = machine()
    reports: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for ranks, found in reports.items():
            found.append(on_ranks(ranks))
    rows = []
    for what in ("energies", "energies and gradients"):
        one, two = (min(each[what] for each in reports[ranks]) for ranks in (1, 2))
        rows.append(
            Row(
                f"{_WORKLOAD}, {_ROWS} rows, {what}",
                f"{seconds(two)} (2 ranks)",
                "1 rank",
                seconds(one),
                f"{one / two:.2f} times faster",
                f"at least {_SPEEDUP:g} times faster",
                one >= _SPEEDUP * two,
            )
        )
    digests = {report["digest"] for found in reports.values() for report in found}
    rows.append(Row(_WORKLOAD, compared="bits of all jobs", target="equal", met=len(digests) == 1))
    print(f"{about}\nload at the end: {machine()['load']}\n\n{table(rows)}")
    if options.json:
        written = {"machine": about, "reports": reports, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
