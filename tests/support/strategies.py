"""Random circuits, cuts and observables, and the uncut answers that they are checked against."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit.library import UnitaryGate, get_standard_gate_name_mapping
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector, random_unitary

from hpcq.cutting.cuts import Cuts, GateCut, WireCut, two_qubit_gates

_ALONE = ("h", "x", "rz", "rx")
_PAIRS = ("cx", "cz", "swap", "iswap", "rzz", "cp", "product")

angles = st.floats(-7, 7, allow_nan=False)


@cache
def standard_gates(num_qubits: int) -> tuple[Gate, ...]:
    """Every unitary gate on so many qubits in Qiskit's standard library."""
    return tuple(
        gate
        for name, gate in sorted(get_standard_gate_name_mapping().items())
        if isinstance(gate, Gate) and gate.num_qubits == num_qubits and name != "delay"
    )


@st.composite
def gates(draw: st.DrawFn, num_qubits: int) -> Gate:
    """A gate of the standard library with random angles, or a random unitary."""
    if draw(st.integers(0, 4)) == 0:
        return UnitaryGate(random_unitary(2**num_qubits, seed=draw(st.integers(0, 10**6))))
    gate = draw(st.sampled_from(standard_gates(num_qubits)))
    return type(gate)(*(draw(angles) for _ in gate.params)) if gate.params else gate


@st.composite
def circuits(draw: st.DrawFn, max_qubits: int = 5, max_gates: int = 14) -> QuantumCircuit:
    """A circuit of one- and two-qubit gates; some qubits may stay idle."""
    num_qubits = draw(st.integers(1, max_qubits))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(draw(st.integers(0, max_gates))):
        size = draw(st.sampled_from((1, 2, 2))) if num_qubits > 1 else 1
        qubits = draw(st.permutations(range(num_qubits)))[:size]
        circuit.append(draw(gates(size)), qubits)
    return circuit


@st.composite
def structured(draw: st.DrawFn, max_qubits: int = 5, max_gates: int = 14) -> QuantumCircuit:
    """A circuit of a few kinds of gates, so that rows, runs, swaps and cones are common."""
    num_qubits = draw(st.integers(2, max_qubits))
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.u(*(draw(angles) for _ in range(3)), qubit)
    for _ in range(draw(st.integers(0, max_gates))):
        name = draw(st.sampled_from((*_ALONE, *_PAIRS)))
        a, b = draw(st.permutations(range(num_qubits)))[:2]
        if name == "product":
            seed = draw(st.integers(0, 99))
            local = [random_unitary(2, seed=seed + side).data for side in (0, 1)]
            circuit.unitary(np.kron(*local), (a, b))
            continue
        numbers = [draw(angles)] if name.startswith("r") or name == "cp" else []
        getattr(circuit, name)(*numbers, *((a,) if name in _ALONE else (a, b)))
    return circuit


@st.composite
def cuts_of(
    draw: st.DrawFn, circuit: QuantumCircuit, max_gates: int = 3, max_wires: int = 2
) -> Cuts:
    """Random gate and wire cuts, separating or not."""
    pairs = two_qubit_gates(circuit)
    counts = np.bincount(np.ravel(pairs).astype(int), minlength=circuit.num_qubits) if pairs else []
    places = [WireCut(q, a) for q, count in enumerate(counts) for a in range(1, count)]
    chosen = draw(st.sets(st.sampled_from(range(len(pairs))), max_size=max_gates)) if pairs else ()
    wires = draw(st.sets(st.sampled_from(places), max_size=max_wires)) if places else ()
    return Cuts(tuple(GateCut(g, pairs[g]) for g in sorted(chosen)), tuple(sorted(wires)))


def operators(num_qubits: int) -> st.SearchStrategy[SparseObservable]:
    """A Hermitian operator of a few terms: Paulis, outcomes, or any letters of Qiskit's."""
    alphabet = st.sampled_from(("IXYZ", "01", "IXYZ01+-rl"))
    label = alphabet.flatmap(
        lambda letters: st.text(letters, min_size=num_qubits, max_size=num_qubits)
    )
    coefficient = st.floats(-2, 2, allow_nan=False)
    return st.lists(st.tuples(label, coefficient), min_size=1, max_size=4).map(
        SparseObservable.from_list
    )


def uncut_value(circuit: QuantumCircuit, operator: SparsePauliOp | SparseObservable) -> float:
    """The expectation value without any cut, by Qiskit's own linear algebra."""
    if isinstance(operator, SparseObservable):
        operator = SparsePauliOp.from_sparse_observable(operator)
    return float(Statevector(circuit).expectation_value(operator).real)
