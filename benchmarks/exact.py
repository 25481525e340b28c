"""Compare hpcq's exact expectation values with their targets and other methods.

    python benchmarks/exact.py [--only NAME ...] [--repeats 3] [--peers] [--json OUT.json]

Every number comes from a fresh process (measure.py); this one only starts them, compares, and
prints one table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from report import Row, machine, note, seconds, table
from workloads import PEERS, SMALL, WORKLOADS, Workload

from hpcq.core.version import PACKAGES, versions

Key = tuple[str, str]
"""A method, or ``hpcq``, and the name of a workload."""

_PEER_PACKAGES = ("qiskit-addon-cutting", "pennylane", "pennylane-lightning")
_MEASURE = Path(__file__).with_name("measure.py")
_START_SECONDS = 15.0
"""Seconds for a process to start, beyond the time limit of what it measures."""

_LABELS = {
    "statevector": "uncut Aer statevector",
    "mps": "uncut Aer matrix product state",
    "subcircuits": "Aer alone on the subcircuits",
    "addon": "qiskit-addon-cutting, same cuts",
    "pennylane": "PennyLane cut_circuit, two wire cuts a gate",
}
_DIFFERENCE = 1e-10
"""Largest difference between values of two methods."""

_PROCESS = "whole-process"
_PROCESS_BOUND = 1.5
"""Largest time of a whole process, relative to that of its imports."""

_PROCESS_TEXT = f"at most {_PROCESS_BOUND:g} times the imports alone"
_PROCESS_REPEATS = 7
"""Processes whose minimum and median count, after one more that fills caches."""

_IMPORTS = "import qiskit, qiskit_aer, h5py, mpi4py.MPI"


@dataclass(frozen=True)
class Sample:
    """The repeats of one measurement.

    Attributes:
        reports: What each child reported.
        failure: Why there are no, or fewer, reports; empty if there was no failure.
    """

    reports: tuple[dict[str, Any], ...]
    failure: str = ""

    @property
    def seconds(self) -> float:
        """The time of the fastest repetition."""
        return float(self.best["seconds"])

    @property
    def best(self) -> dict[str, Any]:
        """The report of the fastest repetition."""
        return min(self.reports, key=lambda report: report["seconds"])


@dataclass
class Bench:
    """Runs and stores measurements.

    Attributes:
        repeats: Fresh processes for each number.
        limit: Seconds after which a child is killed.
        threads: Threads of one simulation, of hpcq and of the others.
        samples: What was measured, by (method, workload).
    """

    repeats: int
    limit: float
    threads: int
    samples: dict[Key, Sample] = field(default_factory=dict)

    def gather(self, keys: Sequence[Key]) -> None:
        """Measure what will be compared turn by turn, so that other load hits all alike.

        A method that has failed, or has used up the time limit, is not repeated.
        """
        spent = dict.fromkeys(keys, 0.0)
        for turn in range(self.repeats):
            for key in keys:
                known = self.samples.get(key, Sample(()))
                if known.failure or spent[key] > self.limit:
                    continue
                note(f"{key[1]}: {key[0]}, {turn + 1} of {self.repeats}")
                started = time.monotonic()
                try:
                    known = Sample((*known.reports, self.child(*key)))
                except RuntimeError as error:
                    known = Sample(known.reports, str(error))
                self.samples[key] = known
                spent[key] += time.monotonic() - started

    def child(self, method: str, workload: str) -> dict[str, Any]:
        """Run measure.py once.

        Raises:
            RuntimeError: If it fails or takes too long; the message is fit for the table.
        """
        command = [sys.executable, str(_MEASURE), method, workload, str(self.threads)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.limit + _START_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"did not finish in {self.limit:g} s") from None
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise RuntimeError(f"failed: {last[0][:100]}")
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if report.get("seconds", 0.0) > self.limit:
            raise RuntimeError(f"did not finish in {self.limit:g} s")
        return report


def keys_of(workload: Workload, peers: bool) -> list[Key]:
    """Return what a workload compares, hpcq itself first."""
    keys: list[Key] = [("hpcq", workload.name)]
    keys += [(method, workload.name) for method in workload.methods if peers or method not in PEERS]
    against = workload.target.against if workload.target else None
    if against is not None and against not in workload.methods:
        keys.append(("hpcq", against))
    return keys


def rows_of(workload: Workload, samples: Mapping[Key, Sample], keys: list[Key]) -> Iterator[Row]:
    """Yield the rows of a workload, one for each method that it is compared with."""
    ours = samples[keys[0]]
    target = workload.target
    if not ours.reports:
        text = target.text if target else ""
        yield Row(workload.name, ours.failure, target=text, met=False if text else None)
        return
    best = ours.best
    shown = f"{seconds(best['seconds'])} (run alone {seconds(best['run_seconds'])})"
    if target is None or target.against is not None:
        yield Row(workload.name, shown)
    else:
        yield Row(workload.name, shown, target=target.text, met=target.met(ours.seconds))
    for key in keys[1:]:
        yield from _compared(workload, ours, samples[key], key)
    if (
        target is not None
        and target.against in PEERS
        and (target.against, workload.name) not in keys
    ):
        label = _LABELS[target.against]
        yield Row(workload.name, compared=label, other="only with --peers", target=target.text)
    if workload.memory_gib is not None:
        peak = max(report["peak_bytes"] for report in ours.reports) / 2**30
        yield Row(
            workload.name,
            f"{1024 * peak:.0f} MiB",
            "peak memory",
            target=f"at most {workload.memory_gib:g} GiB",
            met=peak <= workload.memory_gib,
        )
    said = best["cheaper_uncut"] or "nothing"
    yield Row(
        workload.name,
        said,
        "quicker uncut, says the plan",
        target=f"says {workload.advice}" if workload.advice else "",
        met=said == workload.advice if workload.advice else None,
    )


def _compared(workload: Workload, ours: Sample, other: Sample, key: Key) -> Iterator[Row]:
    method, name = key
    label = f"hpcq on {name}" if method == "hpcq" else _LABELS[method]
    promised = workload.target is not None and workload.target.against in key
    target = workload.target if promised else None
    row = Row(workload.name, seconds(ours.seconds), label, target=target.text if target else "")
    if not other.reports:
        yield replace(row, other=other.failure)
        return
    row = replace(row, other=seconds(other.seconds))
    if target is None:
        yield replace(row, ratio=faster(ours, other))
    else:
        ratio = target.ratio(ours.seconds, other.seconds)
        yield replace(row, ratio=f"{ratio:.3g}", met=target.met(ratio))
    if name == workload.name and "value" in other.best:
        difference = abs(ours.best["value"] - other.best["value"])
        yield Row(
            workload.name,
            f"{ours.best['value']:+.3e}",
            f"value: {label}",
            f"{other.best['value']:+.3e}",
            f"differ by {difference:.0e}",
            f"at most {_DIFFERENCE:g}",
            difference <= _DIFFERENCE,
        )


def process_rows(bench: Bench) -> tuple[list[Row], dict[str, Any]]:
    """Compare the whole command with the imports that it cannot do without, turn by turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.qasm"
        path.write_text(bench.child("qasm", "small")["text"], encoding="utf-8")
        labels = "".join("ABCDEFGHIJ"[block] for block in SMALL.partition)
        commands = {
            "hpcq": [
                *("-m", "hpcq", "run", str(path), "--cut-labels", labels),
                *("--observable", "Z0 Z9", "--threads", str(bench.threads)),
            ],
            "imports": ["-c", _IMPORTS],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        note(f"{_PROCESS}: {_PROCESS_REPEATS} turns")
        for _ in range(_PROCESS_REPEATS + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
                times[name].append(time.perf_counter() - start)
                if done.returncode:
                    last = (done.stderr.strip().splitlines() or ["no word"])[-1][:100]
                    return [
                        Row(_PROCESS, f"failed: {last}", target=_PROCESS_TEXT, met=False)
                    ], times
    rows = []
    for way in (min, statistics.median):
        ours, theirs = (way(times[name][1:]) for name in commands)  # the first turn fills caches
        rows.append(
            Row(
                _PROCESS,
                f"{seconds(ours)} ({way.__name__})",
                f"python -c '{_IMPORTS}'",
                seconds(theirs),
                f"{ours / theirs:.3g}",
                _PROCESS_TEXT,
                ours / theirs <= _PROCESS_BOUND,
            )
        )
    return rows, times


def faster(ours: Sample, other: Sample) -> str:
    ratio = other.seconds / ours.seconds
    return f"{ratio:.3g} times faster" if ratio >= 1 else f"{1 / ratio:.3g} times slower"


def main() -> int:
    names = [workload.name for workload in WORKLOADS] + [_PROCESS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes for each number")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one measurement")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", action="store_true", help="also measure the peers' packages")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    options = parser.parse_args()
    about = {
        "machine": machine(),
        "versions": versions((*PACKAGES, *_PEER_PACKAGES)),
        "threads": options.threads,
    }
    bench = Bench(options.repeats, options.limit, options.threads)
    rows: list[Row] = []
    chosen = {w: keys_of(w, options.peers) for w in WORKLOADS if w.name in options.only}
    for keys in chosen.values():
        bench.gather(keys)
    for workload, keys in chosen.items():
        rows += rows_of(workload, bench.samples, keys)
    turns: dict[str, Any] = {}
    if _PROCESS in options.only:
        found, turns = process_rows(bench)
        rows += found
    print(f"{about['machine']}\n{about['versions']}\nthreads: {options.threads}\n")
    print("\n".join(f"{workload.name}: {workload.about}" for workload in chosen))
    print(f"\n{table(rows)}\n")
    missed = [row for row in rows if row.met is False]
    print(f"{sum(row.met is True for row in rows)} targets met, {len(missed)} missed")
    if options.json:
        samples = {f"{method} {name}": asdict(s) for (method, name), s in bench.samples.items()}
        report = about | {
            "rows": [asdict(row) for row in rows],
            "samples": samples,
            _PROCESS: turns,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
