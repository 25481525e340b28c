"""The most probable outcomes against enumerations, by every method, and certificates that fail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from hpcq.circuits.packed_bits import values_of
from hpcq.core.errors import InputError
from hpcq.cutting.cuts import Cuts, GateCut
from hpcq.reconstruction.outcomes import inner_products, top
from hpcq.reconstruction.outcomes.best_first import BestFirst
from hpcq.reconstruction.outcomes.candidates import Candidates
from hpcq.reconstruction.outcomes.canonical_chain import (
    CanonicalChain,
    chain_bytes,
    sides_of,
    suffix_bounds,
)
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.inner_products import largest_products
from hpcq.reconstruction.outcomes.order import sampling_order, steps_of
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from hpcq.reconstruction.outcomes.top import TopOutcomes, top_outcomes
from tests.support.outcomes import (
    all_outcomes,
    joint_amplitudes,
    network_of,
    packed,
    random_network,
)
from tests.support.strategies import circuits, cuts_of, structured

_PEAK = 0.15
"""Angle of the rotations of peaked circuits."""


def brute_force(network: SiteNetwork) -> NDArray[np.float64]:
    weights = np.abs(joint_amplitudes(network)) ** 2
    return np.asarray(weights / weights.sum())


def numbers(found: TopOutcomes | Candidates, num_qubits: int) -> list[int]:
    return values_of(found.outcomes, range(num_qubits)).tolist()


def check(found: Candidates | TopOutcomes, probabilities: NDArray[np.float64], number: int) -> None:
    """Check outcomes against all probabilities, and the bound on the others."""
    order = np.argsort(-probabilities)[:number]
    width = probabilities.size.bit_length() - 1
    assert numbers(found, width) == order.tolist()
    np.testing.assert_allclose(found.probabilities, probabilities[order], rtol=1e-9)
    rest = np.delete(probabilities, order)
    assert rest.max(initial=0) <= found.others * (1 + 1e-9)


def layered(num_qubits: int, angle: float, layers: int, seed: int) -> QuantumCircuit:
    """Return layers of rotations about random axes and chains of CZ."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        for qubit in range(num_qubits):
            axis = rng.normal(size=3)
            circuit.rv(*(angle * rng.uniform(0.5, 1) * axis / np.linalg.norm(axis)), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cz(qubit, qubit + 1)
    return circuit


def cut_at(circuit: QuantumCircuit, *qubits: int) -> SiteNetwork:
    """Return the sites of a circuit of which all CZ at (q - 1, q) are cut."""
    ends = [
        tuple(circuit.find_bit(q).index for q in gate.qubits)
        for gate in circuit.data
        if len(gate.qubits) == 2
    ]
    cuts = tuple(GateCut(n, pair) for n, pair in enumerate(ends) if pair[1] in qubits)
    return network_of(circuit, Cuts(cuts, ()))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_the_chain_has_the_probabilities_of_all_prefixes(seed: int, order: tuple[int, ...]) -> None:
    network = random_network(seed)
    chain = CanonicalChain.of(network, steps_of(network, order))
    expected = brute_force(network)
    bounds = suffix_bounds(chain)
    outcomes = [np.array([0]) for _ in chain.sites]
    vectors = np.ones((1, 1), dtype=complex)
    for number, site in enumerate(chain.sites):
        size, rank = len(site.matrices), site.matrices.shape[2]
        vectors = np.tensordot(vectors, site.matrices, (1, 1)).reshape(-1, rank)
        count = len(vectors) // size
        outcomes = [np.repeat(column, size) for column in outcomes[:number]]
        outcomes.append(np.tile(np.arange(size), count))
        qubits = [qubit for one in chain.sites[: number + 1] for qubit in one.qubits]
        all_values = values_of(all_outcomes(network.num_qubits), qubits)
        marginal = np.bincount(all_values, expected, minlength=1 << len(qubits))
        largest = np.zeros(1 << len(qubits))
        np.maximum.at(largest, all_values, expected)
        own = values_of(chain.pack(outcomes), qubits)
        norms = (np.abs(vectors) ** 2).sum(axis=1)
        np.testing.assert_allclose(norms, marginal[own], rtol=1e-9)
        assert (largest[own] <= norms * bounds[number + 1] * (1 + 1e-9)).all()
    assert bounds[-1] == 1
    assert expected.max() <= bounds[0] * (1 + 1e-9)
    assert min(bounds[1:-1]) < 1


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_both_sides_have_one_diagonal_gram_matrix(cut: int) -> None:
    network = random_network(4)
    chain = CanonicalChain.of(network, steps_of(network, range(4)))
    left, right = sides_of(chain, cut)
    gram = left.conj().T @ left
    np.testing.assert_allclose(gram, right.conj().T @ right, atol=1e-12)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)
    found = np.sort((np.abs(left @ right.T) ** 2).ravel())
    np.testing.assert_allclose(found, np.sort(brute_force(network)), atol=1e-13)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", [1, 7])
def test_searches_find_the_largest_of_networks_that_are_not_normalised(
    seed: int, number: int
) -> None:
    network = random_network(seed, qubits=(7, 2, 1, 3))
    expected = brute_force(network)
    chain = CanonicalChain.of(network, steps_of(network, (1, 0, 2, 3)))
    found = BestFirst(chain, number).search()
    check(found, expected, number)
    assert found.others <= found.probabilities[-1]
    for method, by_search in top._searches(Distribution(network), number, 1 << 30, 10**5):
        check(by_search, expected, number)
        assert by_search.others <= by_search.probabilities[-1], method


@pytest.mark.parametrize(
    "shape", [(3, 40), pytest.param((520, 520), marks=pytest.mark.slow), (1025, 2)]
)
def test_largest_products_of_random_vectors(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    left, right = (
        rng.normal(size=(n, 3)) * rng.exponential(size=(n, 1)) + 1j * rng.normal(size=(n, 3))
        for n in shape
    )
    squares = np.abs(left @ right.T) ** 2
    order = np.argsort(-squares, axis=None)[:20]
    found = largest_products(left, right, 20)
    np.testing.assert_array_equal(found.left * shape[1] + found.right, order)
    np.testing.assert_allclose(found.squares, squares.ravel()[order], rtol=1e-12)
    assert found.squares[-1] == pytest.approx(found.others)
    little = largest_products(left, right, 20, max_pairs=1)
    unseen = np.setdiff1d(np.arange(squares.size), little.left * shape[1] + little.right)
    assert squares.ravel()[unseen].max() <= little.others


@pytest.mark.parametrize("qubits", [(4, 8), (6,)])
@pytest.mark.parametrize(("angle", "layers"), [(_PEAK, 3), (6.0, 4)])
def test_peaked_and_flat_states(qubits: tuple[int, ...], angle: float, layers: int) -> None:
    circuit = layered(12, angle, layers, 1)
    network = cut_at(circuit, *qubits)
    uncut = Statevector(circuit).probabilities()
    for _, found in top._searches(Distribution(network), 10, 1 << 30, 10**5):
        check(found, uncut, 10)
    listed = top_outcomes(Distribution(network), 10)
    check(listed, uncut, 10)
    assert listed.method == "all probabilities"
    assert listed.is_exact


def test_a_state_of_two_outcomes_has_no_third() -> None:
    circuit = QuantumCircuit(24)
    circuit.h(0)
    for qubit in range(23):
        circuit.cx(qubit, qubit + 1)
    network = cut_at(circuit, 12)
    for method, found in top._searches(Distribution(network), 5, 1 << 30, 10**4):
        assert sorted(numbers(found, 24)) == [0, (1 << 24) - 1], method
        np.testing.assert_allclose(found.probabilities, 0.5)
        assert found.others < 1e-14
    answer = top_outcomes(Distribution(network), 5)
    assert answer.is_exact
    assert answer.missed_probability == 0
    assert answer.method == "inner products"


def test_equal_probabilities_do_not_have_to_be_enumerated() -> None:
    circuit = QuantumCircuit(30)
    circuit.h(range(30))
    circuit.cz(9, 10)
    circuit.cz(19, 20)
    network = network_of(circuit, Cuts((GateCut(0, (9, 10)), GateCut(1, (19, 20))), ()))
    answer = top_outcomes(Distribution(network), 3)
    assert answer.is_exact
    np.testing.assert_allclose(answer.probabilities, 2.0**-30)


def flat_network() -> SiteNetwork:
    """Return 21 qubits in three sites, with random amplitudes: no search ends soon."""
    return random_network(3, [(0, 1), (1, 2)], [7, 7, 7])


def drawn(network: SiteNetwork, shots: int, seed: int) -> NDArray[np.uint8]:
    """Draw outcomes of all qubits from all probabilities."""
    rng = np.random.default_rng(seed)
    expected = brute_force(network)
    return all_outcomes(network.num_qubits)[rng.choice(expected.size, shots, p=expected)]


def test_a_search_that_gives_up_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_products, "_BLOCK", 8)
    network = random_network(5, qubits=(4, 4, 2, 4))
    expected = brute_force(network)
    chain = CanonicalChain.of(network, steps_of(network, range(4)))
    for found in (
        BestFirst(chain, 3, max_nodes=5).search(),
        top._by_products(chain, 2, 3, max_pairs=1),
    ):
        unseen = np.setdiff1d(np.arange(expected.size), numbers(found, network.num_qubits))
        assert expected[unseen].max() <= found.others
        assert not TopOutcomes(found.outcomes, found.probabilities, "", found.others).is_exact


def test_samples_that_have_seen_enough_are_a_certificate() -> None:
    network = random_network(6)
    expected = brute_force(network)
    samples = drawn(network, 100_000, 1)
    found = top._seen(Distribution(network), samples, network.qubits, False).best(3)
    check(found, expected, 3)
    assert found.others <= found.probabilities[-1]


def test_samples_that_have_seen_little_are_none() -> None:
    network = random_network(6)
    expected = brute_force(network)
    shots = 20
    samples = drawn(network, shots, 2)
    seen = top._seen(Distribution(network), samples, network.qubits, False)
    best = seen.best(10)
    answer = TopOutcomes(best.outcomes, best.probabilities, "samples", best.others, shots)
    assert set(numbers(answer, 9)) != set(np.argsort(-expected)[:10].tolist())
    assert not answer.is_exact
    last = answer.probabilities[-1]
    assert answer.missed_probability == pytest.approx((1 - last) ** shots)
    missing = np.setdiff1d(np.arange(expected.size), numbers(seen, 9))
    assert expected[missing].max() <= seen.others
    assert seen.others == pytest.approx(1 - seen.probabilities.sum())


@pytest.mark.slow
def test_the_frequency_of_missed_outcomes_is_as_stated() -> None:
    network = random_network(6)
    expected = brute_force(network)
    distribution = Distribution(network)
    first, missed, bounds = int(expected.argmax()), 0, []
    for seed in range(100):
        samples = drawn(network, 30, seed)
        seen = top._seen(distribution, samples, network.qubits, False)
        missed += first not in numbers(seen, 9)
        bounds.append((1 - expected[first]) ** 30)
    mean = np.mean(bounds)
    assert 0.05 < mean < 0.95
    assert abs(missed - 100 * mean) < 5 * np.sqrt(100 * mean * (1 - mean))


def test_methods_follow_each_other_until_one_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_products, "_BLOCK", 2)
    network = flat_network()
    distribution = Distribution(network)
    without = top_outcomes(distribution, 9, max_pairs=1, max_nodes=1)
    assert without.method == "best first"
    assert not without.is_exact
    shots = packed(np.random.default_rng(1).integers(0, 1 << 21, 50), 21)
    calls: list[int] = []

    def draw() -> NDArray[np.uint8]:
        calls.append(1)
        return shots

    answer = top_outcomes(distribution, 9, draw=draw, max_pairs=1, max_nodes=1)
    assert calls == [1]
    assert (answer.method, answer.samples, answer.is_exact) == ("samples", 50, False)
    assert answer.probabilities[0] >= without.probabilities.max(initial=0)
    np.testing.assert_allclose(
        answer.probabilities, distribution.probabilities(answer.outcomes), rtol=1e-9
    )
    monkeypatch.undo()
    certain = top_outcomes(distribution, 9, draw=draw)
    assert calls == [1]
    assert certain.is_exact
    assert certain.probabilities[-1] >= answer.probabilities[-1]


def test_too_little_memory_leaves_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(1)
    samples = drawn(network, 1000, 1)
    steps = sampling_order(network)
    little = chain_bytes(network, steps) - 1
    assert not list(top._searches(Distribution(network, little), 3, 1 << 30, 10**5))
    methods = [m for m, _ in top._searches(Distribution(network, little + 1), 3, 1 << 30, 10**5)]
    assert "inner products" not in methods
    monkeypatch.setattr(top, "_MAX_LISTED_QUBITS", 0)
    answer = top_outcomes(Distribution(network, little), 3, draw=lambda: samples)
    assert answer.method == "samples"
    check(answer, brute_force(network), 3)


@pytest.mark.parametrize("qubits", [(0, 5, 3), (8, 1, 2, 7)])
def test_some_qubits_are_measured(qubits: tuple[int, ...]) -> None:
    network = random_network(7)
    values = values_of(all_outcomes(9), qubits)
    marginal = np.bincount(values, brute_force(network))
    distribution = Distribution(network)
    answer = top_outcomes(distribution, 3, qubits)
    assert answer.is_exact
    found = values_of(answer.outcomes, qubits)
    np.testing.assert_array_equal(found, np.argsort(-marginal)[:3])
    others = [qubit for qubit in range(9) if qubit not in qubits]
    assert not values_of(answer.outcomes, others).any()
    seen = top._seen(distribution, drawn(network, 5000, 1), qubits, True).best(3)
    np.testing.assert_array_equal(seen.outcomes, answer.outcomes)
    np.testing.assert_allclose(seen.probabilities, np.sort(marginal)[::-1][:3])


def test_numbers_are_checked() -> None:
    with pytest.raises(InputError, match="number: '0', expected"):
        top_outcomes(Distribution(random_network(0)), 0)


@pytest.mark.slow
@given(st.data(), st.integers(1, 12))
@settings(max_examples=12, deadline=None)
def test_searches_find_the_largest_of_random_cut_circuits(data: st.DataObject, number: int) -> None:
    circuit = data.draw(st.one_of(circuits(6, 12), structured(6, 14)))
    network = network_of(circuit, data.draw(cuts_of(circuit)))
    uncut = np.sort(Statevector(circuit).probabilities())[::-1]
    for method, found in top._searches(Distribution(network), number, 1 << 30, 10**5):
        # Equal probabilities may come in any order, and impossible outcomes are left out.
        count = len(found.probabilities)
        np.testing.assert_allclose(found.probabilities, uncut[:count], atol=1e-12)
        assert uncut[count : count + 1].sum() <= found.others + 1e-12, method
        assert found.others <= uncut[count - 1] * (1 + 1e-9) + 1e-12
        assert count == number or uncut[count:].max(initial=0) < 1e-12
        index = numbers(found, circuit.num_qubits)
        assert len(set(index)) == count
        probabilities = Statevector(circuit).probabilities()
        np.testing.assert_allclose(probabilities[index], found.probabilities, atol=1e-12)
