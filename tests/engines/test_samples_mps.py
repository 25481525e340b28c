from __future__ import annotations

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hpcq.engines import mps_samples
from hpcq.engines.chain_plan import plan_chain
from hpcq.engines.mps_samples import sample_plan
from hpcq.engines.requests import NO_PARAMETERS, Samples
from hpcq.engines.sampled_outcomes import SampledOutcomes
from tests.engines.sample_cases import (
    LEAST_P_VALUE,
    check_form,
    engine,
    numbers,
    p_value,
    piece,
    probabilities_of,
    random_circuit,
    sampled,
)


def drawn(circuit: QuantumCircuit, request: Samples, seed: int = 0) -> SampledOutcomes:
    plan = plan_chain(circuit)
    return sample_plan(plan, request, request.cap or 256, np.random.default_rng(seed))


@pytest.mark.parametrize("cap", [3, 6])
def test_samples_of_a_truncated_state_are_those_that_it_states(cap: int) -> None:
    circuit = random_circuit(8, 5)
    exact = probabilities_of(circuit)
    outcomes = sampled("mps", circuit, Samples(10**9, seed=1, cap=cap))
    truncated = np.zeros(256)
    truncated[numbers(outcomes)] = np.exp(outcomes.log_probabilities)
    assert truncated.sum() == pytest.approx(1, abs=1e-6)  # all but improbable outcomes occurred
    assert p_value(outcomes, truncated) > LEAST_P_VALUE
    assert p_value(outcomes, exact) < LEAST_P_VALUE
    distance = 0.5 * np.abs(truncated - exact).sum()
    assert 1e-3 < distance <= outcomes.distance <= 1


def test_a_tolerance_bounds_the_distance() -> None:
    circuit = random_circuit(8, 6)
    exact = probabilities_of(circuit)
    within = sampled("mps", circuit, Samples(10**9, seed=2, tolerance=0.3))
    truncated = np.zeros(256)
    truncated[numbers(within)] = np.exp(within.log_probabilities)
    assert 0 < 0.5 * np.abs(truncated - exact).sum() <= within.distance <= 0.3


@pytest.mark.parametrize("limit", [{"cap": 3, "tolerance": 1e-6}, {"max_work": 1e3}])
def test_samples_are_given_up(limit: dict[str, float]) -> None:
    circuit = random_circuit(9, 7)
    prepared = engine("mps").prepared(piece(circuit))
    (outcomes,) = prepared.execute(NO_PARAMETERS, Samples(100, seed=3, **limit))  # type: ignore[arg-type]
    assert outcomes.packed.shape == (0, 2)
    assert len(outcomes.counts) == len(outcomes.log_probabilities) == 0
    assert outcomes.distance == np.inf


def test_the_work_of_the_draws_counts() -> None:
    circuit = QuantumCircuit(20)
    circuit.h(range(20))
    assert len(drawn(circuit, Samples(10, seed=0, max_work=1e5)).counts) == 10
    assert drawn(circuit, Samples(10_000, seed=0, max_work=1e5)).distance == np.inf


@pytest.mark.parametrize("batch", [1, 1000, 20_000])
def test_nodes_that_do_not_fit_into_a_batch_wait(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    circuit = random_circuit(8, 9)
    exact = probabilities_of(circuit)
    monkeypatch.setattr(mps_samples, "_BATCH_BYTES", batch)
    outcomes = drawn(circuit, Samples(100_000, seed=0), seed=batch)
    check_form(outcomes, 8, 100_000)
    assert p_value(outcomes, exact) > LEAST_P_VALUE
    np.testing.assert_allclose(
        np.exp(outcomes.log_probabilities), exact[numbers(outcomes)], rtol=1e-10
    )


def test_probabilities_below_the_smallest_double() -> None:
    circuit = QuantumCircuit(1200)
    for qubit in range(1200):
        circuit.ry(0.5 * np.pi, qubit)
    outcomes = sampled("mps", circuit, Samples(3, seed=4))
    np.testing.assert_allclose(outcomes.log_probabilities, -1200 * np.log(2), rtol=1e-12)


@pytest.mark.slow
def test_outcomes_of_100_qubits_have_the_right_correlations() -> None:
    rng = np.random.default_rng(1)
    angles = rng.uniform(0.4, 2.7, size=100)
    circuit = QuantumCircuit(100)
    for qubit, angle in enumerate(angles.tolist()):
        circuit.ry(angle, qubit)
    for qubit in range(0, 100, 2):
        circuit.cx(qubit, 99 - qubit)
    start = time.process_time()
    outcomes = sampled("mps", circuit, Samples(20_000, seed=5))
    assert time.process_time() - start < 30
    bits = np.unpackbits(outcomes.packed[:, ::-1], axis=1, bitorder="little")[:, :100]
    bits = np.repeat(bits, outcomes.counts, axis=0)
    sources = range(0, 100, 2)
    bits[:, [99 - q for q in sources]] ^= bits[:, list(sources)]
    ones = np.sin(angles / 2) ** 2
    deviation = np.sqrt(ones * (1 - ones) / 20_000)
    assert (np.abs(bits.mean(axis=0) - ones) < 5.5 * deviation).all()
    independent = (bits - ones) / np.sqrt(ones * (1 - ones))
    correlations = independent.T @ independent / 20_000 - np.eye(100)
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 6 / np.sqrt(20_000)
    counted = np.repeat(outcomes.log_probabilities, outcomes.counts)
    expected = np.where(bits == 1, np.log(ones), np.log(1 - ones)).sum(axis=1)
    np.testing.assert_allclose(counted, expected, rtol=1e-11)
