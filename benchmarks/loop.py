"""Loops through Qiskit's interfaces, under ``hpcq exec``, against programs alone.

    python benchmarks/loop.py [--ranks 1 3] [--evaluations 105] [--repeats 3] [--json OUT.json]

It starts MPI jobs in which ``hpcq exec`` runs this script. A job measures VQE by
qiskit-algorithms with exact gradients, the same evaluations by a program, the overhead of a single
call of an Estimator, and what the other ranks take while the script does something else. Times are
CPU times of rank 0, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from farm import launcher
from program_circuits import ANSATZES, Ansatz
from report import Row, machine, seconds, table

from hpcq.core.version import PACKAGES, versions

_WORKLOAD = "vqe-24-2x12"
_EVALUATIONS = 105
_MAX_RATIO, _MAX_OVERHEAD, _MAX_IDLE = 1.5, 2e-3, 0.05
"""Targets: the loop in multiples of the program's time, seconds of a call beyond the program's, and
the share of a core that a waiting rank takes."""

_IDLE_SECONDS, _SETTLE_SECONDS = 5.0, 0.5
_CALLS = 40
"""Calls of an Estimator and of a program in turn, the fastest of which are compared."""

_LIMIT_SECONDS = 600.0
"""Wall time after which a job is given up."""

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def taken(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call and what it returns."""
    start = time.process_time()
    answer = call()
    return time.process_time() - start, answer


def loop(ansatz: Ansatz, evaluations: int) -> dict[str, float]:
    """Measure VQE, with and without planning, and the program at the same points.

    Raises:
        RuntimeError: If the energies differ.
    """
    from qiskit_algorithms import VQE
    from qiskit_algorithms.optimizers import L_BFGS_B

    import hpcq
    from hpcq.primitives import Estimator, EstimatorGradient

    circuit, energy = ansatz.build(), ansatz.energy()
    start = ansatz.rows(1, circuit.num_parameters)[0]
    points: list[np.ndarray] = []
    found: list[float] = []

    class Noting(Estimator):
        """Notes the points and the energies of VQE, whose callback does not know the points."""

        def run(self, pubs: Any, *, precision: float | None = None) -> Any:
            job = super().run(pubs, precision=precision)
            points.append(np.array(pubs[0][2]).ravel())
            found.append(job.result()[0].data.evs.item())
            return job

    how: dict[str, Any] = {"cut_labels": ansatz.cut_labels, "threads": 1}
    estimator = Noting(**how)
    planned, _ = taken(lambda: estimator.run([(circuit, energy, start + 1)]).result())
    points.clear()
    found.clear()
    gradient = EstimatorGradient(estimator)
    optimizer = L_BFGS_B(maxfun=evaluations - 1, maxiter=evaluations)  # it takes one more
    vqe = VQE(estimator, circuit, optimizer, gradient=gradient, initial_point=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of SciPy, for qiskit-algorithms
        by_vqe, result = taken(lambda: vqe.compute_minimum_eigenvalue(energy))
    if result.optimizer_result.njev != result.optimizer_result.nfev:
        raise RuntimeError("the optimizer had other numbers of energies and gradients")
    plan = hpcq.plan(circuit, energy, **how)
    program = plan.compile()
    _ = program.values(start + 1)

    def replay() -> list[float]:
        values = []
        for point in points:
            values.append(float(program.values(point)[0, 0]))
            _ = program.values_and_gradients(point)
        return values

    by_program, expected = taken(replay)
    if not np.allclose(found, expected, rtol=0, atol=1e-12):
        raise RuntimeError("the energies of VQE are not those of the program")
    return {
        "evaluations": len(points),
        "planned": planned,
        "vqe": by_vqe,
        "program": by_program,
        "overhead": _overhead(Estimator(**how), program, circuit, energy),
    }


def _overhead(estimator: Any, program: Any, circuit: Any, energy: Any) -> float:
    """Return the CPU seconds by which a call of an Estimator exceeds one of its program."""
    rng = np.random.default_rng(7)
    calls: list[float] = []
    alone: list[float] = []
    for _ in range(_CALLS):
        first, second = rng.uniform(-3, 3, (2, program.num_parameters))
        calls.append(taken(lambda at=first: estimator.run([(circuit, energy, at)]).result())[0])
        alone.append(taken(lambda at=second: program.values(at))[0])
    return min(calls) - min(alone)


def idle_shares() -> list[float]:
    """Return the shares of a core that the other ranks take while rank 0 sleeps (Linux only)."""
    others = [pid for pid in _siblings() if pid != os.getpid()]
    time.sleep(_SETTLE_SECONDS)
    before = list(map(_cpu_seconds, others))
    start = time.perf_counter()
    time.sleep(_IDLE_SECONDS)
    passed = time.perf_counter() - start
    return [(_cpu_seconds(pid) - old) / passed for pid, old in zip(others, before, strict=True)]


def _siblings() -> list[int]:
    """Return the processes that the parent of this one has started: the ranks of this node."""
    threads = Path(f"/proc/{os.getppid()}/task")
    return [
        int(pid) for each in threads.iterdir() for pid in (each / "children").read_text().split()
    ]


def _cpu_seconds(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def on_this_job(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything on the ranks of this job."""
    ansatz = next(each for each in ANSATZES if each.name == options.workload)
    turns = [loop(ansatz, options.evaluations) for _ in range(options.repeats)]
    best = {name: min(turn[name] for turn in turns) for name in turns[0]}
    return best | {"idle": idle_shares() if options.ranks[0] > 1 else []}


def on_ranks(ranks: int, options: argparse.Namespace) -> dict[str, Any]:
    """Start a job under the launcher, and return its report.

    Raises:
        RuntimeError: If it fails.
    """
    mpirun = launcher()
    if mpirun is None:
        raise RuntimeError("mpirun: not found; pip install 'hpcq[mpich]'")
    command = [mpirun, "-n", str(ranks), sys.executable, "-m", "hpcq", "exec", __file__, "--job"]
    command += ["--ranks", str(ranks), "--workload", options.workload]
    command += ["--evaluations", str(options.evaluations), "--repeats", str(options.repeats)]
    environment = {**os.environ, **_ONE_THREAD}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=_LIMIT_SECONDS, env=environment
    )
    reports = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not reports:
        raise RuntimeError(f"{ranks} ranks: exit code {done.returncode}")
    report: dict[str, Any] = json.loads(reports[-1])
    return report


def rows_of(ranks: int, report: dict[str, Any], workload: str) -> list[Row]:
    """Return the lines of the table of one job."""
    name = f"{workload}, {ranks} rank{'s' * (ranks > 1)}"
    ratio = report["vqe"] / report["program"]
    rows = [
        Row(
            f"{name}, VQE of {report['evaluations']} evaluations",
            seconds(report["vqe"]),
            "the program at the same points",
            seconds(report["program"]),
            f"{ratio:.2f} times as long",
            f"at most {_MAX_RATIO:g}",
            ratio <= _MAX_RATIO,
        ),
        Row(f"{name}, its plan, and the first call", seconds(report["planned"])),
        Row(
            f"{name}, a call of an Estimator",
            compared="its program",
            ratio=f"{seconds(report['overhead'])} longer",
            target=f"at most {seconds(_MAX_OVERHEAD)}",
            met=report["overhead"] <= _MAX_OVERHEAD,
        ),
    ]
    for share in report["idle"]:
        rows.append(
            Row(
                f"{name}, a rank that waits",
                f"{100 * share:.1f} % of a core",
                target=f"at most {100 * _MAX_IDLE:g} %",
                met=share <= _MAX_IDLE,
            )
        )
    return rows


def main() -> int:
    """Measure all sizes of job, print the table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--workload", choices=[a.name for a in ANSATZES], default=_WORKLOAD)
    parser.add_argument("--evaluations", type=int, default=_EVALUATIONS)
    parser.add_argument("--repeats", type=int, default=3, help="turns of a job; the best counts")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(on_this_job(options)))
        return 0
    about = {"machine": machine(), "versions": versions(PACKAGES)}
    reports = {ranks: on_ranks(ranks, options) for ranks in options.ranks}
    rows = [row for each in reports.items() for row in rows_of(*each, options.workload)]
    about["load at the end"] = machine()["load"]
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    print(f"\n{table(rows)}")
    if options.json:
        written = about | {"reports": reports, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
