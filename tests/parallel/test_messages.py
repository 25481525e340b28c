"""Messages between ranks: what arrives is what was sent, and arrays are not copied."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.parallel import messages


@dataclass(frozen=True, eq=False)
class Numbers:
    values: np.ndarray
    name: str = ""
    opened: list[int] = field(default_factory=list, init=False)

    @cached_property
    def total(self) -> float:
        return float(self.values.sum())


@dataclass(frozen=True, eq=False)
class Optional:
    unit: str
    weights: np.ndarray | None = field(default=None, kw_only=True)


@dataclass(frozen=True, eq=False)
class WeightedNumbers(Optional):
    values: np.ndarray
    name: str = ""


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(12)[::2],
        np.empty((0, 3), dtype=np.int16),
        np.array([1 + 2j]),
    ],
)
def test_arrays_arrive_as_they_were_sent(values: np.ndarray) -> None:
    arrived = messages.loads(messages.dumps((Numbers(values, "é"), [values])))
    for array in (arrived[0].values, arrived[1][0]):
        np.testing.assert_array_equal(array, values)
        assert array.dtype == values.dtype
    assert arrived[0].name == "é"


def test_arrays_are_views_of_the_message() -> None:
    message = messages.dumps(np.arange(1000))
    arrived = messages.loads(message)
    assert np.shares_memory(arrived, np.frombuffer(message, dtype=np.uint8))
    assert not arrived.flags.writeable


def test_fields_that_are_given_by_name_arrive_too() -> None:
    sent = WeightedNumbers("m", np.ones(2), "length", weights=np.arange(2))
    arrived = messages.loads(messages.dumps(sent))
    assert (arrived.unit, arrived.name) == ("m", "length")
    np.testing.assert_array_equal(arrived.values, sent.values)
    np.testing.assert_array_equal(arrived.weights, sent.weights)


def test_only_the_fields_of_a_dataclass_are_sent() -> None:
    sent = Numbers(np.ones(3))
    assert sent.total == 3.0
    sent.opened.append(1)
    arrived = messages.loads(messages.dumps(sent))
    assert "total" not in vars(arrived)
    assert arrived.opened == []
    assert arrived.total == 3.0


def test_subcircuits_arrive_as_they_were_sent() -> None:
    circuit = QuantumCircuit(4)
    circuit.h(0)
    circuit.rx(0.3, 2)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    cut = hpcq.plan(circuit, "Z0 Z3", cut_labels="AABB").cut
    for sent, arrived in zip(
        cut.subcircuits, messages.loads(messages.dumps(cut.subcircuits)), strict=True
    ):
        assert arrived.content == sent.content
        assert (arrived.qubits, arrived.ports, arrived.cone) == (
            sent.qubits,
            sent.ports,
            sent.cone,
        )
