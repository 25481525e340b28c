"""Circuits that are simplified for their outcomes have the joint distribution of the original."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from hpcq.circuits.measurements import Measurements, Register
from hpcq.circuits.normalise import normalise
from hpcq.cutting.passes.simplify import Simplifier
from hpcq.planning.problem import MeasuredOutcomes
from tests.support.strategies import structured


def marginal(circuit: QuantumCircuit, qubits: list[int]) -> np.ndarray:
    return Statevector(circuit).probabilities(qubits)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_measured_qubits_keep_their_joint_distribution(data: st.DataObject) -> None:
    circuit = normalise(data.draw(structured()))
    wires = st.lists(st.integers(0, circuit.num_qubits - 1), min_size=1, unique=True)
    measured = tuple(sorted(data.draw(wires)))
    question = MeasuredOutcomes(Measurements((Register("c", measured),)))
    simplifier = Simplifier(circuit, question.terms, are_joint=True)
    assert simplifier.separate_cones is None
    for simplified in (simplifier.joint_cone, simplifier.unmerged_cone):
        index = {qubit: wire for wire, (_, qubit) in enumerate(simplified.labels)}
        found = marginal(simplified.circuit, [index[qubit] for qubit in measured])
        np.testing.assert_allclose(found, marginal(circuit, list(measured)), atol=1e-10)


@pytest.mark.slow
@settings(max_examples=15)
@given(structured())
def test_with_amplitudes_the_state_stays_the_same(drawn: QuantumCircuit) -> None:
    circuit = normalise(drawn)
    everything = Measurements((Register("c", tuple(range(circuit.num_qubits))),))
    question = MeasuredOutcomes(everything, with_amplitudes=True)
    simplified = Simplifier(circuit, question.terms, are_joint=True).joint_cone
    order = [qubit for _, qubit in simplified.labels]
    found = QuantumCircuit(circuit.num_qubits).compose(simplified.circuit, order)
    overlap = np.vdot(Statevector(found).data, Statevector(circuit).data)
    assert abs(abs(overlap) - 1) < 1e-10
