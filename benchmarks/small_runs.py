"""Plans and runs a circuit of four qubits again and again, against Aer on the uncut circuit.

Everything is imported, and both have run before: what remains is the overhead of a run, which
counts in loops of thousands of small circuits. Both alternate, and the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator

import hpcq

MAX_RATIO = 10.0
"""Target: plan and run together take at most so many times what Aer takes."""


def circuit_of_four() -> QuantumCircuit:
    """Return four qubits in a row, each gate between the halves cut."""
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(0.3 + qubit / 7, qubit)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    return circuit


def main() -> int:
    """Measure, print one line, and return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="default: 200")
    parser.add_argument("--json", type=Path, help="also write the seconds to a file")
    options = parser.parse_args()
    circuit = circuit_of_four()
    labels = {"ZIIZ": "Z0 Z3", "IIXI": "X1"}
    saving = circuit.copy()
    for label in labels:
        saving.save_expectation_value(SparsePauliOp(label), range(4), label=label)
    simulator = AerSimulator(method="statevector", max_parallel_threads=1)

    def uncut() -> list[float]:
        data = simulator.run(saving).result().data(0)
        return [float(data[label]) for label in labels]

    seconds: dict[str, list[float]] = {"aer": [], "plan": [], "run": []}
    with hpcq.Session() as session:
        for repeat in range(options.repeats + 5):
            start = time.perf_counter()
            truth = uncut()
            simulated = time.perf_counter()
            plan = hpcq.plan(circuit, list(labels.values()), cut_labels="AABB", threads=1)
            planned = time.perf_counter()
            result = session.run(plan, device="cpu")
            end = time.perf_counter()
            if abs(result.expectation_values - truth).max() > 1e-10:
                raise SystemExit(f"wrong: {result.expectation_values}, expected {truth}")
            if repeat >= 5:  # the first are slower: imports, and the first use of each library
                seconds["aer"].append(simulated - start)
                seconds["plan"].append(planned - simulated)
                seconds["run"].append(end - planned)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = (medians["plan"] + medians["run"]) / medians["aer"]
    print(
        f"Aer {1e3 * medians['aer']:.2f} ms, plan {1e3 * medians['plan']:.2f} ms, "
        f"run {1e3 * medians['run']:.2f} ms: {ratio:.1f} times, target {MAX_RATIO:g}"
    )
    if options.json is not None:
        options.json.write_text(json.dumps({"medians": medians, "seconds": seconds}))
    return int(ratio > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
