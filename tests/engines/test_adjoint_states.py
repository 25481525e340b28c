"""Derivatives by the adjoint method are those by shifts, and take few segments."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from hpcq.circuits.normalise import normalise
from hpcq.circuits.slots import parametrise
from hpcq.core.limits import Limits
from hpcq.engines.adjoint_states import segments_of
from hpcq.engines.aer import Aer
from hpcq.engines.requests import Derivatives
from hpcq.engines.statevectors import StatevectorPiece
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.planner import plan_normalised
from tests.support.parametrised import random_circuit, random_operator


def labelled(circuit: QuantumCircuit) -> QuantumCircuit:
    normal = normalise(circuit, free_parameters=True)
    return parametrise(normal, circuit.parameters).generic


def rotations(qubits: int, layers: int) -> QuantumCircuit:
    angles = iter(ParameterVector("t", 2 * qubits * layers))
    circuit = QuantumCircuit(qubits)
    for _ in range(layers):
        for qubit in range(qubits):
            circuit.ry(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


def alternating_operators(qubits: int, layers: int) -> QuantumCircuit:
    angles = iter(ParameterVector("t", 2 * layers))
    circuit = QuantumCircuit(qubits)
    for _ in range(layers):
        cost, mixer = next(angles), next(angles)
        for qubit in range(qubits):
            circuit.rzz(cost, qubit, (qubit + 1) % qubits)
        circuit.rx(mixer, range(qubits))
    return circuit


def test_layers_are_segments() -> None:
    segments = segments_of(labelled(rotations(9, 3)))
    assert [len(segment.slot_gates) for segment in segments] == [0, 18, 18, 18]
    # Most edges share a qubit with one that is read off before the mixer.
    segments = segments_of(labelled(alternating_operators(8, 3)))
    assert len(segments) == 6
    assert sum(len(segment.slot_gates) for segment in segments) == 48


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("seed", range(10))
def test_the_adjoint_method_gives_what_shifts_give(seed: int, precision: str) -> None:
    rng = np.random.default_rng(seed)
    limits = Limits(1 << 30, precision=precision)
    aer, qubits = Aer(limits), 7
    circuit = random_circuit(rng, qubits=qubits, gates=25)
    if seed == 0:
        circuit = alternating_operators(qubits, 2)
    normal = normalise(circuit, free_parameters=True)
    operator = random_operator(rng, qubits)
    request = CutRequest(cut_labels="A" * qubits)
    plan = plan_normalised(normal, [operator], request, limits, parameters=circuit.parameters)
    for tensor in plan.tensors:
        sums = (tuple((string, float(rng.normal())) for string in tensor.strings),)
        rows = rng.uniform(-3, 3, (2, len(tensor.slots)))
        size = tensor.block_shape[1]
        environments = rng.normal(size=(2, 2, 1, size, size)) + 0j
        asked = Derivatives(sums, environments)
        by_shifts = StatevectorPiece(tensor, aer.compile_circuit).execute(rows, asked)
        adjoint = StatevectorPiece(tensor, aer.compile_circuit, evolve=aer.evolve)
        tolerance = 1e-12 if precision == "double" else 1e-4
        np.testing.assert_allclose(adjoint.execute(rows, asked), by_shifts, atol=tolerance)
