"""Gradients for qiskit-algorithms are those of uncut circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.core.errors import InputError
from hpcq.primitives import Estimator, programs
from tests.primitives.pubs import ANSATZ, HAMILTONIAN, ROWS, two_angles
from tests.support.parametrised import random_circuit, random_operator, uncut_gradients

pytest.importorskip("qiskit_algorithms")
from qiskit_algorithms.gradients import ReverseEstimatorGradient

from hpcq.primitives import EstimatorGradient

OPERATOR = SparsePauliOp(["ZZ", "XY", "IX"], [1.0, 0.5, -0.3])
HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}


@pytest.mark.parametrize("options", [{}, {"cut_labels": "AAB"}])
def test_gradients_of_several_circuits(options: dict[str, str]) -> None:
    circuits = [ANSATZ, ANSATZ, ANSATZ]
    operators = [HAMILTONIAN, HAMILTONIAN, HAMILTONIAN @ HAMILTONIAN]
    some = [None, [ANSATZ.parameters[4], ANSATZ.parameters[1]], None]
    gradient = EstimatorGradient(Estimator(**HOW, **options))
    found = gradient.run(circuits, operators, ROWS[:3], some).result()
    expected = ReverseEstimatorGradient().run(circuits, operators, ROWS[:3], some).result()
    assert found.precision == 0.0
    for got, wanted in zip(found.gradients, expected.gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_of_random_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit, operator = random_circuit(rng, qubits=3, gates=8), random_operator(rng, 3)
    row = rng.uniform(-3, 3, circuit.num_parameters)
    gradient = EstimatorGradient(Estimator(**HOW))
    paulis = SparsePauliOp.from_sparse_observable(operator)
    (found,) = gradient.run([circuit], [paulis], [row]).result().gradients
    np.testing.assert_allclose(found, uncut_gradients(circuit, [operator], row)[0], atol=1e-9)


def test_values_and_gradients_share_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*arguments: Any, **options: Any) -> hpcq.Plan:
        made.append(arguments)
        return hpcq.plan(*arguments, **options)

    monkeypatch.setattr(programs, "plan", counted)
    estimator = Estimator(**HOW)
    estimator.run([(ANSATZ, HAMILTONIAN, ROWS)]).result()
    EstimatorGradient(estimator).run([ANSATZ], [HAMILTONIAN], ROWS[:1]).result()
    assert len(made) == 1


def test_gradients_from_shots() -> None:
    circuit, *_ = two_angles()
    gradient = EstimatorGradient(Estimator(target_error=0.05, **HOW), precision=0.02)
    result = gradient.run([circuit], [OPERATOR], [[0.3, 0.8]]).result()
    assert result.precision == 0.02
    expected = ReverseEstimatorGradient().run([circuit], [OPERATOR], [[0.3, 0.8]]).result()
    np.testing.assert_allclose(result.gradients[0], expected.gradients[0], atol=0.25)


def test_another_estimator_is_refused() -> None:
    with pytest.raises(InputError, match=r"StatevectorEstimator, expected an hpcq\.primitives"):
        EstimatorGradient(StatevectorEstimator())
