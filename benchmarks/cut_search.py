"""Measure hpcq's search for cuts against its targets and against other packages' searches.

    python benchmarks/cut_search.py [--only NAME ...] [--peers] [--json OUT.json]

Every search is a fresh process (finders.py). What the others find is written in hpcq's numbering
and costed by hpcq, with the same memory and threads, so that one number compares all.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from circuits import CASES, Case
from report import Row, grid, machine, note, seconds, table

from hpcq.core.version import PACKAGES, versions

Found = dict[str, Any]
"""What a child reported, or ``failure``: why there is nothing."""

OVERHEAD = "hpcq, overhead"
SECONDS = "hpcq, seconds"
ASKED = "hpcq, few qubits"
FIND_CUTS = "find_cuts"
QCUT = "QCut"

_FINDERS = Path(__file__).with_name("finders.py")
_START_SECONDS = 15.0
_HPCQ_SECONDS = 300.0
_RESTARTS = 2000
_DIFFERENCE = 1e-6
_MEMORY_GIB = 16
_MAX_PLAN_SECONDS = 3.0
"""Maximum CPU seconds of a plan beyond the predicted run: the default budget of a search."""

_MAX_PLANNED_QUBITS = 200
"""Qubits up to which plans have to keep to that; cutting wider circuits takes longer in itself."""

_NO_LIMIT = 1 << 500
"""Bytes: even the tensors of a hundred cut gates are costed, not refused."""


@dataclass(frozen=True)
class Promise:
    """Targets of hpcq's search for one circuit.

    Attributes:
        objective: Objective of the search.
        cuts: Maximum number of cuts, gates and wires together; None for no target.
        limit: Maximum seconds of the search.
        subcircuits: Required number of subcircuits; None for any number.
        run: Maximum predicted seconds of the run; None for no target.
    """

    objective: str
    cuts: int | None = None
    limit: float | None = None
    subcircuits: int | None = None
    run: float | None = None

    @property
    def text(self) -> str:
        """The promise in words."""
        words = []
        if self.cuts is not None:
            words.append(f"at most {self.cuts} cuts")
        if self.subcircuits is not None:
            words.append(f"{self.subcircuits} parts")
        if self.run is not None:
            words.append(f"a run of at most {self.run:g} s")
        if self.limit is not None:
            words.append(f"in {self.limit:g} s")
        return ", ".join(words)

    def met(self, found: Found) -> bool:
        """Whether it is kept."""
        return (
            "failure" not in found
            and (self.cuts is None or found["gate_cuts"] + found["wire_cuts"] <= self.cuts)
            and (self.subcircuits is None or found["subcircuits"] == self.subcircuits)
            and (self.run is None or found["predicted_seconds"] <= self.run)
            and (self.limit is None or found["seconds"] <= self.limit)
        )


PROMISES: dict[str, Promise] = {
    "regular-50-a": Promise(OVERHEAD, 9, 3.0, 2),
    "regular-50-b": Promise(OVERHEAD, 9, 3.0, 2),
    "regular-50-c": Promise(OVERHEAD, 9, 3.0, 2),
    "regular-100-a": Promise(OVERHEAD, 14, 5.0, 2),
    "regular-100-b": Promise(OVERHEAD, 12, 5.0, 2),
    "grid-1": Promise(OVERHEAD, 5),
    "grid-2": Promise(OVERHEAD, 10),
    "eagle-3": Promise(ASKED, limit=20.0),
    "wall-1000": Promise(ASKED, limit=60.0),
    "dense-10": Promise(ASKED, run=0.35),
    "dense-20": Promise(ASKED, run=0.35),
}


@dataclass(frozen=True)
class Search:
    """Runs searches in processes of their own.

    Attributes:
        seed: Seed of every search.
        search_seconds: What hpcq's search may take; None for its default.
        peer_seconds: Seconds after which another package's search is killed.
        memory_gib: Memory limit of a plan; the others' cuts have none.
        threads: Threads that costs are predicted for.
        qcut_python: The interpreter that has QCut.
    """

    seed: int
    search_seconds: float | None
    peer_seconds: float
    memory_gib: int
    threads: int
    qcut_python: str = field(repr=False)

    def job(self, case: Case) -> Found:
        """Return a case as the input of a child process."""
        from hpcq.circuits.normalise import normalise

        circuit = normalise(case.build())
        index = {qubit: place for place, qubit in enumerate(circuit.qubits)}
        return {
            "num_qubits": circuit.num_qubits,
            "gates": [
                [
                    instruction.operation.name,
                    [float(value) for value in instruction.operation.params],
                    [index[qubit] for qubit in instruction.qubits],
                ]
                for instruction in circuit.data
            ],
            "max_qubits": case.max_qubits,
            "observables": "X" * circuit.num_qubits,
            "few": case.observables,
            "seed": self.seed,
            "memory": self.memory_gib << 30,
            "threads": self.threads,
        }

    def search_own(self, job: Found, finder: str) -> Found:
        """Search with hpcq."""
        objective = "overhead" if finder == OVERHEAD else "seconds"
        options = {"objective": objective, "search_seconds": self.search_seconds}
        if finder == ASKED:
            options["observables"] = job["few"]
        found = child("hpcq", job | options, _HPCQ_SECONDS)
        if "MemoryLimitError" in found.get("failure", ""):
            options["memory"] = _NO_LIMIT
            found = child("hpcq", job | options, _HPCQ_SECONDS) | {"beyond_memory": True}
        return found

    def peer(self, job: Found, name: str) -> Found:
        """Search with another package, and predict the cost of its cuts with hpcq."""
        if name == QCUT:
            found = child("qcut", job, self.peer_seconds, self.qcut_python)
        else:
            found = child("find_cuts", job, self.peer_seconds)
        if "failure" in found:
            return found
        cost = child("cost", job | {"cuts": found["cuts"], "memory": _NO_LIMIT}, _HPCQ_SECONDS)
        if "failure" in cost:
            cuts = found["cuts"]
            counts = {"gate_cuts": len(cuts["gate_cuts"]), "wire_cuts": len(cuts["wire_cuts"])}
            return found | counts | {"not_costed": cost["failure"]}
        cost["costing_seconds"] = cost.pop("seconds")
        return found | cost


def child(finder: str, job: Found, limit: float, python: str = sys.executable) -> Found:
    """Run finders.py once."""
    try:
        done = subprocess.run(
            [python, str(_FINDERS), finder],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=limit + _START_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"gave up after {limit:g} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"failure": f"failed: {last[0][:200]}"}
    found: Found = json.loads(done.stdout.splitlines()[-1])
    if found["seconds"] > limit:
        return {"failure": f"gave up after {limit:g} s"}
    return found


def cells(case: Case, finder: str, found: Found) -> list[str]:
    """Return the cells of a search; a width beyond the limit is marked."""
    if "failure" in found:
        return [case.name, finder, found["failure"], *[""] * 6]
    name = f"{finder} (!)" if found.get("beyond_memory") else finder
    shown = [case.name, name, str(found["gate_cuts"]), str(found["wire_cuts"])]
    if "not_costed" in found:
        return [*shown, "", "", "", found["not_costed"], seconds(found["seconds"])]
    wide = " (!)" if found["widest"] > case.max_qubits else ""
    return [
        *shown,
        str(found["subcircuits"]),
        f"{found['widest']}{wide}",
        f"{found['log10_overhead']:.2f}",
        f"{found['predicted_seconds']:.3g}",
        seconds(found["seconds"]),
    ]


def rows_of(case: Case, found: dict[str, Found]) -> Iterator[Row]:
    """Yield the rows that compare hpcq with its targets and the others on a case."""
    promise = PROMISES.get(case.name)
    if promise is not None:
        ours = found[promise.objective]
        text = ours.get("failure") or (
            f"{ours['gate_cuts']} + {ours['wire_cuts']} cuts, {ours['subcircuits']} parts, "
            f"{seconds(ours['seconds'])}"
        )
        best = found.get("bisection", {}).get("cuts")
        yield Row(
            case.name,
            text,
            promise.objective if best is None else f"best of {_RESTARTS} Kernighan-Lin",
            "" if best is None else f"{best} cuts",
            target=promise.text,
            met=promise.met(ours),
        )
    for finder in (SECONDS, ASKED):
        if "failure" not in found[finder]:
            yield _planned(case, found[finder], finder)
    for objective in (OVERHEAD, SECONDS):
        ours = found[objective]
        if ours.get("widest", case.max_qubits + 1) > case.max_qubits:
            text = ours.get("failure") or f"{ours['widest']} qubits"
            target = f"at most {case.max_qubits} qubits"
            yield Row(case.name, text, objective, target=target, met=False)
    ours = found[SECONDS]
    for finder in (FIND_CUTS, QCUT):
        if finder in found and "failure" not in ours:
            yield _compared(case, ours["predicted_seconds"], found[finder], finder)
    ours = found[OVERHEAD]
    for finder in (FIND_CUTS, QCUT):
        if "failure" not in ours and "log10_overhead" in found.get(finder, {}):
            own_overhead, theirs = ours["log10_overhead"], found[finder]["log10_overhead"]
            yield Row(
                case.name,
                f"{own_overhead:.2f}",
                f"log10 γ², {finder}",
                f"{theirs:.2f}",
                f"10^{own_overhead - theirs:+.2f}",
            )


def _planned(case: Case, ours: Found, finder: str) -> Row:
    """Return the row that compares the CPU time of a plan with the predicted run."""
    plan, run = ours["cpu_seconds"], ours["predicted_seconds"]
    row = Row(case.name, f"{seconds(plan)} CPU", f"predicted run, {finder}", f"{run:.3g} s")
    row = replace(row, ratio=f"{plan - run:+.2g} s")
    if ours["qubits"] > _MAX_PLANNED_QUBITS or ours.get("beyond_memory"):
        return row
    target = f"at most {_MAX_PLAN_SECONDS:g} s longer"
    return replace(row, target=target, met=plan - run <= _MAX_PLAN_SECONDS)


def _compared(case: Case, ours: float, other: Found, finder: str) -> Row:
    row = Row(case.name, f"{ours:.3g} s", f"predicted run, {finder}")
    if "predicted_seconds" not in other:
        return replace(row, other=other.get("failure") or other["not_costed"])
    theirs = other["predicted_seconds"]
    row = replace(row, other=f"{theirs:.3g} s", ratio=f"{ours / theirs:.3g}")
    if finder == QCUT or other["widest"] > case.max_qubits:
        return row
    return replace(row, target="at most 1", met=ours <= theirs * (1 + _DIFFERENCE))


def main() -> int:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--peers", action="store_true", help="also search with the peers' packages")
    parser.add_argument("--peer-seconds", type=float, default=60.0, help="limit of a peer's search")
    parser.add_argument("--qcut-python", metavar="PATH", help="interpreter that has QCut")
    parser.add_argument("--search-seconds", type=float, help="what hpcq's search may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory-gib", type=int, default=_MEMORY_GIB, help="of a plan")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    options = parser.parse_args()
    peers = []
    if options.peers and importlib.util.find_spec("qiskit_addon_cutting"):
        peers.append(FIND_CUTS)
    if options.peers and (options.qcut_python or importlib.util.find_spec("QCut")):
        peers.append(QCUT)
    search = Search(
        options.seed,
        options.search_seconds,
        options.peer_seconds,
        options.memory_gib,
        options.threads,
        options.qcut_python or sys.executable,
    )
    about = {
        "machine": machine(),
        "versions": versions((*PACKAGES, "qiskit-addon-cutting", "networkx")),
        "search": {name: value for name, value in asdict(search).items() if name != "qcut_python"},
    }
    results: dict[str, dict[str, Found]] = {}
    lines = [
        ["circuit", "finder", "gates", "wires", "parts", "widest", "log10 γ²", "run, s", "search"]
    ]
    rows: list[Row] = []
    for case in CASES:
        if case.name not in options.only:
            continue
        note(case.name)
        job = search.job(case)
        found = {finder: search.search_own(job, finder) for finder in (OVERHEAD, SECONDS, ASKED)}
        found |= {peer: search.peer(job, peer) for peer in peers}
        lines += [cells(case, finder, report) for finder, report in found.items()]
        if case.name in PROMISES and case.edges is not None and case.name.startswith("regular"):
            found["bisection"] = child("bisection", job | {"restarts": _RESTARTS}, _HPCQ_SECONDS)
        results[case.name] = found
        rows += rows_of(case, found)
    print(f"{about['machine']}\n{about['versions']}\n{about['search']}\n")
    print(f"{grid(lines)}\n\n{table(rows)}\n")
    missed = [row for row in rows if row.met is False]
    print(f"{sum(row.met is True for row in rows)} targets met, {len(missed)} missed")
    if options.json:
        report = about | {"rows": [asdict(row) for row in rows], "results": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
