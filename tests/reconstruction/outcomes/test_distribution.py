"""Amplitudes, probabilities and marginals against enumerations, and against the uncut state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.quantum_info import Statevector

from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.marginals import MarginalPlan
from tests.support.outcomes import all_outcomes, joint_amplitudes, network_of, random_network
from tests.support.strategies import circuits, cuts_of, structured


@pytest.mark.slow
@given(st.data(), st.integers(0, 2), st.booleans())
@settings(max_examples=15, deadline=None)
def test_answers_are_those_of_the_uncut_state(
    data: st.DataObject, sliced: int, keeps: bool
) -> None:
    circuit = data.draw(st.one_of(circuits(5, 10), structured(5, 12)))
    network = network_of(
        circuit,
        data.draw(cuts_of(circuit)),
        sliced_ports=sliced,
        kept_bytes=1 << 40 if keeps else 0,
    )
    state, distribution = Statevector(circuit), Distribution(network)
    outcomes = all_outcomes(circuit.num_qubits)
    found = distribution.amplitudes(outcomes)
    assert abs(np.vdot(found, state.data)) == pytest.approx(1, abs=1e-10)
    np.testing.assert_allclose(
        distribution.probabilities(outcomes), state.probabilities(), atol=1e-12
    )
    qubits = data.draw(st.permutations(range(circuit.num_qubits)))
    qubits = qubits[: data.draw(st.integers(0, circuit.num_qubits))]
    expected = state.probabilities(qubits) if qubits else np.ones(1)
    np.testing.assert_allclose(distribution.marginal(qubits), expected, atol=1e-12)
    by_outcome = distribution.probabilities(outcomes, qubits)
    index = sum(((np.arange(len(outcomes)) >> q & 1) << i for i, q in enumerate(qubits)), 0)
    np.testing.assert_allclose(
        by_outcome, np.broadcast_to(expected[index], 1 << circuit.num_qubits), atol=1e-12
    )


@pytest.mark.parametrize("seed", range(6))
def test_networks_need_not_be_normalised(seed: int) -> None:
    network = random_network(seed)
    weights = np.abs(joint_amplitudes(network)) ** 2
    distribution = Distribution(network)
    assert distribution.log_norm == pytest.approx(np.log(weights.sum()), abs=1e-10)
    outcomes = all_outcomes(network.num_qubits)
    np.testing.assert_allclose(
        distribution.probabilities(outcomes), weights / weights.sum(), rtol=1e-9
    )
    qubits = (network.num_qubits - 1, 0)
    grid = weights.reshape(2, -1, 2).sum(axis=1) / weights.sum()  # highest qubit, lowest qubit
    np.testing.assert_allclose(distribution.marginal(qubits), grid.T.reshape(-1), rtol=1e-9)


@pytest.mark.parametrize("sums", [False, True])
def test_both_ways_to_sum_over_qubits(sums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "sums_amplitudes", lambda *_: sums)
    network = random_network(3)
    outcomes = all_outcomes(network.num_qubits)
    weights = np.abs(joint_amplitudes(network)) ** 2
    qubits = [qubit for qubit in range(network.num_qubits) if qubit not in (1, 3)]
    alike = np.arange(len(outcomes)) & ~0b1010  # outcomes with the same bits of these qubits
    expected = np.bincount(alike, weights, len(outcomes))[alike] / weights.sum()
    found = Distribution(network).probabilities(outcomes, qubits)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_less_memory_gives_the_same_answers() -> None:
    network = random_network(2)
    qubits = [*range(0, network.num_qubits, 2), 1]
    little, much = Distribution(network, 3 << 11), Distribution(network)
    plan = MarginalPlan.within(network, qubits, little.memory_bytes)
    assert plan.num_parts > 1
    assert plan.contraction.sliced
    np.testing.assert_allclose(little.marginal(qubits), much.marginal(qubits), rtol=1e-10)
    np.testing.assert_allclose(
        little.marginal(network.qubits), much.marginal(network.qubits), rtol=1e-10
    )


@pytest.mark.slow
def test_probabilities_below_the_range_of_floats_have_logarithms() -> None:
    network = random_network(0, [(k, k + 1) for k in range(99)], [12] * 100)
    distribution = Distribution(network)
    outcomes = np.zeros((1, 150), dtype=np.uint8)
    logarithm = distribution.log_probabilities(outcomes).item()
    first = distribution.log_probabilities(outcomes, range(600)).item()
    assert distribution.probabilities(outcomes).item() == 0
    amplitude = distribution.amplitudes(outcomes).item()
    assert logarithm == pytest.approx(2 * np.log(abs(amplitude)), rel=1e-10)
    assert logarithm < first < 0


def test_what_is_no_question_is_refused() -> None:
    distribution = Distribution(random_network(0))
    with pytest.raises(InputError, match="outcomes: uint8 of shape"):
        distribution.amplitudes(np.zeros((1, 1), dtype=np.uint8))
    with pytest.raises(InputError, match=r"qubits: .*different"):
        distribution.marginal([0, 0])
    with pytest.raises(InputError, match=r"qubits: .*different"):
        distribution.marginal([9])
    wide = Distribution(random_network(0, [(0, 1)], [13, 12]))
    with pytest.raises(InputError, match="qubits: 25 of them, expected at most 24"):
        wide.marginal(range(25))
    with pytest.raises(MemoryLimitError, match="memory: the contraction of 4 subcircuits"):
        Distribution(random_network(0), 100).marginal([0])
