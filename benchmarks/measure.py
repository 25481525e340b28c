"""One measurement in a process of its own: ``python measure.py METHOD WORKLOAD THREADS``.

The runner starts it afresh for every number, so that memory and warm-up are those of a user.
Each method imports what it needs, does one tiny run, then takes the time of the real one. The last
line on stdout is a JSON object with ``seconds``, ``value`` and ``peak_bytes``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from workloads import SMALL, WORKLOADS, Blocks, Workload, z_string

Report = dict[str, Any]

_TINY = Workload("tiny", Blocks(3, 2, 2, 1, "line", 0), z_string(6, 3))


def hpcq_run(workload: Workload, threads: int) -> Report:
    """Plan and run with hpcq."""
    import hpcq

    circuit, observable = workload.blocks.circuit(), workload.observable()
    start = time.perf_counter()
    plan = hpcq.plan(circuit, observable, cut_labels=workload.blocks.partition, threads=threads)
    planned = time.perf_counter()
    result = hpcq.run(plan)
    end = time.perf_counter()
    return {
        "seconds": end - start,
        "run_seconds": end - planned,
        "value": float(result.expectation_values[0]),
        "cheaper_uncut": plan.cost.cheaper_uncut,
        "predicted_seconds": plan.cost.predicted_seconds(),
        "phases": result.provenance["seconds"],
    }


def uncut_statevector(workload: Workload, threads: int) -> Report:
    """Run the whole circuit on Aer's statevector."""
    return _aer_uncut(workload, threads, "statevector")


def uncut_mps(workload: Workload, threads: int) -> Report:
    """Run the whole circuit on Aer's matrix product state."""
    return _aer_uncut(workload, threads, "matrix_product_state")


def aer_subcircuits(workload: Workload, threads: int) -> Report:
    """Run the subcircuits, ancillas included, on Aer alone: no tensors, no answer."""
    import hpcq

    plan = hpcq.plan(
        workload.blocks.circuit(),
        workload.observable(),
        cut_labels=workload.blocks.partition,
        threads=threads,
    )
    circuits = [tensor.circuit() for tensor in plan.tensors]
    simulator = _aer("statevector", threads)
    start = time.perf_counter()
    for circuit in circuits:
        circuit.save_statevector()
        _ = simulator.run(circuit).result().data()["statevector"]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "qubits": [circuit.num_qubits for circuit in circuits]}


def addon(workload: Workload, threads: int) -> Report:  # noqa: ARG001 (its sampler has no threads)
    """Cut with qiskit-addon-cutting, all quasi-probability terms, probabilities exact."""
    import numpy as np
    from qiskit.quantum_info import PauliList
    from qiskit_addon_cutting import (
        generate_cutting_experiments,
        partition_problem,
        reconstruct_expectation_values,
    )
    from qiskit_addon_cutting.utils.simulation import ExactSampler

    circuit, observable = workload.blocks.circuit(), workload.observable()
    start = time.perf_counter()
    problem = partition_problem(
        circuit, workload.blocks.partition, observables=PauliList(observable.paulis)
    )
    experiments, weights = generate_cutting_experiments(
        problem.subcircuits, problem.subobservables, num_samples=np.inf
    )
    sampler = ExactSampler()
    results = {}
    for label, circuits in experiments.items():
        result = sampler.run(circuits).result()
        for experiment, metadata in zip(circuits, result.metadata, strict=True):
            metadata["num_qpd_bits"] = len(experiment.cregs[0])
        results[label] = result
    terms = reconstruct_expectation_values(results, weights, problem.subobservables)
    value = float(np.real(np.dot(terms, observable.coeffs)))
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "value": value,
        "simulations": sum(map(len, experiments.values())),
    }


def pennylane(workload: Workload, threads: int) -> Report:
    """Cut with PennyLane: it cuts wires only, so a gate is cut by two of them around one end."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import pennylane as qml

    circuit, labels = workload.blocks.circuit(), workload.blocks.partition
    ((letters, qubits, coefficient),) = workload.terms
    observable = qml.prod(
        *(getattr(qml, f"Pauli{p}")(q) for p, q in zip(letters, qubits, strict=True))
    )
    gates = {"rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "cx": qml.CNOT, "cz": qml.CZ}

    @qml.cut_circuit
    @qml.qnode(qml.device("lightning.qubit", wires=circuit.num_qubits))
    def node() -> Any:
        for instruction in circuit.data:
            wires = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            linked = len(wires) == 2 and labels[wires[0]] != labels[wires[1]]
            if linked:
                qml.WireCut(wires=wires[0])
            gates[instruction.name](*instruction.params, wires=wires)
            if linked:
                qml.WireCut(wires=wires[0])
        return qml.expval(observable)

    start = time.perf_counter()
    value = coefficient * float(node())
    return {"seconds": time.perf_counter() - start, "value": value}


def _aer_uncut(workload: Workload, threads: int, method: str) -> Report:
    import qiskit_aer  # noqa: F401 (brings save_expectation_value)

    circuit, observable = workload.blocks.circuit(), workload.observable()
    circuit.save_expectation_value(observable, circuit.qubits)
    simulator = _aer(method, threads)
    start = time.perf_counter()
    value = float(simulator.run(circuit).result().data()["expectation_value"])
    return {"seconds": time.perf_counter() - start, "value": value}


def _aer(method: str, threads: int) -> Any:
    from qiskit_aer import AerSimulator

    return AerSimulator(method=method, max_parallel_threads=threads)


METHODS: dict[str, Callable[[Workload, int], Report]] = {
    "hpcq": hpcq_run,
    "statevector": uncut_statevector,
    "mps": uncut_mps,
    "subcircuits": aer_subcircuits,
    "addon": addon,
    "pennylane": pennylane,
}


def main(method: str, name: str, threads: int) -> Report:
    """Warm up, measure, and add the peak memory of this process."""
    if method == "qasm":
        from qiskit import qasm2

        return {"text": qasm2.dumps(SMALL.circuit())}
    workload = next(workload for workload in WORKLOADS if workload.name == name)
    METHODS[method](_TINY, threads)
    report = METHODS[method](workload, threads)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return report | {"peak_bytes": peak * (1 if sys.platform == "darwin" else 1024)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
