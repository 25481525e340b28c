"""The normalised circuit is the same unitary, and what is not unitary is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import (
    AnnotatedOperation,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    PowerModifier,
)
from qiskit.circuit import library as gates
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Operator, SparsePauliOp, random_clifford, random_unitary

from hpcq.circuits.normalise import normalise
from hpcq.core.errors import InputError
from hpcq.cutting.gate_decompositions import pauli_sum

NOT_GATES = {"measure", "reset", "delay"}
STANDARD = {k: v for k, v in get_standard_gate_name_mapping().items() if k not in NOT_GATES}
TOLERANCE = 1e-10
"""Largest difference between the elements of operators that count as equal."""


def with_numbers(gate: Gate, **options: object) -> Gate:
    return gate.base_class(*[0.3 + 0.4 * i for i in range(len(gate.params))], **options)


def assert_same(circuit: QuantumCircuit) -> QuantumCircuit:
    found = normalise(circuit)
    assert found.num_qubits == circuit.num_qubits
    assert found.num_clbits == 0
    for step in found.data:
        assert len(step.qubits) in (1, 2)
        assert step.is_standard_gate() or step.name == "unitary"
        assert step.name == "unitary" or all(type(p) is float for p in step.params)
    assert np.abs(Operator(found).data - Operator(circuit).data).max() < TOLERANCE
    return found


def around(gate: object, num_qubits: int) -> QuantumCircuit:
    """The gate twice, on different qubits, in a circuit that is one qubit wider."""
    circuit = QuantumCircuit(num_qubits + 1, global_phase=0.25)
    circuit.append(gate, range(num_qubits))
    circuit.ry(0.7, 0)
    circuit.append(gate, range(num_qubits, 0, -1))
    return circuit


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_every_standard_gate(name: str) -> None:
    gate = with_numbers(STANDARD[name])
    assert_same(around(gate, gate.num_qubits))
    for state in range(2 ** getattr(gate, "num_ctrl_qubits", 0) - 1):
        assert_same(around(with_numbers(gate, ctrl_state=state), gate.num_qubits))


@pytest.mark.parametrize("name", ["x", "rx", "u", "swap", "rzz", "cu", "ecr", "global_phase"])
def test_modified_standard_gates(name: str) -> None:
    gate = with_numbers(STANDARD[name])
    for changed in (
        gate.control(1, ctrl_state=0),
        gate.control(2, annotated=True),
        gate.inverse(annotated=True),
        gate.power(2, annotated=True),
        gate.power(0.3),
    ):
        assert_same(around(changed, changed.num_qubits))


@pytest.mark.slow
@pytest.mark.parametrize(
    "gate",
    [
        gates.MCXGate(5),
        gates.MCXGate(4, ctrl_state=3),
        gates.MCPhaseGate(0.3, 4),
        gates.QFTGate(3),
        gates.UnitaryGate(random_unitary(2, seed=1)),
        gates.UnitaryGate(random_unitary(4, seed=1)),
        gates.UnitaryGate(random_unitary(8, seed=1)),
        gates.UnitaryGate(random_unitary(2, seed=4)).control(2, ctrl_state=1),
        gates.PermutationGate([2, 0, 1, 3]),
        gates.DiagonalGate(np.exp(1j * np.arange(8)).tolist()),
        gates.PauliGate("XYZ"),
        gates.UCRXGate([0.1, 0.2, 0.3, 0.4]),
        gates.LinearFunction([[1, 1], [0, 1]]),
        gates.ModularAdderGate(2),
        gates.StatePreparation([0.6, 0.8j]).inverse(),
        gates.PauliEvolutionGate(SparsePauliOp(["XXZ", "ZZZ"]), 0.3),  # its terms commute
        random_clifford(3, seed=2),
        AnnotatedOperation(
            gates.PermutationGate([1, 0]),
            [ControlModifier(2, 1), InverseModifier(), PowerModifier(3)],
        ),
    ],
    ids=lambda gate: gate.name,
)
def test_wide_and_abstract_gates(gate: object) -> None:
    assert_same(around(gate, gate.num_qubits))  # type: ignore[attr-defined]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), num_qubits=st.integers(1, 5), depth=st.integers(1, 6))
def test_random_circuits(seed: int, num_qubits: int, depth: int) -> None:
    assert_same(random_circuit(num_qubits, depth, max_operands=4, seed=seed))


def test_gates_of_one_name_may_differ() -> None:
    circuit = QuantumCircuit(2)
    for angle in (0.1, 0.2):
        inner = QuantumCircuit(1, name="same", global_phase=angle)
        inner.rx(angle, 0)
        circuit.append(inner.to_gate(), [0])
        circuit.append(inner.to_gate().control(1), [0, 1])
    assert_same(circuit)


def test_custom_gates_keep_their_phase() -> None:
    inner = QuantumCircuit(2, global_phase=0.7)
    inner.cx(0, 1)
    inner.append(gates.GlobalPhaseGate(0.4), [])
    circuit = QuantumCircuit(3, global_phase=-0.2)
    circuit.append(inner.to_gate(), [2, 0])
    circuit.append(inner.to_gate().control(1), [0, 1, 2])
    circuit.append(gates.GlobalPhaseGate(1.1), [])
    assert_same(circuit)


def test_a_gate_known_by_its_matrix_only() -> None:
    class Flip(Gate):
        def __init__(self) -> None:
            super().__init__("flip", 1, [])

        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.array([[0, 1], [1, 0]], dtype=complex)

    assert [step.name for step in assert_same(around(Flip(), 1)).data] == [
        "unitary",
        "ry",
        "unitary",
    ]


def test_numbers_of_other_types_become_floats() -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(1, global_phase=angle)
    circuit.rx(np.float32(0.5), 0)
    circuit.ry(np.int64(2), 0)
    circuit.rz(angle * 2, 0)
    found = assert_same(circuit.assign_parameters({angle: 0.25}))
    assert [step.params for step in found.data] == [[0.5], [2.0], [0.5]]


def test_what_leaves_the_state_alone_is_dropped() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.reset(0)
    circuit.initialize([0.6, 0.8], 1)
    circuit.h(0)
    circuit.barrier()
    circuit.id(1)
    circuit.delay(100, 0)
    circuit.measure([0, 1], [0, 1])
    circuit.barrier()
    circuit.measure(0, 1)
    names = {step.name for step in normalise(circuit).data}
    assert names.isdisjoint({"reset", "barrier", "id", "delay", "measure", "initialize"})
    assert "h" in names
    probabilities = np.abs(Operator(normalise(circuit)).data[:, 0]) ** 2
    assert probabilities == pytest.approx([0.18, 0.18, 0.32, 0.32])


def test_a_box_is_only_a_frame() -> None:
    circuit = QuantumCircuit(2)
    with circuit.box():
        circuit.h(1)
        circuit.cx(1, 0)
    assert circuit.data[0].name == "box"
    plain = QuantumCircuit(2)
    plain.h(1)
    plain.cx(1, 0)
    assert normalise(circuit) == normalise(plain)


def test_registers_become_one() -> None:
    from qiskit import QuantumRegister

    circuit = QuantumCircuit(QuantumRegister(1, "b"), QuantumRegister(2, "a"))
    circuit.cx(0, 2)
    found = normalise(circuit)
    assert [found.find_bit(q).index for q in found.data[0].qubits] == [0, 2]


def refused() -> dict[str, tuple[QuantumCircuit, list[str]]]:
    cases = {}

    def case(name: str, words: list[str], num_qubits: int = 4) -> QuantumCircuit:
        circuit = QuantumCircuit(num_qubits, 2)
        cases[name] = (circuit, words)
        return circuit

    circuit = case("mid-circuit measurement", ["'measure'", "qubit 3", "'h'"])
    circuit.measure(3, 0)
    circuit.h(3)
    circuit = case("measurement hidden in an instruction", ["'measure'", "qubit 2", "'x'"])
    inner = QuantumCircuit(1, 1, name="inner")
    inner.measure(0, 0)
    circuit.append(inner.to_instruction(), [2], [0])
    circuit.x(2)
    circuit = case("reset", ["'reset'", "qubit 1"])
    circuit.x(1)
    circuit.reset(1)
    circuit = case("late initialize", ["'initialize'", "qubit 1", "reset"])
    circuit.x(1)
    circuit.initialize([0.6, 0.8], 1)
    circuit = case("if_else", ["'if_else'", "qubit 1", "classical control"])
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)):
        circuit.x(1)
    circuit = case("for_loop", ["'for_loop'", "qubit 2", "loop"])
    with circuit.for_loop(range(10**12)):
        circuit.x(2)
    circuit = case("opaque", ["'oracle'", "qubits 1, 3", "definition"])
    circuit.append(Gate("oracle", 2, []), [1, 3])
    circuit = case("unbound", ["'theta'", "value"])
    circuit.rx(Parameter("theta"), 0)
    circuit = case("hidden unbound", ["'theta'", "value", "'inner'", "qubit 2"])
    inner = QuantumCircuit(1, name="inner")
    inner.rx(Parameter("theta"), 0)
    gate = Gate("inner", 1, [])
    gate.definition = inner
    circuit.append(gate, [2])
    circuit = case("nan", ["'rx'", "qubit 0", "nan"])
    circuit.rx(math.nan, 0)
    circuit = case("infinite", ["'rzz'", "qubits 0, 1", "inf"])
    circuit.rzz(math.inf, 0, 1)
    circuit = case("not unitary", ["'unitary'", "qubit 0", "not unitary"])
    circuit.append(gates.UnitaryGate([[1, 1], [0, 1]], check_input=False), [0])
    cases["nan phase"] = (QuantumCircuit(1, global_phase=math.nan), ["global phase", "nan"])
    cases["no qubits"] = (QuantumCircuit(), ["0 qubits", "expected 1 to"])
    circuit = case("recursion", ["nested more than"])
    gate, body = Gate("me", 1, []), QuantumCircuit(1)
    gate.definition = body
    body.append(gate, [0])
    circuit.append(gate, [0])
    return cases


@pytest.mark.parametrize("name", sorted(refused()))
def test_refusals_name_instruction_and_qubit(name: str) -> None:
    circuit, words = refused()[name]
    with pytest.raises(InputError) as caught:
        normalise(circuit, "bell.qasm")
    line = str(caught.value)
    assert line.startswith("bell.qasm: ")
    assert "\n" not in line
    assert [word for word in words if word not in line] == []


def test_other_objects_are_refused() -> None:
    with pytest.raises(InputError, match="of type str, expected a QuantumCircuit"):
        normalise("h q[0];")  # type: ignore[arg-type]


def test_growth_is_counted_before_it_happens() -> None:
    gate: Gate = gates.HGate()
    for level in range(100):
        body = QuantumCircuit(1, name=f"level{level}")
        body.append(gate, [0])
        body.append(gate, [0])
        gate = Gate(body.name, 1, [])
        gate.definition = body
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0])
    with pytest.raises(InputError, match=r"'level99' on qubit 0 .* 5000000 operations"):
        normalise(circuit)


def test_operations_and_qubits_are_capped() -> None:
    circuit = QuantumCircuit(3)
    for _ in range(5):
        circuit.ccx(0, 1, 2)
    size = len(normalise(circuit).data)
    assert len(normalise(circuit, max_operations=size).data) == size
    with pytest.raises(InputError, match=f"{size - 1} operations"):
        normalise(circuit, max_operations=size - 1)
    with pytest.raises(InputError, match="3 qubits, expected 1 to 2"):
        normalise(circuit, max_qubits=2)


@pytest.mark.parametrize("dimension", [2, 4])
def test_a_custom_gate_on_two_qubits_stays_one_gate(dimension: int) -> None:
    inside = QuantumCircuit(2, global_phase=0.3)
    inside.cx(0, 1)
    inside.rz(0.7, 1)
    inside.cx(0, 1)
    if dimension == 4:
        inside.ry(0.2, [0, 1])
        inside.cz(0, 1)
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.append(inside.to_gate(label="zz"), [2, 0])
    found = normalise(circuit)
    assert Operator(found) == Operator(circuit)
    (gate,) = (step.operation for step in found.data if len(step.qubits) == 2)
    assert pauli_sum(gate).dimension == dimension


def test_free_parameters_stay() -> None:
    theta, phi = Parameter("theta"), Parameter("phi")
    circuit = QuantumCircuit(3, global_phase=phi)
    circuit.rx(2 * theta + phi, 0)
    circuit.rzz(theta, 0, 1)
    circuit.append(gates.PauliEvolutionGate(SparsePauliOp("XYZ"), theta), [0, 1, 2])
    circuit.append(gates.RXGate(phi).control(2), [0, 1, 2])
    found = normalise(circuit, free_parameters=True)
    assert all(len(step.qubits) <= 2 for step in found.data)
    assert {p.name for p in found.parameters} == {"theta", "phi"}
    values = {"theta": 0.3, "phi": -1.1}
    bound = (found.assign_parameters(values), circuit.assign_parameters(values))
    assert Operator(bound[0]).equiv(Operator(bound[1]))
    with pytest.raises(InputError, match=r"parameter needs a value first.*'phi', 'theta'"):
        normalise(circuit)


class _Endless(Gate):
    def _define(self) -> None:
        self.definition = QuantumCircuit(1)
        self.definition.append(_Endless("endless", 1, self.params), [0])


class _Failing(Gate):
    def _define(self) -> None:
        raise RuntimeError("no definition today")


class _Wide(Gate):
    def _define(self) -> None:
        self.definition = QuantumCircuit(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda t: _Endless("endless", 1, [t]),
            "'endless' on qubit 0 .* nested more than 200 levels deep",
        ),
        (lambda t: _Failing("failing", 1, [t]), "its definition failed: no definition today"),
        (lambda t: _Wide("wide", 1, [t]), "its definition has 2 qubits, not 1"),
        (lambda t: Gate("empty", 1, [t]), "no definition in gates"),
        (lambda t: gates.RVGate(t, 0.1, 0.2), "'rv' on qubit 0 .* its definition failed"),
        (lambda t: gates.UGate(t, t, 0.1).power(0.5, annotated=True), "no definition in gates"),
    ],
)
def test_gates_with_parameters_that_cannot_be_used(
    make: Callable[[Parameter], Gate], message: str
) -> None:
    circuit = QuantumCircuit(1)
    circuit.append(make(Parameter("theta")), [0])
    with pytest.raises(InputError, match=message):
        normalise(circuit, free_parameters=True)


def test_annotated_gates_boxes_and_global_phases_with_parameters() -> None:
    theta = Parameter("theta")
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.append(gates.RXGate(theta).control(2, ctrl_state=1, annotated=True), [0, 1, 2])
    circuit.append(gates.CPhaseGate(theta).inverse(annotated=True), [2, 0])
    circuit.append(gates.GlobalPhaseGate(theta), [])
    with circuit.box():
        circuit.ry(2 * theta, 1)
    found = normalise(circuit, free_parameters=True)
    expected = QuantumCircuit(3)
    expected.h(range(3))
    expected.append(gates.RXGate(0.7).control(2, ctrl_state=1), [0, 1, 2])
    expected.cp(-0.7, 2, 0)
    expected.ry(1.4, 1)
    assert Operator(found.assign_parameters([0.7])).equiv(Operator(expected))
