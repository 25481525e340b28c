from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from scipy.stats import chisquare

from hpcq.engines.requests import Samples
from hpcq.engines.stabilizer import StabilizerPiece
from tests.engines.pauli_cases import clifford_circuits
from tests.engines.sample_cases import LEAST_P_VALUE, numbers, probabilities_of, sampled


@pytest.mark.slow
@settings(max_examples=30)
@given(clifford_circuits(), st.integers(0, 100))
def test_all_outcomes_that_are_possible_are_equally_probable(
    circuit: QuantumCircuit, seed: int
) -> None:
    probabilities = probabilities_of(circuit)
    possible = np.flatnonzero(probabilities > 1e-10)
    outcomes = sampled("stabilizer", circuit, Samples(5000, seed))
    assert numbers(outcomes) == possible.tolist()  # at most 32, each expected 156 times
    np.testing.assert_allclose(
        np.exp(outcomes.log_probabilities), probabilities[possible], rtol=1e-12
    )
    if len(possible) > 1:
        assert chisquare(outcomes.counts).pvalue > 1e-7  # examples are not fixed


def scattered(num_qubits: int, free: int) -> QuantumCircuit:
    """Return random bits on some qubits, each copied to others, and flipped on some."""
    rng = np.random.default_rng([num_qubits, free])
    order = rng.permutation(num_qubits).tolist()
    circuit = QuantumCircuit(num_qubits)
    circuit.h(order[:free])
    for target in order[free:]:
        for source in rng.choice(order[:free], size=2, replace=False).tolist():
            circuit.cx(source, target)
    circuit.x(order[::3])
    return circuit


@pytest.mark.slow
@pytest.mark.parametrize("free", [16, 17])
def test_vectors_that_are_counted_and_vectors_that_are_drawn(free: int) -> None:
    circuit = scattered(70, free)
    outcomes = sampled("stabilizer", circuit, Samples(2_000_000, seed=1))
    missing = (1 << free) - len(outcomes.counts)
    assert missing < 10
    counts = np.append(outcomes.counts, np.zeros(missing))
    assert chisquare(counts).pvalue > LEAST_P_VALUE
    assert outcomes.log_probabilities == pytest.approx(-free * np.log(2), abs=1e-12)


def test_outcomes_of_300_qubits_are_possible_and_free_bits_independent() -> None:
    circuit = scattered(300, 120)
    order = np.random.default_rng([300, 120]).permutation(300)
    outcomes = sampled("stabilizer", circuit, Samples(20_000, seed=2))
    assert len(outcomes.counts) == 20_000
    bits = np.unpackbits(outcomes.packed[:, ::-1], axis=1, bitorder="little")[:, :300]
    free = bits[:, order[:120]].astype(float) - 0.5
    # Means and products of pairs have a deviation of 0.25 / sqrt(20000) = 0.0018.
    correlations = free.T @ free / 20_000 - 0.25 * np.eye(120)
    assert np.abs(correlations).max() < 0.0018 * 6
    assert np.abs(free.mean(axis=0)).max() < 2 * 0.0018 * 6
    # Undo the circuit on the outcomes: the copies are constants.
    flipped = bits ^ np.isin(np.arange(300), order[::3])
    for gate in reversed(circuit.data):
        if gate.name == "cx":
            source, target = (circuit.find_bit(qubit).index for qubit in gate.qubits)
            flipped[:, target] ^= flipped[:, source]
    assert not flipped[:, order[120:]].any()


def test_the_support_does_not_depend_on_the_outcome_that_stim_draws() -> None:
    circuit = scattered(40, 20)
    first, second = (StabilizerPiece(circuit).support for _ in range(2))
    assert np.array_equal(first.offset, second.offset)
    assert np.array_equal(first.vectors, second.vectors)
    assert StabilizerPiece(circuit).memory_bytes >= first.vectors.nbytes
