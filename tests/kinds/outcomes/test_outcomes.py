"""Outcomes of cut circuits are those of the whole circuit, by every method."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.quantum_info import Statevector
from scipy.stats import chisquare

import hpcq
from hpcq.core.errors import HpcqError, InputError
from hpcq.planning.outcome_plan import OutcomesPlan
from tests.support.circuits import two_halves

SHOTS = 100_000


def rotated(num_qubits: int = 6, layers: int = 3, seed: int = 5) -> QuantumCircuit:
    """Rotations and a ladder of CZ, whose last gates are rotations."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers + 1):
        for qubit in range(num_qubits):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(layer % 2, num_qubits - 1 if layer < layers else 0, 2):
            circuit.cz(qubit, qubit + 1)
    return circuit


def partly_measured() -> tuple[QuantumCircuit, np.ndarray]:
    """Return a circuit of two registers, and the probabilities of the bits that are written."""
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(2, "second")
    circuit = QuantumCircuit(QuantumRegister(6), first, second)
    circuit.compose(rotated(), inplace=True)
    probabilities = Statevector(circuit).probabilities([4, 1, 5])
    circuit.measure([4, 1, 5], [first[1], second[0], second[1]])
    return circuit, probabilities


def texts(bits: int) -> list[str]:
    return [format(number, f"0{bits}b") for number in range(1 << bits)]


def check_samples(samples: hpcq.results.samples.Samples, expected: dict[str, float]) -> None:
    """Compare samples and their stated probabilities with those of the whole circuit."""
    assert sum(samples.counts.values()) == len(samples)
    assert samples.counts.keys() <= expected.keys()
    found = np.array([samples.counts.get(text, 0) for text in expected])
    wanted = len(samples) * np.array(list(expected.values()))
    assert chisquare(found, wanted * (found.sum() / wanted.sum())).pvalue > 1e-6
    for text, probability, _ in samples.distinct():
        assert probability == pytest.approx(expected[text], abs=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"cut_labels": "AAABBB"},
        {"method": "statevector"},
        pytest.param({"cut_labels": "ABABBA"}, marks=pytest.mark.slow),
        pytest.param({"max_qubits": 4}, marks=pytest.mark.slow),
        pytest.param({"max_qubits": 3, "dtype": "complex64"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_cut_equals_uncut(options: dict) -> None:
    circuit = rotated()
    tolerance = 1e-5 if "dtype" in options else 1e-10
    outcomes = hpcq.outcomes(circuit, threads=1, memory=1 << 30, **options)
    state = Statevector(circuit)
    found = outcomes.probabilities(texts(6))
    np.testing.assert_allclose(found, state.probabilities(), atol=tolerance)
    amplitudes = outcomes.amplitudes(texts(6))
    phase = np.vdot(amplitudes, state.data)
    assert abs(phase) == pytest.approx(1, abs=tolerance)
    np.testing.assert_allclose(amplitudes * phase, state.data, atol=tolerance)
    marginal = outcomes.marginal([4, 0, 3])
    np.testing.assert_allclose(marginal, state.probabilities([4, 0, 3]), atol=tolerance)
    if tolerance < 1e-6:
        check_samples(
            outcomes.sample(SHOTS), dict(zip(texts(6), state.probabilities(), strict=True))
        )


def test_registers_partial_measurements_and_unwritten_bits(tmp_path: Path) -> None:
    circuit, probabilities = partly_measured()
    # Bits: second[1] second[0] first[1] first[0]; nothing is written to first[0].
    expected = {
        f"{n >> 2 & 1}{n >> 1 & 1} {n & 1}0": value for n, value in enumerate(probabilities)
    }
    asked = [*expected, "00 01"]
    plan = hpcq.plan_outcomes(
        circuit,
        shots=SHOTS,
        probabilities=asked,
        marginals=[[5, 4]],
        cut_labels="AAABBB",
        threads=1,
    )
    result = hpcq.run(plan)
    result.save(tmp_path / "out.h5")
    for held in (result, hpcq.load(tmp_path / "out.h5")):
        record = held.outcomes
        assert record is not None
        assert record.samples is not None
        assert record.asked is not None
        check_samples(record.samples, expected)
        assert record.asked.bitstrings == tuple(asked)
        np.testing.assert_allclose(record.asked.probabilities, [*probabilities, 0], atol=1e-12)
        (marginal,) = record.marginals
        two = Statevector(rotated()).probabilities([5, 4])
        np.testing.assert_allclose(marginal.probabilities, two, atol=1e-12)
    samples = record.samples
    first, second = (samples.register(name).get_bitstrings() for name in ("first", "second"))
    assert [f"{b} {a}" for a, b in zip(first, second, strict=True)] == samples.memory


@pytest.mark.slow
def test_gates_that_change_no_probability_are_dropped() -> None:
    circuit = rotated()
    circuit.rzz(0.4, 2, 3)
    circuit.measure_all()
    outcomes = hpcq.outcomes(circuit, max_qubits=4, threads=1)
    assert outcomes.plan is not None
    before = hpcq.outcomes(rotated(), max_qubits=4, threads=1)
    assert len(outcomes.plan.cut.edges) == len(before.plan.cut.edges)
    expected = Statevector(rotated()).probabilities()
    np.testing.assert_allclose(outcomes.probabilities(texts(6)), expected, atol=1e-12)
    with pytest.raises(InputError, match=r"amplitudes: .* expected a circuit without measurements"):
        outcomes.amplitudes(texts(6))
    kept = hpcq.outcomes(circuit.remove_final_measurements(inplace=False), max_qubits=4, threads=1)
    amplitudes = kept.amplitudes(texts(6))
    state = Statevector(circuit.remove_final_measurements(inplace=False)).data
    np.testing.assert_allclose(amplitudes * np.vdot(amplitudes, state), state, atol=1e-10)


@pytest.mark.slow
def test_too_little_memory_for_all_states() -> None:
    circuit = QuantumCircuit(18)
    circuit.compose(rotated(9, 2, 1), range(9), inplace=True)
    circuit.compose(rotated(9, 2, 2), range(9, 18), inplace=True)
    for qubit in range(4):
        circuit.cz(8 - qubit, 9 + qubit)
        circuit.ry(0.3, [8 - qubit, 9 + qubit])
    labels = "A" * 9 + "B" * 9
    few = hpcq.plan_outcomes(circuit, cut_labels=labels, memory=1 << 20, threads=1)
    assert any(tensor.sliced for tensor in few.tensors) or len(few.kept) < len(few.tensors)
    plenty = hpcq.outcomes(circuit, cut_labels=labels, memory=1 << 30, threads=1)
    outcomes = hpcq.outcomes(few)
    samples = plenty.sample(50)
    np.testing.assert_allclose(
        outcomes.probabilities(samples.memory), samples.probabilities, rtol=1e-10
    )
    np.testing.assert_allclose(outcomes.marginal([3, 12]), plenty.marginal([3, 12]), atol=1e-10)


def test_more_samples_than_memory_holds_are_refused() -> None:
    with pytest.raises(InputError, match="shots: 1000000000 samples need"):
        hpcq.plan_outcomes(two_halves(), shots=10**9, memory=1 << 30)


def test_the_most_probable_outcomes(tmp_path: Path) -> None:
    circuit, probabilities = partly_measured()
    whole = Statevector(rotated()).probabilities()
    outcomes = hpcq.outcomes(rotated(), cut_labels="AAABBB", threads=1)
    top = outcomes.top(5)
    assert top.is_exact
    assert top.bitstrings == tuple(format(n, "06b") for n in np.argsort(-whole)[:5])
    np.testing.assert_allclose(top.probabilities, np.sort(whole)[::-1][:5], atol=1e-12)
    plan = hpcq.plan_outcomes(circuit, top=2, cut_labels="AABBBB", threads=1)
    hpcq.run(plan).save(tmp_path / "out.h5")
    record = hpcq.load(tmp_path / "out.h5").outcomes
    assert record is not None
    assert record.top is not None
    assert "exact, by" in record.top.note
    np.testing.assert_allclose(
        record.top.probabilities, np.sort(probabilities)[::-1][:2], atol=1e-12
    )


def test_the_most_probable_outcomes_of_many_may_come_from_samples() -> None:
    circuit = rotated(30, 1, 2)
    outcomes = hpcq.outcomes(circuit, max_qubits=12, threads=1)
    top = outcomes.top(3)
    assert len(top.bitstrings) == 3
    np.testing.assert_allclose(outcomes.probabilities(top.bitstrings), top.probabilities)
    assert top.is_exact or 0 < top.missed_probability <= 1


def test_the_seed_decides() -> None:
    outcomes = hpcq.outcomes(two_halves(), cut_labels="AAABBB", threads=1, seed=4)
    first = outcomes.sample(200_000).packed
    assert (outcomes.sample(200_000, seed=4).packed == first).all()
    assert not (outcomes.sample(200_000, seed=5).packed == first).all()
    # Outcomes come in random order, over chunks too.
    halves = first[:100_000, 0].mean(), first[100_000:, 0].mean()
    assert halves[0] == pytest.approx(halves[1], rel=0.05)


def test_what_is_refused() -> None:
    circuit = two_halves()
    mid = QuantumCircuit(2, 1)
    mid.measure(0, 0)
    mid.x(0)
    with pytest.raises(InputError, match="only final measurements are supported"):
        hpcq.outcomes(mid)
    with pytest.raises(InputError, match="'pauli' gives expectation values only"):
        hpcq.outcomes(circuit, method="pauli")
    with pytest.raises(InputError, match="output: given for exact outcomes"):
        hpcq.outcomes(circuit, output="out.h5")
    with pytest.raises(InputError, match="seed: given with a plan"):
        hpcq.outcomes(hpcq.plan_outcomes(circuit), seed=3)
    with pytest.raises(InputError, match="circuit: a list, expected"):
        hpcq.outcomes([circuit])
    with pytest.raises(InputError, match="noise: given for exact outcomes"):
        hpcq.run(hpcq.plan_outcomes(circuit, shots=5), noise="fake_brisbane")
    with pytest.raises(InputError, match="bit string: '01'"):
        hpcq.plan_outcomes(circuit, probabilities=["01"])
    with pytest.raises(InputError, match="marginal: qubit 9"):
        hpcq.plan_outcomes(circuit, marginals=[[9]])
    outcomes = hpcq.outcomes(circuit)
    with pytest.raises(InputError, match="shots: '0'"):
        outcomes.sample(0)
    with pytest.raises(InputError, match="expected each qubit once"):
        outcomes.marginal([1, 1])


def test_a_wrong_state_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    states = hpcq.kinds.outcomes.state_tasks.StateTasks.states

    def doubled(self: object, finished: object) -> object:
        result = states(self, finished)  # type: ignore[arg-type]
        return lambda tensor, branch: 2 * result(tensor, branch)

    monkeypatch.setattr("hpcq.kinds.outcomes.state_tasks.StateTasks.states", doubled)
    with pytest.raises(HpcqError, match="norm"):
        hpcq.outcomes(two_halves(), cut_labels="AAABBB")


def test_plans_say_what_is_asked_for() -> None:
    plan = hpcq.plan_outcomes(two_halves(), cut_labels="AAABBB", shots=1000, top=3)
    assert isinstance(plan, OutcomesPlan)
    assert "asked for          1000 samples, the 3 most probable outcomes" in str(plan)
    assert "us per shot" in str(plan)
    content = hpcq.planning.kind.kind_of(plan).to_json(plan)
    assert content["sampling"]["shot_seconds"] > 0
    assert content["asked"]["shots"] == 1000
    assert {"method", "subcircuits", "memory_bytes", "predicted_seconds"} <= content.keys()


def test_the_number_of_ranks_changes_no_cut() -> None:
    circuit = QuantumCircuit(6)
    pairs = np.random.default_rng(1).permuted([range(6)] * 12, axis=1)[:, :2]
    for first, second in pairs:
        circuit.ry(1.0, first)
        circuit.cx(first, second)
    options = {"max_qubits": 4, "search_seconds": 0.02, "threads": 1, "memory": 1 << 28}
    one, four = (hpcq.plan_outcomes(circuit, ranks=ranks, **options) for ranks in (1, 4))
    assert one.cuts == four.cuts
    assert one.cuts.gates or one.cuts.wires
    assert (one.config["ranks"], four.config["ranks"]) == (1, 4)


def test_what_samples_are_drawn_with_is_kept_in_this_process() -> None:
    outcomes = hpcq.outcomes(rotated(), cut_labels="AAABBB", device="cpu")
    first = outcomes.sample(1000)
    assert outcomes.plan is not None
    kept = outcomes.plan.known.kept_sampler
    sampler = kept.sampler
    assert sampler is not None
    second = outcomes.sample(1000)
    assert kept.sampler is sampler
    np.testing.assert_array_equal(first.packed, second.packed)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert pickle.loads(pickle.dumps(kept)).sampler is None
