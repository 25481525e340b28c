"""Random circuits with free parameters, and their uncut values and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector

from hpcq.circuits.normalise import normalise
from hpcq.circuits.slots import bind_slots, parametrise
from tests.support.strategies import standard_gates

_SHIFT = np.pi / 2


def random_angle(parameters: Sequence[Parameter], rng: np.random.Generator) -> ParameterExpression:
    """Return an expression of one or two parameters, in one of three cases not affine."""
    first, second = (parameters[int(k)] for k in rng.integers(len(parameters), size=2))
    factor, offset = float(rng.integers(-2, 3)), float(rng.uniform(-1, 1))
    return [
        first * factor + offset,
        first - second * 0.5,
        (first * second).sin() + first**2 / 3,
    ][int(rng.integers(3))]


def random_circuit(
    rng: np.random.Generator, qubits: int = 4, gates: int = 14, parameters: int = 5
) -> QuantumCircuit:
    """Return a circuit of all standard gates, most of whose angles depend on parameters.

    Parameters may be shared by gates or not be used at all.
    """
    vector = ParameterVector("t", parameters)
    circuit = QuantumCircuit(qubits)
    circuit.global_phase = vector[0]
    for qubit in range(qubits):
        circuit.ry(random_angle(vector, rng), qubit)
    for _ in range(gates):
        size = int(rng.choice((1, 2, 2)))
        every = standard_gates(size)
        chosen = [each for each in every if each.params] if rng.random() < 0.75 else every
        gate = chosen[int(rng.integers(len(chosen)))]
        angles = [
            random_angle(vector, rng) if rng.random() < 0.8 else float(rng.uniform(-3, 3))
            for _ in gate.params
        ]
        made = type(gate)(*angles) if angles else gate
        circuit.append(made, rng.permutation(qubits)[:size].tolist())
    return circuit


def random_operator(
    rng: np.random.Generator, qubits: int, letters: str = "IXYZ"
) -> SparseObservable:
    """Return a sum of some strings of these letters, many of them on few qubits."""
    terms = []
    for _ in range(int(rng.integers(1, 7))):
        label = np.array(rng.choice(list(letters), qubits))
        label[rng.random(qubits) < 0.5] = "I"
        terms.append(("".join(label), float(rng.uniform(-2, 2))))
    return SparseObservable.from_list(terms)


def uncut_values(
    circuit: QuantumCircuit, operators: Sequence[SparseObservable], row: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the values of operators at one row of parameters, by Qiskit's own linear algebra."""
    state = Statevector(circuit.assign_parameters(row))
    paulis = [SparsePauliOp.from_sparse_observable(operator) for operator in operators]
    return np.array([state.expectation_value(pauli).real for pauli in paulis])


def uncut_gradients(
    circuit: QuantumCircuit, operators: Sequence[SparseObservable], row: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return derivatives by parameter shift of the uncut circuit, shape (operators, parameters).

    Each angle of a rotation is shifted by itself; the chain rule does the rest.
    """
    normal = normalise(circuit, free_parameters=True)
    written = parametrise(normal, circuit.parameters)
    slots = written.slots
    rows = slots.rows(row)
    (angles,) = slots.angles(rows)
    by_slot = np.zeros((len(operators), slots.num_slots))
    for number in range(slots.num_slots):
        for sign in (1, -1):
            shifted = angles + sign * _SHIFT * (np.arange(slots.num_slots) == number)
            bound = bind_slots(written.generic, range(slots.num_slots), shifted)
            by_slot[:, number] += sign / 2 * uncut_values(bound, operators, np.empty(0))
    return slots.pull_back(rows, by_slot[np.newaxis])[0]
