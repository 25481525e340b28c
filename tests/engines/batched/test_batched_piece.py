from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hpcq.core.limits import Limits
from hpcq.cutting.cuts import WireCut
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.batched.engine import BatchedEngine
from hpcq.engines.requests import Derivatives, OperatorTensors
from tests.engines.batched.pieces import (
    AerReference,
    cut_pieces,
    random_circuit,
    random_operators,
    slot_gate,
)

LIMITS = Limits(1 << 30)
MAX_DIMENSION = 32


def wire_circuit(middle: int) -> list[ExactTensor]:
    """Return two pieces of which one has input ports, and both have output ports."""
    circuit = QuantumCircuit(4)
    for layer in range(2):
        for qubit in range(4):
            slot_gate(circuit, "ry", qubit, 1, [qubit])
            slot_gate(circuit, "rz", (qubit + layer) % 4, -1, [qubit])
        circuit.cx(0, 1)
        slot_gate(circuit, "rzz", 4, 1, [1, 2])
        circuit.cx(2, 3)
        slot_gate(circuit, "rx", 5, 1, [2])
        circuit.cz(1, 2)
    return cut_pieces(circuit, "AAAA", (WireCut(1, 1), WireCut(2, middle)))


def random_pieces(seed: int) -> Iterator[ExactTensor]:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, 5, 22, 6)
    labels = "".join(rng.permutation(list("AABBC")))
    for piece in cut_pieces(circuit, labels):
        if piece.block_shape[1] <= MAX_DIMENSION:
            yield piece


def all_pieces() -> list[ExactTensor]:
    pieces = [piece for seed in range(8) for piece in random_pieces(seed)]
    return pieces + [piece for middle in (2, 3) for piece in wire_circuit(middle)]


PIECES = all_pieces()


def check(piece: ExactTensor, limits: Limits, tolerance: float) -> None:
    rng = np.random.default_rng(5)
    operators = random_operators(piece, rng, 3)
    rows = rng.uniform(-4, 4, (3, len(piece.slots)))
    prepared = BatchedEngine(limits).prepared(piece)
    tensors = prepared.execute(rows, OperatorTensors(operators))
    reference = AerReference(piece, operators)
    wanted = np.array([reference.tensors(row) for row in rows])
    assert tensors.shape == wanted.shape
    assert tensors.dtype == np.complex128
    scale = max(1, abs(wanted).max())
    np.testing.assert_allclose(tensors, wanted, rtol=0, atol=tolerance * scale)

    shape = (3, 2, *wanted.shape[1:])
    environments = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    derivatives = prepared.execute(rows, Derivatives(operators, environments))
    wanted = reference.derivatives(rows[1], environments[1])
    scale = max(1, abs(wanted).max(initial=0))
    np.testing.assert_allclose(derivatives[1], wanted, rtol=0, atol=10 * tolerance * scale)
    # Kept states are not needed.
    fresh = BatchedEngine(limits).prepared(piece)
    again = fresh.execute(rows, Derivatives(operators, environments))
    np.testing.assert_array_equal(again, derivatives)


def test_the_pieces_have_ports_of_all_kinds():
    ports = [port for piece in PIECES for port in piece.subcircuit.ports]
    kinds = {(port.kind, port.dimension) for port in ports}
    assert kinds >= {("gate", 2), ("gate", 4), ("control", 2), ("input", 2), ("output", 2)}
    assert any(port.shared_with is not None for port in ports)
    assert any(len(piece.slots) > 3 for piece in PIECES)


@pytest.mark.parametrize("number", range(len(PIECES)))
def test_tensors_and_derivatives_are_those_of_aer(number):
    check(PIECES[number], LIMITS, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(PIECES), 3))
def test_sliced_ports_give_the_same_as_aer(number):
    piece = PIECES[number]
    sliceable = [p for p in piece.open_ports if piece.subcircuit.ports[p].kind != "output"]
    for sliced in (tuple(sliceable[:1]), tuple(sliceable[-2:])):
        check(replace(piece, sliced=sliced), LIMITS, 1e-12)


@pytest.mark.parametrize("number", range(1, len(PIECES), 4))
def test_single_precision(number):
    check(PIECES[number], Limits(1 << 30, precision="single"), 1e-5)


@pytest.mark.slow
def test_blocks_on_wires_that_are_not_neighbours():
    circuit = random_circuit(np.random.default_rng(3), 9, 80, 12)
    (piece,) = cut_pieces(circuit, "A" * 9)
    check(piece, LIMITS, 1e-12)


@pytest.mark.parametrize("number", range(0, len(PIECES), 2))
def test_rows_do_not_depend_on_other_rows(number):
    piece = PIECES[number]
    rng = np.random.default_rng(0)
    operators = random_operators(piece, rng, 2)
    rows = rng.uniform(-4, 4, (37, len(piece.slots)))
    size = BatchedEngine(LIMITS).prepared(piece).execute(rows[:1], OperatorTensors(operators))
    environments = rng.normal(size=(37, 1, *size.shape[1:])) + 0j
    together = BatchedEngine(LIMITS).prepared(piece)
    tensors = together.execute(rows, OperatorTensors(operators))
    derivatives = together.execute(rows, Derivatives(operators, environments))
    for part in (slice(0, 1), slice(1, 4), slice(4, 37)):
        alone = BatchedEngine(LIMITS).prepared(piece)
        got = alone.execute(rows[part], OperatorTensors(operators))
        np.testing.assert_array_equal(got, tensors[part])
        got = alone.execute(rows[part], Derivatives(operators, environments[part]))
        np.testing.assert_array_equal(got, derivatives[part])


def test_many_sums_take_no_more_memory():
    piece = PIECES[0]
    rng = np.random.default_rng(0)
    operators = random_operators(piece, rng, 2)
    rows = rng.uniform(-4, 4, (3, len(piece.slots)))
    prepared = BatchedEngine(LIMITS).prepared(piece)
    size = piece.num_branches * piece.block_shape[1]
    environments = rng.normal(size=(3, 7, len(operators), size, size)) + 0j
    together = prepared.execute(rows, Derivatives(operators, environments))
    prepared._sums = 3
    in_parts = prepared.execute(rows, Derivatives(operators, environments))
    np.testing.assert_allclose(in_parts, together, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_random_cuts_and_slices(seed):
    rng = np.random.default_rng(seed)
    qubits = int(rng.integers(3, 7))
    circuit = random_circuit(rng, qubits, int(rng.integers(5, 40)), 7)
    for piece in cut_pieces(circuit, "".join(rng.choice(list("AABC"), qubits))):
        ports = piece.subcircuit.ports
        sliceable = [p for p in piece.open_ports if ports[p].kind != "output"]
        if piece.block_shape[1] <= 2 * MAX_DIMENSION:
            check(piece, LIMITS, 1e-12)
        if sliceable and piece.block_shape[1] <= MAX_DIMENSION:
            sliced = rng.permutation(sliceable)[: rng.integers(1, 3)]
            check(replace(piece, sliced=tuple(sorted(sliced.tolist()))), LIMITS, 1e-12)


def test_a_row_of_a_single_local_unitary_does_not_depend_on_other_rows():
    """Its derivatives are products of single numbers, which NumPy rounds in two ways."""
    circuit = QuantumCircuit(1)
    for slot, name in enumerate(("rx", "rz", "ry")):
        slot_gate(circuit, name, slot, 1, [0])
    (piece,) = cut_pieces(circuit, "A")
    operators = ((((0, "X"),), 0.7), (((0, "Z"),), 0.4)), ((((0, "Y"),), 1.0),)
    rng = np.random.default_rng(0)
    rows, environments = rng.uniform(-4, 4, (20, 3)), rng.normal(size=(20, 1, 2, 1, 1)) + 0j
    prepared = BatchedEngine(LIMITS).prepared(piece)
    together = prepared.execute(rows, Derivatives(operators, environments))
    for row in range(20):
        request = Derivatives(operators, environments[row : row + 1])
        alone = prepared.execute(rows[row : row + 1], request)
        np.testing.assert_array_equal(alone[0], together[row])


def test_a_piece_without_slots_or_rows():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    (piece,) = cut_pieces(circuit, "AA")
    operators = ((((0, "Z"), (1, "Z")), 1.0),), (((), 2.0), (((1, "Z"),), 1.0))
    prepared = BatchedEngine(LIMITS).prepared(piece)
    tensors = prepared.execute(np.empty((2, 0)), OperatorTensors(operators))
    np.testing.assert_allclose(tensors, [[[[1]], [[2]]]] * 2, atol=1e-15)
    environments = np.ones((2, 3, 2, 1, 1), dtype=complex)
    derivatives = prepared.execute(np.empty((2, 0)), Derivatives(operators, environments))
    assert derivatives.shape == (2, 3, 0)
    assert prepared.execute(np.empty((0, 0)), OperatorTensors(operators)).shape == (0, 2, 1, 1)


def test_no_operators_have_no_derivatives():
    (piece,) = cut_pieces(random_circuit(np.random.default_rng(1), 3, 12, 4), "AAA")
    prepared = BatchedEngine(LIMITS).prepared(piece)
    rows = np.zeros((2, len(piece.slots)))
    derivatives = prepared.execute(rows, Derivatives((), np.empty((2, 1, 0, 1, 1), complex)))
    np.testing.assert_array_equal(derivatives, np.zeros((2, 1, len(piece.slots))))


def test_out_of_memory_halves_the_chunks(monkeypatch):
    (piece,) = cut_pieces(random_circuit(np.random.default_rng(1), 4, 20, 4), "AAAA")
    operators = random_operators(piece, np.random.default_rng(2), 2)
    rows = np.random.default_rng(3).uniform(-4, 4, (9, len(piece.slots)))
    wanted = BatchedEngine(LIMITS).prepared(piece).execute(rows, OperatorTensors(operators))
    prepared = BatchedEngine(LIMITS).prepared(piece)
    simulate, sizes = prepared._simulated, []

    def simulate_two(rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise MemoryError
        return simulate(rows)

    monkeypatch.setattr(prepared, "_simulated", simulate_two)
    got = prepared.execute(rows, OperatorTensors(operators))
    np.testing.assert_array_equal(got, wanted)
    assert max(sizes) > 2
    after_failures = [size for size in sizes if size <= 2]
    assert sum(after_failures) == 9
    assert len(set(after_failures[:-1])) == 1


def test_one_row_that_needs_too_much_memory_is_an_error(monkeypatch):
    (piece,) = cut_pieces(random_circuit(np.random.default_rng(1), 4, 20, 4), "AAAA")
    prepared = BatchedEngine(LIMITS).prepared(piece)

    def fail(_rows):
        raise MemoryError

    monkeypatch.setattr(prepared, "_simulated", fail)
    with pytest.raises(MemoryError):
        prepared.execute(np.zeros((5, len(piece.slots))), OperatorTensors(((((), 1.0),),)))
