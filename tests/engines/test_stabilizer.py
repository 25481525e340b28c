from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.gate_rotations import count_rotations, first_rotating_gate
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Tensors, Values
from hpcq.engines.stabilizer import StabilizerEngine, stabilizer_values
from tests.engines.pauli_cases import clifford_circuits, ghz, piece, strings, true_value

ENGINE = StabilizerEngine(Limits(1 << 30))


def every(letter: str, num_qubits: int) -> tuple[tuple[int, str], ...]:
    return tuple((qubit, letter) for qubit in range(num_qubits))


@pytest.mark.slow
@settings(max_examples=50)
@given(st.data())
def test_values_are_those_of_the_statevector(data: st.DataObject) -> None:
    circuit = data.draw(clifford_circuits())
    asked = data.draw(st.lists(strings(circuit.num_qubits), min_size=1, max_size=5))
    values = stabilizer_values(circuit, asked)
    assert count_rotations(circuit) == 0
    np.testing.assert_allclose(values, [true_value(circuit, s) for s in asked], atol=1e-12)
    # Values of Clifford circuits are 0, or plus or minus a power of 2, without any rounding.
    mantissas, _ = np.frexp(values)
    assert set(np.abs(mantissas)) <= {0.0, 0.5}


def test_ghz_of_300_qubits() -> None:
    asked = (
        (),
        every("X", 300),
        every("Z", 300),
        every("Z", 299),
        ((0, "Z"), (299, "Z")),
        every("0", 300),
        every("1", 300),
        ((7, "0"), (8, "1")),
        (*every("+", 299), (299, "X")),
        (*every("+", 298), (298, "-"), (299, "X")),
    )
    values = stabilizer_values(ghz(300), asked)
    quarter = 2.0**-299
    assert values.tolist() == [1, 1, 1, 0, 1, 0.5, 0.5, 0, quarter, -quarter]


def test_bernstein_vazirani_on_70_qubits() -> None:
    secret = np.random.default_rng(1).integers(2, size=69)
    circuit = QuantumCircuit(70)
    circuit.x(69)
    circuit.h(range(70))
    for qubit in np.flatnonzero(secret):
        circuit.cx(int(qubit), 69)
    circuit.h(range(69))
    outcome = tuple((qubit, str(bit)) for qubit, bit in enumerate(secret))
    wrong = (*outcome[:-1], (68, str(1 - secret[-1])))
    assert stabilizer_values(circuit, [outcome, wrong]).tolist() == [1, 0]


def test_copies_of_a_number_of_118_qubits_by_controlled_gates() -> None:
    bits = np.random.default_rng(2).integers(2, size=59)
    circuit = QuantumCircuit(118)
    for qubit, bit in enumerate(bits):
        circuit.rx(np.pi * int(bit), qubit)
        circuit.cx(qubit, 59 + qubit)
        circuit.cp(np.pi, qubit, 117)
    outcome = tuple((qubit, str(bit)) for qubit, bit in enumerate([*bits, *bits]))
    assert stabilizer_values(circuit, [outcome]).tolist() == [1]


def test_rounded_angles_add_up_to_a_rotation() -> None:
    circuit = QuantumCircuit(1)
    for _ in range(5):
        circuit.rx(np.pi / 2 + 3e-13, 0)
    assert count_rotations(circuit) == 5
    few = QuantumCircuit(1)
    few.rx(np.pi / 2 + 3e-13, 0)
    assert count_rotations(few) == 0
    # The counterexample of a cutoff at 1e-8 in each gate: the sum is far from zero.
    many = QuantumCircuit(2)
    for _ in range(100):
        many.rxx(1.8e-8, 0, 1)
    assert count_rotations(many) == 100


def test_rounding_in_many_angles_and_matrices_is_none() -> None:
    circuit = QuantumCircuit(2)
    for turns in range(-60, 60):
        circuit.rz(turns * np.pi / 2, 0)
        circuit.u(turns * np.pi / 2, np.pi - turns * np.pi, np.pi / 2, 1)
        circuit.unitary(np.diag(np.exp(0.25j * np.pi * np.array([-1, 1, 1, -1]))), (0, 1))
    assert count_rotations(circuit) == 0


def test_refusals_name_the_first_gate_that_is_not_clifford() -> None:
    circuit = ghz(3)
    circuit.barrier()
    circuit.rz(0.25, 1)
    circuit.t(2)
    assert first_rotating_gate(circuit) == "rz(0.25) on 1"
    answer = ENGINE.supports(piece(circuit), Values(((),)))
    assert isinstance(answer, Refusal)
    assert "is not Clifford" in answer.reason
    with pytest.raises(InputError, match=r"\Acircuit: rz\(0.25\) on 1 is not Clifford"):
        stabilizer_values(circuit, ((),))


def test_other_requests_and_pieces_with_ports_are_refused() -> None:
    circuit = ghz(3)
    answer = ENGINE.supports(piece(circuit, ()), Tensors(((),)))
    assert isinstance(answer, Refusal)
    assert "not Tensors" in answer.reason
    cut = cut_circuit(circuit, Cuts((GateCut(0, (0, 1)),), ()))
    answer = ENGINE.supports(ExactTensor(cut.subcircuits[0], ((),)), Values(((),)))
    assert isinstance(answer, Refusal)
    assert "ports, expected none" in answer.reason


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda circuit: circuit.rz(Parameter("a"), 0), "free parameter"),
        (lambda circuit: circuit.ccx(0, 1, 2), "on 3 qubits"),
        (lambda circuit: circuit.reset(0), "expected unitary gates"),
    ],
)
def test_circuits_of_other_instructions_are_errors(add: object, message: str) -> None:
    circuit = QuantumCircuit(3)
    add(circuit)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        count_rotations(circuit)


def test_the_engine_answers_with_bounds_of_zero() -> None:
    engine = open_engine(EngineSpec.of(engine="stabilizer"), Limits(1 << 30), "cpu")
    asked = (((0, "Z"), (1, "Z")), ((0, "1"),), ((1, "X"),))
    tensor, request = piece(ghz(2), *asked), Values(asked)
    assert isinstance(engine.supports(tensor, request), Cost)
    answer = engine.prepared(tensor).execute(NO_PARAMETERS, request)
    assert answer.tolist() == [[[1, 0.5, 0], [0, 0, 0]]]
    assert engine.prepared(tensor).memory_bytes > 0
