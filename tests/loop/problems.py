"""A small ansatz and its energy, cut and uncut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.kinds.parameters.program import Program

ENERGY = SparsePauliOp.from_sparse_list(
    [
        ("ZZ", [0, 1], 1.0),
        ("ZZ", [1, 2], 0.7),
        ("ZZ", [2, 3], 1.0),
        ("X", [1], 0.6),
        ("X", [3], 0.4),
    ],
    num_qubits=4,
)
NUM_PARAMETERS = 10


def ansatz() -> QuantumCircuit:
    circuit, theta = QuantumCircuit(4), ParameterVector("theta", NUM_PARAMETERS)
    for qubit in range(4):
        circuit.ry(theta[qubit], qubit)
    circuit.cx(0, 1)
    circuit.rzz(theta[4], 1, 2)
    circuit.cx(2, 3)
    for qubit in range(4):
        circuit.ry(theta[5 + qubit], qubit)
    circuit.rx(theta[9], 2)
    return circuit


def plan(**options: Any) -> hpcq.Plan:
    limits = {"cut_labels": "AABB", "threads": 1, "memory": 1 << 30}
    return hpcq.plan(ansatz(), ENERGY, **{**limits, **options})


def x0(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, NUM_PARAMETERS)


def energy(x: np.ndarray) -> float:
    """The uncut energy."""
    return float(Statevector(ansatz().assign_parameters(x)).expectation_value(ENERGY).real)


def gradient(x: np.ndarray) -> np.ndarray:
    """Its derivatives by parameter shift; each parameter is the angle of one rotation."""
    shifts = np.pi / 2 * np.eye(len(x))
    return np.array([(energy(x + shift) - energy(x - shift)) / 2 for shift in shifts])


def at_evaluation(
    number: int, act: Callable[[], object], set_attribute: Callable[..., object] = setattr
) -> None:
    """Have a function called before the evaluation of this number."""
    left = number
    for name in ("values", "values_and_gradients"):
        original = getattr(Program, name)

        def evaluate(program: Program, rows: Any, original: Any = original) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                act()
            return original(program, rows)

        set_attribute(Program, name, evaluate)
