"""An Estimator costs little more than the program that it asks."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.primitives import Estimator
from hpcq.primitives.structure import structure_of

pytestmark = pytest.mark.slow

QUBITS = 24
ANSATZ = efficient_su2(QUBITS, reps=2, entanglement="linear")
POINT = np.random.default_rng(1).uniform(-3, 3, ANSATZ.num_parameters)
BONDS = [(letters, [q, q + 1], 1.0) for q in range(QUBITS - 1) for letters in ("XX", "YY", "ZZ")]
HAMILTONIAN = SparsePauliOp.from_sparse_list(BONDS, QUBITS)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the CPU time of a call, the least of many."""
    least = np.inf
    for _ in range(50):
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return 1e3 * least


@pytest.mark.parametrize("is_composite", [True, False])
@pytest.mark.parametrize("is_bound", [True, False])
def test_the_structure_of_190_gates_is_found_in_less_than_a_millisecond(
    is_bound: bool, is_composite: bool
) -> None:
    assert ANSATZ.size() == 190
    circuit = ANSATZ
    if is_composite:
        circuit = QuantumCircuit(QUBITS)
        circuit.append(ANSATZ.to_gate(), range(QUBITS))
    if is_bound:
        circuit = circuit.assign_parameters(POINT)
    # 0.18 and 0.37 ms where this was written, and 10 % more in a gate.
    assert milliseconds(lambda: structure_of(circuit)) < 0.8


def test_a_call_takes_little_more_than_its_program() -> None:
    how = {"threads": 1, "memory": 1 << 30, "max_qubits": 12}
    estimator = Estimator(device="cpu", **how)
    program = hpcq.plan(ANSATZ, HAMILTONIAN, **how).compile()
    call = milliseconds(lambda: estimator.run([(ANSATZ, HAMILTONIAN, POINT)]).result())
    # 1.6 ms where this was written.
    assert call - milliseconds(lambda: program.values(POINT)) < 3
