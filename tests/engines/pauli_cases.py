"""Circuits and strings of the tests of the engines for whole circuits, and their true values."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Statevector, random_clifford

from hpcq.circuits.pauli_text import PauliString
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from tests.support.letters import LETTERS


def strings(num_qubits: int) -> st.SearchStrategy[PauliString]:
    """A string of any letters, the identity among them."""
    letters = st.sampled_from(("I", *LETTERS))
    labels = st.lists(letters, min_size=num_qubits, max_size=num_qubits)
    return labels.map(lambda label: tuple((q, a) for q, a in enumerate(label) if a != "I"))


def true_value(circuit: QuantumCircuit, string: PauliString) -> float:
    """Return the expectation value from the statevector."""
    state = Statevector(circuit).data
    changed = state
    for wire, letter in string:
        tensor = changed.reshape(-1, 2, 1 << wire)
        changed = np.einsum("ab,ibj->iaj", np.array(LETTERS[letter]), tensor).reshape(-1)
    return float(np.vdot(state, changed).real)


def piece(circuit: QuantumCircuit, *asked: PauliString) -> ExactTensor:
    """Return a circuit without cuts as a piece."""
    (subcircuit,) = cut_circuit(circuit, Cuts((), ())).subcircuits
    return ExactTensor(subcircuit, asked)


@st.composite
def clifford_circuits(draw: st.DrawFn, max_qubits: int = 5) -> QuantumCircuit:
    """A circuit of Clifford gates by name, by angle and by matrix."""
    num_qubits = draw(st.integers(1, max_qubits))
    circuit = QuantumCircuit(num_qubits, global_phase=draw(st.floats(-3, 3)))
    turns = st.integers(-9, 9).map(lambda turns: turns * np.pi / 2)
    for _ in range(draw(st.integers(0, 25))):
        a, *others = draw(st.permutations(range(num_qubits)))
        seed = draw(st.integers(0, 999))
        kind = draw(st.sampled_from(("name", "angle", "u", "matrix")))
        if others and draw(st.booleans()):
            if kind == "matrix":
                matrix = np.exp(0.3j) * random_clifford(2, seed=seed).to_matrix()
                circuit.append(UnitaryGate(matrix), (a, others[0]))
            elif kind == "name":
                name = draw(st.sampled_from(("cx", "cy", "cz", "swap", "iswap", "ecr", "dcx")))
                getattr(circuit, name)(a, others[0])
            elif kind == "u":
                circuit.cu(*(np.pi * draw(st.integers(-3, 3)) for _ in range(4)), a, others[0])
            else:
                name = draw(st.sampled_from(("rxx", "ryy", "rzz", "rzx")))
                getattr(circuit, name)(draw(turns), a, others[0])
        elif kind == "matrix":
            circuit.append(UnitaryGate(random_clifford(1, seed=seed).to_matrix()), (a,))
        elif kind == "name":
            getattr(circuit, draw(st.sampled_from(("h", "s", "sdg", "sx", "x", "y", "id"))))(a)
        elif kind == "u":
            circuit.u(draw(turns), draw(turns), draw(turns), a)
        else:
            getattr(circuit, draw(st.sampled_from(("rx", "ry", "rz", "p"))))(draw(turns), a)
    return circuit


def ghz(num_qubits: int) -> QuantumCircuit:
    """Return the GHZ state."""
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def kicked_ising(num_qubits: int, steps: int, angle: float) -> QuantumCircuit:
    """Return the kicked Ising model on a ladder with every third rung."""
    circuit = QuantumCircuit(num_qubits)
    half = num_qubits // 2
    edges = [(q, q + 1) for q in range(num_qubits - 1) if q + 1 != half]
    edges += [(q, q + half) for q in range(0, half, 3)]
    for _ in range(steps):
        circuit.rx(angle, range(num_qubits))
        for a, b in edges:
            circuit.rzz(-np.pi / 2, a, b)
    return circuit
