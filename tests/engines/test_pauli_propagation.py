from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, SparsePauliOp

from hpcq.circuits.pauli_text import PauliString
from hpcq.core.errors import InputError
from hpcq.core.limits import Limits
from hpcq.engines.clifford_frame import CliffordFrame
from hpcq.engines.gate_rotations import count_rotations
from hpcq.engines.pauli_engine import PauliEngine
from hpcq.engines.pauli_propagation import propagate
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, Tensors, Values
from tests.engines.pauli_cases import ghz, kicked_ising, piece, strings, true_value
from tests.support.strategies import circuits, standard_gates, structured

ENOUGH = 1 << 14


def random_case(seed: int) -> tuple[QuantumCircuit, list[PauliString]]:
    """Return a circuit of 2 to 6 qubits with about 40 gates, and eight strings."""
    rng = np.random.default_rng(seed)
    num_qubits = int(rng.integers(2, 7))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(40):
        a, b = map(int, rng.permutation(num_qubits)[:2])
        angle = rng.uniform(-4, 4) if rng.random() < 0.4 else rng.integers(-4, 4) * np.pi / 2
        kind = rng.integers(6)
        if kind == 0:
            circuit.h(a)
        elif kind == 1:
            circuit.cx(a, b)
        elif kind == 2:
            circuit.rzz(angle, a, b)
        elif kind == 3:
            circuit.u(angle, 0.3, np.pi / 2, a)
        elif kind == 4:
            circuit.cp(angle, a, b)
        else:
            circuit.t(b)
    letters = rng.choice(list("IIXYZ01+-rl"), size=(8, num_qubits))
    asked = [tuple((q, str(a)) for q, a in enumerate(row) if a != "I") for row in letters]
    return circuit, asked


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_nothing_dropped_is_the_statevector(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(circuits(), structured()))
    circuit.global_phase = data.draw(st.floats(-3, 3))
    asked = data.draw(st.lists(strings(circuit.num_qubits), min_size=1, max_size=5))
    found = propagate(circuit, asked, cap=ENOUGH)
    assert not found.bounds.any()
    np.testing.assert_allclose(found.values, [true_value(circuit, s) for s in asked], atol=1e-12)


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_every_standard_gate_in_the_frame(num_qubits: int) -> None:
    rng = np.random.default_rng(3)
    for gate in standard_gates(num_qubits):
        angles = rng.uniform(-5, 5, len(gate.params))
        circuit = QuantumCircuit(num_qubits)
        circuit.append(type(gate)(*angles) if len(angles) else gate, range(num_qubits))
        frame = CliffordFrame.of(circuit)
        matrix = np.eye(2**num_qubits)
        for axis, angle in zip(frame.rotations.words.T, frame.angles, strict=True):
            phase = frame.rotations.phases[
                list(map(bytes, frame.rotations.words.T)).index(bytes(axis))
            ]
            pauli = np.linalg.matrix_power(1j * np.eye(len(matrix)), int(phase))
            for bit in range(num_qubits):
                label = ["I"] * num_qubits
                if axis[0] >> np.uint64(bit) & np.uint64(1):
                    label[-1 - bit] = "X"
                    pauli = pauli @ Operator.from_label("".join(label)).data
                if axis[1] >> np.uint64(bit) & np.uint64(1):
                    label[-1 - bit] = "Z"
                    pauli = pauli @ Operator.from_label("".join(label)).data
            half = angle / 2
            matrix = (math.cos(half) * np.eye(len(matrix)) - 1j * math.sin(half) * pauli) @ matrix
        # What is left, the Clifford, maps Paulis as its tableau says.
        rest = Operator(circuit).data @ matrix.conj().T
        for bit in range(num_qubits):
            for letter in "XZ":
                label = "I" * (num_qubits - 1 - bit) + letter + "I" * bit
                image = rest.conj().T @ Operator.from_label(label).data @ rest
                said = str(frame.observable(((bit, letter),)))
                sign, factors = said[0], said[1:][::-1].replace("_", "I")
                expected = SparsePauliOp([factors], [-1 if sign == "-" else 1]).to_matrix()
                np.testing.assert_allclose(image, expected, atol=1e-12, err_msg=gate.name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_bounds_hold_at_small_caps_and_tolerances(seed: int) -> None:
    circuit, asked = random_case(seed)
    truth = np.array([true_value(circuit, string) for string in asked])
    dropped = 0
    for cap in (1, 3, 10, 40):
        found = propagate(circuit, asked, cap=cap)
        dropped += np.count_nonzero(found.bounds)
        assert (np.abs(found.values - truth) <= found.bounds + 1e-12).all()
        loose = propagate(circuit, asked, cap=cap, tolerance=0.05)
        given_up = np.isnan(loose.values)
        assert (np.isinf(loose.bounds) == given_up).all()
        assert (loose.bounds[~given_up] <= 0.05).all()
        error = np.abs(loose.values - truth)[~given_up]
        assert (error <= loose.bounds[~given_up] + 1e-12).all()
    if seed == 0:
        assert dropped


@pytest.mark.parametrize("seed", range(8))
def test_words_of_64_qubits(seed: int) -> None:
    circuit, asked = random_case(100 + seed)
    rng = np.random.default_rng(seed)
    places = rng.permutation(130)[: circuit.num_qubits].tolist()
    wide = QuantumCircuit(130)
    for instruction in circuit.data:
        # A qubit moves to another place; gates on the one it left do not matter.
        moved, place = int(rng.integers(len(places))), int(rng.integers(130))
        if place not in places:
            wide.swap(places[moved], place)
            wide.t(places[moved])
            places[moved] = place
        qubits = [places[circuit.find_bit(bit).index] for bit in instruction.qubits]
        wide.append(instruction.operation, qubits)
    moved_strings = [tuple(sorted((places[q], a) for q, a in string)) for string in asked]
    found = propagate(wide, moved_strings, cap=ENOUGH)
    assert not found.bounds.any()
    expected = [true_value(circuit, string) for string in asked]
    np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_early_drops_stay_within_the_tolerance() -> None:
    circuit = QuantumCircuit(10)
    for _ in range(6):
        circuit.rx(0.3, range(10))
        for qubit in range(9):
            circuit.rzz(0.2, qubit, qubit + 1)
    asked = [((qubit, "Z"),) for qubit in range(10)]
    truth = [true_value(circuit, string) for string in asked]
    exact = propagate(circuit, asked, cap=1 << 16)
    np.testing.assert_allclose(exact.values, truth, atol=1e-12)
    found = propagate(circuit, asked, cap=1 << 16, tolerance=1e-3)
    assert found.work < exact.work / 3
    assert 0 < found.bounds.max() <= 1e-3
    assert (np.abs(found.values - truth) <= found.bounds + 1e-12).all()


def test_together_is_as_one_by_one() -> None:
    circuit = kicked_ising(40, 4, 0.4)
    asked = [((qubit, "Z"),) for qubit in range(40)]
    together = propagate(circuit, asked, cap=1 << 12)
    for number in range(0, 40, 7):
        alone = propagate(circuit, asked[number : number + 1], cap=1 << 12)
        slack = alone.bounds[0] + together.bounds[number]
        assert abs(alone.values[0] - together.values[number]) <= slack + 1e-12


@pytest.mark.slow
def test_kicked_ising_of_127_qubits_in_its_light_cone() -> None:
    circuit = kicked_ising(127, 3, 0.7)
    assert count_rotations(circuit) == 3 * 127
    found = propagate(circuit, [((30, "Z"),)], cap=ENOUGH)
    assert found.bounds.tolist() == [0]
    # Qubits at a distance of more than three do not matter: these are 30, its neighbours on the
    # ladder's side and those behind the rungs at 27, 30 and 33.
    qubits = [*range(26, 35), *range(89, 98)]
    cone = QuantumCircuit(len(qubits))
    for instruction in circuit.data:
        on = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if set(on) <= set(qubits):
            cone.append(instruction.operation, [qubits.index(qubit) for qubit in on])
    truth = true_value(cone, ((qubits.index(30), "Z"),))
    np.testing.assert_allclose(found.values, [truth], atol=1e-12)


def test_a_clifford_circuit_needs_no_rotation() -> None:
    found = propagate(ghz(300), [((0, "Z"), (299, "Z")), ((3, "1"), (290, "0")), ()], cap=4)
    assert found.values.tolist() == [1, 0, 1]
    assert found.bounds.tolist() == [0, 0, 0]


def test_rotations_about_one_axis_are_merged() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    for _ in range(3):
        circuit.t(0)
        circuit.cx(0, 1)
        circuit.cx(0, 1)
    circuit.rz(0.1, 0)
    assert count_rotations(circuit) == 4
    frame = CliffordFrame.of(circuit)
    np.testing.assert_allclose(frame.angles, [3 * np.pi / 4 + 0.1])
    quarter = QuantumCircuit(1)
    quarter.h(0)
    quarter.t(0)
    quarter.t(0)
    found = propagate(quarter, [((0, "X"),), ((0, "Y"),)], cap=1)
    assert found.values.tolist() == [0, 1]
    assert not found.bounds.any()


def test_the_work_is_limited_and_repeats() -> None:
    circuit = kicked_ising(40, 5, 0.4)
    asked = [((qubit, "Z"),) for qubit in range(40)]
    whole = propagate(circuit, asked, cap=1 << 11)
    again = propagate(circuit, asked, cap=1 << 11)
    assert whole.work == again.work
    assert whole.values.tobytes() == again.values.tobytes()
    half = propagate(circuit, asked, cap=1 << 11, max_work=whole.work / 2)
    assert half.work < 0.7 * whole.work
    given_up = np.isnan(half.values)
    assert given_up.any()
    assert np.isinf(half.bounds[given_up]).all()
    np.testing.assert_array_equal(half.values[~given_up], whole.values[~given_up])


def test_many_projectors_are_refused_and_some_are_expanded() -> None:
    circuit = ghz(14)
    circuit.t(range(14))
    asked = tuple((qubit, "0") for qubit in range(14))
    with pytest.raises(InputError, match=r"\Astrings: one has 14 projectors, expected at most 12"):
        propagate(circuit, [asked], cap=1 << 13)
    found = propagate(circuit, [asked], cap=1 << 14)
    np.testing.assert_allclose(found.values, [0.5], atol=1e-12)


def test_impossible_caps_are_refused() -> None:
    with pytest.raises(InputError, match=r"\Acap: 0, expected at least 1"):
        propagate(ghz(2), [()], cap=0)


def test_no_strings_and_no_rotations() -> None:
    assert propagate(ghz(2), [], cap=1).values.shape == (0,)


def test_the_engine_answers_values() -> None:
    engine = open_engine(EngineSpec.of(engine="pauli"), Limits(1 << 30), "cpu")
    circuit = ghz(3)
    circuit.rx(0.4, 1)
    circuit.ry(0.3, 2)
    asked: tuple[PauliString, ...] = (((1, "Z"), (2, "Z")), ((0, "1"),), ())
    tensor, request = piece(circuit, *asked), Values(asked)
    cost = engine.supports(tensor, request)
    assert isinstance(cost, Cost)
    assert 0 < cost.seconds < 1
    answer = engine.prepared(tensor).execute(NO_PARAMETERS, request)
    assert answer.shape == (1, 2, 3)
    expected = [true_value(circuit, string) for string in asked]
    np.testing.assert_allclose(answer[0, 0], expected, atol=1e-12)
    assert not answer[0, 1].any()
    assert engine.prepared(tensor).memory_bytes > 0


def test_the_engine_refuses_what_it_cannot_do() -> None:
    engine = PauliEngine(Limits(1 << 20))
    circuit = kicked_ising(14, 3, 0.4)
    assert isinstance(engine.supports(piece(circuit, ()), Tensors(((),))), Refusal)
    many = tuple((qubit, "0") for qubit in range(14))
    answer = engine.supports(piece(circuit, ()), Values((many,)))
    assert isinstance(answer, Refusal)
    assert "14 projectors" in answer.reason
    answer = engine.supports(piece(circuit, ()), Values((((0, "Z"),),), cap=1 << 30))
    assert isinstance(answer, Refusal)
    assert "terms need" in answer.reason
