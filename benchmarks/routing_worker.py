"""Answer circuits by one method after the other, in a process that stays warm.

``python routing_worker.py MEMORY``, started by ``routing.py``, which kills it where it takes too
long and starts another. Requests and answers are lines of JSON on stdin and stdout.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from routing_circuits import SETS, Entry
from routing_circuits.library import BASIS
from routing_circuits.truths import as_paulis, truth

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Answer = dict[str, Any]

_CUT_WIDTH = 20
"""Width limit of "always cut" where hpcq has no argument ``method``, in qubits."""

HPCQ_METHODS = ("auto", "statevector", "stabilizer", "pauli", "mps", "cut")
"""hpcq's methods; ``auto`` is hpcq without an option that says how."""


class RefusedError(Exception):
    """The method does not take this circuit."""


def by_hpcq(circuit: QuantumCircuit, observables: Any, method: str, memory: int) -> Answer:
    """Ask hpcq; this is the one place that knows how it is called."""
    import hpcq

    options: dict[str, Any] = {"threads": 1, "memory": memory}
    if method != "auto":
        if "method" in inspect.signature(hpcq.plan).parameters:
            options["method"] = method
        elif method == "cut":
            options["max_qubits"] = _CUT_WIDTH
        else:
            raise RefusedError("this version of hpcq has no such method")
    result = hpcq.run(hpcq.plan(circuit, observables, **options))
    values = [float(value) for value in result.expectation_values]
    # Versions without bounds run in double precision only, exact to rounding.
    bounds = getattr(result, "error_bounds", None)
    return {
        "values": values,
        "bounds": [0.0] * len(values) if bounds is None else [_number(b) for b in bounds],
        "method": getattr(result, "method", ""),
    }


def aer_job(circuit: QuantumCircuit, observables: Any, memory: int) -> Callable[[], Answer]:
    """Prepare Aer's ``automatic``; only its own run is timed, not the translation for it."""
    from qiskit import transpile
    from qiskit_aer import AerSimulator

    simulator = AerSimulator(method="automatic", max_parallel_threads=1, max_memory_mb=memory >> 20)
    known = set(simulator.operation_names)
    saved = circuit.copy()
    if not known.issuperset(circuit.count_ops()):
        # Not for the simulator as a backend: that refuses widths which its methods can do.
        saved = transpile(circuit, basis_gates=sorted(known & set(BASIS)), optimization_level=0)
    for index, observable in enumerate(observables):
        outcome = _outcome(circuit.num_qubits, observable)
        if outcome is not None:
            saved.save_amplitudes_squared([outcome], label=str(index))
            continue
        operator = as_paulis(circuit.num_qubits, list(observable.terms))
        if operator is None:
            raise RefusedError("too many projectors in one string")
        saved.save_expectation_value(operator, range(circuit.num_qubits), label=str(index))

    def run() -> Answer:
        result = simulator.run(saved).result()
        if not result.success:
            raise RefusedError(str(result.results[0].status if result.results else result.status))
        data = result.data()
        values = [float(np.ravel(data[str(index)])[0]) for index in range(len(observables))]
        method = result.results[0].metadata.get("method", "")
        return {"values": values, "bounds": [None] * len(values), "method": method}

    return run


def _outcome(num_qubits: int, observable: Any) -> int | None:
    """Return the outcome of all qubits whose probability is asked; None for anything else."""
    ((string, weight),) = observable.terms if len(observable.terms) == 1 else (((), 0.0),)
    letters = [letter for _, letter in string]
    if weight != 1 or len(letters) != num_qubits or not {*letters} <= {"0", "1"}:
        return None
    return sum(1 << qubit for qubit, letter in string if letter == "1")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


@lru_cache(maxsize=1)
def _built(set_name: str, name: str) -> tuple[Entry, QuantumCircuit, Any]:
    from hpcq.circuits.observables import as_observables

    entry = next(entry for entry in SETS[set_name] if entry.name == name)
    circuit = entry.build()
    return entry, circuit, as_observables(entry.observables, circuit.num_qubits)


def answer(request: dict[str, Any], memory: int) -> Answer:
    """Run one method on one circuit, and add the seconds of CPU time that it took."""
    limit_cpu(math.inf)  # not what is left of the last answer's: circuits are made at leisure
    entry, circuit, observables = _built(request["set"], request["name"])
    method = request["method"]
    about = {
        "num_qubits": circuit.num_qubits,
        "scales": [
            math.fsum(abs(weight) for _, weight in observable.terms) for observable in observables
        ],
    }
    start = None
    try:
        if method == "aer":
            run = aer_job(circuit, observables, memory)
        elif method == "truth":

            def run() -> Answer:
                return {"values": truth(entry)}
        else:

            def run() -> Answer:
                return by_hpcq(circuit, entry.observables, method, memory)

        limit_cpu(request["limit"])
        start = cpu_seconds()
        about |= run()
        status, reason = "answered", ""
    except Exception as error:  # whatever a method raises, it has not answered
        status = "refused"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    seconds = 0.0 if start is None else cpu_seconds() - start
    return about | {"status": status, "reason": reason, "seconds": seconds}


def cpu_seconds() -> float:
    """Return the CPU time of all threads of this process and of its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def limit_cpu(seconds: float) -> None:
    """Have the system end this process after that much CPU time from now on."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = hard if math.isinf(seconds) else math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def warm_up(memory: int) -> None:
    """Import everything and run a tiny circuit by every method."""
    from qiskit import QuantumCircuit

    from hpcq.circuits.observables import as_observables

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    for method in HPCQ_METHODS:
        with suppress(Exception):
            by_hpcq(circuit, ("Z0 Z1",), method, memory)
    aer_job(circuit, as_observables("Z0 Z1", 2), memory)()


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (2 * memory, 2 * memory))  # libraries map a lot unused
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    warm_up(memory)
    print(
        json.dumps({"hpcq": str(Path(inspect.getfile(by_hpcq)).parent)}), file=replies, flush=True
    )
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), memory)), file=replies, flush=True)


if __name__ == "__main__":
    main()
