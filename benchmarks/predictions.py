"""Compare predicted seconds with measured ones: 20 circuits in one process.

    python benchmarks/predictions.py [--only NAME ...] [--threads T] [--json OUT.json]

Each circuit is planned, then run a few times in this process after a warm-up; the fastest run
counts. The exit code is 1 if less than 80 percent of the predictions are within a factor of 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from report import machine, seconds
from varied import CASES, Case

import hpcq
from hpcq.core.version import versions

_FACTOR = 2.0  # largest ratio of measured and predicted seconds, either way
_SHARE = 0.8  # least share of cases within that factor
_RUNS = 3  # runs of each case, of which the fastest counts
_LONG_SECONDS = 5.0  # after so much time, a case is not repeated
# Widths of the columns.
_COLUMNS = {
    "case": 16,
    "predicted": 10,
    "measured": 10,
    "ratio": 6,
    "within 2": 8,
    "simulation predicted": 20,
    "measured ": 10,
}


@dataclass(frozen=True)
class Outcome:
    """Predicted and measured times of one circuit.

    Attributes:
        name: The case.
        predicted: Predicted seconds of the run.
        measured: Seconds of the fastest run.
        phases: Seconds of its phases.
        predicted_contraction: Predicted seconds of the contraction alone.
        plan_seconds: Seconds of planning, which the prediction excludes.
        calibrated: Whether the machine was calibrated.
    """

    name: str
    predicted: float
    measured: float
    phases: dict[str, float]
    predicted_contraction: float
    plan_seconds: float
    calibrated: bool

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured

    @property
    def good(self) -> bool:
        """Whether the prediction is within the target factor."""
        return 1 / _FACTOR <= self.ratio <= _FACTOR


def measure(case: Case, threads: int) -> Outcome:
    """Plan a case, and run it several times."""
    start = time.perf_counter()
    plan = hpcq.plan(case.build(), case.observable(), threads=threads, **case.options)
    planned = time.perf_counter() - start
    phases: list[dict[str, float]] = []
    while len(phases) < _RUNS and sum(map(total, phases)) < _LONG_SECONDS:
        phases.append(hpcq.run(plan, device="cpu").provenance["seconds"])
    best = min(phases, key=total)
    cost = plan.cost
    return Outcome(
        case.name,
        cost.predicted_seconds(),
        total(best),
        best,
        cost.contraction_seconds,
        planned,
        cost.calibrated,
    )


def total(phases: dict[str, float]) -> float:
    return sum(phases.values())


def line(outcome: Outcome) -> str:
    cells = [
        outcome.name,
        seconds(outcome.predicted),
        seconds(outcome.measured),
        f"{outcome.ratio:.2f}",
        "yes" if outcome.good else "**NO**",
        seconds(outcome.predicted - outcome.predicted_contraction),
        seconds(outcome.phases["simulate"]),
    ]
    widths = _COLUMNS.values()
    return f"| {' | '.join(c.ljust(w) for c, w in zip(cells, widths, strict=True))} |"


def main() -> int:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    options = parser.parse_args()
    about = {"machine": machine(), "versions": versions(), "threads": options.threads}
    warm = measure(CASES[0], options.threads)
    about["calibrated"] = warm.calibrated
    print("\n".join(f"{name}: {value}" for name, value in about.items()), end="\n\n")
    head = [name.ljust(width) for name, width in _COLUMNS.items()]
    print(f"| {' | '.join(head)} |\n| {' | '.join('-' * len(cell) for cell in head)} |")
    outcomes = []
    for case in CASES:
        if case.name in options.only:
            outcomes.append(measure(case, options.threads))
            print(line(outcomes[-1]), flush=True)
    good = sum(outcome.good for outcome in outcomes)
    print(f"\n{good} of {len(outcomes)} within a factor of {_FACTOR:g}")
    if options.json:
        report = about | {"outcomes": [asdict(outcome) for outcome in outcomes]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if good >= _SHARE * len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
