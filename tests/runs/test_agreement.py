from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Pauli, SparseObservable, SparsePauliOp

from hpcq.core.strict_json import digest
from hpcq.runs.agreement import _plain, circuit_digest


def circuit(angle: float = 0.3, **options: Any) -> QuantumCircuit:
    """Return a circuit with gates of every kind: standard, a matrix, and a composite one."""
    inner = QuantumCircuit(2, name="inner")
    inner.rz(options.get("inner", 0.1), 0)
    inner.cx(0, 1)
    made = QuantumCircuit(3, 1, name=options.get("name"))
    made.ry(angle, options.get("qubit", 0))
    made.rx(2 * ParameterVector("t", 2)[1], 1)
    made.append(inner.to_gate(), [0, 2])
    made.append(UnitaryGate(np.diag([1, options.get("phase", 1j)])), [1])
    made.measure(0, 0)
    return made


def test_the_same_circuit_made_again_has_the_same_digest() -> None:
    assert circuit_digest(circuit()) == circuit_digest(circuit(name="another name"))


@pytest.mark.parametrize(
    "change", [{"angle": 0.3 + 1e-15}, {"qubit": 1}, {"inner": 0.2}, {"phase": -1j}]
)
def test_any_difference_changes_the_digest(change: dict[str, Any]) -> None:
    assert circuit_digest(circuit(**change)) != circuit_digest(circuit())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Z0", "Z1"),
        (["Z0", "Z1"], ["Z1", "Z0"]),
        ({"energy": "Z0"}, {"energy": "Z1"}),
        (SparsePauliOp(["ZI"], [0.1]), SparsePauliOp(["ZI"], [0.2])),
        (SparsePauliOp(["ZI"]), SparsePauliOp(["IZ"])),
        (SparseObservable("ZI"), SparseObservable("IZ")),
        (Pauli("ZI"), Pauli("IZ")),
        (np.array([[0.1, 0.2]]), np.array([[0.1], [0.2]])),
        ([{"a": 0.1}], [{"a": 0.2}]),
        (None, 0),
        (1, True),
    ],
)
def test_arguments_are_compared_by_value(one: Any, other: Any) -> None:
    assert digest(_plain(one)) != digest(_plain(other))
    assert digest(_plain(one)) == digest(_plain(one))
