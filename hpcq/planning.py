"""From a circuit to a plan: where to cut, and whether that fits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.assembly import Job, Plan, assemble
from hpcq.config import SHARE_OF_MEMORY, Limits, Precision, whole_number
from hpcq.cutting.cuts import Cuts, cuts_from_partition, read_cuts
from hpcq.errors import InputError, MemoryLimitError
from hpcq.inputs.observables import as_observables
from hpcq.machine import usable_cores, usable_memory
from hpcq.speeds import read_speeds

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_CANDIDATES = 4
_QUICK_SECONDS = 5.0


def plan(
    circuit: QuantumCircuit,
    observables: Any = None,
    *,
    max_qubits: int | None = None,
    partition: str | Sequence[object] | None = None,
    cuts: Cuts | Mapping[str, Any] | str | Path | None = None,
    seed: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    precision: Precision = "double",
) -> Plan:
    """Plan the exact expectation values of a cut circuit.

    Args:
        circuit: A circuit of unitary gates with numbers as parameters; final measurements are
            dropped, gates on more than two qubits are decomposed.
        observables: One or a list of SparsePauliOp, Pauli or text such as ``"Z0 Z5 + 0.5 X2"``
            or ``"ZIIX"`` (rightmost letter is qubit 0). If none is given, Z on every qubit.
        max_qubits: Search for cuts so that no subcircuit is wider than this.
        partition: One label a qubit; every gate between labels is cut.
        cuts: Explicit cuts, as an object, the JSON that ``hpcq plan --save`` writes, or its
            file's path. At most one of the three may be given; with none, only parts that no
            gate joins are separated.
        seed: Seed of the search.
        memory: Bytes that a rank may use; by default most of what is free here.
        threads: Threads of one simulation; by default the cores that this process may use.
        precision: ``double`` (16 bytes an amplitude) or ``single`` (8).

    Returns:
        The plan, with its predicted cost.

    Raises:
        InputError: If an argument is wrong, or the plan does not fit into the memory.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> circuit = QuantumCircuit(4)
        >>> _ = circuit.h(0)
        >>> for qubit in range(3):
        ...     _ = circuit.cx(qubit, qubit + 1)
        >>> len(plan(circuit, "Z0 Z3", partition="AABB").cut.subcircuits)
        2
    """
    from hpcq.inputs.normalise import normalise

    return plan_normalised(
        normalise(circuit),
        observables,
        max_qubits=max_qubits,
        partition=partition,
        cuts=cuts,
        seed=seed,
        limits=Limits(
            int(SHARE_OF_MEMORY * usable_memory()) if memory is None else memory,
            len(usable_cores()) if threads is None else threads,
            precision,
        ),
    )


def plan_normalised(
    circuit: QuantumCircuit,
    observables: Any,
    *,
    max_qubits: int | None,
    partition: str | Sequence[object] | None,
    cuts: Cuts | Mapping[str, Any] | str | Path | None,
    seed: int,
    limits: Limits,
) -> Plan:
    """Plan for a circuit that is normalised already; see :func:`plan`."""
    given = {"max_qubits": max_qubits, "partition": partition, "cuts": cuts}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise InputError(f"{' and '.join(named)}: given together, expected at most one of them")
    if max_qubits is not None:
        max_qubits = whole_number(max_qubits, "max_qubits", 1)
    if partition is not None and not isinstance(partition, Sequence):
        raise InputError(f"partition: {_shown(partition)}, expected one label a qubit")
    seed = whole_number(seed, "seed", 0)
    if observables is None:
        observables = [f"Z{qubit}" for qubit in range(circuit.num_qubits)]
    asked = as_observables(observables, circuit.num_qubits)
    config = {
        "mode": "exact",
        "max_qubits": max_qubits,
        "partition": partition if partition is None else [str(label) for label in partition],
        "cuts": "given" if cuts is not None else None,
        "seed": seed,
        "memory_bytes": limits.memory_bytes,
        "threads": limits.threads,
        "precision": limits.precision,
    }
    job = Job(circuit, asked, limits, config, read_speeds(limits))
    if max_qubits is not None:
        return _search(job, max_qubits, seed)
    if partition is not None:
        chosen = cuts_from_partition(circuit, partition)
    elif cuts is not None:
        chosen = _as_cuts(cuts)
        chosen.check(circuit)
    else:
        chosen = Cuts()
    try:
        return assemble(job, chosen)
    except MemoryLimitError as error:
        raise MemoryLimitError(f"{error}{_what_would(job, seed)}") from None


def _search(job: Job, max_qubits: int, seed: int) -> Plan:
    """Try the lightest proposals and keep the one that is predicted to be the quickest.

    Where none fits, or all would take long, narrower subcircuits are tried too: they meet fewer
    others, so a plan may fit, or be quicker, only there.

    Raises:
        MemoryLimitError: If no proposal of any width does.
    """
    from hpcq.cutting.search import candidate_cuts

    best: Plan | None = None
    refusal: MemoryLimitError | None = None
    width = min(max_qubits, job.circuit.num_qubits)
    while width and (best is None or best.cost.predicted_seconds() > _QUICK_SECONDS):
        for cuts in candidate_cuts(job.circuit, width, seed)[:_CANDIDATES]:
            try:
                found = assemble(job, cuts)
            except MemoryLimitError as error:
                refusal = refusal or error
                continue
            if best is None or found.cost.predicted_seconds() < best.cost.predicted_seconds():
                best = found
        width //= 2
    if best is None:
        raise refusal or MemoryLimitError(f"max_qubits: no cuts found for {max_qubits}")
    return best


def _what_would(job: Job, seed: int) -> str:
    """Say which width limit would do, having tried it."""
    widest = job.limits.memory_bytes // (2 * job.limits.amplitude_bytes)
    width = min(job.circuit.num_qubits - 1, widest.bit_length() - 1)
    try:
        found = _search(job, width, seed)
    except InputError:
        return ""
    return f"; --max-qubits {max(s.num_qubits for s in found.cut.subcircuits)} would do"


def _as_cuts(cuts: object) -> Cuts:
    if isinstance(cuts, Cuts):
        return cuts
    if isinstance(cuts, Mapping):
        return Cuts.from_json(json.dumps(cuts))
    if isinstance(cuts, str) and cuts.lstrip().startswith("{"):
        return Cuts.from_json(cuts)
    if isinstance(cuts, (str, Path)):
        return read_cuts(Path(cuts))
    raise InputError(f"cuts: {_shown(cuts)}, expected Cuts, their JSON, or the path of its file")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
