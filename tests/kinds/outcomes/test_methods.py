"""Outcomes by stabilizer simulation and matrix product states, and which method is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

import hpcq
from hpcq.core.errors import InputError
from hpcq.cutting.subexperiments.exact_tensors import Simulation
from tests.kinds.outcomes.test_outcomes import SHOTS, check_samples, rotated


@pytest.mark.parametrize("method", ["stabilizer", "mps"])
def test_other_methods_sample(method: str) -> None:
    circuit, expected = QuantumCircuit(40), {}
    circuit.h(range(0, 40, 10))
    for qubit in range(40):
        if qubit % 10:
            circuit.cx(qubit - 1, qubit)
    for number in range(16):
        expected["".join(str(number >> block & 1) * 10 for block in (3, 2, 1, 0))] = 1 / 16
    outcomes = hpcq.outcomes(circuit, method=method, threads=1)
    check_samples(outcomes.sample(20_000), expected)
    asked = [*expected, "01" * 20]
    np.testing.assert_allclose(outcomes.probabilities(asked), [*expected.values(), 0], atol=1e-12)
    marginal = outcomes.marginal([35, 3, 2, 17])
    # Bits 1 and 2 are of one block.
    assert np.flatnonzero(marginal > 0.1).tolist() == [0, 1, 6, 7, 8, 9, 14, 15]
    top = outcomes.top(16)
    assert top.is_exact
    assert set(top.bitstrings) == set(expected)
    with pytest.raises(InputError, match=f"amplitudes: not available with method {method}"):
        outcomes.amplitudes(asked)
    with pytest.raises(InputError, match="marginal: 40 qubits, expected at most 24"):
        outcomes.marginal(range(40))
    with pytest.raises(InputError, match=f"method: '{method}' gives marginals of at most 12"):
        hpcq.plan_outcomes(circuit, method=method, marginals=[range(13)])


def test_parts_of_several_methods() -> None:
    circuit = rotated(8, 3)
    whole = QuantumCircuit(40)
    whole.compose(circuit, range(4, 12), inplace=True)
    whole.h(20)
    for qubit in range(20, 39):
        whole.cx(qubit, qubit + 1)
    whole.measure_all()
    state = Statevector(circuit)
    outcomes = hpcq.outcomes(
        hpcq.plan_outcomes(whole, shots=1, threads=1, search_seconds=0.1), device="cpu"
    )
    assert outcomes.plan is not None
    assert outcomes.plan.verdict.method == "stabilizer+statevector"
    samples = outcomes.sample(SHOTS)
    for text, stated, _ in list(samples.distinct())[:50]:
        expected = state.probabilities()[int(text[40 - 12 : 40 - 4], 2)] / 2
        assert stated == pytest.approx(expected, abs=1e-12)
        assert text[:20] in ("0" * 20, "1" * 20)
    common = [text for text, _, _ in samples.distinct()][:20]
    stated = [stated for _, stated, _ in samples.distinct()][:20]
    np.testing.assert_allclose(outcomes.probabilities(common), stated, atol=1e-12)
    expected = np.kron([0.5, 0.5], state.probabilities([5, 1]))
    np.testing.assert_allclose(outcomes.marginal([9, 5, 22]), expected, atol=1e-12)
    top = outcomes.top(2)
    best = np.sort(state.probabilities())[-1] / 2
    np.testing.assert_allclose(top.probabilities, [best, best], atol=1e-12)


def test_auto_takes_matrix_product_states_for_samples_of_little_entanglement() -> None:
    circuit = QuantumCircuit(40)
    for layer in range(2):
        circuit.ry(0.4 + layer, range(40))
        for qubit in range(layer, 39, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.ry(1.1, range(40))
    plan = hpcq.plan_outcomes(circuit, shots=1000, threads=1)
    assert plan.verdict.method == "mps"
    record = hpcq.run(plan).outcomes
    assert record is not None
    samples = record.samples
    assert samples is not None
    cut = hpcq.outcomes(circuit, cut_labels=[qubit // 10 for qubit in range(40)], threads=1)
    expected = cut.probabilities(samples.memory)
    np.testing.assert_allclose(samples.probabilities, expected, rtol=1e-8)


def test_samples_of_truncated_states_say_how_far_they_may_be_off(tmp_path: Path) -> None:
    circuit = rotated(14, 14)
    state = Statevector(circuit).probabilities()
    simulation = "hpcq.planning.routing.outcome_router.Simulation"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(simulation, lambda *costs: Simulation(*costs, cap=12))
        plan = hpcq.plan_outcomes(circuit, shots=4000, method="mps", threads=1)
    hpcq.run(plan).save(tmp_path / "out.h5")
    record = hpcq.load(tmp_path / "out.h5").outcomes
    assert record is not None
    assert record.samples is not None
    outcomes = np.array([int(text, 2) for text in record.samples.memory])
    distinct = np.unique(outcomes, return_index=True)[1]
    stated, exact = record.samples.probabilities[distinct], state[outcomes[distinct]]
    assert 1e-3 < np.abs(stated - exact).sum() / 2 <= record.distance


@pytest.mark.slow
def test_auto_keeps_states_where_it_can() -> None:
    circuit = QuantumCircuit(40)
    circuit.h(0)
    for qubit in range(39):
        circuit.cx(qubit, qubit + 1)
    open_question = hpcq.outcomes(circuit, threads=1, search_seconds=0.5)
    assert open_question.plan is not None
    assert open_question.plan.verdict.method == "cut"
    assert open_question.probabilities(["0" * 40, "1" * 40]) == pytest.approx([0.5, 0.5])
    assert hpcq.plan_outcomes(circuit, shots=100, threads=1).verdict.method == "stabilizer"
