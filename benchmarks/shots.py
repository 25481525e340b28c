"""Compare hpcq's runs with shots with their targets.

    python benchmarks/shots.py [--only NAME ...] [--runs 1000] [--addon-python PATH]
        [--json OUT.json]

Every number comes from a fresh process: ``coverage.py`` for what takes thousands of runs, this
file itself (``--child METHOD ARGUMENTS``) for the others. This process only starts them, compares,
and prints one table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import Row, machine, note, seconds, table

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

Report = dict[str, Any]
Pair = tuple[int, int] | tuple[int, int, float]
"""Two qubits, to be joined by a CZ, or by an RZZ of an angle."""

COVERAGE = (
    "product-3-small-100",
    "product-4-small-200",
    "product-6-small-200",
    "product-6-small-1000",
    "product-3-half-8",
    "product-3-half-32",
    "product-3-half-1000",
    "product-4-sure-8",
    "product-4-sure-128",
    "product-4-sure-10000",
    "product-3-zero-1000",
    "product-5-zero-1000",
    "product-8-tenths-1000",
    "chain-8",
    "chain-100",
    "chain-10000",
    "ring-100",
    "ring-1000",
    "ghz-20",
    "ghz-1000",
    "stabilizer-100",
    "joint-parts",
    "joint-chain",
    "wire",
    "gates",
    "both",
    "general",
    "hamiltonian",
    "control",
    "joint",
    "noisy",
    "precision",
    "precision-product",
    "few",
)
ALLOCATION = ("weak-gates", "weak-general", "coefficients", "subcircuits")
ALLOCATION += ("one-cz", "two-cz", "one-wire", "few-one-cz", "few-two-cz")
ALLOCATION += ("product-3-small-100", "product-6-small-200", "product-6-small-1000", "chain-100")

_HERE = Path(__file__)
_COVERAGE = _HERE.with_name("coverage.py")
_UNEQUAL_RATIO = 2.0  # least gain in variance over uniform shots, where variants differ
_EQUAL_RATIO = 1 / 1.1**2  # the same where they do not: an error at most 1.1 times as large
_PRECISION = 1.1  # largest rms error, relative to the target error
_ADDON_RATIO = 200.0  # least gain over qiskit-addon-cutting
_ADDON_SHOTS = 1024  # shots of each of its subexperiments
_AER_SHARE = 0.85  # least share of a run's time inside Aer
_MEMORY_MIB = 500  # most memory beyond the statevector, in MiB
_REPEATS = 3  # runs, of which the fastest counts
_SIGMAS = 4  # largest deviation from the exact value, in standard errors


@dataclass(frozen=True)
class Limits:
    """Limits that error bars of a kind of case must keep.

    Attributes:
        mean_square: Largest mean square of z, the error over the standard error.
        beyond_3: Largest share of runs with z beyond 3.
        beyond_5: Largest share of runs with z beyond 5.
        median_ratio: Largest median of the standard error over the rms error.
        least_square: Smallest mean square of z.
    """

    mean_square: float = 1.7
    beyond_3: float = 0.03
    beyond_5: float = 0.005
    median_ratio: float = 3.0
    least_square: float = 0.0

    def __str__(self) -> str:
        """Return the limits as a table shows them."""
        low = f"{self.least_square:g} to " if self.least_square else "at most "
        return (
            f"{low}{self.mean_square:g}; {100 * self.beyond_3:g} and {100 * self.beyond_5:g} %; "
            f"{self.median_ratio:g}"
        )


LIMITS = {
    "mixed": Limits(),
    "linear": Limits(least_square=0.2),
    "zeros": Limits(median_ratio=4.0),
    "many": Limits(2.5, 0.05, 0.02),
}


def linked(blocks: int, width: int, links: int, angle: float | None = None) -> list[Pair]:
    """Return the pairs of a row of blocks: each block's, and links between neighbours.

    Args:
        blocks: Number of blocks.
        width: Qubits of a block.
        links: Links between two neighbouring blocks, between layers inside the blocks.
        angle: Angle of the links, which are then RZZ.
    """
    found: list[Pair] = []
    for layer in range(links + 1):
        for first in range(0, blocks * width, width):
            found += [(qubit, qubit + 1) for qubit in range(first, first + width - 1)]
        if layer < links:
            borders = range(width, blocks * width, width)
            found += [(b - 1, b) if angle is None else (b - 1, b, angle) for b in borders]
    return found


def entangled(
    num_qubits: int, pairs: Sequence[Pair], seed: int, quiet: Sequence[int] = ()
) -> QuantumCircuit:
    """Return random rotations of all qubits, and gates on pairs with new rotations after each.

    Args:
        num_qubits: Number of qubits.
        pairs: The pairs, in order.
        seed: Seed of the turns.
        quiet: Qubits that are only turned first and last.
    """
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)

    def turn(qubits: Sequence[int]) -> None:
        for qubit in qubits:
            circuit.u(*(rng.uniform(0, 2 * pi) for _ in range(3)), qubit)

    turn(range(num_qubits))
    for first, second, *angle in pairs:
        if angle:
            circuit.rzz(angle[0], first, second)
        else:
            circuit.cz(first, second)
        turn([qubit for qubit in (first, second) if qubit not in quiet])
    turn(quiet)
    return circuit


def z_on(qubits: Sequence[int], num_qubits: int) -> SparsePauliOp:
    from qiskit.quantum_info import SparsePauliOp

    return SparsePauliOp.from_sparse_list([("Z" * len(qubits), qubits, 1.0)], num_qubits)


def row_of_five() -> tuple[QuantumCircuit, SparsePauliOp, str]:
    """Return five blocks of three qubits with four CZ between them."""
    circuit = entangled(15, linked(5, 3, 1), 22)
    return circuit, z_on((0, 4, 8, 11, 14), 15), "AAABBBCCCDDDEEE"


def addon() -> Report:
    """Run qiskit-addon-cutting with all quasi-probability terms on Aer's sampler.

    Its estimate is a weighted sum of products of means of signs, every one from shots of its own;
    so its variance follows from their exact values. They are computed after the clock has stopped.
    """
    import numpy as np
    from qiskit.quantum_info import PauliList
    from qiskit_addon_cutting import (
        generate_cutting_experiments,
        partition_problem,
        reconstruct_expectation_values,
    )
    from qiskit_aer.primitives import SamplerV2

    circuit, observable, partition = row_of_five()
    start = time.perf_counter()
    problem = partition_problem(circuit, partition, observables=PauliList(observable.paulis))
    experiments, weights = generate_cutting_experiments(
        problem.subcircuits, problem.subobservables, num_samples=np.inf
    )
    sampler = SamplerV2()
    results = {
        label: sampler.run(circuits, shots=_ADDON_SHOTS).result()
        for label, circuits in experiments.items()
    }
    sampled = time.perf_counter()
    terms = reconstruct_expectation_values(results, weights, problem.subobservables)
    end = time.perf_counter()
    means = np.array([_mean_signs(circuits) for circuits in experiments.values()])
    coefficients = np.array([weight for weight, _ in weights])
    squares = means**2 + (1 - means**2) / _ADDON_SHOTS
    variance = coefficients**2 @ (squares.prod(axis=0) - means.prod(axis=0) ** 2)
    number = sum(map(len, experiments.values()))
    return {
        "seconds": end - start,
        "reconstruction_seconds": end - sampled,
        "value": float(terms[0]),
        "exact": float(coefficients @ means.prod(axis=0)),
        "error": float(variance**0.5),
        "circuits": number,
        "shots": number * _ADDON_SHOTS,
    }


def _mean_signs(circuits: Sequence[QuantumCircuit]) -> list[float]:
    """Return the exact mean of each circuit's sign, the parity of all of its bits."""
    from qiskit_addon_cutting.utils.simulation import ExactSampler

    keys = [
        str([(i.name, i.params, [c.find_bit(q).index for q in i.qubits]) for i in c.data])
        for c in circuits
    ]
    distinct = dict(zip(keys, circuits, strict=True))
    found = ExactSampler().run(list(distinct.values())).result().quasi_dists
    means = {
        key: sum(chance * (-1) ** int(outcome).bit_count() for outcome, chance in chances.items())
        for key, chances in zip(distinct, found, strict=True)
    }
    return [means[key] for key in keys]


def hpcq_addon(how: str) -> Report:
    """Plan and run with hpcq what :func:`addon` does; nothing is warmed up but the imports."""
    import hpcq

    circuit, observable, partition = row_of_five()
    _ = hpcq.plan, hpcq.run
    start = time.perf_counter()
    plan = hpcq.plan(circuit, observable, cut_labels=partition, **json.loads(how))
    result = hpcq.run(plan, device="cpu")
    return _told(result, plan, time.perf_counter() - start)


def aer_share(blocks: str) -> Report:
    """Run blocks of 12 qubits in a row, and sum the time that Aer reports."""
    from qiskit_aer import AerSimulator

    import hpcq

    inside = {"time_taken": 0.0, "execute": 0.0}
    execute = AerSimulator._execute_circuits_job

    def timed(*arguments: Any, **options: Any) -> Any:
        output = execute(*arguments, **options)
        inside["time_taken"] += output["time_taken"]
        inside["execute"] += output["metadata"]["time_taken_execute"]
        return output

    hpcq.run(_tiny(), device="cpu")
    AerSimulator._execute_circuits_job = timed
    number = int(blocks)
    width = 12 * number
    links, variants = {2: (2, 25 + 25), 3: (1, 5 + 25 + 5)}[number]
    circuit = entangled(width, linked(number, 12, links), 11)
    plan = hpcq.plan(
        circuit,
        z_on(range(0, width, 4), width),
        cut_labels="".join(letter * 12 for letter in "ABC"[:number]),
        shots=10_000 * variants,
    )
    start = time.perf_counter()
    result = hpcq.run(plan, device="cpu")
    return _told(result, plan, time.perf_counter() - start) | inside


def memory() -> Report:
    """Run subcircuits of 10 qubits with 5 cut gates, 1000 shots for each of their variants."""
    import resource

    import hpcq

    hpcq.run(_tiny(), device="cpu")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pairs = [*linked(2, 10, 0), *((5 + link, 10 + link) for link in range(5)), *linked(2, 10, 0)]
    circuit = entangled(20, pairs, 13)
    observable = z_on(range(20), 20)
    start = time.perf_counter()
    plan = hpcq.plan(circuit, observable, cut_labels="A" * 10 + "B" * 10, shots=1000 * 2 * 5**5)
    result = hpcq.run(plan, device="cpu")
    end = time.perf_counter()
    unit = 1 if sys.platform == "darwin" else 1024
    widest = max(tensor.simulated_qubits for tensor in plan.sampling.sources.tensors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _told(result, plan, end - start) | {
        "before_bytes": before * unit,
        "peak_bytes": peak * unit,
        "statevector_bytes": 16 << widest,
    }


def _tiny() -> Any:
    """Plan a small circuit, so that everything is loaded before a measurement."""
    import hpcq

    return hpcq.plan(entangled(4, linked(2, 2, 1), 1), ["Z0 Z3"], cut_labels="AABB", shots=1000)


def _told(result: Any, plan: Any, elapsed: float) -> Report:
    """Return the numbers of a run for the report."""
    return {
        "variants": [tensor.num_variants for tensor in plan.sampling.sources.tensors],
        "seconds": elapsed,
        "value": float(result.expectation_values[0]),
        "error": float(result.standard_errors[0]),
        "shots": result.provenance["shots"],
        "rounds": result.provenance["rounds"],
        "phases": result.provenance["seconds"],
    }


CHILDREN: dict[str, Callable[..., Report]] = {
    "addon": addon,
    "hpcq": hpcq_addon,
    "aer-share": aer_share,
    "memory": memory,
}


@dataclass
class Bench:
    """Starts measurements, keeps what they report, and compares it.

    Attributes:
        runs: Runs of a circuit whose error bars are held against their spread; four times as many
            where two spreads are compared.
        jobs: Processes at a time where no time is measured.
        addon_python: Interpreter that has qiskit-addon-cutting; None to leave it out.
        reports: What every child reported, by its arguments.
    """

    runs: int
    jobs: int
    addon_python: str | None
    reports: dict[str, Report] = field(default_factory=dict)

    def child(self, *arguments: str, python: str = sys.executable) -> Report:
        """Run a method of this file, or of coverage.py, in a process of its own.

        Raises:
            RuntimeError: If it fails; the message is fit for the table.
        """
        many = arguments[0] in ("coverage", "allocation")
        command = [str(_COVERAGE)] if many else [str(_HERE), "--child"]
        note(" ".join(arguments))
        done = subprocess.run([python, *command, *arguments], capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise RuntimeError(f"failed: {last[0][:100]}")
        report: Report = json.loads(done.stdout.splitlines()[-1])
        self.reports.setdefault(" ".join(arguments), report)
        return report

    def quickest(self, *arguments: str) -> Report:
        """Run a method several times, and return the fastest run."""
        return min(
            (self.child(*arguments) for _ in range(_REPEATS)), key=lambda run: run["seconds"]
        )

    def many(self, method: str, cases: Sequence[str], runs: int) -> list[Report]:
        """Run cases of coverage.py."""
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(lambda case: self.child(method, case, str(runs)), cases))

    def coverage(self) -> Iterator[Row]:
        """Compare standard errors with the true errors, run by run."""
        for case, measured in zip(
            COVERAGE, self.many("coverage", COVERAGE, self.runs), strict=True
        ):
            limits = LIMITS[measured["kind"]]
            met = (
                limits.least_square <= measured["mean_square"] <= limits.mean_square
                and measured["beyond_3"] <= limits.beyond_3
                and measured["beyond_5"] <= limits.beyond_5
                and measured["median_ratio"] <= limits.median_ratio
                and (measured["over_precision"] or 0) <= _PRECISION
            )
            beyond = f"{100 * measured['beyond_3']:.1f} and {100 * measured['beyond_5']:.2f} %"
            ratio = f"standard error {measured['median_ratio']:.2f} of the rms error"
            if measured["over_precision"]:
                ratio += f", that {measured['over_precision']:.2f} of the precision"
            yield Row(
                f"coverage, {case}",
                f"{measured['mean_square']:.2f}",
                "mean square of z; beyond 3 and 5",
                beyond,
                f"{ratio}, bias {measured['bias']:+.1f}",
                str(limits),
                met,
            )

    def allocation(self) -> Iterator[Row]:
        """Compare the variance of adaptive rounds with that of one round, spread evenly."""
        found = self.many("allocation", ALLOCATION, 4 * self.runs)
        for case, measured in zip(ALLOCATION, found, strict=True):
            least = _UNEQUAL_RATIO if measured["unequal"] else _EQUAL_RATIO
            more = f"at least {least:g} times less variance"
            yield Row(
                f"allocation, {case}",
                f"{measured['spread']:.3g}",
                "spread, shots spread evenly",
                f"{measured['uniform_spread']:.3g}",
                f"{measured['ratio']:.2f} ± {measured['ratio_error']:.2f} times less variance",
                more if measured["unequal"] else "at most 1.1 times the error",
                measured["ratio"] >= least,
            )

    def addon(self) -> Iterator[Row]:
        """Compare with qiskit-addon-cutting: the time at equal errors, the error at equal shots."""
        target = f"at least {_ADDON_RATIO:g} times faster"
        label = "qiskit-addon-cutting, all terms"
        if self.addon_python is None:
            yield Row("addon", compared=label, other="only with --addon-python", target=target)
            return
        other = self.child("addon", python=self.addon_python)
        ours = self.quickest("hpcq", json.dumps({"target_error": other["error"]}))
        ratio = other["seconds"] / ours["seconds"]
        yield Row(
            "addon, equal standard error",
            f"{seconds(ours['seconds'])} ({ours['shots']} shots, error {ours['error']:.2g})",
            label,
            f"{seconds(other['seconds'])} ({other['shots']} shots, error {other['error']:.2g})",
            f"{ratio:.3g} times faster",
            target,
            ratio >= _ADDON_RATIO,
        )
        ours = self.quickest("hpcq", json.dumps({"shots": other["shots"]}))
        yield Row(
            "addon, equal shots",
            f"error {ours['error']:.2g} ({seconds(ours['seconds'])})",
            label,
            f"error {other['error']:.2g} ({seconds(other['seconds'])})",
            f"{(other['error'] / ours['error']) ** 2:.3g} times less variance",
        )
        sigmas = abs(ours["value"] - other["exact"]) / ours["error"]
        yield Row(
            "addon, value",
            f"{ours['value']:.5f} ± {ours['error']:.5f}",
            "its exact probabilities",
            f"{other['exact']:.5f}",
            f"{sigmas:.1f} standard errors off",
            f"at most {_SIGMAS}",
            sigmas <= _SIGMAS,
        )

    def aer_share(self) -> Iterator[Row]:
        """Report the share of a run that is inside Aer."""
        for blocks in ("2", "3"):
            ours = self.quickest("aer-share", blocks)
            share, core = (ours[name] / ours["seconds"] for name in ("time_taken", "execute"))
            yield Row(
                f"aer-share, {blocks} blocks of 12",
                seconds(ours["seconds"]),
                "inside Aer, by its own account",
                seconds(ours["time_taken"]),
                f"{100 * share:.1f} % (its C++ part {100 * core:.1f} %)",
                f"at least {100 * _AER_SHARE:g} %",
                share >= _AER_SHARE,
            )

    def memory(self) -> Iterator[Row]:
        """Report the memory that thousands of variants take."""
        ours = self.child("memory")
        more = ours["peak_bytes"] - ours["before_bytes"] - ours["statevector_bytes"]
        yield Row(
            f"memory, {max(ours['variants'])} variants a subcircuit",
            f"{more >> 20} MiB ({seconds(ours['seconds'])}, {ours['shots']} shots)",
            "peak beyond imports and statevector",
            f"{ours['before_bytes'] >> 20} MiB before",
            target=f"at most {_MEMORY_MIB} MiB",
            met=more <= _MEMORY_MIB << 20,
        )


MEASUREMENTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "coverage": Bench.coverage,
    "allocation": Bench.allocation,
    "addon": Bench.addon,
    "aer-share": Bench.aer_share,
    "memory": Bench.memory,
}


def main() -> int:
    from hpcq.core.version import PACKAGES, versions

    names = list(MEASUREMENTS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--runs", type=int, default=1000, help="of one circuit, for its spread")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--addon-python", metavar="PATH", help="has qiskit-addon-cutting")
    parser.add_argument("--json", type=Path, metavar="OUT.json")
    options = parser.parse_args()
    about = {"machine": machine(), "versions": versions(PACKAGES), "runs": options.runs}
    bench = Bench(options.runs, options.jobs, options.addon_python)
    rows: list[Row] = []
    for name in options.only:
        try:
            rows += MEASUREMENTS[name](bench)
        except RuntimeError as error:
            rows.append(Row(name, str(error), target="to be measured", met=False))
    print(f"{about['machine']}\n{about['versions']}\n\n{table(rows)}\n")
    missed = [row for row in rows if row.met is False]
    print(f"{sum(row.met is True for row in rows)} targets met, {len(missed)} missed")
    if options.json:
        report = about | {"rows": [asdict(row) for row in rows], "reports": bench.reports}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        method, *rest = sys.argv[2:]
        print(json.dumps(CHILDREN[method](*rest)))
        sys.exit(0)
    sys.exit(main())
