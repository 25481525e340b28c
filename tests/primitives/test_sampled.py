"""Estimates from shots: their precision is the standard error, and their errors are true."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_aer.noise import NoiseModel, depolarizing_error

from hpcq.core.errors import InputError
from hpcq.primitives import Estimator
from tests.primitives.pubs import ANSATZ, HAMILTONIAN, ROWS, bell

HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
EXACT = Estimator(**HOW).run([(ANSATZ, HAMILTONIAN, ROWS)]).result()[0].data.evs


def test_the_default_precision_tells_how_values_come_about() -> None:
    assert Estimator().default_precision == 0.0
    assert Estimator(max_qubits=3).default_precision == 0.0
    assert Estimator(target_error=0.25).default_precision == 0.25
    assert Estimator(shots=1000).default_precision == 0.0
    assert Estimator(shots=1000, target_error=0.5).default_precision == 0.5
    assert Estimator(noise="noise.json").default_precision == 0.015625


@pytest.mark.slow
@pytest.mark.parametrize("is_bound", [True, False])
def test_precision_is_the_target_error(is_bound: bool) -> None:
    pubs = [(ANSATZ, HAMILTONIAN, row) for row in ROWS]
    if is_bound:
        pubs = [(ANSATZ.assign_parameters(row), HAMILTONIAN) for row in ROWS]
    estimator = Estimator(target_error=0.2, cut_labels="AAB", **HOW)
    for precision, expected in ((None, 0.2), (0.05, 0.05)):
        result = estimator.run(pubs, precision=precision).result()
        for each, exact in zip(result, EXACT, strict=True):
            assert each.metadata["target_precision"] == expected
            assert 0.2 * expected < each.data.stds <= expected
            assert abs(each.data.evs - exact) < 5 * each.data.stds


def test_precisions_of_pubs() -> None:
    estimator = Estimator(target_error=0.2, **HOW)
    pubs = [(ANSATZ, HAMILTONIAN, ROWS[0], 0.1), (ANSATZ, HAMILTONIAN, ROWS[0])]
    fine, coarse = estimator.run(pubs).result()
    assert fine.data.stds <= 0.1 < coarse.data.stds <= 0.2
    assert fine.metadata["target_precision"] == 0.1
    assert coarse.metadata["target_precision"] == 0.2


@pytest.mark.parametrize("is_bound", [True, False])
def test_each_evaluation_takes_new_shots_and_scripts_repeat(is_bound: bool) -> None:
    pub = (ANSATZ, HAMILTONIAN, ROWS[0])
    if is_bound:
        pub = (ANSATZ.assign_parameters(ROWS[0]), HAMILTONIAN)

    def script(seed: int) -> list[float]:
        estimator = Estimator(shots=2000, seed=seed, **HOW)
        return [float(estimator.run([pub]).result()[0].data.evs) for _ in range(3)]

    first = script(1)
    assert len(set(first)) == 3
    assert script(1) == first
    assert script(2) != first


@pytest.mark.slow
def test_errors_are_true() -> None:
    estimator = Estimator(shots=600, cut_labels="AAB", **HOW)
    rows = np.repeat(ROWS[:1], 60, axis=0)
    data = estimator.run([(ANSATZ, HAMILTONIAN, rows)]).result()[0].data
    deviations = (data.evs - EXACT[0]) / data.stds
    assert 0.7 < np.sqrt((deviations**2).mean()) < 1.35
    assert abs(deviations.mean()) < 0.5


def test_broadcast_in_shape() -> None:
    estimator = Estimator(shots=2000, **HOW)
    data = estimator.run([(ANSATZ, [["ZZZ"], [HAMILTONIAN], ["XXX"]], ROWS)]).result()[0].data
    assert data.shape == data.evs.shape == data.stds.shape == (3, 4)
    assert (data.stds > 0).all()
    np.testing.assert_array_less(np.abs(data.evs[1] - EXACT), 5 * data.stds[1])


@pytest.mark.slow
def test_a_backend_has_noise() -> None:
    backend = GenericBackendV2(3, seed=1)
    data = Estimator(backend=backend, shots=4000, **HOW).run([(bell(), ["ZZ", "XX"])]).result()[0]
    assert (data.data.stds > 0).all()
    np.testing.assert_allclose(data.data.evs, 1.0, atol=0.2)


@pytest.mark.slow
def test_noise_without_a_precision_has_that_of_devices() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(0.2, 2), ["cx"])
    result = Estimator(noise=noise, **HOW).run([(bell(), ["ZZ", "XX"])]).result()[0]
    assert result.metadata["target_precision"] == 1 / 64
    assert (result.data.stds <= 1 / 64).all()
    np.testing.assert_array_less(np.abs(result.data.evs - 0.8), 5 * result.data.stds)


def test_a_precision_of_zero_needs_shots() -> None:
    job = Estimator(target_error=0.1, **HOW).run([(bell(), "ZZ")], precision=0.0)
    with pytest.raises(InputError, match="precision: 0"):
        job.result()
