"""AdaptVQE by qiskit-algorithms: the ansatz grows by the operator with the steepest gradient.

    python examples/adapt_vqe.py
    mpirun -n 3 hpcq exec examples/adapt_vqe.py

Every step has a circuit of its own, which is planned once; the gradients of all operators of the
pool are expectation values in one circuit, and are computed together.
"""

from __future__ import annotations

import argparse
from typing import Any

from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import VQE, AdaptVQE
from qiskit_algorithms.optimizers import SLSQP

from hpcq.primitives import Estimator


def ising_chain(size: int) -> SparsePauliOp:
    """Return the energy of an Ising chain in a transverse field."""
    bonds = [("ZZ", [q, q + 1], -1.0) for q in range(size - 1)]
    return SparsePauliOp.from_sparse_list(bonds + [("X", [q], -0.5) for q in range(size)], size)


def pool(size: int) -> list[SparsePauliOp]:
    """Return rotations of single spins, and of neighbours."""
    one = [("Y", [q], 1.0) for q in range(size)]
    two = [(letters, [q, q + 1], 1.0) for q in range(size - 1) for letters in ("YZ", "ZY")]
    return [SparsePauliOp.from_sparse_list([term], size) for term in one + two]


def minimum(estimator: Any, size: int, steps: int) -> Any:
    """Return AdaptVQE's result after some steps."""
    vqe = VQE(estimator, QuantumCircuit(size), SLSQP(maxiter=10))
    adaptive = AdaptVQE(vqe, operators=pool(size), max_iterations=steps)
    return adaptive.compute_minimum_eigenvalue(ising_chain(size))


def main() -> None:
    """Print the lowest energy that was found, and the number of operators."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4, help="number of qubits")
    parser.add_argument("--steps", type=int, default=3, help="maximum number of operators")
    options = parser.parse_args()

    estimator = Estimator(max_qubits=(options.size + 1) // 2)
    result = minimum(estimator, options.size, options.steps)
    print(f"operators  {result.num_iterations}")
    print(f"energy  {result.eigenvalue:.9f}")


if __name__ == "__main__":
    main()
