"""Programs with shots: estimates of values and gradients with true error bars."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.kinds.shots.program import Estimates, ShotsProgram


def ansatz(num_qubits: int) -> QuantumCircuit:
    angles = ParameterVector("t", 3)
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(angles[0] + 0.4 * qubit, qubit)
    for qubit in range(num_qubits - 1):
        circuit.rzz(2 * angles[1], qubit, qubit + 1)
    circuit.rx(angles[2].sin(), num_qubits - 1)
    return circuit


def exact(circuit: QuantumCircuit, labels: list[str], row: np.ndarray) -> np.ndarray:
    state = Statevector(circuit.assign_parameters(row))
    return np.array([state.expectation_value(SparsePauliOp(label)).real for label in labels])


def program(circuit: QuantumCircuit, labels: list[str], **options: object) -> ShotsProgram:
    plan = hpcq.plan(circuit, labels, **options)
    return ShotsProgram(plan, lambda bound: hpcq.run(bound, device="cpu"))


def pulls(found: Estimates, circuit: QuantumCircuit, labels: list[str], row: np.ndarray) -> list:
    step = 1e-5
    gradient = [
        (exact(circuit, labels, row + shift) - exact(circuit, labels, row - shift)) / (2 * step)
        for shift in step * np.eye(len(row))
    ]
    assert found.gradients is not None
    assert found.gradient_errors is not None
    of_values = (found.values[0] - exact(circuit, labels, row)) / found.standard_errors[0]
    of_gradients = (found.gradients[0] - np.transpose(gradient)) / found.gradient_errors[0]
    return [*of_values, *of_gradients.ravel()]


@pytest.mark.slow
def test_values_and_gradients_are_within_their_errors() -> None:
    circuit, labels, row = ansatz(3), ["ZIZ", "IXI"], np.array([0.3, 0.6, -0.8])
    compiled = program(circuit, labels, shots=3000, cut_labels="AAB")
    assert compiled.parameters == ("t[0]", "t[1]", "t[2]")
    found = compiled.estimate(row)
    assert found.values.shape == (1, 2)
    assert found.gradients.shape == (1, 2, 3)
    assert np.abs(pulls(found, circuit, labels, row)).max() < 5
    # The same seed gives the same shots, the next evaluation others.
    again = program(circuit, labels, shots=3000, cut_labels="AAB")
    np.testing.assert_array_equal(again.values(row), found.values)
    assert not np.array_equal(again.values(row), found.values)


@pytest.mark.nightly
def test_error_bars_of_gradients_are_true() -> None:
    circuit, labels, row = ansatz(2), ["ZZ", "XI"], np.array([0.5, 0.4, 0.9])
    all_pulls = []
    for seed in range(40):
        compiled = program(circuit, labels, shots=2000, cut_labels="AB", seed=seed)
        all_pulls += pulls(compiled.estimate(row), circuit, labels, row)
    variance = np.mean(np.square(all_pulls))
    assert 0.7 < variance < 1.4


def test_a_wrong_device_is_refused_before_anything_runs() -> None:
    plan = hpcq.plan(ansatz(2), "ZZ", shots=1000, cut_labels="AB")
    with pytest.raises(hpcq.InputError, match="device: 'tpu', expected auto, cpu or gpu"):
        plan.compile(device="tpu")


def test_programs_say_what_they_are() -> None:
    circuit = ansatz(2)
    sampled = hpcq.plan(circuit, ["Z0", "Z1"], cut_labels="AB", shots=100).compile()
    assert repr(sampled) == "ShotsProgram(parameters=3, observables=2, subcircuits=2)"
    exactly = hpcq.plan(circuit, "Z0 Z1", cut_labels="AB").compile()
    assert repr(exactly) == "Program(parameters=3, observables=1, subcircuits=2)"
    assert exactly.parameters == sampled.parameters == ("t[0]", "t[1]", "t[2]")
