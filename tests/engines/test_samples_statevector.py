from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from scipy.stats import chisquare

from hpcq.core.limits import Limits
from hpcq.engines.requests import NO_PARAMETERS, Amplitudes, Samples
from hpcq.engines.statevector_samples import sample_statevector
from tests.engines.pauli_cases import ghz
from tests.engines.sample_cases import (
    LEAST_P_VALUE,
    engine,
    numbers,
    p_value,
    piece,
    probabilities_of,
    random_circuit,
    sampled,
)


def brickwork(num_qubits: int) -> QuantumCircuit:
    """Return two layers of entangled rotations, quick to simulate."""
    rng = np.random.default_rng(num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(2):
        for qubit in range(num_qubits):
            circuit.u(*rng.uniform(0.5, 2.5, size=3).tolist(), qubit)
        for qubit in range(layer, num_qubits - 1, 2):
            circuit.cx(qubit, qubit + 1)
    return circuit


@pytest.mark.parametrize("num_qubits", [9, 18])
def test_stated_probabilities_are_the_squares_of_amplitudes(num_qubits: int) -> None:
    # 18 qubits are four blocks of amplitudes.
    circuit = brickwork(num_qubits)
    outcomes = sampled("aer", circuit, Samples(50_000, seed=1))
    prepared = engine("aer").prepared(piece(circuit))
    amplitudes = prepared.execute(NO_PARAMETERS, Amplitudes())[0, 0]
    probabilities = np.abs(amplitudes[numbers(outcomes)]) ** 2
    assert probabilities.min() < 1e-4 * probabilities.max()
    np.testing.assert_allclose(np.exp(outcomes.log_probabilities), probabilities, rtol=1e-12)


def test_outcomes_of_many_blocks() -> None:
    circuit = brickwork(18)
    probabilities = probabilities_of(circuit)
    for shots in (10_000, 4_000_000):  # one by one, and counted
        outcomes = sampled("aer", circuit, Samples(shots, seed=2))
        assert p_value(outcomes, probabilities) > LEAST_P_VALUE
        # The highest bits are those of the blocks, the lowest those within them.
        for shift in (0, 5, 13):
            bits = np.bincount(
                np.array(numbers(outcomes)) >> shift & 31, outcomes.counts, minlength=32
            )
            marginal = np.bincount(np.arange(1 << 18) >> shift & 31, probabilities)
            assert chisquare(bits, shots * marginal).pvalue > LEAST_P_VALUE


def test_any_number_of_shots() -> None:
    outcomes = sampled("aer", ghz(20), Samples(10**15, seed=3))
    assert numbers(outcomes) == [0, (1 << 20) - 1]
    assert outcomes.counts[0] / 10**15 == pytest.approx(0.5, abs=1e-6)


def test_states_in_single_precision_are_normalised_in_double() -> None:
    circuit = random_circuit(8, 4)
    limits = Limits(1 << 30, precision="single")
    outcomes = sampled("aer", circuit, Samples(10**7, seed=4), limits)
    probabilities = probabilities_of(circuit)
    assert len(outcomes.counts) == 256
    assert p_value(outcomes, probabilities) > LEAST_P_VALUE
    stated = np.exp(outcomes.log_probabilities)
    assert stated.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(stated, probabilities, rtol=1e-3)


def test_states_need_not_be_normalised() -> None:
    state = np.array([3, 0, 4j, 0], dtype=np.complex64) * np.float32(1e-18)
    outcomes = sample_statevector(state, 10_000, np.random.default_rng(5))
    assert outcomes.packed.tolist() == [[0], [2]]
    np.testing.assert_allclose(np.exp(outcomes.log_probabilities), [0.36, 0.64], rtol=1e-6)
    assert outcomes.counts[0] == pytest.approx(3600, abs=250)
