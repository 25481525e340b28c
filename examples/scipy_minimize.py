"""Plain scipy on a program: hpcq computes energies and gradients, and nothing else.

    python examples/scipy_minimize.py
    mpirun -n 3 hpcq exec examples/scipy_minimize.py

A plan with free parameters is compiled once; each evaluation then takes milliseconds. For a loop
that has to survive the end of its job, see ``minimize_and_resume.py``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize

import hpcq


def layers(size: int, depth: int) -> QuantumCircuit:
    """Return layers of rotations, with a coupling of neighbours after each."""
    circuit, angles = QuantumCircuit(size), iter(ParameterVector("a", depth * (2 * size - 1)))
    for _ in range(depth):
        for qubit in range(size):
            circuit.ry(next(angles), qubit)
        for qubit in range(size - 1):
            circuit.rzz(next(angles), qubit, qubit + 1)
        circuit.sx(range(size))
    return circuit


def ising_chain(size: int) -> SparsePauliOp:
    """Return the energy of an Ising chain in a transverse field at the critical point."""
    bonds = [("ZZ", [q, q + 1], -1.0) for q in range(size - 1)]
    return SparsePauliOp.from_sparse_list(bonds + [("X", [q], -1.0) for q in range(size)], size)


def minimum(program: Any, iterations: int) -> Any:
    """Return scipy's result, from a start that is the same at every run."""

    def energy_and_gradient(angles: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = program.values_and_gradients(angles)
        return values[0, 0], gradients[0, 0]

    start = np.random.default_rng(2).uniform(-1, 1, program.num_parameters)
    options = {"maxiter": iterations}
    return minimize(energy_and_gradient, start, jac=True, method="L-BFGS-B", options=options)


def main() -> None:
    """Print the lowest energy that was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=6, help="number of qubits")
    parser.add_argument("--iterations", type=int, default=8, help="iterations of the optimizer")
    options = parser.parse_args()

    circuit, energy = layers(options.size, depth=2), ising_chain(options.size)
    plan = hpcq.plan(circuit, energy, max_qubits=(options.size + 1) // 2)
    result = minimum(plan.compile(), options.iterations)
    print(f"evaluations  {result.nfev}")
    print(f"energy  {result.fun:.9f}")


if __name__ == "__main__":
    main()
