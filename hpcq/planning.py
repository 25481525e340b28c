"""From a circuit to a plan: what is cut, what each task computes, and what it all costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq import cost as costs
from hpcq.config import SHARE_OF_MEMORY, Limits, Precision, whole_number
from hpcq.cost import Cost
from hpcq.cutting.cuts import Cuts, cuts_from_partition, read_cuts, two_qubit_gates
from hpcq.cutting.gates import pauli_sum
from hpcq.cutting.subcircuits import CutCircuit, Subcircuit, cut_circuit
from hpcq.errors import InputError
from hpcq.inputs.observables import Observable, as_observables
from hpcq.machine import format_bytes, usable_cores, usable_memory
from hpcq.reconstruction.expectation import predicted_flops
from hpcq.reconstruction.network import Network, build_network
from hpcq.reconstruction.terms import TermTable, tabulate
from hpcq.variants.exact import ExactTensor

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that is planned but not done.

    Printing it shows the subcircuits and the cost.

    Attributes:
        circuit: The normalised circuit: unitary gates on one or two qubits.
        observables: What is asked for.
        cut: The subcircuits and the edges between them.
        tensors: One computation for each distinct subcircuit.
        uses: For each subcircuit the number of its computation in ``tensors``.
        terms: The observables' terms taken apart over the subcircuits.
        network: The order of contraction.
        limits: What a rank may use.
        cost: The predicted cost.
        config: How the plan was asked for, as plain JSON values.
    """

    circuit: QuantumCircuit
    observables: tuple[Observable, ...]
    cut: CutCircuit
    tensors: tuple[ExactTensor, ...]
    uses: tuple[int, ...]
    terms: TermTable
    network: Network
    limits: Limits
    cost: Cost
    config: Mapping[str, Any]

    @property
    def num_tasks(self) -> int:
        """Number of tasks to farm out."""
        return sum(tensor.num_tasks for tensor in self.tensors)

    @cached_property
    def strings(self) -> tuple[dict[Any, int], ...]:
        """For each computation, the place of each Pauli string in its tensor."""
        return tuple({s: i for i, s in enumerate(t.strings)} for t in self.tensors)

    def __str__(self) -> str:
        from hpcq.report import plan_text

        return plan_text(self)


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
    if max_qubits is not None:
        return _search(circuit, asked, max_qubits, seed, limits, config)
    if partition is not None:
        chosen = cuts_from_partition(circuit, partition)
    elif cuts is not None:
        chosen = _as_cuts(cuts)
        chosen.check(circuit)
    else:
        chosen = Cuts()
    return _assemble(circuit, asked, chosen, limits, config)


def _search(
    circuit: QuantumCircuit,
    observables: tuple[Observable, ...],
    max_qubits: int,
    seed: int,
    limits: Limits,
    config: Mapping[str, Any],
) -> Plan:
    """Try the lightest proposals and keep the one that is predicted to be the quickest."""
    from hpcq.cutting.search import candidate_cuts

    best: Plan | None = None
    refusal: InputError | None = None
    for cuts in candidate_cuts(circuit, max_qubits, seed)[:_CANDIDATES]:
        try:
            found = _assemble(circuit, observables, cuts, limits, config)
        except InputError as error:
            refusal = refusal or error
            continue
        if best is None or found.cost.predicted_seconds() < best.cost.predicted_seconds():
            best = found
    if best is None:
        assert refusal is not None
        raise refusal
    return best


def _assemble(
    circuit: QuantumCircuit,
    observables: tuple[Observable, ...],
    cuts: Cuts,
    limits: Limits,
    config: Mapping[str, Any],
) -> Plan:
    cut = cut_circuit(circuit, cuts)
    terms = tabulate(observables, cut)
    tensors, uses = _distinct_tensors(cut, terms)
    tensors = tuple(_fit(tensor, limits, cut) for tensor in tensors)
    network = build_network(cut, limits.memory_bytes // 4)
    cost = _cost(circuit, tensors, uses, network, terms, limits)
    if cost.tensor_bytes > limits.memory_bytes:
        raise InputError(
            f"memory: the tensors and their contraction need {format_bytes(cost.tensor_bytes)} on "
            f"rank 0, which has {format_bytes(limits.memory_bytes)}; expected fewer cuts (a larger "
            "--max-qubits, or another partition) or more memory"
        )
    return Plan(circuit, observables, cut, tensors, uses, terms, network, limits, cost, config)


def _distinct_tensors(
    cut: CutCircuit, terms: TermTable
) -> tuple[tuple[ExactTensor, ...], tuple[int, ...]]:
    """Join equal subcircuits, and what is asked of them, into one computation each."""
    numbers: dict[str, int] = {}
    subcircuits: list[Subcircuit] = []
    strings: list[dict[Any, None]] = []
    uses = []
    for subcircuit, asked in zip(cut.subcircuits, terms.strings, strict=True):
        number = numbers.setdefault(subcircuit.content, len(numbers))
        if number == len(subcircuits):
            subcircuits.append(subcircuit)
            strings.append({})
        strings[number].update(dict.fromkeys(asked))
        uses.append(number)
    tensors = tuple(
        ExactTensor(subcircuit, tuple(asked))
        for subcircuit, asked in zip(subcircuits, strings, strict=True)
    )
    return tensors, tuple(uses)


def _fit(tensor: ExactTensor, limits: Limits, cut: CutCircuit) -> ExactTensor:
    """Slice ports, from the last one on, until a task fits into the rank's memory."""
    ports = tensor.subcircuit.ports
    sliceable = [number for number, port in enumerate(ports) if port.ancillas]
    while costs.task_bytes(tensor, limits) > limits.memory_bytes:
        if not sliceable:
            number = next(k for k, s in enumerate(cut.subcircuits) if s is tensor.subcircuit)
            width = tensor.subcircuit.num_qubits
            widest = limits.memory_bytes // (2 * limits.amplitude_bytes)
            raise InputError(
                f"memory: subcircuit {number} of {width} qubits and {len(ports)} ports needs "
                f"{format_bytes(costs.task_bytes(tensor, limits))} on a rank, which has "
                f"{format_bytes(limits.memory_bytes)}; expected --max-qubits "
                f"{max(1, min(width - 1, widest.bit_length() - 1))} or less, or more memory"
            )
        tensor = replace(tensor, sliced=tuple(sorted((*tensor.sliced, sliceable.pop()))))
    return tensor


def _cost(
    circuit: QuantumCircuit,
    tensors: Sequence[ExactTensor],
    uses: Sequence[int],
    network: Network,
    terms: TermTable,
    limits: Limits,
) -> Cost:
    total = longest = 0.0
    for tensor in tensors:
        single = costs.task_seconds(tensor, True, limits)
        double = costs.task_seconds(tensor, False, limits)
        pairs = tensor.num_tasks - tensor.num_branches
        total += tensor.num_branches * single + pairs * double
        longest = max(longest, double if pairs else single)
    flops = predicted_flops(network, terms)
    rows = len(terms.picks) * (len(network.steps) + 1)
    dimensions = [
        pauli_sum(instruction.operation).dimension
        for instruction in circuit.data
        if len(instruction.qubits) == 2
    ]
    assert len(dimensions) == len(two_qubit_gates(circuit))
    return Cost(
        simulation_seconds=total,
        longest_task_seconds=longest,
        contraction_seconds=flops / costs.FLOPS_PER_SECOND + rows * costs.SECONDS_PER_ROW,
        contraction_flops=flops,
        task_bytes=max(costs.task_bytes(tensor, limits) for tensor in tensors),
        tensor_bytes=costs.stored_bytes(tensors, uses, network),
        uncut_seconds=costs.uncut_seconds(circuit, limits),
        uncut_mps_seconds=costs.uncut_mps_seconds(circuit, dimensions),
    )


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
