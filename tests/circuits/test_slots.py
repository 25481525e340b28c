"""Slots: circuits with parameters are the same as rotations, and derivatives pass through them."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterExpression, ParameterVector
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator

from hpcq.circuits import qpy
from hpcq.circuits.normalise import normalise
from hpcq.circuits.slots import ParametrisedCircuit, bind_slots, parametrise, slot_of
from hpcq.core.errors import InputError

_GATES = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if gate.params and name not in ("global_phase", "delay", "measure")
}


def parametrised(circuit: QuantumCircuit) -> ParametrisedCircuit:
    return parametrise(normalise(circuit, free_parameters=True), circuit.parameters)


def bound(found: ParametrisedCircuit, values: np.ndarray) -> QuantumCircuit:
    angles = found.slots.angles(found.slots.rows(values))[0]
    return bind_slots(found.generic, range(found.slots.num_slots), angles)


@pytest.mark.parametrize("kind", ["affine", "nonlinear", "partly bound"])
@pytest.mark.parametrize("name", _GATES)
def test_every_parametrised_gate_is_the_same_as_rotations(name: str, kind: str) -> None:
    gate = _GATES[name]
    count = len(gate.params)
    vector = ParameterVector("t", max(2, count))
    expressions = {
        "affine": [2 * vector[k] - vector[0] + 0.3 for k in range(count)],
        "nonlinear": [vector[k].sin() * vector[0] for k in range(count)],
        "partly bound": [vector[0], *[0.1 * k for k in range(1, count)]],
    }[kind]
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate.base_class(*expressions), range(gate.num_qubits))
    found = parametrised(circuit)
    values = np.random.default_rng(1).uniform(-9, 9, len(circuit.parameters))
    expected = Operator(circuit.assign_parameters(values))
    assert Operator(bound(found, values)).equiv(expected)
    assert Operator(found.circuit.assign_parameters(values)).equiv(expected)
    assert len(found.slots.nonlinear) == 0 or kind == "nonlinear"


def test_derivatives_follow_the_chain_rule() -> None:
    x, y, z = Parameter("x"), Parameter("y"), Parameter("z")
    circuit = QuantumCircuit(2)
    circuit.rx(x * y, 0)
    circuit.ry(2 * x - y + 1, 0)
    circuit.rzz(x.exp() + y, 0, 1)
    circuit.p(y, 1)
    circuit.global_phase = z
    slots = parametrised(circuit).slots
    assert slots.names == ("x", "y", "z")
    rows = np.array([[0.3, -0.7, 1.0], [1.1, 0.2, -2.0]])
    gradients = np.random.default_rng(2).normal(size=(2, 3, slots.num_slots))
    found = slots.pull_back(rows, gradients)
    step = 1e-6
    for column, shift in enumerate(step * np.eye(3)):
        change = (slots.angles(rows + shift) - slots.angles(rows - shift)) / (2 * step)
        expected = np.einsum("ros,rs->ro", gradients, change)
        np.testing.assert_allclose(found[..., column], expected, atol=1e-8)
        variances = slots.pull_back_variances(rows, np.abs(gradients))
        expected = np.einsum("ros,rs->ro", np.abs(gradients), change**2)
        np.testing.assert_allclose(variances[..., column], expected, atol=1e-7)


def test_a_row_has_the_same_angles_among_others() -> None:
    vector = ParameterVector("t", 12)
    circuit = QuantumCircuit(1)
    for k in range(12):
        circuit.rx(sum((0.1 * j + k) * vector[j] for j in range(12)), 0)
    slots = parametrised(circuit).slots
    rows = np.random.default_rng(3).uniform(-3, 3, (40, 12))
    together = slots.angles(rows)
    for row, angles in zip(rows, together, strict=True):
        np.testing.assert_array_equal(slots.angles(row[None])[0], angles)


def test_slots_survive_qpy_and_generic_angles_differ() -> None:
    vector = ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.rzz(vector[0], 0, 1)
    circuit.crx(vector[1], 0, 1)
    generic = parametrised(circuit).generic
    (copy,) = qpy.load(qpy.dump(generic), "copy")
    assert [slot_of(step) for step in copy.data] == [(0, 1), (1, 1), (2, 1)]
    assert len({step.params[0] for step in generic.data}) == 3


def test_labels_of_users_are_not_slots() -> None:
    circuit = QuantumCircuit(1)
    circuit.append(_GATES["rx"].base_class(0.3, label="hpcq slot +7"), [0])
    circuit.unitary(np.eye(2), 0, label="hpcq slot +7")
    assert [slot_of(step) for step in normalise(circuit).data] == [None, None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.1]], r"parameter_values: shape \(1, 1\), expected finite numbers in the shape"),
        ([[0.1, np.nan]], "parameter_values: nan for 'y' in row 0"),
        ([["a", "b"]], r"parameter_values: \[\['a', 'b'\]\], expected"),
        ([[1j, 0]], "expected finite numbers"),
        (np.zeros((1, 1, 2)), "parameter_values: shape"),
        ([[0.1, 0.2], [0.3]], "parameter_values: "),
    ],
)
def test_wrong_rows_are_refused(rows: object, message: str) -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("x") * Parameter("y"), 0)
    with pytest.raises(InputError, match=message):
        parametrised(circuit).slots.rows(rows)


@pytest.mark.parametrize(
    ("angle", "value", "message"),
    [
        (
            1 / Parameter("a"),
            0.0,
            r"1/a has no value in row 1 \(.*\), expected a finite real number",
        ),
        (
            Parameter("a").log(),
            -1.0,
            r"log\(a\) has no value in row 1 \(math domain error\)",
        ),
    ],
)
def test_rows_at_which_an_angle_has_no_value_are_named(
    angle: ParameterExpression, value: float, message: str
) -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(angle, 0)
    slots = parametrised(circuit).slots
    with pytest.raises(InputError, match=message):
        slots.angles(np.array([[1.0], [value]]))


def test_a_definition_with_parameters_that_the_circuit_lacks_is_refused() -> None:
    gate = Gate("other", 1, [Parameter("a")])
    gate.definition = QuantumCircuit(1)
    gate.definition.rx(Parameter("b"), 0)
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0])
    with pytest.raises(InputError, match="the angle b depends on 'b', expected parameters of the"):
        parametrised(circuit)
