"""A loop that survives its walltime: every evaluation is stored, and the next job continues it.

    python examples/minimize_and_resume.py --output loop.h5
    mpirun -n 3 hpcq exec examples/minimize_and_resume.py --output loop.h5
    hpcq submit --nodes 2 --until-done -- exec examples/minimize_and_resume.py --output loop.h5

If the job is stopped, start the same command again, or let ``--until-done`` do so. The stored
evaluations are replayed, so the trajectory is that of a loop that was never stopped.
"""

from __future__ import annotations

import argparse

import numpy as np
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

import hpcq


def xxz_chain(size: int) -> SparsePauliOp:
    """Return the energy of a chain of spins with an easy axis."""
    couplings = {"XX": 1.0, "YY": 1.0, "ZZ": 1.5}
    terms = [(pair, [q, q + 1], c) for q in range(size - 1) for pair, c in couplings.items()]
    return SparsePauliOp.from_sparse_list(terms, size)


def main() -> None:
    """Print the lowest energy that was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=6, help="number of qubits")
    parser.add_argument("--reps", type=int, default=2, help="repetitions of the ansatz")
    parser.add_argument("--iterations", type=int, default=8, help="iterations of the optimizer")
    parser.add_argument("--output", help="HDF5 file; without one, nothing is stored")
    options = parser.parse_args()

    ansatz = efficient_su2(options.size, reps=options.reps, entanglement="linear")
    start = np.random.default_rng(4).uniform(-0.5, 0.5, ansatz.num_parameters)
    result = hpcq.minimize(
        ansatz,
        xxz_chain(options.size),
        start,
        max_qubits=(options.size + 1) // 2,
        options={"maxiter": options.iterations},
        output=options.output,
    )
    print(f"evaluations  {result.nfev}")
    print(f"energy  {result.fun:.9f}")


if __name__ == "__main__":
    main()
