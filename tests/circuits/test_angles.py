"""Angles of any size mean what the double says, whatever gate they are in and whether it is cut."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm2
from qiskit.circuit import AnnotatedOperation, ControlModifier, PowerModifier
from qiskit.circuit import library as gates
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, Pauli, Statevector

import hpcq
from hpcq.circuits.angles import PERIODS, reduce_angle
from hpcq.circuits.normalise import normalise
from hpcq.circuits.unitary import nearest_unitary, unitary_error
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.cutting.gate_decompositions import pauli_sum

PI = Fraction(314159265358979323846264338327950288419716939937510582097494459230781640, 10**71)
"""Pi to 71 digits."""

CLASSES = {name: gate.base_class for name, gate in get_standard_gate_name_mapping().items()}
PARAMETRISED = {
    name: len(gate.params)
    for name, gate in get_standard_gate_name_mapping().items()
    if gate.params and name != "delay"
}
LARGE = [1e4, -1e6, 123456789.123, 1e12, -9.87654321e14, 1e15]
"""Angles in radians; at the last ones, floats are 0.125 apart."""


def exactly(angle: float, turns: int) -> float:
    """The angle less full turns, in rational arithmetic with 71 digits of pi."""
    period = 2 * PI * turns
    rest = Fraction(angle) % period
    return float(rest - period if rest > period / 2 else rest)


def angles(name: str, shift: int = 0) -> list[float]:
    return [LARGE[(i + shift) % len(LARGE)] for i in range(PARAMETRISED[name])]


def small(name: str, values: list[float]) -> list[float]:
    return [exactly(v, turns) for v, turns in zip(values, PERIODS[name], strict=True)]


def on_two_qubits(gate: object) -> QuantumCircuit:
    """A gate between states that tell all its phases, its own as well."""
    circuit = QuantumCircuit(max(2, gate.num_qubits))
    for qubit in range(circuit.num_qubits):
        circuit.ry(0.4 + 0.5 * qubit, qubit)
        circuit.rz(0.3 - 0.2 * qubit, qubit)
    circuit.append(gate, range(gate.num_qubits))
    circuit.cx(0, 1)
    for qubit in range(circuit.num_qubits):
        circuit.rx(0.9 + 0.3 * qubit, qubit)
    return circuit


@given(st.floats(-1e15, 1e15), st.sampled_from([1, 2]))
def test_angles_are_reduced_as_in_rational_arithmetic(angle: float, turns: int) -> None:
    found = reduce_angle(angle, turns)
    if abs(angle) <= 100:
        assert found == angle
    else:
        difference = found - exactly(angle, turns)
        assert abs(math.remainder(difference, 2 * math.pi * turns)) < 2e-15


def test_every_parametrised_standard_gate_has_its_periods() -> None:
    assert set(PERIODS) == set(PARAMETRISED)
    for name, periods in PERIODS.items():
        values = [0.3 + 0.4 * i for i in range(PARAMETRISED[name])]
        matrix = Operator(CLASSES[name](*values)).data
        for place, turns in enumerate(periods):
            for shift, same in ((turns, True), (turns / 2, False)):
                moved = [v + 2 * math.pi * shift * (i == place) for i, v in enumerate(values)]
                moved_matrix = Operator(CLASSES[name](*moved)).data
                assert np.allclose(moved_matrix, matrix, atol=1e-12) is same


@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("name", sorted(PARAMETRISED))
def test_standard_gates_keep_their_unitary_and_phase(name: str, shift: int) -> None:
    values = angles(name, shift)
    found = normalise(on_two_qubits(CLASSES[name](*values)))
    right = on_two_qubits(CLASSES[name](*small(name, values)))
    assert np.abs(Operator(found).data - Operator(right).data).max() < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotated", "controls", "state", "power"),
    [
        (False, 1, 1, 1),
        (False, 1, 0, 1),
        (False, 2, 1, 1),
        (True, 1, 0, 1),
        (True, 2, 1, 1),
        (True, 1, 1, 3),
    ],
)
@pytest.mark.parametrize("name", sorted(PARAMETRISED))
def test_a_control_sees_the_phase(
    name: str, annotated: bool, controls: int, state: int, power: int
) -> None:
    values = angles(name)
    gate = CLASSES[name](*values)
    if annotated:
        modifiers = [PowerModifier(power), ControlModifier(controls, state)]
        gate = AnnotatedOperation(gate, modifiers)
    else:
        gate = gate.control(controls, ctrl_state=state, annotated=False)
    matrix = np.linalg.matrix_power(Operator(CLASSES[name](*small(name, values))).data, power)
    right = on_two_qubits(gates.UnitaryGate(_controlled(matrix, controls, state)))
    found = normalise(on_two_qubits(gate))
    assert np.abs(Operator(found).data - Operator(right).data).max() < 1e-9


def _controlled(matrix: np.ndarray, controls: int, state: int) -> np.ndarray:
    """The controls are the low qubits, as in Qiskit."""
    whole = np.eye(len(matrix) << controls, dtype=complex)
    whole[state :: 1 << controls, state :: 1 << controls] = matrix
    return whole


@pytest.mark.parametrize(
    "gate",
    [
        gates.MCPhaseGate(1e15, 2),
        gates.RVGate(1e15, 0, 0),
        gates.RVGate(3e6, -4e9, 1.25e8),
        gates.RVGate(0.3, 0.4, -0.5),
    ],
    ids=lambda gate: f"{gate.name}-{gate.params[0]:g}",
)
def test_other_gates_of_the_library(gate: object) -> None:
    if gate.name == "rv":
        norm = _root(sum(Fraction(v) ** 2 for v in gate.params))
        angle = exactly_of(norm, 2)
        axis = [float(Fraction(v) / norm) for v in gate.params]
        right = gates.RVGate(*(angle * v for v in axis))
    else:
        right = gates.MCPhaseGate(exactly(1e15, 1), 2)
    found = normalise(on_two_qubits(gate))
    assert np.abs(Operator(found).data - Operator(on_two_qubits(right)).data).max() < 1e-12


def _root(square: Fraction) -> Fraction:
    scale = 10**60
    return Fraction(math.isqrt(square.numerator * scale**2 // square.denominator), scale)


def exactly_of(angle: Fraction, turns: int) -> float:
    return float(angle % (2 * PI * turns))


TWO_QUBITS = sorted(
    name
    for name, gate in get_standard_gate_name_mapping().items()
    if gate.params and gate.num_qubits == 2
)


@pytest.mark.slow
@pytest.mark.parametrize("name", TWO_QUBITS)
def test_cut_gates_with_large_angles(name: str) -> None:
    values = angles(name, 1)
    circuit = on_two_qubits(CLASSES[name](*values))
    right = Statevector(on_two_qubits(CLASSES[name](*small(name, values))))
    observables = ["Z0", "X1", "Y0 Y1"]
    labels = ["IZ", "XI", "YY"]
    exact = [right.expectation_value(Pauli(label)).real for label in labels]
    for options in ({"cut_labels": "AB"}, {"max_qubits": 2}):
        result = hpcq.run(hpcq.plan(circuit, observables, threads=1, **options))
        assert np.abs(result.expectation_values - exact).max() < 1e-10
    plan = hpcq.plan(circuit, observables, threads=1, cut_labels="AB", shots=20_000)
    result = hpcq.run(plan)
    assert (np.abs(result.expectation_values - exact) < 6 * result.standard_errors + 1e-9).all()


def test_a_file_with_a_large_angle(tmp_path, capsys) -> None:
    path = tmp_path / "large.qasm"
    path.write_text(
        'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0]; ry(0.3) q[1];\n'
        "cu3(-4.89371325175941,0.26117997143393357,1000000.0) q[0],q[1];\n"
    )
    words = ["run", str(path), "--cut-labels", "AB", "--observable", "Z1", "--observable", "X0"]
    assert main(words) == 0
    values = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert values == pytest.approx([0.42766186671538187, -0.7709178813733971], abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("angle", ["1e400", "ln(-1)"])
def test_angles_that_are_none_are_refused_in_one_line(angle, tmp_path, capsys) -> None:
    path = tmp_path / "none.qasm"
    path.write_text(
        f'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nrx({angle}) q[0];\ncx q[0],q[1];\n'
    )
    assert main(["run", str(path), "--observable", "Z0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error


@pytest.mark.parametrize("angle", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("gate", [gates.RXGate, gates.CRZGate, gates.PhaseGate, gates.MCPhaseGate])
def test_angles_of_gates_that_are_none_are_refused(gate, angle) -> None:
    instance = gate(angle, 2) if gate is gates.MCPhaseGate else gate(angle)
    with pytest.raises(InputError, match="finite") as caught:
        normalise(on_two_qubits(instance))
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 1000), st.floats(1e-12, 1e-7))
def test_matrices_that_are_nearly_unitary_can_be_cut(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = Operator(gates.CUGate(0.3, 0.4, 0.5, 0.6)).data
    noisy = matrix + error * rng.normal(size=(4, 4)) / 4
    assert unitary_error(nearest_unitary(noisy)) < 1e-14
    pauli_sum(gates.UnitaryGate(noisy, check_input=False))
    circuit = on_two_qubits(gates.UnitaryGate(noisy, check_input=False))
    plan = hpcq.plan(circuit, ["Z0"], cut_labels="AB", threads=1)
    cut = hpcq.run(plan).expectation_values
    exact = Statevector(normalise(circuit)).expectation_value(Pauli("IZ")).real
    assert abs(cut[0] - exact) < 1e-10


def test_exact_matrices_keep_their_bits() -> None:
    matrix = Operator(gates.CRXGate(0.3)).data
    assert nearest_unitary(matrix) is matrix


def test_qasm2_round_trip_of_a_large_angle() -> None:
    circuit = on_two_qubits(gates.CU3Gate(1e6, 2e6, -3e6))
    again = qasm2.loads(qasm2.dumps(circuit))
    difference = Operator(normalise(again)).data - Operator(normalise(circuit)).data
    assert np.abs(difference).max() < 1e-12
