from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from hpcq.engines.chain_plan import ChainPlan, plan_chain
from hpcq.engines.merged_gates import merge_gates
from tests.support.strategies import circuits, structured


def state_of(plan: ChainPlan) -> np.ndarray:
    """Return the whole state of a plan's steps, the last qubit first as in Qiskit."""
    state = np.ones(1, dtype=complex)
    for ket in plan.kets:
        state = np.kron(state, ket)
    for bond, matrix in zip(plan.bonds, plan.matrices, strict=True):
        state = np.einsum("ij,ajb->aib", matrix, state.reshape(2**bond, 4, -1)).reshape(-1)
    axes = list(reversed(plan.site_of))
    return state.reshape([2] * len(axes)).transpose(axes).reshape(-1)


def chain(num_qubits: int, layers: int, names: list[int]) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        for q in range(num_qubits - 1):
            circuit.rzz(0.3, names[q], names[q + 1])
            circuit.rx(0.2, names[q])
    return circuit


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.one_of(circuits(6, 25), structured(6, 25)))
def test_the_steps_of_a_plan_are_the_circuit(circuit: QuantumCircuit) -> None:
    plan = plan_chain(circuit)
    overlap = np.vdot(state_of(plan), Statevector(circuit).data)
    assert abs(abs(overlap) - 1) < 1e-12
    assert plan.angle < 1e-12
    assert sum(plan.sweeps) == len(plan.bonds)
    start = 0
    for length in plan.sweeps:
        turns = set(np.sign(np.diff(plan.bonds[start : start + length])).tolist())
        assert turns in (set(), {1}, {-1})  # what the error bound relies on
        start += length


def test_gates_are_merged() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rz(0.3, 1)
    circuit.cx(0, 1)
    circuit.swap(0, 2)
    circuit.cx(1, 2)
    merged = merge_gates(circuit)
    assert [(gate.a, gate.b) for gate in merged.gates] == [(1, 0)]  # both hold rz and cx
    assert merged.wire_of == (2, 1, 0)
    circuit.cx(1, 2)
    assert len(merge_gates(circuit).gates) == 1
    mirrored = circuit.compose(circuit.inverse())
    assert not merge_gates(mirrored).gates


def test_a_chain_is_found_whatever_its_names() -> None:
    n = 40
    names = np.random.default_rng(3).permutation(n).tolist()
    straight, renamed = (
        plan_chain(chain(n, 3, order)).predict() for order in (list(range(n)), names)
    )
    assert straight[0] == renamed[0] == 3
    assert renamed[1] == pytest.approx(straight[1], rel=0.1)


def test_a_star_needs_no_swaps_of_its_own() -> None:
    circuit = QuantumCircuit(50)
    circuit.h(0)
    for q in range(1, 50):
        circuit.cx(0, q)
    plan = plan_chain(circuit)
    assert len(plan.bonds) == 49  # each swap is one step with the gate before
    assert plan.predict()[0] <= 2


def test_wires_of_a_ring_go_back() -> None:
    n = 60
    circuit = QuantumCircuit(n)
    for _ in range(3):
        for q in range(n):
            circuit.rzz(0.3, q, (q + 1) % n)
        circuit.rx(0.4, range(n))
    plan = plan_chain(circuit)
    assert len(plan.bonds) < 600
    assert plan.predict()[0] <= 8  # 30 if they stay where their swaps brought them


def test_predictions() -> None:
    assert plan_chain(QuantumCircuit(3)).predict() == (0, 0)
    assert plan_chain(chain(30, 4, list(range(30)))).predict()[0] == 4
    assert plan_chain(chain(10, 20, list(range(10)))).predict()[0] == 5  # half of the qubits
    deep = plan_chain(chain(60, 40, list(range(60))))
    bits, work = deep.predict()
    assert bits == 30
    assert 0 < deep.predict(cap=16)[1] < 1e-6 * work < math.inf
    assert math.isfinite(plan_chain(chain(140, 80, list(range(140)))).predict()[1])


@pytest.mark.slow
def test_many_gates_are_planned_in_time() -> None:
    rng = np.random.default_rng(0)
    circuit = QuantumCircuit(100)
    for _ in range(8000):
        circuit.rzz(0.3, *rng.permutation(100)[:2].tolist())
        circuit.rx(0.1, int(rng.integers(100)))
    start = time.process_time()
    plan_chain(circuit)
    assert time.process_time() - start < 20
