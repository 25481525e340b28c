"""One search for cuts in a process of its own: ``python finders.py FINDER < JOB``.

The job is a JSON object with the normalised circuit (``num_qubits`` and ``gates``, each a name,
parameters and qubits) and ``max_qubits``, ``seed`` and ``observables``; so the finder may run where
hpcq isn't installed, and under another version of Qiskit. The last line on stdout is a JSON object
with ``seconds`` and ``cuts`` in hpcq's numbering, as :meth:`hpcq.Cuts.to_json` writes them.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from hpcq import Plan

Report = dict[str, Any]

_TINY = {
    "num_qubits": 4,
    "gates": [["h", [], [0]], ["cx", [], [0, 1]], ["cx", [], [1, 2]], ["cx", [], [2, 3]]],
    "max_qubits": 2,
    "seed": 0,
    "observables": None,
}


def hpcq_search(job: Report) -> Report:
    """Search with hpcq."""
    import hpcq

    wanted = {name: job.get(name) for name in ("objective", "search_seconds", "memory", "threads")}
    options = {name: value for name, value in wanted.items() if value is not None}
    circuit = build(job)
    start, cpu_start = time.perf_counter(), time.process_time()
    plan = hpcq.plan(
        circuit, job["observables"], max_qubits=job["max_qubits"], seed=job["seed"], **options
    )
    times = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
    }
    return times | {"cuts": json.loads(plan.cuts.to_json())} | costed(plan)


def hpcq_cost(job: Report) -> Report:
    """Plan with given cuts, and time the planning."""
    import hpcq

    circuit = build(job)
    start = time.perf_counter()
    plan = hpcq.plan(
        circuit,
        job["observables"],
        cuts=job["cuts"],
        memory=job.get("memory"),
        threads=job.get("threads"),
    )
    return {"seconds": time.perf_counter() - start} | costed(plan)


def addon_search(job: Report) -> Report:
    """Search with qiskit-addon-cutting."""
    from qiskit_addon_cutting import find_cuts
    from qiskit_addon_cutting.automated_cut_finding import DeviceConstraints, OptimizationParameters

    circuit = build(job)
    start = time.perf_counter()
    cut, metadata = find_cuts(
        circuit,
        OptimizationParameters(seed=job["seed"]),
        DeviceConstraints(qubits_per_subcircuit=job["max_qubits"]),
    )
    seconds = time.perf_counter() - start
    passed = [0] * cut.num_qubits
    gates, wires, number = [], [], 0
    for instruction in cut.data:
        qubits = [cut.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.operation.name == "cut_wire":
            wires.append((qubits[0], passed[qubits[0]]))
        elif len(qubits) == 2:
            if instruction.operation.name == "qpd_2q":
                gates.append(number)
            number += 1
            for qubit in qubits:
                passed[qubit] += 1
    return {
        "seconds": seconds,
        "cuts": in_json(circuit, gates, wires),
        "own_log10_overhead": math.log10(float(metadata["sampling_overhead"])),
        "proven": bool(metadata["minimum_reached"]),
        "version": version("qiskit-addon-cutting"),
    }


def qcut_search(job: Report) -> Report:
    """Search with QCut, runs of gates on one pair of qubits left apart so that hpcq can count them.

    It takes one limit for each part, so it is asked for as few parts as could do.
    """
    from QCut import CutOptions, find_cuts

    circuit = build(job)
    parts = max(2, -(-circuit.num_qubits // job["max_qubits"]))
    options = CutOptions(
        finder_max_qubits=[job["max_qubits"]] * parts, seed=job["seed"], consolidate="never"
    )
    start = time.perf_counter()
    found = find_cuts(circuit, options)
    seconds = time.perf_counter() - start
    gates, wires = _qcut_places(circuit, found)
    return {
        "seconds": seconds,
        "cuts": in_json(circuit, gates, wires),
        "own_log10_overhead": 2 * math.log10(found.gamma),
        "version": version("QCut"),
    }


def bisection(job: Report) -> Report:
    """Halve the graph of qubits with many restarts of Kernighan and Lin's heuristic."""
    import networkx
    from networkx.algorithms.community import kernighan_lin_bisection

    graph = networkx.Graph(tuple(pair) for pair in pairs(build(job)))
    start = time.perf_counter()
    sizes = [
        networkx.cut_size(graph, *kernighan_lin_bisection(graph, seed=seed))
        for seed in range(job["restarts"])
    ]
    return {"seconds": time.perf_counter() - start, "cuts": min(sizes), "sizes": sorted(sizes)}


def build(job: Report) -> QuantumCircuit:
    """Return the circuit of a job."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(job["num_qubits"])
    for name, parameters, qubits in job["gates"]:
        getattr(circuit, name)(*parameters, *qubits)
    return circuit


def costed(plan: Plan) -> Report:
    """Return the costs of a plan."""
    return {
        "qubits": plan.circuit.num_qubits,
        "subcircuits": len(plan.cut.subcircuits),
        "widest": max(subcircuit.num_qubits for subcircuit in plan.cut.subcircuits),
        "gate_cuts": len(plan.cut.cuts.gates),
        "wire_cuts": len(plan.cut.cuts.wires),
        "log10_overhead": plan.cut.log10_sampling_overhead,
        "predicted_seconds": plan.cost.predicted_seconds(),
    }


def pairs(circuit: QuantumCircuit) -> list[dict[int, int]]:
    """Return, for each two-qubit gate, its qubits and how many gates of each came before."""
    passed = [0] * circuit.num_qubits
    found = []
    for instruction in circuit.data:
        if len(instruction.qubits) == 2:
            qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
            found.append({qubit: passed[qubit] for qubit in qubits})
            for qubit in qubits:
                passed[qubit] += 1
    return found


def in_json(
    circuit: QuantumCircuit, gates: Iterable[int], wires: Iterable[tuple[int, int]]
) -> Report:
    """Return cuts as JSON for hpcq, without those before or after all gates of a qubit."""
    count = [0] * circuit.num_qubits
    for pair in pairs(circuit):
        for qubit in pair:
            count[qubit] += 1
    return {
        "gate_cuts": [{"gate": gate} for gate in sorted(gates)],
        "wire_cuts": [
            {"qubit": qubit, "after": after}
            for qubit, after in sorted(set(wires))
            if 0 < after < count[qubit]
        ],
    }


def _qcut_places(circuit: QuantumCircuit, found: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Read the places of QCut's cuts off its subcircuits' wires, where they have placeholders.

    Its locations tell the qubits; their indices count in a circuit that it doesn't return.
    """
    number_of = {}
    for number, pair in enumerate(pairs(circuit)):
        for qubit, count in pair.items():
            number_of[qubit, count] = number
    lines: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for part, subcircuit in enumerate(found.subcircuits):
        for instruction in subcircuit.data:
            for qubit in instruction.qubits:
                line = lines.setdefault((part, subcircuit.find_bit(qubit).index), [])
                line.append((instruction.operation.name, len(instruction.qubits)))
    gates: dict[int, int] = {}
    before: dict[int, int] = {}
    todo = list(lines.values())
    while todo:
        line = todo.pop(0)
        kind, _, start = line[0][0].rpartition("_")
        if kind == "Init" and int(start) not in before:
            todo.append(line)
            continue
        passed = before[int(start)] if kind == "Init" else 0
        for name, width in line:
            kind, _, place = name.rpartition("_")
            if kind == "Meas":
                before[int(place)] = passed
            elif kind.startswith("cut"):
                location = found.cut_locations[int(place)]
                qubit = location.control if kind.endswith("_c") else location.target
                number = number_of[qubit, passed]
                if gates.setdefault(int(place), number) != number:
                    raise ValueError(f"{location} has its two sides at different gates")
                passed += 1
            elif width == 2:
                passed += 1
    wires = [(found.cut_locations[place].meas, after) for place, after in before.items()]
    return list(gates.values()), wires


FINDERS: dict[str, Callable[[Report], Report]] = {
    "hpcq": hpcq_search,
    "cost": hpcq_cost,
    "find_cuts": addon_search,
    "qcut": qcut_search,
    "bisection": bisection,
}


def main(finder: str, job: Report) -> Report:
    """Warm up on a tiny circuit, then search."""
    if finder not in ("cost", "bisection"):
        FINDERS[finder](_TINY)
    return FINDERS[finder](job)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
