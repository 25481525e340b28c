"""Passes keep the expectation values of the terms, and make cuts cheaper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import iSwapGate
from qiskit.quantum_info import SparseObservable
from qiskit.synthesis import synth_qft_full

from hpcq.circuits.observables import as_observables
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.passes.gate_steps import circuit_of, steps_of
from hpcq.cutting.passes.light_cones import ConeFinder, cones_of_terms
from hpcq.cutting.passes.merge_gates import merge_blocks
from hpcq.cutting.passes.simplify import SimplifiedCircuit, Simplifier
from hpcq.cutting.passes.swaps import relabel_swaps
from tests.support.strategies import circuits, cuts_of, operators, structured, uncut_value

many = settings(max_examples=100)


def operator_terms(operator: SparseObservable) -> list:
    (observable,) = as_observables([operator], operator.num_qubits)
    return [term for term, _ in observable.terms]


def value_of(reduced: SimplifiedCircuit, operator: SparseObservable) -> float:
    """Return the operator's value, each term computed on its light cone."""
    index = {label: qubit for qubit, label in enumerate(reduced.labels)}
    (observable,) = as_observables([operator], operator.num_qubits)
    total = 0.0
    for term, coefficient in observable.terms:
        cone = reduced.cone_of.get(term, 0)
        letters = ["I"] * len(reduced.labels)
        for qubit, letter in term:
            letters[index[cone, qubit]] = letter
        label = SparseObservable("".join(reversed(letters)))
        total += coefficient * uncut_value(reduced.circuit, label)
    return total


def simplified_circuits(
    circuit: QuantumCircuit, operator: SparseObservable
) -> list[SimplifiedCircuit]:
    simplifier = Simplifier(circuit, operator_terms(operator))
    separate = simplifier.separate_cones
    circuits = [simplifier.unchanged, simplifier.joint_cone]
    if separate is not None and len(separate.labels) <= 16:
        circuits.append(separate)
    return circuits


@pytest.mark.slow
@many
@given(st.data())
def test_no_pass_changes_a_value(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(structured(), circuits()))
    operator = data.draw(operators(circuit.num_qubits))
    expected = uncut_value(circuit, operator)
    for reduced in simplified_circuits(circuit, operator):
        assert value_of(reduced, operator) == pytest.approx(expected, abs=1e-10)


@pytest.mark.slow
@many
@given(st.data())
def test_cuts_are_translated_to_the_original_circuit_and_back(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(structured(), circuits()))
    operator = data.draw(operators(circuit.num_qubits))
    for reduced in simplified_circuits(circuit, operator):
        cuts = data.draw(cuts_of(reduced.circuit))
        original_cuts = reduced.to_original(cuts)
        original_cuts.check(circuit)
        assert reduced.from_original(original_cuts) == cuts


def test_swaps_are_replaced_by_renamed_wires() -> None:
    circuit = QuantumCircuit(3)
    circuit.ry(0.3, 0)
    circuit.cx(0, 1)
    circuit.swap(1, 2)
    circuit.append(iSwapGate(), [0, 2])
    circuit.ry(0.7, 2)
    steps, wires, swapped = relabel_swaps(steps_of(circuit), 3)
    assert swapped == 2
    assert CircuitAnalysis(circuit_of(steps, 3)).bits == [1.0, 1.0]
    assert [wires[position][0] for position in ((0, 1), (0, 2), (1, 1), (2, 2))] == [2, 0, 0, 2]


@pytest.mark.parametrize(
    ("gates", "dimensions"),
    [
        ("cx rz cx", [2]),
        ("cx cx", []),
        ("cx cx cx", [2]),
        ("cx u cx u cx", [4]),
        ("cx u cx", [2, 2]),
        ("swap swap", []),
    ],
)
def test_a_block_on_one_pair_becomes_one_gate_where_that_is_cheaper(
    gates: str, dimensions: list[int]
) -> None:
    circuit = QuantumCircuit(2)
    rng = np.random.default_rng(5)
    for name in gates.split():
        if name == "rz":
            circuit.rz(0.4, 1)
        elif name == "u":
            circuit.u(*rng.uniform(0, 6, 3), 0)
            circuit.u(*rng.uniform(0, 6, 3), 1)
        else:
            getattr(circuit, name)(0, 1)
    merged, _ = merge_blocks(steps_of(circuit))
    assert [terms.dimension for terms in CircuitAnalysis(circuit_of(merged, 2)).sums] == dimensions


def layered(num_qubits: int, layers: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        circuit.rx(0.4, range(num_qubits))
        for qubit in range(num_qubits - 1):
            circuit.rzz(0.3, qubit, qubit + 1)
    return circuit


def test_a_light_cone_is_as_wide_as_the_layers_are_deep() -> None:
    circuit = layered(40, 3)
    cone = ConeFinder(steps_of(circuit), 40).cone([((20, "Z"),)])
    # The last layer commutes with Z, the two before it reach two qubits to either side.
    assert cone.qubits == (18, 19, 20, 21, 22)
    assert sum(step.is_pair for step in cone.steps) == 2 + 4 + 0
    cone = ConeFinder(steps_of(circuit), 40).cone([((20, "X"),)])
    assert cone.qubits == tuple(range(17, 24))


def test_terms_get_separate_light_cones_where_that_is_cheaper() -> None:
    terms = [((qubit, "Z"),) for qubit in range(40)]
    cones = cones_of_terms(ConeFinder(steps_of(layered(40, 3)), 40), terms)
    assert len(cones) > 1
    assert sorted(term for cone in cones for term in cone.terms) == terms
    assert max(len(cone.qubits) for cone in cones) < 16
    deep = ConeFinder(steps_of(layered(8, 20)), 8)
    assert cones_of_terms(deep, terms[:8]) == []


def test_an_observable_without_qubits_needs_no_gate() -> None:
    reduced = Simplifier(layered(4, 2), [()]).joint_cone
    assert reduced.circuit.num_qubits == 1
    assert reduced.pairs == ()


def test_runs_follow_the_axis_through_rotations() -> None:
    circuit = QuantumCircuit(4)
    circuit.cx(0, 1)
    circuit.rz(0.3, 0)
    circuit.cz(0, 2)
    circuit.h(0)
    circuit.cx(3, 0)  # the target's axis X, after H the control's Z
    circuit.ry(0.1, 0)
    circuit.cx(0, 3)
    runs = CircuitAnalysis(circuit).runs
    first = runs[0][0][0]
    assert runs[1][0][0] == runs[2][1][0] == first
    assert runs[3][0][0] != first
    fourier = CircuitAnalysis(synth_qft_full(6, do_swaps=False))
    assert len({run for gate in fourier.runs for run, _ in gate[:1]}) <= 6
