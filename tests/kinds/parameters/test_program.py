"""Programs: values and gradients of cut circuits are those of the uncut ones."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import SparseObservable

import hpcq
from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cuts import Cuts, GateCut, WireCut, two_qubit_gates
from hpcq.planning.exact_plan import ExactPlan
from tests.support.parametrised import (
    random_circuit,
    random_operator,
    uncut_gradients,
    uncut_values,
)

TOLERANCE = 1e-9
HOW = {"threads": 1, "memory": 1 << 27}


def random_cuts(circuit: QuantumCircuit, rng: np.random.Generator) -> Cuts:
    """Return up to two gate cuts and up to two wire cuts, separating or not."""
    pairs = two_qubit_gates(circuit)
    chosen = sorted({int(gate) for gate in rng.integers(len(pairs), size=2)} if pairs else ())
    counts = np.bincount(np.ravel(pairs).astype(int), minlength=circuit.num_qubits)
    places = [WireCut(q, after) for q, count in enumerate(counts) for after in range(1, count)]
    wires = {places[int(k)] for k in rng.integers(len(places), size=2)} if places else set()
    return Cuts(tuple(GateCut(gate, pairs[gate]) for gate in chosen), tuple(sorted(wires)))


def with_random_cuts(
    circuit: QuantumCircuit, operators: list[SparseObservable], rng: np.random.Generator
) -> hpcq.Plan:
    """Return a plan with the first random cuts that are not too large for a test."""
    written = hpcq.plan(circuit, operators, **HOW).circuit
    while True:
        with suppress(MemoryLimitError):
            return hpcq.plan(circuit, operators, cuts=random_cuts(written, rng), **HOW)


def sliced(plan: ExactPlan, rng: np.random.Generator) -> ExactPlan:
    """Return a plan some of whose ports are sliced, as where memory is short."""
    tensors = []
    for tensor in plan.tensors:
        ports = enumerate(tensor.subcircuit.ports)
        chosen = tuple(number for number, port in ports if port.ancillas and rng.random() < 0.5)
        tensors.append(replace(tensor, sliced=chosen))
    return replace(plan, tensors=tuple(tensors))


def check(
    plan: hpcq.Plan, circuit: QuantumCircuit, operators: list[SparseObservable], rows: np.ndarray
) -> None:
    """Compare a program with uncut simulations, and each row with the same row among others."""
    program = plan.compile()
    assert program.num_parameters == circuit.num_parameters
    values, gradients = program.values_and_gradients(rows)
    for row, got, derivatives in zip(rows, values, gradients, strict=True):
        np.testing.assert_allclose(got, uncut_values(circuit, operators, row), atol=TOLERANCE)
        expected = uncut_gradients(circuit, operators, row)
        np.testing.assert_allclose(derivatives, expected, atol=TOLERANCE)
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(program.values(row), values[number : number + 1])
        alone = plan.compile().values_and_gradients(row)
        np.testing.assert_array_equal(alone[0][0], values[number])
        np.testing.assert_array_equal(alone[1][0], gradients[number])


def check_random(seed: int) -> None:
    """Check a random circuit of all gates, cut in one of four ways."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits=4, gates=8)
    letters = "IXYZ" if seed % 3 else "IXZ01+-rl"
    operators = [random_operator(rng, 4, letters) for _ in range(3)]
    way = seed % 4
    if way == 0:
        plan = with_random_cuts(circuit, operators, rng)
    else:
        labels = "".join(rng.choice(list("ABC"), 4))
        plan = hpcq.plan(circuit, operators, cut_labels=labels, **HOW)
        if way == 1:
            plan = sliced(plan, rng)
    rows = rng.uniform(-3, 3, (3, circuit.num_parameters))
    rows[2] = 0
    check(plan, circuit, operators, rows)


def test_a_random_circuit() -> None:
    check_random(3)


@pytest.fixture
def either_engine(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the choice of the engine to the program, or at some seeds only Aer."""
    if seed % 5 == 0:
        monkeypatch.setattr("hpcq.kinds.parameters.pieces.ENGINES", ("aer",))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
@pytest.mark.usefixtures("either_engine")
def test_random_circuits(seed: int) -> None:
    check_random(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(30, 300))
@pytest.mark.usefixtures("either_engine")
def test_many_random_circuits(seed: int) -> None:
    check_random(seed)


def ansatz(qubits: int, layers: int) -> QuantumCircuit:
    """Return layers of rotations and of a chain of RZZ gates, with a parameter for each gate."""
    circuit = QuantumCircuit(qubits)
    angles = iter(ParameterVector("t", layers * (2 * qubits - 1)))
    for _ in range(layers):
        for qubit in range(qubits):
            circuit.ry(next(angles), qubit)
        for qubit in range(qubits - 1):
            circuit.rzz(next(angles), qubit, qubit + 1)
    return circuit


def test_cut_gates_whose_angles_are_zero() -> None:
    circuit = ansatz(4, 2)
    operators = [SparseObservable("ZIIX"), SparseObservable("IZZI")]
    plan = hpcq.plan(circuit, operators, cut_labels="AABB", **HOW)
    check(plan, circuit, operators, np.zeros((1, circuit.num_parameters)))


def test_parts_that_no_edge_joins_and_light_cones() -> None:
    circuit, angles = QuantumCircuit(6), ParameterVector("t", 7)
    for qubit in range(6):
        circuit.ry(angles[qubit], qubit)
    for qubit in (0, 1, 3, 4):
        circuit.crx(angles[6] * (qubit + 1), qubit, qubit + 1)
    operators = [
        SparseObservable("IIIIIZ"),
        SparseObservable.from_list([("ZIIIIX", 0.5), ("IIIIII", 2.0), ("IIZZII", 0.3)]),
    ]
    rows = np.random.default_rng(0).uniform(-2, 2, (2, 7))
    for how in ({}, {"cut_labels": "AABBCC"}, {"cut_labels": "AABBAA"}):
        check(hpcq.plan(circuit, operators, **how, **HOW), circuit, operators, rows)


def test_equal_subcircuits_with_operators_in_another_order() -> None:
    circuit, angle = QuantumCircuit(5), Parameter("a")
    circuit.ry(angle, 2)
    for first in (0, 3):
        circuit.h(first)
        circuit.cx(first, first + 1)
        circuit.cz(first + 1, 2)
    operators = [SparseObservable(label) for label in ("IIZXX", "IIXIZ", "IZXII", "XXZII")]
    plan = hpcq.plan(circuit, operators, cut_labels="AABCC", **HOW)
    assert sorted(plan.uses) == [0, 0, 1]
    check(plan, circuit, operators, np.array([[0.7], [0.0]]))


def test_many_observables_are_differentiated_in_groups() -> None:
    circuit = ansatz(4, 2)
    operators = [SparseObservable.from_list([(f"{a}{b}IZ", 1.0)]) for a in "XYZ" for b in "IXYZ"]
    plan = hpcq.plan(circuit, operators, cut_labels="AABB", **HOW)
    row = np.random.default_rng(0).uniform(-2, 2, (1, circuit.num_parameters))
    together = plan.compile().values_and_gradients(row)
    in_groups = plan.compile()
    in_groups.evaluator._sums_in_memory = 5
    for got, expected in zip(in_groups.values_and_gradients(row), together, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_parts_without_parameters_may_have_other_methods() -> None:
    circuit, angles = QuantumCircuit(33), ParameterVector("t", 2)
    circuit.h(0)
    for qubit in range(29):
        circuit.cx(qubit, qubit + 1)
    circuit.ry(angles[0], 30)
    circuit.crx(angles[1], 30, 31)
    plan = hpcq.plan(circuit, ["Z0 Z29 Z30 + 0.5 X1 + Z2 Z3", "Z31 Z1 Z2"], **HOW)
    assert sorted(tensor.engine_name for tensor in plan.tensors) == ["stabilizer", "statevector"]
    a, b = 0.3, 0.8
    values, gradients = plan.compile().values_and_gradients([a, b])
    half = (1 - np.cos(a)) / 2
    expected = [np.cos(a) + 1, 1 - half + half * np.cos(b)]
    np.testing.assert_allclose(values[0], expected, atol=1e-12)
    by_second = [(np.cos(b) - 1) * np.sin(a) / 2, -half * np.sin(b)]
    np.testing.assert_allclose(gradients[0], [[-np.sin(a), 0], by_second], atol=1e-12)


@pytest.mark.parametrize("engine", ["aer", "batched"])
def test_single_precision(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcq.kinds.parameters.pieces.ENGINES", (engine,))
    circuit = ansatz(4, 2)
    row = np.random.default_rng(0).uniform(-2, 2, (1, circuit.num_parameters))
    how = {"cut_labels": "AABB", **HOW}
    double = hpcq.plan(circuit, "Z0 Z3 + X1", **how).compile().values_and_gradients(row)
    single = hpcq.plan(circuit, "Z0 Z3 + X1", dtype="complex64", **how).compile()
    for got, expected in zip(single.values_and_gradients(row), double, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert np.abs(got - expected).max() > 1e-12, "in another format of numbers"


def test_subcircuits_are_simulated_again_only_where_their_angles_changed() -> None:
    circuit = ansatz(6, 1)
    plan = hpcq.plan(circuit, "Z0 Z5", cut_labels="AAABBB", **HOW)
    program = plan.compile()
    simulated = []
    for piece in program.evaluator.pieces:
        compute = piece.tensors
        piece.tensors = lambda rows, compute=compute, piece=piece: (
            simulated.append((len(piece.tensor.slots), len(rows))) or compute(rows)
        )
    row = np.random.default_rng(1).uniform(-2, 2, circuit.num_parameters)
    program.values(row)
    assert [rows for _, rows in simulated] == [1, 1]
    simulated.clear()
    program.values(row)
    assert simulated == []
    other = row.copy()
    other[0] += 0.1  # the angle of the first qubit's rotation
    program.values(other)
    assert [rows for _, rows in simulated] == [1]
    simulated.clear()
    rows = np.array([row, other, row, other])
    np.testing.assert_array_equal(
        program.values(rows), [plan.compile().values(each)[0] for each in rows]
    )
    assert [rows for _, rows in simulated] == [1], "one piece is known, the other at one row"


@pytest.mark.slow
def test_threads_share_programs() -> None:
    circuit = ansatz(6, 2)
    plan = hpcq.plan(circuit, ["Z0 Z5", "X2 X3"], cut_labels="AAABBB", **HOW)
    rows = np.random.default_rng(4).uniform(-3, 3, (24, 2, circuit.num_parameters))
    expected = [plan.compile().values_and_gradients(each) for each in rows]
    program = plan.compile()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(program.values_and_gradients, [*rows, *rows, *rows]))
    finally:
        sys.setswitchinterval(before)
    for got, of_row in zip(found, expected * 3, strict=True):
        np.testing.assert_array_equal(got[0], of_row[0])
        np.testing.assert_array_equal(got[1], of_row[1])


def test_one_parameter_and_none() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a"), 0)
    circuit.cx(0, 1)
    program = hpcq.plan(circuit, ["Z0 Z1", "X0"], **HOW).compile()
    assert program.parameters == ("a",)
    assert program.values(np.empty((0, 1))).shape == (0, 2)
    assert program.values_and_gradients([0.3])[1].shape == (1, 2, 1)
    bound = hpcq.plan(circuit.assign_parameters([0.3]), ["Z0 Z1", "X0"], **HOW).compile()
    values, gradients = bound.values_and_gradients(np.empty((2, 0)))
    np.testing.assert_allclose(values, [[1, 0]] * 2, atol=1e-12)
    assert gradients.shape == (2, 2, 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1.0, 2.0, 3.0], r"rows: shape \(3,\), expected finite numbers in the shape \(rows, 2\)"),
        ("x", "rows: x, expected finite numbers"),
        ([[np.nan, 1.0]], r"rows: nan for 'b' in row 0"),
        ([1j, 0], "rows: .* expected finite numbers"),
        (None, "rows: None, expected finite numbers"),
    ],
)
def test_bad_rows_are_refused(rows: object, message: str) -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("b"), 0)
    circuit.rz(Parameter("c"), 0)
    program = hpcq.plan(circuit, "Z0", **HOW).compile()
    with pytest.raises(hpcq.InputError, match=message):
        program.values(rows)
    with pytest.raises(hpcq.InputError, match=message):
        program.values_and_gradients(rows)


def test_what_has_no_derivative_or_no_program_is_refused() -> None:
    circuit, angle = QuantumCircuit(1), Parameter("b")
    circuit.ry(angle, 0)
    with pytest.raises(hpcq.InputError, match="device: 'tpu', expected auto, cpu or gpu"):
        hpcq.plan(circuit, "Z0", **HOW).compile(device="tpu")
    bound = hpcq.plan(circuit.assign_parameters([1.0]), "Z0", shots=100, **HOW)
    with pytest.raises(hpcq.InputError, match="plan: with shots and no free parameters"):
        bound.compile()
    wide = QuantumCircuit(24)
    wide.ry(angle, 0)
    for qubit in range(23):
        wide.cx(qubit, qubit + 1)
    plan = hpcq.plan(wide, "Z23", method="statevector", threads=1, memory=5 << 28 >> 2)
    program = plan.compile()
    message = "plan: no engine computes subcircuit 0 .*expected narrower subcircuits"
    with pytest.raises(hpcq.InputError, match=message):
        program.values_and_gradients([0.0])


def test_a_session_of_one_rank_compiles_too() -> None:
    circuit = ansatz(4, 1)
    row = np.random.default_rng(2).uniform(-2, 2, circuit.num_parameters)
    plan = hpcq.plan(circuit, "Z0 Z3", cut_labels="AABB", **HOW)
    with hpcq.Session() as session:
        values = session.compile(plan).values(row)
        with pytest.raises(hpcq.InputError, match="plan: None, expected what"):
            session.compile(None)
    np.testing.assert_array_equal(values, plan.compile().values(row))
