"""Pubs are divided into blocks that hold all that is asked for, and little else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from hpcq.primitives.observables import flat_observables
from hpcq.primitives.pubs import ReadPub, read_pub
from hpcq.primitives.structure import structure_of

LABELS = ["ZZ", "ZX", "XX", "YI", "IZ", "XY", "YY", "XZ"]


def read(observables: Any, values: Any) -> tuple[EstimatorPub, ReadPub]:
    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("x"), 0)
    pub = EstimatorPub.coerce((circuit, observables, values))
    return pub, read_pub(pub, structure_of(circuit))


def cost(found: ReadPub) -> int:
    return sum(len(block.rows) * len(block.observables) for block in found.blocks)


def check(pub: EstimatorPub, found: ReadPub) -> None:
    """Check that every place is filled once, with its own row and observable."""
    values = np.broadcast_to(pub.parameter_values.as_array()[..., 0], pub.shape).ravel()
    listed = np.empty(pub.observables.size, dtype=object)
    listed[:] = flat_observables(pub.observables)
    observables = np.broadcast_to(listed.reshape(pub.observables.shape), pub.shape).ravel()
    filled = []
    for block in found.blocks:
        for place, row, column in zip(
            block.places, block.at_rows, block.at_observables, strict=True
        ):
            assert block.rows[row, 0] == values[place]
            assert block.observables[column] == observables[place]
            filled.append(int(place))
    assert sorted(filled) == list(range(pub.size))


def test_a_product_is_one_block() -> None:
    pub, found = read([[label] for label in LABELS], np.arange(20.0))
    assert len(found.blocks) == 1
    assert cost(found) == pub.size
    check(pub, found)


def test_equal_observables_are_evaluated_once() -> None:
    pub, found = read([["ZZ"], ["XX"], [{"ZZ": 1.0}]], np.arange(4.0))
    assert [len(block.observables) for block in found.blocks] == [2]
    check(pub, found)


def test_rows_with_observables_of_their_own_are_grouped() -> None:
    many = [{first: 1.0, second: 2.0} for first in LABELS for second in LABELS if first != second]
    pub, found = read(many, np.arange(float(len(many))))
    assert cost(found) <= 4 * pub.size
    assert len(found.blocks) <= len(many) / 4
    check(pub, found)


@settings(max_examples=50, deadline=None)
@given(
    shapes=st.sampled_from([((), ()), ((3,), (3,)), ((4, 1), (3,)), ((1, 3), (2, 1)), ((0,), ())]),
    picks=st.lists(st.integers(0, len(LABELS) - 1), min_size=12, max_size=12),
)
def test_every_broadcast(shapes: tuple[tuple[int, ...], tuple[int, ...]], picks: list[int]) -> None:
    size = int(np.prod(shapes[0]))
    observables = np.empty(shapes[0], dtype=object)
    observables.ravel()[:] = [LABELS[pick] for pick in picks[:size]]
    if not size:
        observables = np.empty((0,), dtype=object)
    values = np.arange(float(np.prod(shapes[1]))).reshape(*shapes[1], 1)
    check(*read(observables.item() if shapes[0] == () else observables, values))


def test_a_circuit_without_parameters_has_one_row() -> None:
    circuit = QuantumCircuit(2)
    circuit.rx(0.3, 0)
    pub = EstimatorPub.coerce((circuit, [["ZZ"], ["XX"]], np.empty((5, 0))))
    found = read_pub(pub, structure_of(circuit))
    (block,) = found.blocks
    assert block.rows.tolist() == [[pytest.approx(0.3)]]
    assert len(block.places) == 10
