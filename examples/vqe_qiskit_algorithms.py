"""VQE by qiskit-algorithms, unchanged but for its estimator, which cuts the circuit.

    python examples/vqe_qiskit_algorithms.py
    mpirun -n 3 hpcq exec examples/vqe_qiskit_algorithms.py
    hpcq submit --nodes 2 -- exec examples/vqe_qiskit_algorithms.py --size 24

The chain of spins is cut in the middle, so that no simulation has more than half of its qubits.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import L_BFGS_B

from hpcq.primitives import Estimator, EstimatorGradient


def heisenberg_chain(size: int) -> SparsePauliOp:
    """Return the sum of XX, YY and ZZ of all neighbours."""
    terms = [(letter * 2, [q, q + 1], 1.0) for q in range(size - 1) for letter in "XYZ"]
    return SparsePauliOp.from_sparse_list(terms, size)


def minimum(estimator: Any, gradient: Any, size: int, iterations: int) -> Any:
    """Return VQE's result, from a start that is the same at every run."""
    ansatz = efficient_su2(size, reps=2, entanglement="linear")
    start = np.random.default_rng(1).uniform(-0.5, 0.5, ansatz.num_parameters)
    optimizer = L_BFGS_B(maxiter=iterations)
    vqe = VQE(estimator, ansatz, optimizer, gradient=gradient, initial_point=start)
    return vqe.compute_minimum_eigenvalue(heisenberg_chain(size))


def main() -> None:
    """Print the lowest energy that was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=6, help="number of qubits")
    parser.add_argument("--iterations", type=int, default=10, help="iterations of the optimizer")
    options = parser.parse_args()

    estimator = Estimator(max_qubits=(options.size + 1) // 2)
    gradient = EstimatorGradient(estimator)  # all derivatives at once, exact
    result = minimum(estimator, gradient, options.size, options.iterations)
    print(f"evaluations  {result.cost_function_evals}")
    print(f"energy  {result.eigenvalue:.9f}")


if __name__ == "__main__":
    main()
