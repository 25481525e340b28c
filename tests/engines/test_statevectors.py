"""Operators and derivatives of pieces with free angles, open ports and slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

from hpcq.circuits.normalise import normalise
from hpcq.circuits.slots import bind_slots
from hpcq.core.limits import Limits
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.requests import Derivatives, OperatorTensors, Tensors
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.planner import plan_normalised
from tests.support.parametrised import random_circuit, random_operator

LIMITS = Limits(1 << 30)


def pieces(seed: int, letters: str = "IXYZ") -> list[ExactTensor]:
    """Return the pieces of a random circuit, with some of their ports sliced."""
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits=3, gates=4)
    plan = plan_normalised(
        normalise(circuit, free_parameters=True),
        [random_operator(rng, 3, letters) for _ in range(2)],
        CutRequest(cut_labels="".join(rng.choice(list("AB"), 3))),
        LIMITS,
    )
    assert isinstance(plan, ExactPlan)
    found = []
    for tensor in plan.tensors:
        ports = tensor.subcircuit.ports
        sliceable = [number for number, port in enumerate(ports) if port.ancillas]
        chosen = tuple(number for number in sliceable if rng.random() < 0.4)
        found.append(replace(tensor, sliced=chosen))
    return found


def operators_of(tensor: ExactTensor, rng: np.random.Generator) -> tuple:
    """Return the piece's strings one by one, and two sums of them."""
    single = [((string, 1.0),) for string in tensor.strings]
    sums = [tuple((string, float(rng.normal())) for string in tensor.strings) for _ in range(2)]
    return (*single, *sums)


def angles_of(tensor: ExactTensor, rng: np.random.Generator, rows: int = 2) -> np.ndarray:
    return rng.uniform(-3, 3, (rows, len(tensor.slots)))


@pytest.mark.parametrize("letters", ["IXYZ", "IZ01+-rl"])
@pytest.mark.parametrize("seed", range(3))
def test_operators_are_sums_of_strings(seed: int, letters: str) -> None:
    engine, rng = AerEngine(LIMITS), np.random.default_rng(seed)
    for tensor in pieces(seed, letters):
        rows, operators = angles_of(tensor, rng), operators_of(tensor, rng)
        prepared = engine.prepared(tensor)
        answer = prepared.execute(rows, OperatorTensors(operators))
        blocks = [
            prepared.execute(rows, Tensors(tensor.strings, block))
            for block in range(tensor.num_tasks)
        ]
        for row, got in enumerate(answer):
            of_strings = tensor.join([block[row] for block in blocks])
            coefficients = np.array(
                [
                    [dict(operator).get(string, 0) for string in tensor.strings]
                    for operator in operators
                ]
            )
            expected = np.einsum("os,spq->opq", coefficients, of_strings)
            np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_angles_give_the_products_of_the_bound_states(seed: int) -> None:
    engine, rng = AerEngine(LIMITS), np.random.default_rng(seed)
    for tensor in pieces(seed):
        rows = angles_of(tensor, rng)
        for block in range(tensor.num_tasks):
            got = engine.prepared(tensor).execute(rows, Tensors(tensor.strings, block))
            for row, angles in enumerate(rows):
                ket, bra = (
                    Statevector(
                        bind_slots(tensor.circuit(branch), tensor.slots, angles)
                    ).data.reshape(tensor.block_shape[1], -1)
                    for branch in tensor.branches(block)
                )
                expected = tensor.products(ket, bra.copy(), tensor.strings)
                np.testing.assert_allclose(got[row], expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["IXYZ", "IZ01+-rl"])
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_are_those_of_the_sums(seed: int, letters: str) -> None:
    engine, rng, step = AerEngine(LIMITS), np.random.default_rng(seed), 1e-3
    for tensor in pieces(seed, letters):
        rows, operators = angles_of(tensor, rng), operators_of(tensor, rng)
        prepared = engine.prepared(tensor)
        shape = prepared.execute(rows, OperatorTensors(operators)).shape
        shape = (shape[0], 3, *shape[1:])
        environments = rng.normal(size=shape) + 1j * rng.normal(size=shape)

        got = prepared.execute(rows, Derivatives(operators, environments))
        assert got.shape == (*shape[:2], len(tensor.slots))
        for column in range(len(tensor.slots)):
            unit = step * (np.arange(len(tensor.slots)) == column)
            expected = sum(
                weight
                * np.subtract(
                    *(
                        np.einsum(
                            "rsopq,ropq->rs",
                            environments,
                            prepared.execute(rows + way * k * unit, OperatorTensors(operators)),
                        ).real
                        for way in (1, -1)
                    )
                )
                / step
                for k, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
            )
            np.testing.assert_allclose(got[:, :, column], expected, atol=1e-8)


def test_sums_are_divided_where_memory_is_short() -> None:
    rng = np.random.default_rng(3)
    (tensor, *_) = pieces(3)
    operators, rows = operators_of(tensor, rng), angles_of(tensor, rng, 1)
    size = AerEngine(LIMITS).prepared(tensor).execute(rows, OperatorTensors(operators)).shape[-1]
    environments = rng.normal(size=(1, 70, len(operators), size, size)) + 0j
    request = Derivatives(operators, environments)
    wide = replace(LIMITS, memory_bytes=1 << 20)
    answers = [
        AerEngine(limits).prepared(tensor).execute(rows, request) for limits in (LIMITS, wide)
    ]
    np.testing.assert_allclose(*answers, atol=1e-12)


def test_costs_of_operators_and_derivatives() -> None:
    (tensor, *_) = pieces(0)
    engine, rng = AerEngine(LIMITS), np.random.default_rng(0)
    operators = operators_of(tensor, rng)
    forward = engine.supports(tensor, OperatorTensors(operators))
    environments = np.zeros((1, 2, len(operators), 1, 1), dtype=complex)
    backward = engine.supports(tensor, Derivatives(operators, environments))
    assert isinstance(forward, Cost)
    assert isinstance(backward, Cost)
    assert backward.seconds > forward.seconds
    circuit = QuantumCircuit(16)
    circuit.rx(Parameter("a"), 0)
    tight = AerEngine(replace(LIMITS, memory_bytes=1 << 20))
    wide = plan_normalised(circuit, ["Z0"], CutRequest(cut_labels="A" * 16), LIMITS).tensors[0]
    wide = replace(wide, subcircuit=replace(wide.subcircuit, qubits=tuple(range(16))))
    assert isinstance(tight.supports(wide, OperatorTensors(operators)), Cost)
    assert isinstance(tight.supports(wide, Derivatives(operators, environments)), Refusal)
