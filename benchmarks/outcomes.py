"""Compare hpcq's answers about outcomes with Aer's samples and with a run for expectation values.

    python benchmarks/outcomes.py [--only NAME ...] [--quick] [--json OUT.json]

Everything runs in this process on one thread, turn by turn, and CPU times are compared. Plans are
made before the clock starts. The probabilities of samples must be squares of amplitudes, and
those of the uncut circuit where it is simulated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from outcome_cases import (
    CASES,
    COMPARISONS,
    FEW,
    MANY,
    MEMORY_CASE,
    MEMORY_GIB,
    QUICK,
    TARGETS,
    Case,
)
from outcome_methods import Method, fresh_plan, methods_of
from report import Row, conclude, machine, note, seconds

import hpcq
from hpcq.core.version import PACKAGES, versions

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Variables that libraries read when they are loaded."""

_DIFFERENCE = 1e-12
"""Maximum relative difference between the probability of a sample and its squared amplitude."""

_UNCUT_DIFFERENCE = 1e-9
"""The same from the uncut circuit's; both states have been rounded after hundreds of gates."""

_CHECKED_SAMPLES = 1000
"""Samples whose probabilities are checked."""

_CHECKED_QUBITS = 24
"""Qubits up to which probabilities are compared with those of the uncut circuit."""


@dataclass
class Measured:
    """What was measured of a case.

    Attributes:
        methods: The methods.
        seconds: CPU seconds of each turn of a method.
    """

    methods: dict[str, Method]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def best(self, name: str) -> float:
        """Return the CPU seconds of the fastest turn."""
        return min(self.seconds[name])


def measure(case: Case, repeats: int, limit: float) -> Measured:
    """Measure all methods turn by turn, so that other load on the machine affects all alike.

    A method is not repeated after ``limit`` CPU seconds.
    """
    measured = Measured(methods_of(case))
    for turn in range(min(repeats, case.repeats)):
        note(f"{case.name}: turn {turn + 1}")
        for name, method in measured.methods.items():
            taken = measured.seconds.setdefault(name, [])
            if sum(taken) > limit:
                continue
            prepared = method.prepare(turn)
            start = _cpu_seconds()
            method.call(prepared)
            taken.append(_cpu_seconds() - start)
    return measured


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended.

    hpcq does tasks that take long in a process of their own.
    """
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rows_of(case: Case, measured: Measured) -> Iterator[Row]:
    """Yield the rows of a case: comparisons of times, then of probabilities."""
    for ours, other in COMPARISONS:
        target = TARGETS.get((case.name, ours, other))
        known = ours in measured.seconds and other in measured.seconds
        if not known or (other == "pieces" and target is None):
            continue
        own, others = measured.best(ours), measured.best(other)
        yield Row(
            f"{case.name}, {measured.methods[ours].label}",
            seconds(own),
            measured.methods[other].label,
            seconds(others),
            _ratio(own, others, other in ("expectation", "pieces")),
            target.text if target else "",
            target.met(own, others) if target else None,
        )
    yield from _agreements(case)


def _ratio(own: float, other: float, by_own: bool) -> str:
    if by_own:
        return f"{own / other:.3g} times as long"
    return f"{other / own:.3g} times faster"


def _agreements(case: Case) -> Iterator[Row]:
    """Yield rows that compare the probabilities of samples with amplitudes."""
    found = hpcq.outcomes(fresh_plan(case))
    samples = found.sample(FEW)
    texts, stated = samples.memory[:_CHECKED_SAMPLES], samples.probabilities[:_CHECKED_SAMPLES]
    squares = np.abs(found.amplitudes(texts)) ** 2
    yield _agreement(f"{case.name}, probabilities of samples", "amplitudes", stated, squares)
    if case.blocks.num_qubits > _CHECKED_QUBITS or "statevector" not in case.peers:
        return
    from qiskit.quantum_info import Statevector

    state = np.asarray(Statevector(case.blocks.circuit()))
    uncut = np.abs(state[[int(text, 2) for text in texts]]) ** 2
    name = f"{case.name}, probabilities of samples"
    yield _agreement(name, "the uncut circuit", stated, uncut, _UNCUT_DIFFERENCE)


def _agreement(
    what: str, compared: str, found: Any, expected: Any, bound: float = _DIFFERENCE
) -> Row:
    difference = float(np.abs(found / expected - 1).max())
    return Row(
        what,
        compared=compared,
        ratio=f"differ by {difference:.0e}",
        target=f"at most {bound:g}",
        met=difference <= bound,
    )


def memory_row() -> Row:
    """Return the peak memory of many samples, drawn in a process of its own."""
    command = [sys.executable, __file__, "--memory"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peak, before = json.loads(done.stdout.splitlines()[-1])
    return Row(
        f"{MEMORY_CASE}, {MANY} samples, peak memory",
        f"{peak / 2**30:.2f} GiB",
        "the same process before it draws",
        f"{before / 2**30:.2f} GiB",
        target=f"at most {MEMORY_GIB:g} GiB",
        met=peak <= MEMORY_GIB * 2**30,
    )


def _print_peaks() -> None:
    """Draw many samples and print the peak memory in bytes, after and before."""
    case = next(each for each in CASES if each.name == MEMORY_CASE)
    found = hpcq.outcomes(fresh_plan(case))
    before = _peak_bytes()
    found.sample(MANY)
    print(json.dumps([_peak_bytes(), before]))


def _peak_bytes() -> int:
    """Return the peak memory of this process and the largest of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return 1024 * sum(each.ru_maxrss for each in used)


def main() -> int:
    """Measure, print the table, and return 1 if a target is missed."""
    if _ONE_THREAD.items() - os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **_ONE_THREAD})
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="one case, two turns")
    parser.add_argument("--repeats", type=int, default=5, help="turns, at most; default: 5")
    parser.add_argument("--limit", type=float, default=30.0, help="CPU seconds for one method")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        _print_peaks()
        return 0
    chosen = [case for case in CASES if case.name in (QUICK if options.quick else options.only)]
    about = {"machine": machine(), "versions": versions(PACKAGES)}
    rows: list[Row] = []
    times = {}
    for case in chosen:
        measured = measure(case, 2 if options.quick else options.repeats, options.limit)
        times[case.name] = measured.seconds
        rows += rows_of(case, measured)
        if case.name == MEMORY_CASE:
            rows.append(memory_row())
    return conclude(about, rows, times, (), options.json)


if __name__ == "__main__":
    sys.exit(main())
