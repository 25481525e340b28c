from __future__ import annotations

import itertools
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from scipy.stats import chi2, kstest

from hpcq.circuits.packed_bits import num_bytes, set_values, values_of
from hpcq.core.errors import InputError, MemoryLimitError
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, two_qubit_gates
from hpcq.reconstruction.outcomes.contraction_sampler import ContractionSampler
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.frontier_sampler import FrontierSampler
from hpcq.reconstruction.outcomes.order import steps_of
from hpcq.reconstruction.outcomes.prefix_tree import PrefixTree
from hpcq.reconstruction.outcomes.sampler import PerfectSampler, num_chunks
from hpcq.reconstruction.outcomes.sampling_cost import sampling_cost
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from tests.support.outcomes import joint_amplitudes, network_of, sites_of, uncut_amplitudes
from tests.support.strategies import circuits, cuts_of, structured

_ROOMY = 1 << 30
_TIGHT = 1 << 17
"""Bytes with which trees of the networks below are not full."""


def _p_value(probabilities: np.ndarray, samples: CountedOutcomes) -> float:
    """Return the p-value of a chi-square test, rare outcomes together."""
    shots = samples.shots
    counts = np.zeros(len(probabilities))
    counts[values_of(samples.outcomes, range(probabilities.size.bit_length() - 1))] = samples.counts
    expected = probabilities * shots
    common = expected >= 5
    expected = np.append(expected[common], expected[~common].sum())
    counts = np.append(counts[common], counts[~common].sum())
    if expected[-1] < 1:
        expected[-2] += expected[-1]
        counts[-2] += counts[-1]
        expected, counts = expected[:-1], counts[:-1]
    if len(expected) == 1:
        return 1.0
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float(chi2.sf(statistic, len(expected) - 1))


def _assert_uncut(circuit: QuantumCircuit, samples: CountedOutcomes) -> None:
    """Assert that stated probabilities are those of the uncut circuit."""
    found = values_of(samples.outcomes, range(circuit.num_qubits))
    uncut = np.abs(uncut_amplitudes(circuit)) ** 2
    np.testing.assert_allclose(samples.probabilities, uncut[found], rtol=1e-8, atol=1e-13)
    assert (uncut[found] > 1e-14).all(), "an impossible outcome was drawn"


def _assert_exact(circuit: QuantumCircuit, network: SiteNetwork, samples: CountedOutcomes) -> None:
    """Assert that stated probabilities are also those of the amplitudes, more exactly."""
    _assert_uncut(circuit, samples)
    exact = np.abs(joint_amplitudes(network)) ** 2
    found = values_of(samples.outcomes, range(circuit.num_qubits))
    np.testing.assert_allclose(samples.probabilities, exact[found], rtol=1e-12)


@given(st.data(), st.integers(0, 3), st.booleans(), st.sampled_from((_ROOMY, _TIGHT)))
@settings(max_examples=8, deadline=None)
def test_samples_follow_the_uncut_distribution(
    data: st.DataObject, sliced: int, keeps: bool, memory_bytes: int
) -> None:
    circuit = data.draw(st.one_of(circuits(6, 12), structured(6, 14)))
    cuts = data.draw(cuts_of(circuit))
    network = network_of(circuit, cuts, sliced_ports=sliced, kept_bytes=1 << 40 if keeps else 0)
    order = data.draw(st.one_of(st.none(), st.permutations(range(len(network.sites)))))
    steps = None if order is None else steps_of(network, order)
    try:
        sampler = PerfectSampler.of(network, memory_bytes, steps)
    except MemoryLimitError:
        assert memory_bytes == _TIGHT
        return
    samples = sampler.draw([0], 4000, data.draw(st.integers(0, 99)))
    assert samples.shots == 4000
    if isinstance(sampler.method, FrontierSampler):
        assert sampler.method.environments.log_norm == pytest.approx(0, abs=1e-10)
    _assert_exact(circuit, network, samples)
    assert _p_value(np.abs(uncut_amplitudes(circuit)) ** 2, samples) > 1e-9


@given(st.data(), st.integers(0, 2), st.booleans(), st.sampled_from((_ROOMY, 1 << 21)))
@settings(max_examples=5, deadline=None)
def test_samples_by_contractions_follow_the_uncut_distribution(
    data: st.DataObject, sliced: int, keeps: bool, memory_bytes: int
) -> None:
    circuit = data.draw(structured(6, 12).filter(lambda circuit: circuit.num_qubits > 1))
    cuts = data.draw(cuts_of(circuit))
    network = network_of(circuit, cuts, sliced_ports=sliced, kept_bytes=1 << 40 if keeps else 0)
    assume(len(network.sites) > 1)
    order = tuple(data.draw(st.permutations(range(len(network.sites)))))
    sampler = PerfectSampler(network, ContractionSampler.of(network, order, memory_bytes))
    samples = sampler.draw([0], 2000, data.draw(st.integers(0, 99)))
    assert samples.shots == 2000
    _assert_exact(circuit, network, samples)
    assert _p_value(np.abs(uncut_amplitudes(circuit)) ** 2, samples) > 1e-9


def test_contractions_draw_the_bits_for_which_trees_have_no_memory() -> None:
    circuit, cuts = _chain(2, 5)
    network = network_of(circuit, cuts)
    method = ContractionSampler.of(network, (1, 0), 12_000)
    assert [tree.bits for tree in method.trees] == [2, 2]
    samples = PerfectSampler(network, method).draw([0], 20_000, 4)
    _assert_exact(circuit, network, samples)
    assert _p_value(np.abs(uncut_amplitudes(circuit)) ** 2, samples) > 1e-6


@pytest.mark.slow
def test_wide_frontiers_are_sampled_by_contractions() -> None:
    # Six sites in a ring of which each has two bonds: the frontier has two bonds of dimension 8.
    circuit = QuantumCircuit(12)
    rng = np.random.default_rng(5)
    for _ in range(3):
        for qubit in range(12):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(12):
            circuit.cz(qubit, (qubit + 1) % 12)
    pairs = two_qubit_gates(circuit)
    cut = [GateCut(g, pair) for g, pair in enumerate(pairs) if pair[0] % 2]
    network = network_of(circuit, Cuts(tuple(cut), ()))
    sampler = PerfectSampler.of(network, 1 << 19)
    assert isinstance(sampler.method, ContractionSampler)
    _assert_uncut(circuit, sampler.draw([0], 300, 1))
    assert (
        sampling_cost(network, 1 << 19).shot_seconds > sampling_cost(network, _ROOMY).shot_seconds
    )
    assert isinstance(PerfectSampler.of(network, _ROOMY).method, FrontierSampler)


def _random_case(seed: int) -> tuple[QuantumCircuit, PerfectSampler]:
    """Return a circuit of 10 to 16 qubits in two to four pieces, cut at gates and wires.

    Pieces are joined in a chain or a ring, some of them by several gates of one qubit, which share
    an ancilla or an edge.
    """
    rng = np.random.default_rng(seed)
    pieces = int(rng.integers(2, 5))
    widths = rng.multinomial(rng.integers(10, 17) - 2 * pieces, [1 / pieces] * pieces) + 2
    starts = np.concatenate([[0], np.cumsum(widths)])
    circuit = QuantumCircuit(int(starts[-1]))
    links = list(range(pieces - 1)) + ([-1] if pieces > 2 and rng.integers(2) else [])
    hub = [int(rng.integers(start, end)) for start, end in itertools.pairwise(starts)]
    cut_gates = set()

    def layer() -> None:
        for qubit in range(circuit.num_qubits):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for start, end in itertools.pairwise(starts):
            for qubit in range(start, end - 1):
                circuit.cz(qubit, qubit + 1)

    layer()
    for link in links:
        for name in rng.choice(["cz", "cp", "rzz", "iswap"], size=rng.integers(1, 3)):
            second = int(rng.integers(starts[link + 1], starts[link + 2]))
            cut_gates.add(len(two_qubit_gates(circuit)))
            angle = [float(rng.uniform(1, 3))] if name in ("cp", "rzz") else []
            getattr(circuit, name)(*angle, hub[link], second)
    layer()
    pairs = two_qubit_gates(circuit)
    wires = [WireCut(hub[0], 1)] if rng.integers(2) else []
    cuts = Cuts(tuple(GateCut(gate, pairs[gate]) for gate in sorted(cut_gates)), tuple(wires))
    cut = cut_circuit(circuit, cuts, shared_above=float(rng.choice([0, 1e9])))
    sliced = int(rng.integers(0, 3))
    network = sites_of(cut, sliced_ports=sliced, kept_bytes=int(rng.choice([0, 1 << 40])))
    return circuit, PerfectSampler.of(network, int(rng.choice([1 << 21, 1 << 30])))


@pytest.mark.parametrize("seed", [1, 6, 14])
def test_random_cut_circuits_pass_chi_square(seed: int) -> None:
    circuit, sampler = _random_case(seed)
    samples = sampler.draw([0], 20_000, seed)
    found = values_of(samples.outcomes, range(circuit.num_qubits))
    probabilities = np.abs(uncut_amplitudes(circuit)) ** 2
    np.testing.assert_allclose(samples.probabilities, probabilities[found], rtol=1e-7)
    assert _p_value(probabilities, samples) > 1e-5


@pytest.mark.slow
@pytest.mark.nightly
def test_p_values_of_30_random_cut_circuits_are_uniform() -> None:
    of_chi_square, of_ks = [], []
    seen: Counter[str] = Counter()
    for seed in range(30):
        circuit, sampler = _random_case(seed)
        samples = sampler.draw(range(num_chunks(200_000)), 200_000, seed)
        probabilities = np.abs(uncut_amplitudes(circuit)) ** 2
        of_chi_square.append(_p_value(probabilities, samples))
        # Outcomes as numbers, made continuous: uniform in the cumulative distribution.
        found = values_of(samples.outcomes, range(circuit.num_qubits))
        below = np.cumsum(probabilities) - probabilities
        spread = np.random.default_rng(seed).random(samples.shots)
        repeated = np.repeat(found, samples.counts)
        of_ks.append(kstest(below[repeated] + spread * probabilities[repeated], "uniform").pvalue)
        seen["loop"] += any(each.step.passed_size > 1 for each in sampler.method.samplers)
        seen["shared port"] += any(s.num_states < s.dimension for s in sampler.network.sites)
        seen["slices"] += any(s.branches > 1 for s in sampler.network.sites)
        seen["not kept"] += sampler.network.source is not None
        seen["leaves"] += any(each.leaf_bits > 0 for each in sampler.method.samplers)
    assert min(seen[each] for each in ("loop", "shared port", "slices", "not kept", "leaves")) > 0
    for p_values in (of_chi_square, of_ks):
        assert min(p_values) > 1e-5
        assert kstest(p_values, "uniform").pvalue > 1e-3


def _chain(blocks: int, width: int, seed: int = 0) -> tuple[QuantumCircuit, Cuts]:
    """Return blocks of random gates in a chain, with the cuts of all gates between them."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(blocks * width)
    for _ in range(2):
        for qubit in range(circuit.num_qubits):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(circuit.num_qubits - 1):
            circuit.cz(qubit, qubit + 1)
    pairs = two_qubit_gates(circuit)
    cut = [GateCut(g, pair) for g, pair in enumerate(pairs) if pair[0] // width != pair[1] // width]
    return circuit, Cuts(tuple(cut), ())


@pytest.mark.parametrize("kept_bytes", [0, 1 << 40])
def test_samples_are_the_same_however_chunks_are_divided(kept_bytes: int) -> None:
    network = network_of(*_chain(3, 3), sliced_ports=1, kept_bytes=kept_bytes)
    shots, chunks = 3 * (1 << 16) - 5, [0, 1, 2]
    sampler = PerfectSampler.of(network, _ROOMY)
    assert sampler.method.chunks_together == 1 if kept_bytes else sampler.method.chunks_together > 1
    whole = sampler.draw(chunks, shots, 7)
    copy = pickle.loads(pickle.dumps(sampler, protocol=5))
    merged = CountedOutcomes.merged([copy.draw([2], shots, 7), copy.draw([1, 0], shots, 7)])
    assert whole.shots == shots
    np.testing.assert_array_equal(whole.outcomes, merged.outcomes)
    np.testing.assert_array_equal(whole.counts, merged.counts)
    np.testing.assert_array_equal(whole.log_probabilities, merged.log_probabilities)
    other = sampler.draw(chunks, shots, 8)
    assert not np.array_equal(whole.counts, other.counts)


def test_a_ghz_state_of_150_qubits_has_two_outcomes() -> None:
    circuit = QuantumCircuit(150)
    circuit.h(0)
    for qubit in range(149):
        circuit.cx(qubit, qubit + 1)
    pairs = two_qubit_gates(circuit)
    cuts = Cuts(tuple(GateCut(gate, pairs[gate]) for gate in range(9, 149, 10)), ())
    sampler = PerfectSampler.of(network_of(circuit, cuts), _ROOMY)
    samples = sampler.draw(range(num_chunks(10**6)), 10**6, 0)
    assert np.unpackbits(samples.outcomes, axis=1).sum(axis=1).tolist() == [0, 150]
    assert abs(samples.counts - 500_000).max() < 2500
    np.testing.assert_allclose(samples.probabilities, 0.5, rtol=1e-12)


@pytest.mark.slow
def test_thousands_of_qubits_do_not_underflow() -> None:
    circuit = QuantumCircuit(1200)
    circuit.h(range(1200))
    for qubit in range(3, 1199, 4):
        circuit.cz(qubit, qubit + 1)
    cuts = Cuts(tuple(GateCut(g, pair) for g, pair in enumerate(two_qubit_gates(circuit))), ())
    samples = PerfectSampler.of(network_of(circuit, cuts), _ROOMY).draw([0], 100, 0)
    assert len(samples.counts) == 100
    np.testing.assert_allclose(samples.log_probabilities, -1200 * np.log(2), rtol=1e-12)


@pytest.mark.slow
def test_impossible_outcomes_of_clifford_circuits_are_never_drawn() -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        circuit = QuantumCircuit(10)
        for _ in range(40):
            a, b = (int(q) for q in rng.choice(10, 2, replace=False))
            if rng.integers(2):
                circuit.h(a)
            circuit.cx(a, b) if abs(a - b) < 4 else circuit.s(b)
        pairs = two_qubit_gates(circuit)
        cut = [GateCut(g, pair) for g, pair in enumerate(pairs) if (pair[0] < 5) != (pair[1] < 5)]
        network = network_of(circuit, Cuts(tuple(cut[:5]), ()))
        samples = PerfectSampler.of(network, _ROOMY).draw([0], 1 << 16, seed)
        _assert_exact(circuit, network, samples)
        assert _p_value(np.abs(uncut_amplitudes(circuit)) ** 2, samples) > 1e-6


def test_prefixes_without_amplitudes_are_drawn_again() -> None:
    circuit = QuantumCircuit(6)
    circuit.ry(1.0, 0)
    for qubit in range(5):
        circuit.cx(qubit, qubit + 1)
    sampler = PerfectSampler.of(network_of(circuit, Cuts((GateCut(2, (2, 3)),), ())), _ROOMY)
    # A tree as if with huge rounding errors: every outcome of a site seems to be possible.
    wrong = []
    for each in sampler.method.samplers:
        deepest = each.tree.levels[-1].copy()
        deepest[:, : round(deepest.shape[1] ** 0.5)] += 0.2
        wrong.append(replace(each, tree=PrefixTree.of(deepest)))
    method = replace(sampler.method, samplers=tuple(wrong))
    samples = replace(sampler, method=method).draw([0], 1000, 0)
    assert set(values_of(samples.outcomes, range(6)).tolist()) <= {0, 63}
    assert samples.shots == 1000
    np.testing.assert_allclose(np.sort(samples.probabilities), np.sin([0.5, 1.07079633]) ** 2)


def test_stated_probabilities_of_104_qubits_are_those_of_the_amplitudes() -> None:
    network = network_of(*_chain(26, 4))
    samples = PerfectSampler.of(network, _ROOMY).draw([0], 200, 3)
    logs = Distribution(network, _ROOMY).log_probabilities(samples.outcomes)
    np.testing.assert_allclose(np.exp(samples.log_probabilities - logs), 1, rtol=1e-12)
    assert len(samples.counts) == 200


def test_chunks_that_do_not_exist_are_refused() -> None:
    sampler = PerfectSampler.of(network_of(*_chain(2, 2)), _ROOMY)
    for chunks in ([0, 1], [-1], []):
        with pytest.raises(InputError, match=r"chunks: .*, expected some from 0 to 0 for 9 shots"):
            sampler.draw(chunks, 9, 0)


def test_too_little_memory_is_refused() -> None:
    network = network_of(*_chain(2, 3))
    for refused in (PerfectSampler.of, sampling_cost):
        with pytest.raises(MemoryLimitError, match=r"memory: .*expected fewer cuts"):
            refused(network, 500)


def test_costs_are_known_before_anything_is_simulated() -> None:
    circuit, cuts = _chain(4, 3)
    shape, network = network_of(circuit, cuts, kept_bytes=0), network_of(circuit, cuts)
    tensors = range(len(shape.states))
    cost = sampling_cost(network, _ROOMY)
    assert sampling_cost(shape, _ROOMY, tensors) == cost
    assert sampling_cost(shape, _ROOMY).memory_bytes != cost.memory_bytes
    wider = sampling_cost(network_of(*_chain(4, 5)), _ROOMY)
    assert wider.setup_seconds > cost.setup_seconds
    assert 0 < cost.shot_seconds < wider.shot_seconds
    sampler = PerfectSampler.of(network, _ROOMY)
    tables = [
        *(each.amplitudes for each in sampler.method.samplers),
        *sampler.method.environments.matrices,
    ]
    tables += [level for each in sampler.method.samplers for level in each.tree.levels]
    assert sum(table.nbytes for table in tables if table is not None) < cost.memory_bytes


def test_subcircuits_of_too_many_ports_are_refused() -> None:
    circuit = QuantumCircuit(2)
    for _ in range(25):
        circuit.h(0)
        circuit.h(1)
        circuit.cz(0, 1)
    cuts = Cuts(tuple(GateCut(gate, (0, 1)) for gate in range(25)), ())
    with pytest.raises(MemoryLimitError, match="cuts: subcircuit 0 has bonds of dimension 33,554,"):
        network_of(circuit, cuts, kept_bytes=0)


def test_merging_sorts_and_adds_counts() -> None:
    def part(values: list[int], counts: list[int]) -> CountedOutcomes:
        outcomes = np.zeros((len(values), num_bytes(70)), dtype=np.uint8)
        set_values(outcomes, range(68, 70), np.array(values) >> 1)
        set_values(outcomes, (0,), np.array(values) & 1)
        return CountedOutcomes(outcomes, np.array(counts), np.log(np.array(values) + 1.0))

    merged = CountedOutcomes.merged([part([5, 0], [1, 2]), part([1, 5], [3, 4])])
    assert merged.counts.tolist() == [2, 3, 5]
    np.testing.assert_allclose(merged.probabilities, [1, 2, 6])
