"""Compare programs, hpcq's compiled plans, with other ways to energies and gradients.

    python benchmarks/program.py [--only NAME ...] [--quick] [--json OUT.json]

Everything runs in this process on one thread, turn by turn, and what is compared is CPU time. Each
turn has new parameters, the same for all methods, and all answers of a turn must agree.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from program_circuits import ANSATZES, Ansatz
from program_methods import Answer, Method, methods_of, num_shifts, shifted_derivative
from program_targets import COMPARISONS, GRADIENT, TARGETS, VALUE, VALUES
from report import Row, conclude, machine, note, seconds

from hpcq.core.version import PACKAGES, versions

_PEER_PACKAGES = ("pennylane", "pennylane-lightning")
_QUICK = ("vqe-24-3x8", "qaoa-20", "coupled-cluster-12")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Variables that libraries read when they are loaded."""

_DIFFERENCE = 1e-9
"""Maximum difference between answers of two methods."""

_TRUNCATED = 1e-8
"""The same for Aer's matrix product states, which truncate at 1e-16 after every gate: energies are
up to 3e-9 off in circuits of several hundred gates."""

_CHECKED_PARAMETERS = 3
"""Number of derivatives of an ansatz that are compared with those from shifts."""

_UNCUT_SECONDS = 0.3
"""Maximum CPU seconds of an uncut energy for which shifted energies are computed uncut."""

_TURN_SECONDS, _MAX_CALLS = 0.1, 20
"""CPU seconds and number of calls of a method from which its turn ends. More: quick methods find
more of their data in the cache, as they do in an optimiser's loop."""


@dataclass
class Measured:
    """What was measured of one ansatz.

    Attributes:
        methods: The methods.
        seconds: CPU seconds of a row by each method, one number for each turn except the first,
            which fills caches; for slow methods, that of the first.
        answers: Each method's answer of the first turn.
        failures: Why methods have no number.
    """

    methods: dict[str, Method]
    failures: dict[str, str]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)

    def best(self, name: str) -> float:
        """Return the CPU seconds a row of the fastest turn."""
        return min(self.seconds[name])


def measure(ansatz: Ansatz, repeats: int, limit: float) -> Measured:
    """Measure all methods, turn by turn, so that other load on the machine affects all alike.

    In a turn a quick method is called several times, as in a loop, with new parameters each time.
    The fastest call counts.

    A method is not repeated after ``limit`` CPU seconds, and not begun if one row of it took so
    long that all rows would exceed that.
    """
    measured = Measured(*methods_of(ansatz))
    spent = dict.fromkeys(measured.methods, 0.0)
    parameters = ansatz.build().num_parameters
    for turn in range(repeats + 1):
        note(f"{ansatz.name}: turn {turn} of {repeats}")
        for name, method in measured.methods.items():
            single = name.removesuffix("-rows")
            if name != single and method.rows * measured.best(single) > limit:
                measured.failures[name] = "not run, too slow"
                continue
            if spent[name] > limit:
                continue
            calls: list[float] = []
            while not calls or (sum(calls) < _TURN_SECONDS and len(calls) < _MAX_CALLS):
                rows = method.parameters(ansatz, parameters, turn + (repeats + 1) * len(calls))
                start = time.process_time()
                answer = method.call(rows)
                calls.append(time.process_time() - start)
                measured.answers.setdefault(name, answer)
            spent[name] += sum(calls)
            times = measured.seconds.setdefault(name, [])
            if turn == 1:
                times.clear()
            times.append(min(calls) / method.rows)
    return measured


def rows_of(ansatz: Ansatz, measured: Measured) -> Iterator[Row]:
    """Yield the rows of an ansatz: comparisons of times, then of answers."""
    shifts = num_shifts(ansatz.build())
    labels = {name: method.label for name, method in measured.methods.items()}
    labels["shifts"] = f"{shifts} shifts, each planned and run anew (one was measured)"
    labels["lightning"] = "lightning.qubit, adjoint differentiation"
    times = {name: measured.best(name) for name in measured.seconds}
    times["shifts"] = shifts * times["anew"]
    for ours, other in COMPARISONS:
        target = TARGETS.get((ansatz.name, ours, other))
        if other not in times and other not in measured.failures:
            continue
        row = Row(
            f"{ansatz.name}, {labels[ours]}",
            seconds(times[ours]),
            labels[other],
            target=target.text if target else "",
        )
        if other not in times:
            yield Row(**asdict(row) | {"other": measured.failures[other]})
            continue
        itself = other in (VALUE, VALUES)
        yield Row(
            **asdict(row)
            | {
                "other": seconds(times[other]),
                "ratio": _ratio(times[ours], times[other], itself),
                "met": target.met(times[ours], times[other]) if target else None,
            }
        )
    yield from _answers(ansatz, measured)


def _ratio(ours: float, other: float, itself: bool) -> str:
    if itself:
        return f"{ours / other:.3g} times as long"
    ratio = other / ours
    return f"{ratio:.3g} times faster" if ratio >= 1 else f"{1 / ratio:.3g} times slower"


def _answers(ansatz: Ansatz, measured: Measured) -> Iterator[Row]:
    """Yield rows that compare hpcq's energies and derivatives with those of others."""
    energies = {name: answer[0] for name, answer in measured.answers.items() if answer[0].size}
    differences: dict[bool, list[float]] = {False: [], True: []}
    for name, found in energies.items():
        method = measured.methods[name]
        truth = energies[VALUE if method.rows == 1 else VALUES]
        if method.differentiates:
            count = ansatz.build().num_parameters
            truth, _ = measured.methods[VALUE].call(method.parameters(ansatz, count, 0))
        differences[name.startswith("mps")].append(float(np.abs(found - truth).max()))
    label = measured.methods["mps"].label
    yield _agreement(f"{ansatz.name}, energies", label, max(differences[True]), _TRUNCATED)
    yield _agreement(f"{ansatz.name}, energies", "all other methods", max(differences[False]))
    gradients = {
        name: answer[1][0] for name, answer in measured.answers.items() if answer[1] is not None
    }
    gradient = gradients[GRADIENT]
    if "lightning" in gradients:
        difference = float(np.abs(gradient - gradients["lightning"]).max())
        yield _agreement(f"{ansatz.name}, gradient", "lightning.qubit", difference)
    uncut = [name for name in ("mps", "statevector") if name in measured.seconds]
    way = min(uncut, key=measured.best)
    if measured.best(way) > _UNCUT_SECONDS:
        way = "anew"
    chosen = np.linspace(0, len(gradient) - 1, _CHECKED_PARAMETERS).astype(int)
    row = measured.methods[GRADIENT].parameters(ansatz, len(gradient), 0)[0]
    shifted = [
        float(abs(gradient[number] - shifted_derivative(ansatz, row, number, way)))
        for number in dict.fromkeys(chosen.tolist())
    ]
    text = f"{len(shifted)} derivatives by shifts, {measured.methods[way].label}"
    bound = _TRUNCATED if way == "mps" else _DIFFERENCE
    yield _agreement(f"{ansatz.name}, gradient", text, max(shifted), bound)


def _agreement(what: str, compared: str, difference: float, bound: float = _DIFFERENCE) -> Row:
    return Row(
        what,
        compared=compared,
        ratio=f"differ by {difference:.0e}",
        target=f"at most {bound:g}",
        met=difference <= bound,
    )


def main() -> int:
    """Measure, print the table, and return 1 if a target is missed."""
    if _ONE_THREAD.items() - os.environ.items():
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **_ONE_THREAD})
    names = [ansatz.name for ansatz in ANSATZES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few workloads, two turns")
    parser.add_argument("--repeats", type=int, default=7, help="turns that count; default: 7")
    parser.add_argument("--limit", type=float, default=20.0, help="CPU seconds for one method")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    options = parser.parse_args()
    chosen = [a for a in ANSATZES if a.name in (_QUICK if options.quick else options.only)]
    about = {"machine": machine(), "versions": versions((*PACKAGES, *_PEER_PACKAGES))}
    rows: list[Row] = []
    times = {}
    for ansatz in chosen:
        measured = measure(ansatz, 2 if options.quick else options.repeats, options.limit)
        times[ansatz.name] = measured.seconds
        rows += rows_of(ansatz, measured)
    return conclude(
        about, rows, times, [f"{ansatz.name}: {ansatz.about}" for ansatz in chosen], options.json
    )


if __name__ == "__main__":
    sys.exit(main())
