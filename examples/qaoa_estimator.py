"""QAOA by an estimator: the largest cut of a graph, with a circuit bound at each evaluation.

    python examples/qaoa_estimator.py
    mpirun -n 3 hpcq exec examples/qaoa_estimator.py

The graph is two rings and two edges between them, so that few gates have to be cut. Circuits that
differ only in their angles share one compiled plan, which the first evaluation makes.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from qiskit.circuit.library import qaoa_ansatz
from qiskit.quantum_info import SparsePauliOp
from scipy.optimize import minimize

from hpcq.primitives import Estimator


def linked_rings(size: int) -> list[tuple[int, int]]:
    """Return the edges of two rings of half the nodes, and of two links between them."""
    half = size // 2
    rings = [(s + k, s + (k + 1) % half) for s in (0, half) for k in range(half)]
    return [*rings, (0, half), (half // 2, half + half // 2)]


def best_angles(estimator: Any, size: int, evaluations: int) -> Any:
    """Return scipy's result: the angles of the lowest energy, each edge in the cut counting -1."""
    edges = linked_rings(size)
    cost = SparsePauliOp.from_sparse_list(
        [("ZZ", edge, 0.5) for edge in edges] + [("", [], -0.5 * len(edges))], size
    )
    ansatz = qaoa_ansatz(cost, reps=2)

    def energy(angles: np.ndarray) -> float:
        bound = ansatz.assign_parameters(angles)
        return float(estimator.run([(bound, cost)]).result()[0].data.evs)

    start = np.array([-0.6, -0.4, 0.4, 0.8])  # a ramp: mixers first, then costs
    return minimize(energy, start, method="Nelder-Mead", options={"maxfev": evaluations})


def main() -> None:
    """Print the mean size of the cut at the best angles, and the number of edges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=8, help="number of nodes, each a qubit")
    parser.add_argument("--evaluations", type=int, default=60, help="maximum number of them")
    options = parser.parse_args()

    estimator = Estimator(max_qubits=options.size // 2)
    result = best_angles(estimator, options.size, options.evaluations)
    print(f"edges  {len(linked_rings(options.size))}")
    print(f"mean cut  {-result.fun:.9f}")


if __name__ == "__main__":
    main()
