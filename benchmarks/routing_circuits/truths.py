"""True expectation values, found without hpcq's methods.

A formula where the entry has one, and sums over links where it is made of blocks; otherwise, for
each string, the gates that it depends on, split
into parts that are not joined: a statevector of Qiskit or Aer for narrow parts, Heisenberg's
picture with Qiskit's Pauli lists for wide ones with few non-Clifford gates, and matrix product
states for weakly entangled ones. All of it is exact to rounding; None stands for what none can do.
"""

from __future__ import annotations

from math import pi, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .chain_states import chain_values
from .entry import Entry
from .letters import MATRICES, String
from .link_sums import link_sums

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import Pauli, SparsePauliOp

MAX_WHOLE = 24
"""Widest circuit whose whole statevector is computed: 256 MiB."""

MAX_PART = 20
"""Widest part of a circuit whose statevector is computed for one string: about a second."""

MAX_TERMS = 1 << 14
"""Most strings that Heisenberg's picture may grow to: some minutes for a thousand gates."""

_QISKIT_QUBITS = 12
"""Widest circuit that Qiskit's own statevector computes; Aer's does the wider ones."""

_HALVES = {"0": ("Z", 1), "1": ("Z", -1), "+": ("X", 1), "-": ("X", -1), "r": ("Y", 1)}
_HALVES["l"] = ("Y", -1)
_MAX_PROJECTORS = 10
"""Most projectors in one string that are written as sums of Paulis, two for each."""

_GATES = [
    *("x", "y", "z", "h", "s", "sdg", "sx", "sxdg", "cx", "cy", "cz", "swap"),
    *("rx", "ry", "rz", "rxx", "ryy", "rzz"),
]
"""Gates of Heisenberg's picture; others are written in these."""


def truth(entry: Entry) -> list[float | None]:
    """Return the true value of each observable; None where it is not known."""
    from hpcq.circuits.observables import as_observables

    if entry.values is not None:
        return list(entry.values)
    circuit = entry.build()
    observables = as_observables(entry.observables, circuit.num_qubits)
    if circuit.num_qubits <= MAX_WHOLE:
        state = statevector(circuit)
        return [
            float(sum(weight * expectation(state, string) for string, weight in observable.terms))
            for observable in observables
        ]
    if entry.block_width is not None:
        strings = [string for observable in observables for string, _ in observable.terms]
        found = link_sums(circuit, entry.block_width, strings)
        if found is not None:
            rest = iter(found)
            return [sum(w * next(rest) for _, w in observable.terms) for observable in observables]
    return [_sum_of_terms(circuit, observable.terms) for observable in observables]


def _sum_of_terms(circuit: QuantumCircuit, terms: tuple[tuple[String, float], ...]) -> float | None:
    total, wide = 0.0, []
    for string, weight in terms:
        parts = parts_of(circuit, string)
        if len(parts) == 1 and parts[0][0].num_qubits > MAX_PART:
            wide.append((string, weight))  # together: this is linear
            continue
        values = [_part(*part) for part in parts]
        if None in values:
            return None
        total += weight * prod(values)  # type: ignore[type-var]
    if not wide:
        return total
    rest = _wide(circuit, wide)
    return None if rest is None else total + rest


def _part(circuit: QuantumCircuit, string: String) -> float | None:
    if circuit.num_qubits <= MAX_PART:
        return expectation(statevector(circuit), string)
    return _wide(circuit, [(string, 1.0)])


def _wide(circuit: QuantumCircuit, terms: list[tuple[String, float]]) -> float | None:
    value = heisenberg(circuit, terms)
    if value is not None:
        return value
    values = chain_values(circuit, [string for string, _ in terms])
    if values is None:
        return None
    return sum(weight * one for (_, weight), one in zip(terms, values, strict=True))


def parts_of(circuit: QuantumCircuit, string: String) -> list[tuple[QuantumCircuit, String]]:
    """Return what a string depends on: circuits that no gate joins, each with its letters."""
    import rustworkx

    active = {qubit for qubit, _ in string}
    kept: list[tuple[Any, list[int]]] = []
    for instruction in reversed(circuit.data):
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if active.intersection(qubits):
            active.update(qubits)
            kept.append((instruction.operation, qubits))
    graph = rustworkx.PyGraph()
    graph.add_nodes_from(range(circuit.num_qubits))
    for _, qubits in kept:
        graph.add_edges_from_no_data([(qubits[0], other) for other in qubits[1:]])
    groups = [group for group in rustworkx.connected_components(graph) if active & group]
    return [_restricted(kept[::-1], sorted(group), string) for group in groups]


def _restricted(
    gates: list[tuple[Any, list[int]]], group: list[int], string: String
) -> tuple[QuantumCircuit, String]:
    from qiskit import QuantumCircuit

    place = {qubit: index for index, qubit in enumerate(group)}
    circuit = QuantumCircuit(len(group))
    for operation, qubits in gates:
        if qubits[0] in place:
            circuit.append(operation, [place[qubit] for qubit in qubits])
    return circuit, tuple((place[qubit], letter) for qubit, letter in string if qubit in place)


def statevector(circuit: QuantumCircuit) -> NDArray[np.complex128]:
    """Return the amplitudes, by Qiskit for narrow circuits and by Aer for others."""
    from qiskit.quantum_info import Statevector

    if circuit.num_qubits <= _QISKIT_QUBITS:
        return np.asarray(Statevector(circuit).data)
    from qiskit_aer import AerSimulator

    saved = circuit.copy()
    saved.save_statevector()
    simulator = AerSimulator(method="statevector", max_parallel_threads=1)
    return np.asarray(simulator.run(saved).result().data()["statevector"])


def expectation(state: NDArray[np.complex128], string: String) -> float:
    """Return the expectation value of a string of Paulis and projectors."""
    turned = state
    for qubit, letter in string:
        cube = turned.reshape(-1, 2, 1 << qubit)
        (a, b), (c, d) = MATRICES[letter]
        low, high = cube[:, 0], cube[:, 1]
        turned = np.stack((a * low + b * high, c * low + d * high), axis=1).reshape(-1)
    return float(np.vdot(state, turned).real)


def heisenberg(circuit: QuantumCircuit, terms: list[tuple[String, float]]) -> float | None:
    """Return the value of a sum of strings, moved to the front of the circuit gate by gate."""
    from qiskit import transpile
    from qiskit.quantum_info import Clifford

    operator = as_paulis(circuit.num_qubits, terms)
    if operator is None:
        return None
    plain = transpile(circuit, basis_gates=_GATES, optimization_level=0)
    for instruction in reversed(plain.data):
        gate = instruction.operation
        qubits = [plain.find_bit(qubit).index for qubit in instruction.qubits]
        if not operator.paulis.x[:, qubits].any() and not operator.paulis.z[:, qubits].any():
            continue
        if gate.params and not _is_clifford(gate.params[0]):
            operator = _rotated(operator, gate.name[1:].upper(), qubits, float(gate.params[0]))
            if len(operator) > MAX_TERMS:
                return None
        else:
            moved = operator.paulis.evolve(Clifford(gate), qubits, frame="h")
            operator = type(operator)(moved, operator.coeffs)
    diagonal = ~operator.paulis.x.any(axis=1)
    return float(operator.coeffs[diagonal].sum().real)


def _is_clifford(angle: float) -> bool:
    return abs(angle / (pi / 2) - round(angle / (pi / 2))) < 1e-12


def _rotated(
    operator: SparsePauliOp, letters: str, qubits: list[int], angle: float
) -> SparsePauliOp:
    """Apply exp(i angle G / 2) Q exp(-i angle G / 2) to every string Q, G the rotation's axis."""
    from qiskit.quantum_info import SparsePauliOp

    axis = _pauli(operator.num_qubits, tuple(zip(qubits, letters, strict=True)))
    turned = operator.paulis.anticommutes(axis)
    if not turned.any():
        return operator
    kept = operator.coeffs * np.where(turned, np.cos(angle), 1.0)
    others = SparsePauliOp(
        operator.paulis[turned].compose(axis), 1j * np.sin(angle) * operator.coeffs[turned]
    )
    return (SparsePauliOp(operator.paulis, kept) + others).simplify(atol=1e-15)


def _pauli(num_qubits: int, string: String) -> Pauli:
    from qiskit.quantum_info import Pauli

    letters = dict(string)
    return Pauli("".join(letters.get(qubit, "I") for qubit in reversed(range(num_qubits))))


def as_paulis(num_qubits: int, terms: list[tuple[String, float]]) -> SparsePauliOp | None:
    """Return the terms as Paulis; None if a string has too many projectors."""
    from qiskit.quantum_info import SparsePauliOp

    flat: list[tuple[Pauli, float]] = []
    for string, weight in terms:
        expanded: list[tuple[String, float]] = [((), weight)]
        if sum(letter in _HALVES for _, letter in string) > _MAX_PROJECTORS:
            return None
        for qubit, letter in string:
            if letter not in _HALVES:
                expanded = [((*done, (qubit, letter)), w) for done, w in expanded]
                continue
            axis, sign = _HALVES[letter]
            expanded = [
                item
                for done, w in expanded
                for item in ((done, w / 2), ((*done, (qubit, axis)), sign * w / 2))
            ]
        flat += [(_pauli(num_qubits, done), w) for done, w in expanded]
    labels, weights = zip(*flat, strict=True)
    return SparsePauliOp([label.to_label() for label in labels], np.array(weights))
