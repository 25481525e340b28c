"""Random cut circuits with large angles have the values of the circuit that hpcq is given.

What Qiskit rounds while a gate is made is the circuit's: ``power(3)`` multiplies the angle, the
inverse of ``u2`` subtracts pi from it, and OpenQASM 3 writes the definitions of some gates with
sums of angles. So the reference reads the gates of the finished circuit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.circuit import AnnotatedOperation, ControlledGate, ControlModifier, PowerModifier
from qiskit.circuit.library import CUGate
from qiskit.quantum_info import Operator, Pauli, Statevector

import hpcq
from tests.circuits.test_angles import CLASSES, PARAMETRISED, exactly

QUBITS = 4
"""Width of the circuits, with room for the widest gate and a control."""

LABELS = ["ZXYZ", "IYXI", "XIIZ", "ZZZZ"]
NAMES = sorted(set(PARAMETRISED) - {"global_phase"})
FORMS = ["plain", "control", "open control", "late control", "inverse", "late power", "wrapped"]
"""Ways in which a gate stands in a circuit: itself, changed, or within another gate."""
UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without shrinking: making a failing example smaller takes minutes."""

large = st.builds(
    lambda sign, size, digits: sign * digits * 10.0**size,
    st.sampled_from([-1.0, 1.0]),
    st.integers(4, 14),
    st.floats(1.0, 10.0),
)


def controlled(matrix: np.ndarray, controls: int, state: int) -> np.ndarray:
    """The matrix of a gate under controls, which are its first qubits."""
    whole = np.eye(len(matrix) << controls, dtype=complex)
    places = state + (np.arange(len(matrix)) << controls)
    whole[np.ix_(places, places)] = matrix
    return whole


def exact_matrix(operation: Any) -> np.ndarray:
    """The matrix of what an operation says, with each of its angles reduced in fractions."""
    if isinstance(operation, AnnotatedOperation):
        matrix = exact_matrix(operation.base_op)
        for modifier in operation.modifiers:
            if isinstance(modifier, ControlModifier):
                matrix = controlled(matrix, modifier.num_ctrl_qubits, modifier.ctrl_state)
            elif isinstance(modifier, PowerModifier):
                matrix = np.linalg.matrix_power(matrix, int(modifier.power))
            else:
                matrix = matrix.conj().T
        return matrix
    if operation.base_class is CLASSES.get(operation.name):
        state = getattr(operation, "ctrl_state", None)
        extra = {} if state is None else {"ctrl_state": state}
        # Four turns are a period of every angle, halved or not.
        values = [exactly(float(value), 4) for value in operation.params]
        return Operator(CLASSES[operation.name](*values, **extra)).data
    if isinstance(operation, ControlledGate):
        base, controls, state = operation.base_gate, operation.num_ctrl_qubits, operation.ctrl_state
        if base.name == "u" and len(base.params) == 4:
            # What Qiskit makes of a controlled CU.
            controls -= 1
            base, state = CUGate(*base.params, ctrl_state=state >> controls), state % 2**controls
        return controlled(exact_matrix(base), controls, state)
    return Operator(exact_circuit(operation.definition)).data


def exact_circuit(circuit: QuantumCircuit) -> QuantumCircuit:
    found = QuantumCircuit(circuit.num_qubits, global_phase=exactly(circuit.global_phase, 1))
    for step in circuit.data:
        places = [circuit.find_bit(qubit).index for qubit in step.qubits]
        found.unitary(exact_matrix(step.operation), places)
    return found


@st.composite
def circuits(draw: st.DrawFn, forms: Sequence[str] = FORMS) -> QuantumCircuit:
    circuit = QuantumCircuit(QUBITS, global_phase=draw(large))
    circuit.h(range(QUBITS))
    for _ in range(draw(st.integers(1, 4))):
        name, form = draw(st.sampled_from(NAMES)), draw(st.sampled_from(forms))
        gate: Any = CLASSES[name](*(draw(large) for _ in range(PARAMETRISED[name])))
        if form == "control":
            gate = gate.control(1, annotated=False)
        elif form == "open control":
            gate = gate.control(1, ctrl_state=0, annotated=False)
        elif form == "late control":
            gate = AnnotatedOperation(gate, ControlModifier(1, 1))
        elif form == "inverse":
            gate = gate.inverse()
        elif form == "late power":
            gate = AnnotatedOperation(gate, PowerModifier(3))
        elif form == "wrapped":
            inner = QuantumCircuit(gate.num_qubits, global_phase=draw(large), name="wrapped")
            inner.append(gate, range(gate.num_qubits))
            gate = inner.to_gate()
        places = draw(st.permutations(range(QUBITS)))[: gate.num_qubits]
        circuit.append(gate, places)
    # Cut in the middle whatever was drawn.
    circuit.rzz(draw(large), 1, 2)
    circuit.ry(0.7, range(QUBITS))
    return circuit


def check(circuit: QuantumCircuit, **how: Any) -> None:
    state = Statevector(exact_circuit(circuit))
    expected = [state.expectation_value(Pauli(label)).real for label in LABELS]
    found = hpcq.run(hpcq.plan(circuit, LABELS, **how)).expectation_values
    assert np.abs(found - expected).max() < 1e-10


@pytest.mark.slow
@settings(max_examples=20, deadline=None, phases=UNSHRUNK)
@given(circuit=circuits())
def test_random_cut_circuits_with_large_angles(circuit: QuantumCircuit) -> None:
    # A gate on three qubits is several gates on two; many cuts take long.
    long = sum(len(step.qubits) ** 2 for step in circuit.data if len(step.qubits) > 1) > 16
    check(circuit, cut_labels="AAAB" if long else "AABB")


@pytest.mark.slow
@settings(max_examples=10, deadline=None, phases=UNSHRUNK)
@given(circuit=circuits([form for form in FORMS if not form.startswith("late")]))
def test_random_files_with_large_angles(circuit: QuantumCircuit) -> None:
    check(qasm3.loads(qasm3.dumps(circuit)))
    check(qasm2.loads(qasm2.dumps(circuit), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS))


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_qiskits_at_small_angles(name: str) -> None:
    gate = CLASSES[name](*(0.3 + 0.4 * i for i in range(PARAMETRISED[name])))
    circuit = QuantumCircuit(QUBITS)
    circuit.append(gate.control(1, ctrl_state=0, annotated=False), range(gate.num_qubits + 1))
    assert np.allclose(Operator(exact_circuit(circuit)).data, Operator(circuit).data, atol=1e-12)
