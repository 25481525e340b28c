from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector, random_unitary

from hpcq.circuits.pauli_text import AXES, PROJECTED_BITS, PauliString
from hpcq.core.errors import InputError
from hpcq.cutting.gate_decompositions import PAULI_MATRICES
from hpcq.engines.chain_plan import plan_chain
from hpcq.engines.matrix_product_state import MpsValues, simulate, simulate_plan
from tests.support.strategies import circuits, structured

ROUNDING = 1e-12
"""Error of the values and of the dense reference by rounding."""


def dense_values(circuit: QuantumCircuit, strings: list[PauliString]) -> np.ndarray:
    """Return expectation values from the whole statevector."""
    state = Statevector(circuit).data
    values = []
    for string in strings:
        tensor = state.reshape([2] * circuit.num_qubits)
        for qubit, letter in string:
            matrix = PAULI_MATRICES[AXES.get(letter, "I")]
            if letter in PROJECTED_BITS:
                matrix = (np.eye(2) + (-1) ** PROJECTED_BITS[letter] * matrix) / 2
            axis = circuit.num_qubits - 1 - qubit
            tensor = np.moveaxis(np.tensordot(matrix, tensor, (1, axis)), 0, axis)
        values.append(np.vdot(state, tensor.reshape(-1)).real)
    return np.array(values)


@st.composite
def strings_of(draw: st.DrawFn, num_qubits: int) -> list[PauliString]:
    letters = st.lists(st.sampled_from("IIXYZ01+-rl"), min_size=num_qubits, max_size=num_qubits)
    words = draw(st.lists(letters, min_size=1, max_size=6))
    return [tuple((q, c) for q, c in enumerate(word) if c != "I") for word in words]


def random_pairs(num_qubits: int, gates: int, seed: int) -> QuantumCircuit:
    """Random unitaries on random pairs, near or far."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(gates):
        pair = rng.permutation(num_qubits)[:2].tolist()
        circuit.unitary(random_unitary(4, seed=rng), pair)
    return circuit


def local_strings(num_qubits: int) -> list[PauliString]:
    pairs: list[PauliString] = [((q, "Z"), (q + 1, "Z")) for q in range(num_qubits - 1)]
    return [*pairs, *(((q, "X"),) for q in range(num_qubits))]


def ising(num_qubits: int, steps: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        for q in (*range(0, num_qubits - 1, 2), *range(1, num_qubits - 1, 2)):
            circuit.rzz(0.2, q, q + 1)
        circuit.rx(0.22, range(num_qubits))
    return circuit


def w_state(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.x(0)
    for q in range(num_qubits - 1):
        circuit.cry(2 * math.acos(math.sqrt(1 / (num_qubits - q))), q, q + 1)
        circuit.cx(q + 1, q)
    return circuit


def check_bounds(found: MpsValues, expected: np.ndarray) -> None:
    assert (np.abs(found.values - expected) <= found.bounds + ROUNDING).all()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_without_truncation_values_equal_those_of_statevectors(data: st.DataObject) -> None:
    circuit = data.draw(st.one_of(circuits(7, 40), structured(7, 40)))
    circuit.global_phase = 0.7
    strings = data.draw(strings_of(circuit.num_qubits))
    found = simulate(circuit, strings, cap=1000)
    np.testing.assert_allclose(found.values, dense_values(circuit, strings), atol=1e-10, rtol=0)
    assert found.bounds.max() < 1e-11
    assert math.log2(found.bond) <= plan_chain(circuit).predict()[0] + 1e-9


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_no_error_is_larger_than_its_bound(data: st.DataObject, cap: int) -> None:
    circuit = data.draw(st.one_of(circuits(7, 40), structured(7, 40)))
    strings = data.draw(strings_of(circuit.num_qubits))
    check_bounds(simulate(circuit, strings, cap=cap), dense_values(circuit, strings))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from((1e-10, 1e-8, 1e-4, 0.01, 0.3)))
def test_no_error_is_larger_than_the_tolerance(data: st.DataObject, tolerance: float) -> None:
    circuit = data.draw(st.one_of(circuits(7, 40), structured(7, 40)))
    strings = data.draw(strings_of(circuit.num_qubits))
    found = simulate(circuit, strings, cap=1000, tolerance=tolerance)
    assert found.bounds.max() <= tolerance
    check_bounds(found, dense_values(circuit, strings))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.02])
def test_bounds_of_deep_circuits_near_product_states(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(8)
    for _ in range(300):
        a, b = rng.permutation(8)[:2].tolist()
        circuit.u(*rng.normal(size=3), a)
        circuit.rxx(angle * rng.normal(), a, b)
    strings = [tuple(enumerate("".join(rng.choice(list("XYZ01+"), 8)))) for _ in range(10)]
    strings += [((q, "XYZ"[q % 3]),) for q in range(8)]
    expected = dense_values(circuit, strings)
    for cap in (1, 2, 3):
        check_bounds(simulate(circuit, strings, cap=cap), expected)
    found = simulate(circuit, strings, cap=16, tolerance=1e-3)
    assert found.bounds.max() <= 1e-3
    check_bounds(found, expected)


@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("kind", ["rxx", "rzz", "rx between", "three qubits"])
def test_many_tiny_gates_add_up(count: int, kind: str) -> None:
    # A fixed threshold of 1e-8 for singular values would drop each of them, and report nothing.
    circuit = QuantumCircuit(3)
    if kind == "rzz":
        circuit.h(range(3))
    for number in range(count):
        (circuit.rzz if kind == "rzz" else circuit.rxx)(1.8e-8, 0, 1)
        if kind == "rx between":
            circuit.rx(0.3, 0)
        if kind == "three qubits":
            circuit.rxx(1.8e-8 if number % 2 else -1.1e-8, 1, 2)
            circuit.ry(1e-4, 1)
    strings: list[PauliString] = [
        *(((0, a), (1, b)) for a in "XYZ" for b in "XYZ"),
        *(((1, a), (2, b)) for a in "XYZ" for b in "XYZ"),
        ((0, "Z"),),
        ((0, "r"), (1, "+")),
    ]
    expected = dense_values(circuit, strings)
    exact = simulate(circuit, strings, cap=8)
    np.testing.assert_allclose(exact.values, expected, atol=1e-11, rtol=0)
    found = simulate(circuit, strings, cap=8, tolerance=1e-8)
    assert found.bounds.max() <= 1e-8
    check_bounds(found, expected)
    product = simulate(circuit, strings, cap=1)
    assert 1e-9 < np.abs(product.values - expected).max() <= product.bounds.max() < 1e-4
    check_bounds(product, expected)
    given_up = simulate(circuit, strings, cap=1, tolerance=1e-9)
    assert np.isnan(given_up.values).all()
    assert np.isinf(given_up.bounds).all()


def test_a_bound_is_reached() -> None:
    circuit = QuantumCircuit(2)
    circuit.rxx(2 * math.asin(1e-4), 0, 1)
    found = simulate(circuit, [((0, "X"), (1, "Y")), ((0, "0"),), ()], cap=1)
    assert abs(found.values[0]) < ROUNDING  # exactly 2e-4
    np.testing.assert_allclose(found.bounds, [2e-4, 1e-4, 0], rtol=1e-7)


def test_w_state() -> None:
    n = 100
    strings = [*(((q, "1"),) for q in range(n)), ((3, "X"), (70, "X")), ((0, "Z"), (99, "Z"))]
    found = simulate(w_state(n), strings, cap=8, tolerance=1e-8)
    expected = [1 / n] * n + [2 / n, 1 - 4 / n]
    np.testing.assert_allclose(found.values, expected, atol=1e-12, rtol=0)
    assert found.bond == 2
    assert found.bounds.max() < 1e-11


@pytest.mark.parametrize("shape", ["line", "star"])
def test_ghz_state(shape: str) -> None:
    n = 60
    circuit = QuantumCircuit(n)
    circuit.h(0)
    for q in range(1, n):
        circuit.cx(0 if shape == "star" else q - 1, q)
    strings = [
        tuple((q, "X") for q in range(n)),
        ((0, "Z"), (59, "Z")),
        ((0, "Z"),),
        tuple((q, "1") for q in range(n)),
        (),
    ]
    found = simulate(circuit, strings, cap=4)
    np.testing.assert_allclose(found.values, [1, 1, 0, 0.5, 1], atol=1e-12)
    assert found.bond == 2
    assert found.work < 5e7


def test_adder() -> None:
    bits, a, b = 20, 987_654, 321_098
    # Cuccaro et al., arXiv:quant-ph/0410184; the carry comes in on qubit 0.
    circuit = QuantumCircuit(2 * bits + 2)
    low, high = range(1, bits + 1), range(bits + 1, 2 * bits + 1)
    for bit in range(bits):
        if a >> bit & 1:
            circuit.x(low[bit])
        if b >> bit & 1:
            circuit.x(high[bit])
    carries = [0, *low]
    for bit in range(bits):
        circuit.cx(low[bit], high[bit])
        circuit.cx(low[bit], carries[bit])
        circuit.ccx(carries[bit], high[bit], low[bit])
    circuit.cx(low[-1], 2 * bits + 1)
    for bit in reversed(range(bits)):
        circuit.ccx(carries[bit], high[bit], low[bit])
        circuit.cx(low[bit], carries[bit])
        circuit.cx(carries[bit], high[bit])
    found = simulate(circuit.decompose("ccx"), [((q, "1"),) for q in (*high, 2 * bits + 1)], cap=8)
    expected = [(a + b) >> bit & 1 for bit in range(bits + 1)]
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    assert found.bounds.max() < 1e-10


def test_local_strings_share_their_environments() -> None:
    circuit, strings = ising(100, 4), local_strings(100)
    assert len(strings) == 199
    one = simulate(circuit, strings[50:51], cap=100, tolerance=1e-8)
    all_of_them = simulate(circuit, strings, cap=100, tolerance=1e-8)
    assert all_of_them.work < 1.5 * one.work
    assert all_of_them.values[50] == pytest.approx(one.values[0], abs=1e-12)
    # Far from the ends, light cones of 4 steps are those of a shorter chain.
    short = dense_values(ising(14, 4), [((6, "Z"), (7, "Z")), ((6, "X"),)])
    np.testing.assert_allclose(all_of_them.values[[50, 99 + 50]], short, atol=1e-8)


def test_a_tolerance_keeps_bonds_small() -> None:
    circuit, strings = ising(40, 6), local_strings(40)
    exact = simulate(circuit, strings, cap=100)
    assert exact.bounds.max() < 1e-11
    bonds = []
    for tolerance in (1e-8, 1e-4, 1e-2):
        found = simulate(circuit, strings, cap=100, tolerance=tolerance)
        assert 0.01 * tolerance < found.bounds.max() <= tolerance
        check_bounds(found, exact.values)
        bonds.append(found.bond)
    assert exact.bond > bonds[0] > bonds[1] > bonds[2]


@pytest.mark.parametrize("seed", range(3))
def test_distant_gates(seed: int) -> None:
    circuit = random_pairs(9, 40, seed)
    strings: list[PauliString] = [((0, "X"), (5, "Y"), (8, "Z")), ((3, "1"), (4, "-"))]
    found = simulate(circuit, strings, cap=64)
    np.testing.assert_allclose(found.values, dense_values(circuit, strings), atol=1e-11)


def test_many_strings_are_computed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = random_pairs(6, 20, 1)
    words = [np.base_repr(number, 4).zfill(6) for number in range(0, 4096, 7)]
    strings = [tuple((q, "IXYZ"[int(c)]) for q, c in enumerate(w) if c != "0") for w in words]
    monkeypatch.setattr("hpcq.engines.chain_values._BATCH_BYTES", 32 * 64 * 50)
    found = simulate(circuit, strings, cap=8)
    np.testing.assert_allclose(found.values, dense_values(circuit, strings), atol=1e-11)


def test_it_is_given_up_when_the_work_is_done() -> None:
    circuit, strings = ising(30, 5), local_strings(30)
    whole = simulate(circuit, strings, cap=100)
    assert simulate(circuit, strings, cap=100, max_work=whole.work).work == whole.work
    for part in (0.01, 0.5, 0.999):
        found = simulate(circuit, strings, cap=100, max_work=part * whole.work)
        assert found.work <= part * whole.work
        assert np.isnan(found.values).all()
        assert np.isinf(found.bounds).all()


def test_a_decomposition_that_does_not_converge_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_chain(random_pairs(5, 12, 4))
    strings: list[PauliString] = [((0, "X"), (4, "Y"))]
    expected = simulate_plan(plan, strings, cap=4).values
    calls = []

    def fail(*_args: object, **_options: object) -> None:
        calls.append(1)
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "svd", fail)
    np.testing.assert_allclose(simulate_plan(plan, strings, cap=4).values, expected, atol=1e-12)
    assert calls


def test_circuits_without_entanglement() -> None:
    circuit = QuantumCircuit(3)
    strings: list[PauliString] = [(), ((0, "Z"),), ((1, "1"), (2, "0"))]
    assert simulate(QuantumCircuit(0), [()], cap=1).values == [1]
    np.testing.assert_array_equal(simulate(circuit, strings, cap=1).values, [1, 1, 0])
    circuit.x(0)
    circuit.swap(0, 1)
    circuit.swap(1, 2)
    circuit.cx(0, 1)
    found = simulate(circuit, strings, cap=1, tolerance=0.0)
    np.testing.assert_allclose(found.values, [1, 1, 0], atol=1e-15)
    assert found.bond == 1
    assert simulate(circuit, [], cap=1).values.shape == (0,)


def test_arguments_are_checked() -> None:
    circuit = QuantumCircuit(3)
    with pytest.raises(InputError, match="cap: 0, expected at least 1"):
        simulate(circuit, [()], cap=0)
    circuit.ccx(0, 1, 2)
    with pytest.raises(InputError, match="circuit: ccx on 3 qubits, expected gates on one or two"):
        simulate(circuit, [()], cap=1)
