"""A million samples of a cut circuit on one rank and on two.

    python benchmarks/outcome_ranks.py [--json OUT.json]

It starts MPI jobs of both sizes in turn, with one thread per rank, and compares the wall times of
the fastest ones, so as many cores must be idle. All samples must be the same bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from outcome_cases import CASES, MANY
from outcome_methods import fresh_plan
from program_ranks import on_ranks
from report import Row, machine, seconds, table

import hpcq

_CASE = "100-qubits"
_SPEEDUP = 1.7
"""Target: two ranks are so many times faster than one."""


def on_this_job(shots: int = MANY) -> dict[str, Any] | None:
    """Draw samples on all ranks of this job; return rank 0's report, None on the others."""
    case = next(each for each in CASES if each.name == _CASE)
    with hpcq.Session() as session:
        if session.rank > 0:
            return None
        found = hpcq.outcomes(fresh_plan(case))
        found.sample(1)  # ranks import what they need
        start = time.perf_counter()
        samples = found.sample(shots)
        taken = time.perf_counter() - start
    digest = hashlib.sha256(samples.packed.tobytes() + samples.probabilities.tobytes())
    return {"seconds": taken, "digest": digest.hexdigest()}


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
            found.append(on_ranks(ranks, __file__))
    one, two = (min(each["seconds"] for each in reports[ranks]) for ranks in (1, 2))
    digests = {report["digest"] for found in reports.values() for report in found}
    rows = [
        Row(
            f"{_CASE}, {MANY} samples",
            f"{seconds(two)} (2 ranks)",
            "1 rank",
            seconds(one),
            f"{one / two:.2f} times faster",
            f"at least {_SPEEDUP:g} times faster",
            one >= _SPEEDUP * two,
        ),
        Row(_CASE, compared="bits of all jobs", target="equal", met=len(digests) == 1),
    ]
    print(f"{about}\nload at the end: {machine()['load']}\n\n{table(rows)}")
    if options.json:
        written = {"machine": about, "reports": reports, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
