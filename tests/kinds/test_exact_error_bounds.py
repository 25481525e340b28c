"""Bounds on the errors of values hold in single precision, and do not exceed the tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.cutting.subexperiments.pauli_products import pauli_products
from hpcq.kinds.exact.error_bounds import observable_bounds
from hpcq.planning.routing.probes import string_tolerance
from hpcq.reconstruction.contraction import Contraction
from tests.support import strategies


def separate_qubits(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.1 * qubit, qubit)
    return circuit


def contraction_of(plan: Any) -> Contraction:
    return Contraction.within(plan.network, plan.terms.picks, plan.limits.memory_bytes)


def test_the_identity_is_exact_in_single_precision() -> None:
    circuit = separate_qubits(5)
    observables = [SparsePauliOp(["IIIII", "IIIIZ"], [1e12, 1]), SparsePauliOp("IIIII")]
    result = hpcq.run(hpcq.plan(circuit, observables, dtype="complex64"))
    expected = strategies.uncut_value(circuit, SparsePauliOp("IIIIZ"))
    assert abs(result.expectation_values[0] - 1e12 - expected) <= result.error_bounds[0] + 1e-3
    assert result.error_bounds[0] < 1e-4
    assert result.expectation_values[1] == 1
    assert result.error_bounds[1] == 0


def test_parts_that_a_term_does_not_touch_count_in_single_precision() -> None:
    plan = hpcq.plan(separate_qubits(2), ["Z0", "Z1"], method="statevector", dtype="complex64")
    assert len(plan.tensors) == 2
    error = 1e-4
    tensors = [np.full(tensor.shape, 1 + error, complex) for tensor in plan.tensors]
    bounds = [np.array([error, 0.0]) for _ in plan.tensors]  # the identity, then Z
    assert (observable_bounds(plan, tensors, bounds, contraction_of(plan)) >= error).all()


def test_single_precision_sums_many_equal_squares() -> None:
    state = np.full((1, 1 << 17), 2.0**-8.5 * 1.05, np.complex64)
    exact = np.vdot(state.astype(complex), state.astype(complex)).real
    norm, flipped = pauli_products(state, state, [(), ((0, "X"), (16, "X"))])[:, 0, 0]
    assert norm == pytest.approx(exact, rel=1e-12)
    assert flipped == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("tolerance", [1e-8, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_strings_within_their_tolerance_make_terms_within_it(tolerance: float, parts: int) -> None:
    """Even if values with errors come out larger than 1."""
    plan = hpcq.plan(separate_qubits(parts), "Z" * parts, method="statevector")
    error = string_tolerance(tolerance, parts)
    tensors = [np.full((len(tensor.strings), 1, 1), 1 + error, complex) for tensor in plan.tensors]
    bounds = [np.array([0.0, error])] * len(plan.tensors)
    (bound,) = observable_bounds(plan, tensors, bounds, contraction_of(plan))
    assert (1 + error) ** parts - 1 <= bound * (1 + 1e-9)
    assert bound <= tolerance * (1 + 1e-9)
