"""Samples of all engines that draw them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BitArray
from scipy.stats import kstest

from hpcq.circuits.slots import parametrise
from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.requests import Samples
from tests.engines.pauli_cases import ghz
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

NAMES = ["aer", "stabilizer", "mps"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_qubits", [4, 5, 7, 8, 10])
def test_outcomes_follow_the_state(name: str, num_qubits: int) -> None:
    circuit = random_circuit(num_qubits, 1, clifford=name == "stabilizer")
    probabilities = probabilities_of(circuit)
    for shots in (200, 100_000):
        outcomes = sampled(name, circuit, Samples(shots, seed=num_qubits))
        assert p_value(outcomes, probabilities) > LEAST_P_VALUE
        stated = np.exp(outcomes.log_probabilities)
        np.testing.assert_allclose(stated, probabilities[numbers(outcomes)], rtol=1e-10)
        assert outcomes.distance <= 1e-11
        assert outcomes.distance == 0 or name == "mps"


@pytest.mark.parametrize("name", ["aer", "mps"])
def test_the_test_sees_wrong_distributions(name: str) -> None:
    circuit = random_circuit(6, 2)
    right = probabilities_of(circuit)
    outcomes = sampled(name, circuit, Samples(100_000, seed=1))
    assert p_value(outcomes, right) > LEAST_P_VALUE
    reversed_wires = right.reshape([2] * 6).transpose().reshape(-1)
    for wrong in (reversed_wires, 0.95 * right + 0.05 / 64, right[::-1], np.roll(right, 1)):
        assert p_value(outcomes, wrong) < LEAST_P_VALUE


def test_the_test_sees_impossible_outcomes_and_dependent_bits() -> None:
    outcomes = sampled("stabilizer", ghz(3), Samples(100, seed=1))
    assert p_value(outcomes, probabilities_of(ghz(3))) > LEAST_P_VALUE
    assert p_value(outcomes, np.eye(8)[0]) == 0
    assert p_value(outcomes, np.full(8, 1 / 8)) < LEAST_P_VALUE


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_p_values_are_uniform(name: str) -> None:
    found = []
    for seed in range(60):
        circuit = random_circuit(4 + seed % 5, seed, clifford=name == "stabilizer")
        probabilities = probabilities_of(circuit)
        if probabilities.max() < 0.3:  # else there are too few counts for a continuous p-value
            outcomes = sampled(name, circuit, Samples(20_000, seed))
            found.append(p_value(outcomes, probabilities))
    assert len(found) > 40
    assert min(found) > LEAST_P_VALUE
    assert kstest(found, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_qubits", [1, 7, 8, 9, 18])
def test_the_form_is_that_of_bit_arrays_of_qiskit(name: str, num_qubits: int) -> None:
    ones = np.random.default_rng(num_qubits).integers(2, size=num_qubits)
    ones[0] = 1
    circuit = QuantumCircuit(num_qubits)
    for qubit in np.flatnonzero(ones):
        circuit.x(int(qubit))
    outcomes = sampled(name, circuit, Samples(50, seed=1))
    word = "".join(str(bit) for bit in ones[::-1])
    assert outcomes.counts.tolist() == [50]
    assert outcomes.log_probabilities == pytest.approx([0], abs=1e-15)
    assert BitArray(outcomes.packed, num_qubits).get_counts() == {word: 1}


@pytest.mark.parametrize("name", NAMES)
def test_one_qubit(name: str) -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    outcomes = sampled(name, circuit, Samples(10_000, seed=2))
    assert outcomes.packed.tolist() == [[0], [1]]
    assert outcomes.counts[0] == pytest.approx(5000, abs=250)
    np.testing.assert_allclose(outcomes.log_probabilities, np.log(0.5), atol=1e-14)
    (single,) = sampled(name, circuit, Samples(1, seed=3)).counts
    assert single == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_samples_again_and_another_seed_others(name: str) -> None:
    circuit = random_circuit(15, 3, clifford=name == "stabilizer")
    draws = [
        sampled(name, circuit, Samples(1000, seed), limits)
        for seed, limits in (
            (1, Limits(1 << 30)),
            (1, Limits(1 << 30, threads=2)),
            (1, Limits(1 << 29)),
            ((1 << 63) - 1, Limits(1 << 30)),
        )
    ]
    for other in draws[1:3]:
        assert np.array_equal(draws[0].packed, other.packed)
        assert np.array_equal(draws[0].counts, other.counts)
        assert np.array_equal(draws[0].log_probabilities, other.log_probabilities)
    assert set(numbers(draws[0])) != set(numbers(draws[3]))


@pytest.mark.parametrize("name", ["stabilizer", "mps"])
def test_a_million_shots_of_100_qubits_are_two_outcomes(name: str) -> None:
    start = time.process_time()
    outcomes = sampled(name, ghz(100), Samples(10**6, seed=1))
    assert time.process_time() - start < 1
    assert numbers(outcomes) == [0, (1 << 100) - 1]
    assert outcomes.counts[0] == pytest.approx(500_000, abs=2500)
    np.testing.assert_allclose(outcomes.log_probabilities, np.log(0.5), atol=1e-12)


@pytest.mark.parametrize("name", ["aer", "mps"])
def test_rows_of_angles(name: str) -> None:
    angles = ParameterVector("t", 3)
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(angles[0] + 0.5 * qubit, qubit)
        circuit.cx(qubit, (qubit + 1) % 4)
    circuit.rzz(angles[1], 0, 2)
    circuit.rx(2 * angles[2], range(4))
    parametrised = parametrise(circuit, circuit.parameters)
    values = np.array([[0.1, 0.2, 0.3], [0, 0, 0], [1.4, -2.2, 0.4], [1.4, -2.2, 0.4]])
    tensor, request = piece(parametrised.generic), Samples(50_000, seed=4)
    opened = engine(name)
    assert isinstance(opened.supports(tensor, request), Cost)
    rows = parametrised.slots.angles(values)[:, list(tensor.slots)]
    answers = opened.prepared(tensor).execute(rows, request)
    assert len(answers) == 4
    for row, outcomes in zip(values, answers, strict=True):
        check_form(outcomes, 4, 50_000)
        probabilities = probabilities_of(circuit.assign_parameters(row))
        assert p_value(outcomes, probabilities) > LEAST_P_VALUE
        np.testing.assert_allclose(
            np.exp(outcomes.log_probabilities), probabilities[numbers(outcomes)], rtol=1e-10
        )
    assert not np.array_equal(answers[2].counts, answers[3].counts)  # rows are independent
    shorter = opened.prepared(tensor).execute(rows[:2], request)
    assert np.array_equal(shorter[1].counts, answers[1].counts)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_parameters_are_independent(name: str) -> None:
    prepared = engine(name).prepared(piece(ghz(3)))
    first, second = prepared.execute(np.empty((2, 0)), Samples(10_000, seed=5))
    assert not np.array_equal(first.counts, second.counts)


@pytest.mark.parametrize("name", [*NAMES, "pauli"])
def test_pieces_with_ports_are_refused(name: str) -> None:
    cut = cut_circuit(ghz(3), Cuts((GateCut(0, (0, 1)),), ()))
    answer = engine(name).supports(ExactTensor(cut.subcircuits[0], ((),)), Samples(10, 1))
    assert isinstance(answer, Refusal)
    assert "ports, expected none" in answer.reason


def test_engines_without_a_state_refuse() -> None:
    for name, reason in (("pauli", "without a state"), ("batched", "not Samples of ExactTensor")):
        answer = engine(name).supports(piece(ghz(3)), Samples(10, 1))
        assert isinstance(answer, Refusal)
        assert reason in answer.reason
    answer = engine("stabilizer").supports(piece(random_circuit(3, 1)), Samples(10, 1))
    assert isinstance(answer, Refusal)
    assert "not Clifford" in answer.reason


@pytest.mark.parametrize(
    ("name", "circuit"),
    [
        ("aer", ghz(24)),
        ("stabilizer", random_circuit(40, 1, clifford=True)),
        ("mps", random_circuit(40, 1)),
    ],
)
def test_samples_that_exceed_the_memory_are_refused(name: str, circuit: QuantumCircuit) -> None:
    limits = Limits(400 << 20)
    for shots in (100, 10**8):
        answer = engine(name, limits).supports(piece(circuit), Samples(shots, 1))
        assert isinstance(answer, Cost if shots == 100 else Refusal)
    assert f"{10**8} shots need" in answer.reason


def test_costs_grow_with_the_shots() -> None:
    for name in NAMES:
        circuit = random_circuit(20, 1, clifford=name == "stabilizer")
        circuit.h(range(20))
        few, many = (
            engine(name, Limits(1 << 33)).supports(piece(circuit), Samples(shots, 1))
            for shots in (10**3, 10**6)
        )
        assert isinstance(few, Cost)
        assert isinstance(many, Cost)
        assert many.seconds > few.seconds > 0
        assert many.memory_bytes > few.memory_bytes > 0


@pytest.mark.parametrize(
    ("shots", "seed", "message"),
    [
        (0, 1, r"\Ashots: '0', expected a whole number of at least 1"),
        (1.5, 1, r"\Ashots: '1.5'"),
        (1, -1, r"\Aseed: '-1'"),
        (1, 1 << 63, r"\Aseed: 9223372036854775808, expected a whole number of up to 63 bits"),
    ],
)
def test_wrong_numbers(shots: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Samples(shots, seed)
