"""A script of your own with several circuits per step: the lowest energies of a chain at once.

    python examples/several_circuits.py
    mpirun -n 3 hpcq exec examples/several_circuits.py

Subspace-search VQE (Nakanishi, Mitarai, Fujii, Phys. Rev. Research 1, 033062 (2019)) applies one
ansatz to orthogonal states, and minimises a weighted sum of their energies. The circuits of a step
are the pubs of one call, and ranks evaluate them side by side.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize

from hpcq.primitives import Estimator


def ising_chain(size: int) -> SparsePauliOp:
    """Return the energy of an Ising chain in a field with two components."""
    bonds = [("ZZ", [q, q + 1], -1.0) for q in range(size - 1)]
    fields = [(letter, [q], -0.5) for q in range(size) for letter in "XZ"]
    return SparsePauliOp.from_sparse_list(bonds + fields, size)


def circuits_of(size: int, states: int) -> list[QuantumCircuit]:
    """Return the ansatz after each of the first basis states."""
    ansatz = real_amplitudes(size, reps=2, entanglement="linear")
    circuits = []
    for state in range(states):
        circuit = QuantumCircuit(size)
        for qubit in range(size):
            if state >> qubit & 1:
                circuit.x(qubit)
        circuits.append(circuit.compose(ansatz))
    return circuits


def energies(estimator: Any, size: int, states: int, evaluations: int) -> np.ndarray:
    """Return the energies of all states at the minimum, that of the largest weight first."""
    circuits, energy = circuits_of(size, states), ising_chain(size)
    weights = np.arange(states, 0, -1)

    def at(angles: np.ndarray) -> np.ndarray:
        pubs = [(circuit, energy, angles) for circuit in circuits]
        return np.array([float(each.data.evs) for each in estimator.run(pubs).result()])

    start = np.random.default_rng(3).uniform(-1, 1, circuits[0].num_parameters)
    found = minimize(
        lambda angles: weights @ at(angles),
        start,
        method="COBYLA",
        options={"maxiter": evaluations},
    )
    return at(found.x)


def main() -> None:
    """Print the energies of all states."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4, help="number of qubits")
    parser.add_argument("--states", type=int, default=3, help="number of energies")
    parser.add_argument("--evaluations", type=int, default=60, help="maximum number of steps")
    options = parser.parse_args()

    estimator = Estimator(max_qubits=(options.size + 1) // 2)
    found = energies(estimator, options.size, options.states, options.evaluations)
    print("energies  " + "  ".join(f"{each:.9f}" for each in found))


if __name__ == "__main__":
    main()
