"""Random circuits with random cuts and measured qubits have the outcomes of the uncut circuit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import ClassicalRegister
from qiskit.quantum_info import Statevector

import hpcq
from hpcq.core.errors import MemoryLimitError
from tests.support.strategies import circuits, cuts_of, structured


@pytest.mark.slow
@settings(max_examples=10)
@given(st.data())
def test_random_cuts_change_no_probability(data: st.DataObject) -> None:
    check(data)


@pytest.mark.nightly
@settings(max_examples=100)
@given(st.data())
def test_many_random_cuts_change_no_probability(data: st.DataObject) -> None:
    check(data)


def check(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(circuits(), structured()))
    cuts = data.draw(cuts_of(circuit))
    wires = st.lists(st.integers(0, circuit.num_qubits - 1), min_size=1, unique=True)
    measured = data.draw(wires)
    expected = Statevector(circuit).probabilities(measured)
    register = ClassicalRegister(len(measured), "c")
    circuit.add_register(register)
    circuit.measure(measured, register)
    try:
        outcomes = hpcq.outcomes(circuit, cuts=cuts, threads=1, memory=1 << 30, device="cpu")
    except MemoryLimitError:  # as with many cut gates between two qubits
        assume(False)
    texts = [format(number, f"0{len(measured)}b") for number in range(len(expected))]
    np.testing.assert_allclose(outcomes.probabilities(texts), expected, atol=1e-10)
    np.testing.assert_allclose(outcomes.marginal(measured), expected, atol=1e-10)
    samples = outcomes.sample(50)
    drawn = np.array([int(text, 2) for text in samples.memory])
    np.testing.assert_allclose(samples.probabilities, expected[drawn], atol=1e-10)
    assert (expected[drawn] > 1e-13).all()
