"""The circuits on which methods compete, and their true values."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from routing_circuits import (
    SECOND,
    SETS,
    WORK,
    Entry,
    analytic,
    chain_states,
    lattices,
    library,
    truths,
)
from routing_circuits import random_circuits as drawn
from routing_circuits.link_sums import link_sums

from hpcq.circuits.observables import as_observables

_ENTRIES = {entry.name: entry for entry in (*WORK, *SECOND)}


@cache
def _built(name: str) -> QuantumCircuit:
    return _ENTRIES[name].build()


def _content(circuit: QuantumCircuit) -> tuple[Any, ...]:
    """Everything that makes a circuit, with matrices as bytes."""
    gates = [
        (
            instruction.name,
            tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits),
            tuple(
                p.tobytes() if isinstance(p, np.ndarray) else p
                for p in instruction.operation.params
            ),
        )
        for instruction in circuit.data
    ]
    return (circuit.num_qubits, *gates)


def _values(circuit: QuantumCircuit, observables: Any) -> list[float]:
    """Expectation values by Qiskit alone: each projector and Pauli is a matrix on its qubit."""
    state = Statevector(circuit)
    values = []
    for observable in as_observables(observables, circuit.num_qubits):
        value = 0.0
        for string, weight in observable.terms:
            turned = state
            for qubit, letter in string:
                turned = turned.evolve(_OPERATORS[letter], [qubit])
            value += weight * float(np.vdot(state.data, turned.data).real)
        values.append(value)
    return values


def _operators() -> dict[str, Any]:
    from qiskit.quantum_info import Operator, Pauli

    paulis = {letter: Operator(Pauli(letter)) for letter in "XYZ"}
    projectors = {
        letter: Operator(np.outer(vector, np.conj(vector)))
        for letter in "01+-rl"
        for vector in (Statevector.from_label(letter).data,)
    }
    return paulis | projectors


_OPERATORS = _operators()


def test_the_sets_are_as_large_as_promised_and_names_are_unique() -> None:
    assert len(WORK) >= 60
    assert len(SECOND) >= 30
    names = [entry.name for entry in (*WORK, *SECOND)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_circuit_is_built_and_its_observables_are_read(name: str) -> None:
    for entry in SETS[name]:
        circuit = _built(entry.name)
        assert as_observables(entry.observables, circuit.num_qubits), entry.name
        assert circuit.size() > 0, entry.name
        assert {"measure", "reset", "barrier"}.isdisjoint(circuit.count_ops()), entry.name
        assert not circuit.parameters, entry.name


@pytest.mark.slow
def test_no_circuit_is_in_both_sets_and_each_is_the_same_at_every_call() -> None:
    work = {_content(_built(entry.name)) for entry in WORK}
    assert work.isdisjoint(_content(_built(entry.name)) for entry in SECOND)
    for entry in (*WORK, *SECOND):
        if entry.kind in ("near-Clifford", "blocks", "random", "mixture", "QAOA", "code"):
            assert _content(entry.build()) == _content(_built(entry.name)), entry.name


@pytest.mark.parametrize(
    "entry",
    [
        analytic.ghz_entry(5),
        analytic.ghz_entry(6, star=True),
        analytic.w_entry(3),
        analytic.w_entry(8),
        analytic.bernstein_vazirani_entry(7, 3),
        analytic.fourier_entry(6, 37),
        analytic.adder_entry(3, 2),
        analytic.adder_entry(2, 1),
        analytic.product_entry(7),
        analytic.product_entry(8),
    ],
    ids=lambda entry: entry.name,
)
def test_formulas_agree_with_statevectors(entry: Entry) -> None:
    assert entry.values is not None
    values = _values(entry.build(), entry.observables)
    np.testing.assert_allclose(values, entry.values, atol=1e-12)


@pytest.mark.parametrize("distance", [3, 5])
def test_a_surface_code_is_stabilised_by_its_stabilizers(distance: int) -> None:
    circuit = lattices.surface_code(distance)
    stabilizers = lattices.surface_stabilizers(distance)
    assert len(stabilizers) == distance**2
    for letter, qubits in stabilizers:
        string = tuple((qubit, letter) for qubit in qubits)
        assert truths.heisenberg(circuit, [(string, 1.0)]) == pytest.approx(1)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(2, 6), part=st.integers(0, 6))
def test_truths_by_any_way_agree_with_statevectors(seed: int, width: int, part: int) -> None:
    circuit = drawn.mixture(
        [
            lambda: library.random_small(width, 4, seed),
            lambda: drawn.clifford_and_t(3, 10, 2, seed),
        ],
        seed,
    )
    sums = {"name": "sum", "terms": [("X0 Z1", 0.5), ("Y2", -2.0), ("I", 0.25)]}
    observables = (sums, "label:" + "0+" + "I" * (width - 2) + "rZ1", "1" * (width + 3))
    entry = Entry("any", "random", lambda: circuit, observables)
    expected = _values(circuit, observables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truths, "MAX_WHOLE", 0)
        patch.setattr(truths, "MAX_PART", part)
        np.testing.assert_allclose(truths.truth(entry), expected, atol=1e-10)  # type: ignore[arg-type]
    np.testing.assert_allclose(truths.truth(entry), expected, atol=1e-10)  # type: ignore[arg-type]


@pytest.mark.parametrize("angle", [None, 0.3])
@pytest.mark.parametrize("edges", [((0, 1), (1, 2)), ((0, 1), (1, 2), (2, 0))])
def test_sums_over_links_agree_with_statevectors(
    edges: tuple[tuple[int, int], ...], angle: float | None
) -> None:
    circuit = drawn.linked_blocks(3, edges, 2, 6, 1, angle)
    observables = ("Z0 Z8", "label:Ir" + "II0" + "IIX" + "I", "Y4 - 0.5 X3 Z7")
    expected = _values(circuit, observables)
    assert np.abs(expected).min() > 1e-6
    terms = [o.terms for o in as_observables(observables, circuit.num_qubits)]
    found = link_sums(circuit, 3, [string for sums in terms for string, _ in sums])
    assert found is not None
    rest = iter(found)
    values = [sum(weight * next(rest) for _, weight in sums) for sums in terms]
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_chains_agree_with_statevectors(seed: int) -> None:
    circuit = library.random_small(7, 6, seed)
    observables = ("Z0 X6", "label:0+rIZ1X", "Y2", "1111111", "I")
    strings = [o.terms[0][0] for o in as_observables(observables, 7)]
    values = chain_states.chain_values(circuit, strings)
    assert values is not None
    np.testing.assert_allclose(values, _values(circuit, observables), atol=1e-10)


def test_a_chain_with_a_large_bond_is_no_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = drawn.su4_wall(6, 6, 0)
    monkeypatch.setattr(chain_states, "MAX_BOND", 7)
    assert chain_states.chain_values(circuit, [((0, "Z"),)]) is None
    monkeypatch.setattr(chain_states, "MAX_BOND", 8)
    assert chain_states.chain_values(circuit, [((0, "Z"),)]) is not None


def test_a_chain_that_drops_too_much_is_no_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = QuantumCircuit(2)
    for _ in range(100):  # each of them is nearly nothing, all of them together are not
        circuit.rxx(1.8e-8, 0, 1)
    string = ((0, "Y"), (1, "X"))
    assert chain_states.chain_values(circuit, [string]) is not None
    monkeypatch.setattr(chain_states, "_DROPPED", 1e-16)
    assert chain_states.chain_values(circuit, [string]) is None


def test_links_that_are_not_diagonal_are_not_summed() -> None:
    circuit = QuantumCircuit(4)
    circuit.cx(1, 2)
    assert link_sums(circuit, 2, [((0, "Z"),)]) is None


def test_a_truth_that_would_grow_too_large_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truths, "MAX_WHOLE", 0)
    monkeypatch.setattr(truths, "MAX_PART", 0)
    monkeypatch.setattr(truths, "MAX_TERMS", 4)
    monkeypatch.setattr(chain_states, "MAX_BOND", 1)
    entry = Entry("any", "random", lambda: drawn.su4_wall(4, 3, 0), ("Z0",))
    assert truths.truth(entry) == [None]
