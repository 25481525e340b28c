"""Circuits made of blocks: a search finds the blocks within any width limit that allows them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq

HOW = {"threads": 1, "memory": 16 << 30}


def blocks(
    widths: Sequence[int], layers: int, links: Sequence[int], shuffle: bool = False
) -> QuantumCircuit:
    """Return blocks of entangled qubits, which weak gates link in some of the layers."""
    rng = np.random.default_rng(0)
    num_qubits = sum(widths)
    spans = [range(*span) for span in pairwise(accumulate(widths, initial=0))]
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.u(*rng.random(3) * 3, qubit)
        for span in spans:
            for a, b in zip(span[layer % 2 :: 2], span[layer % 2 + 1 :: 2], strict=False):
                circuit.cz(a, b)
            for offset in range(len(span) // 2 if layer % 3 == 0 else 0):
                circuit.cx(span[offset], span[-1 - offset])
        for a, b in pairwise(spans) if layer in links else ():
            circuit.rzz(rng.random(), a[-1], b[0])
    if not shuffle:
        return circuit
    places = np.random.default_rng(1).permutation(num_qubits).tolist()
    return QuantumCircuit(num_qubits).compose(circuit, places)


def neighbours(circuit: QuantumCircuit) -> list[str]:
    return [f"Z{qubit} Z{qubit + 1}" for qubit in range(circuit.num_qubits - 1)]


UNEVEN = (8, 13, 10, 11, 9, 12, 7, 14, 10, 6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("circuit", "limits", "seconds"),
    [
        pytest.param(
            *(blocks([10] * 10, 12, (3, 6, 9)), (10, 12, 16, 29), 3.0), marks=pytest.mark.nightly
        ),
        (blocks([10] * 10, 12, (3, 6, 9)), (10, 12, 16, 29), 0.5),
        pytest.param(
            *(blocks([10] * 10, 12, (3, 6, 9), shuffle=True), (10, 12, 16, 29), 3.0),
            marks=pytest.mark.nightly,
        ),
        (blocks([12] * 4, 10, (2, 5)), (12, 16, 20, 24), 0.5),
        pytest.param(
            *(blocks(UNEVEN, 12, (3, 6, 9)), (14, 15, 20, 29), 3.0), marks=pytest.mark.nightly
        ),
        pytest.param(
            *(blocks(UNEVEN, 12, (3, 6, 9), shuffle=True), (14, 15, 20, 29), 3.0),
            marks=pytest.mark.nightly,
        ),
    ],
    ids=["even", "short", "shuffled", "few", "uneven", "uneven-shuffled"],
)
def test_a_wider_limit_gives_no_slower_plan(
    circuit: QuantumCircuit, limits: Sequence[int], seconds: float
) -> None:
    predicted = []
    for width in limits:
        how = HOW | {"max_qubits": width, "search_seconds": seconds}
        plan = hpcq.plan(circuit, neighbours(circuit), **how)
        predicted.append(plan.cost.predicted_seconds())
        assert predicted[-1] < max(1.0, 1.2 * min(predicted))
    assert predicted[0] < 1.0  # blocks of 14 qubits take no longer


@pytest.mark.slow
def test_the_least_overhead_cuts_between_the_blocks() -> None:
    circuit = blocks(UNEVEN, 12, (3, 6, 9), shuffle=True)
    how = HOW | {"max_qubits": 14, "objective": "overhead"}
    assert len(hpcq.plan(circuit, neighbours(circuit), **how).cut.cuts.gates) == 27


@pytest.mark.slow
@pytest.mark.parametrize(
    ("circuit", "observables"),
    [
        (blocks([10] * 10, 12, (3, 6, 9)), None),
        (blocks(UNEVEN, 12, (3, 6, 9), shuffle=True), None),
        (blocks([26] * 2, 10, (2, 5)), ["Z0 Z51"]),
    ],
    ids=["even", "uneven", "halves"],
)
def test_blocks_are_found_without_a_width_limit(
    circuit: QuantumCircuit, observables: list[str] | None
) -> None:
    plan = hpcq.plan(circuit, observables or neighbours(circuit), **HOW, method="cut")
    assert plan.cost.predicted_seconds() < 1.0
