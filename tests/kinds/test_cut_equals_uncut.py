"""The main oracle: a cut circuit gives what the uncut one gives, to 1e-10."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import SparsePauliOp, random_unitary

import hpcq
from hpcq.cutting.cuts import Cuts, GateCut, WireCut
from tests.support.strategies import (
    angles,
    circuits,
    cuts_of,
    operators,
    standard_gates,
    structured,
    uncut_value,
)

many = settings(max_examples=120)


def cut_values(
    circuit: QuantumCircuit, observables: list[SparsePauliOp], **how: object
) -> np.ndarray:
    plan = small_plan(circuit, observables, **how)
    return hpcq.run(plan, device="cpu").expectation_values


def small_plan(
    circuit: QuantumCircuit, observables: list[SparsePauliOp], **how: object
) -> hpcq.Plan:
    """Plan, and drop a random case that would be too large for a test."""
    plan = hpcq.plan(circuit, observables, threads=1, memory=1 << 60, **how)
    if plan.cost.memory_bytes > 64 << 20:
        reject()
    return plan


@many
@given(st.data())
def test_random_cuts(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    observables = data.draw(st.lists(operators(circuit.num_qubits), min_size=1, max_size=3))
    cuts = data.draw(cuts_of(circuit))
    values = cut_values(circuit, observables, cuts=cuts)
    assert values == pytest.approx(
        [uncut_value(circuit, operator) for operator in observables], abs=1e-10
    )


@pytest.mark.slow
@many
@given(st.data())
def test_random_partitions(data: st.DataObject) -> None:
    circuit = data.draw(circuits(max_qubits=6, max_gates=8))
    operator = data.draw(operators(circuit.num_qubits))
    size = circuit.num_qubits
    labels = data.draw(st.text("AB", min_size=size, max_size=size))
    values = cut_values(circuit, [operator], cut_labels=labels)
    assert values == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


@pytest.mark.slow
@many
@given(st.data())
def test_gates_that_share_ports(data: st.DataObject) -> None:
    circuit = data.draw(structured(max_gates=12))
    operator = data.draw(operators(circuit.num_qubits))
    labels = data.draw(st.text("ABC", min_size=circuit.num_qubits, max_size=circuit.num_qubits))
    values = cut_values(circuit, [operator], cut_labels=labels)
    assert values == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_a_product_gate_between_gates_that_could_share_a_port(seed: int) -> None:
    circuit = QuantumCircuit(3)
    circuit.ry(0.7, range(3))
    circuit.cz(0, 1)
    circuit.cp(0.9, 0, 2)
    local = [random_unitary(2, seed=seed + side).data for side in (0, 1)]
    circuit.unitary(np.kron(*local), (0, 1))
    circuit.cz(0, 1)
    circuit.cp(0.4, 2, 0)
    operator = SparsePauliOp("XYZ")
    values = cut_values(circuit, [operator], cut_labels="ABB")
    assert values == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


@pytest.mark.slow
@settings(many, max_examples=40)
@given(st.data())
def test_searched_cuts(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(circuits(max_qubits=6, max_gates=8), structured(max_gates=8)))
    operator = data.draw(operators(circuit.num_qubits))
    width = data.draw(st.integers(1, circuit.num_qubits))
    plan = small_plan(circuit, [operator], max_qubits=width)
    assert max(s.num_qubits for s in plan.cut.subcircuits) <= width
    values = hpcq.run(plan, device="cpu").expectation_values
    assert values == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("width", [2, 3, 12])
@pytest.mark.parametrize("seed", range(4))
def test_terms_on_light_cones_of_their_own(
    seed: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcq.planning.candidates._SMALL_SECONDS", 0.0)
    search = "hpcq.planning.candidates.CandidateSearch"
    monkeypatch.setattr(f"{search}._is_promising", lambda *_: True)
    monkeypatch.setattr(
        f"{search}.best", lambda _, found: max(found, key=lambda each: each.simplified.num_cones)
    )
    monkeypatch.setattr("hpcq.cutting.passes.light_cones._SECONDS_PER_CIRCUIT", 0.0)
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(12)
    for layer in range(2):
        for qubit in range(12):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(layer % 2, 11, 2):
            circuit.append(data_gate(rng), (qubit, qubit + 1))
    terms = [("Z", [q]) for q in range(12)] + [("XY", [q, q + 1]) for q in range(11)]
    operators = [
        SparsePauliOp.from_sparse_list(
            [(label, where, rng.normal()) for label, where in terms], num_qubits=12
        ),
        SparsePauliOp.from_sparse_list([("ZZ", [0, 11], 1.0), ("", [], 0.5)], num_qubits=12),
    ]
    plan = hpcq.plan(circuit, operators, max_qubits=width, threads=1, memory=1 << 32)
    assert plan.simplified.num_cones > 1
    assert plan.width <= width
    values = hpcq.run(plan, device="cpu").expectation_values
    expected = [uncut_value(circuit, operator) for operator in operators]
    assert values == pytest.approx(expected, abs=1e-10)
    again = hpcq.plan(circuit, operators, cuts=plan.cuts, threads=1, memory=1 << 32)
    assert again.cut.cuts == plan.cut.cuts
    assert hpcq.run(again, device="cpu").expectation_values == pytest.approx(expected, abs=1e-10)


def data_gate(rng: np.random.Generator) -> object:
    name = rng.choice(["cx", "swap", "iswap", "rzz", "unitary"])
    if name == "unitary":
        return UnitaryGate(random_unitary(4, seed=int(rng.integers(1000))))
    gate = {gate.name: gate for gate in standard_gates(2)}[name]
    return type(gate)(*rng.uniform(0, 6, len(gate.params))) if gate.params else gate


@pytest.mark.slow
@pytest.mark.parametrize("gate", standard_gates(2), ids=lambda gate: gate.name)
@settings(max_examples=5)
@given(data=st.data())
def test_every_two_qubit_gate_of_qiskit(gate: object, data: st.DataObject) -> None:
    bound = type(gate)(*(data.draw(angles) for _ in gate.params)) if gate.params else gate
    check_one_gate(bound, data.draw(st.integers(0, 10**6)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_su4_gates(seed: int) -> None:
    check_one_gate(UnitaryGate(random_unitary(4, seed=seed)), seed)


def check_one_gate(gate: object, seed: int) -> None:
    """Cut one gate between entangled pairs of qubits, in both orders of its qubits."""
    for qubits in ((1, 2), (2, 1)):
        circuit = QuantumCircuit(4)
        circuit.unitary(random_unitary(4, seed=seed), [0, 1])
        circuit.unitary(random_unitary(4, seed=seed + 1), [2, 3])
        circuit.append(gate, qubits)
        circuit.unitary(random_unitary(4, seed=seed + 2), [0, 1])
        circuit.unitary(random_unitary(4, seed=seed + 3), [2, 3])
        operators = [SparsePauliOp(label) for label in ("ZXYZ", "IZII", "XIIY")]
        plan = hpcq.plan(circuit, operators, cuts=Cuts(gates=(GateCut(2),)), threads=1)
        values = hpcq.run(plan, device="cpu").expectation_values
        assert len(plan.cut.subcircuits) == 2
        assert values == pytest.approx([uncut_value(circuit, o) for o in operators], abs=1e-10)


def test_a_qubit_that_comes_back_after_two_wire_cuts() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.crx(0.7, 1, 2)
    circuit.ry(0.3, 1)
    circuit.cry(1.1, 1, 0)
    cuts = Cuts(wires=(WireCut(1, 1), WireCut(1, 2)))
    plan = hpcq.plan(circuit, "Z0 + X1 Z2", cuts=cuts, threads=1)
    assert sorted(s.num_qubits for s in plan.cut.subcircuits) == [2, 3]
    value = hpcq.run(plan, device="cpu").expectation_values
    operator = SparsePauliOp.from_list([("IIZ", 1.0), ("ZXI", 1.0)])
    assert value == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


def test_single_precision_is_near() -> None:
    circuit = QuantumCircuit(6)
    rng = np.random.default_rng(7)
    for _ in range(3):
        for qubit in range(6):
            circuit.ry(rng.uniform(0, 6), qubit)
        for qubit in range(5):
            circuit.cz(qubit, qubit + 1)
    operator = SparsePauliOp("ZZXIZZ")
    value = cut_values(circuit, [operator], cut_labels="AAABBB", dtype="complex64")
    assert value == pytest.approx([uncut_value(circuit, operator)], abs=1e-4)


def test_hundreds_of_terms_in_one_run() -> None:
    circuit = QuantumCircuit(8)
    rng = np.random.default_rng(3)
    for layer in range(3):
        for qubit in range(8):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(layer % 2, 7, 2):
            circuit.cz(qubit, qubit + 1)
    labels = {"".join(rng.choice(list("IXYZ"), 8)) for _ in range(300)}
    operator = SparsePauliOp.from_list([(label, rng.normal()) for label in sorted(labels)])
    value = cut_values(circuit, [operator], cut_labels="AAABBCCC")
    assert value == pytest.approx([uncut_value(circuit, operator)], abs=1e-10)


WRONG = {
    "objective": ["cost", 3, 0.5],
    "search_seconds": [0, -1, "3", float("nan"), float("inf"), True],
    "max_qubits": [2.5, "3", True, 0],
    "cut_labels": [3, {"A"}, "AB", ["A"] * 9],
    "cuts": [5, [], b"{}", "nowhere.json", {"gate_cuts": 1}],
    "observables": [3.0, "Q1", "Z9", [None]],
    "memory": ["4G", float("nan"), -1, 3],
    "threads": [0, 1.5, "x", True],
    "seed": [-1, 1.5, None, "x"],
    "dtype": ["complex32", "", 64, complex],
    "precision": ["half", ""],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_argument_is_named(name: str, value: object) -> None:
    circuit = QuantumCircuit(3)
    circuit.cx(0, 1)
    with pytest.raises(hpcq.InputError) as caught:
        hpcq.plan(circuit, **{name: value})
    assert "\n" not in str(caught.value)
    if name != "observables" and value != "nowhere.json":
        assert str(caught.value).startswith(name)
