"""Circuits that several tests run."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit


def two_halves(seed: int = 3) -> QuantumCircuit:
    """Return 6 qubits in two layers of random rotations and a chain of CZ, to be cut as AAABBB."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(6)
    for _ in range(2):
        for qubit in range(6):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(5):
            circuit.cz(qubit, qubit + 1)
    return circuit


def joined_pair() -> QuantumCircuit:
    """Return 2 qubits, one of them in both states, joined by a CZ, to be cut as AB."""
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cz(0, 1)
    return circuit
