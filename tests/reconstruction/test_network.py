from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.core.errors import InputError
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.requests import NO_PARAMETERS, Tensors
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor, build_network
from tests.support.strategies import uncut_value


def lattice(rows: int, columns: int, seed: int) -> QuantumCircuit:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(rows * columns)
    for qubit in range(rows * columns):
        circuit.u(*rng.uniform(0, 6, 3), qubit)
    for row, column in product(range(rows), range(columns)):
        here = row * columns + column
        if column + 1 < columns:
            circuit.crx(rng.uniform(0, 6), here, here + 1)
        if row + 1 < rows:
            circuit.crz(rng.uniform(0, 6), here, here + columns)
    return circuit


@pytest.fixture(scope="module")
def plan() -> hpcq.Plan:
    """Every qubit of a 3 x 3 lattice is a subcircuit: a network with loops."""
    return hpcq.plan(
        lattice(3, 3, 1),
        ["Z0 Z8", "X4 + 0.5 Y1 Y7 - 0.1 Z2", "I"],
        cut_labels="ABCDEFGHI",
        threads=1,
    )


def values_of(plan: hpcq.Plan, memory_bytes: int, batch_bytes: int) -> np.ndarray:
    engine = AerEngine(plan.limits)
    network = build_network(plan.cut, memory_bytes)
    bonds = []
    for number, use in enumerate(plan.uses):
        tensor = plan.tensors[use]
        prepared = engine.prepared(tensor)
        requests = [Tensors(tensor.strings, block) for block in range(tensor.num_tasks)]
        assembled = tensor.assemble([prepared.execute(NO_PARAMETERS, r)[0] for r in requests])
        string_index = plan.strings[use]
        requested = assembled[[string_index[string] for string in plan.terms.strings[number]]]
        bonds.append(bond_tensor(requested, number, plan.cut, network))
    contraction = Contraction.within(network, plan.terms.picks, batch_bytes)
    return plan.terms.sum_up(contraction.values(bonds).real)


@pytest.mark.slow
def test_slices_and_batches_give_the_same(plan: hpcq.Plan) -> None:
    unsliced = build_network(plan.cut, 1 << 30)
    assert unsliced.num_slices == 1
    half_memory = unsliced.sweep_bytes // 2
    sliced = build_network(plan.cut, half_memory)
    assert sliced.num_slices > 1
    assert sliced.sweep_bytes <= half_memory
    operators = [
        SparsePauliOp.from_sparse_list([("ZZ", [0, 8], 1)], 9),
        SparsePauliOp.from_sparse_list([("X", [4], 1), ("YY", [1, 7], 0.5), ("Z", [2], -0.1)], 9),
        SparsePauliOp("I" * 9),
    ]
    expected = [uncut_value(plan.circuit, operator) for operator in operators]
    for memory_bytes in (1 << 30, half_memory):
        for batch_bytes in (1 << 30, 1):
            values = values_of(plan, memory_bytes, batch_bytes)
            assert values == pytest.approx(expected, abs=1e-10)


def test_parallel_edges_are_sliced_one_by_one() -> None:
    circuit = QuantumCircuit(6)
    for layer in range(2):
        circuit.u(0.3 + layer, 0.4, 0.5, range(6))
        circuit.rzz(0.7, [0, 1, 2, 3], [2, 3, 4, 5])
        circuit.cx(range(0, 6, 2), range(1, 6, 2))
    plan = hpcq.plan(circuit, "Z0 X5", cut_labels="AABBCC", threads=1, memory=1 << 30)
    assert [len(bond.edges) for bond in plan.network.bonds] == [4, 4]
    sweep_bytes = plan.network.sweep_bytes
    sliced = build_network(plan.cut, sweep_bytes // 3)
    assert all(len(bond.edges) == 1 for bond in sliced.bonds)
    assert 1 < sliced.num_slices <= 64
    assert values_of(plan, sweep_bytes // 3, 1 << 30) == pytest.approx(
        values_of(plan, 1 << 30, 1 << 30), abs=1e-12
    )


def test_memory_for_not_even_a_bond_is_refused(plan: hpcq.Plan) -> None:
    with pytest.raises(InputError, match=r"needs .* on rank 0"):
        build_network(plan.cut, 16)


def test_a_chain_of_a_hundred_costs_a_hundred_links() -> None:
    circuit = QuantumCircuit(200)
    for qubit in range(199):
        circuit.cz(qubit, qubit + 1)
    labels = [qubit // 2 for qubit in range(200)]
    plan = hpcq.plan(circuit, "Z0", cut_labels=labels)
    assert len(plan.network.steps) == 99
    work = Contraction.within(plan.network, plan.terms.picks, 1 << 30).work
    assert work.flops < 99 * 8 * 4**3 * 2


def test_equal_subcircuits_are_simulated_once() -> None:
    circuit = QuantumCircuit(40)
    for qubit in range(40):
        circuit.ry(0.4, qubit)
    for qubit in range(0, 40, 2):
        circuit.cx(qubit, qubit + 1)
    for qubit in range(1, 39, 2):
        circuit.cz(qubit, qubit + 1)
    plan = hpcq.plan(circuit, "Z0 + Z20", cut_labels=[q // 2 for q in range(40)], threads=1)
    assert len(plan.cut.subcircuits) == 20
    assert len(plan.tensors) == 3
    alone = hpcq.plan(circuit, "Z20", cut_labels=[q // 4 for q in range(40)], threads=1)
    both = hpcq.run(plan, device="cpu").expectation_values
    first = hpcq.plan(circuit, "Z0", cut_labels=[q // 4 for q in range(40)], threads=1)
    expected = sum(hpcq.run(p, device="cpu").expectation_values[0] for p in (alone, first))
    assert both == pytest.approx([expected], abs=1e-10)
