"""Inversion matrices recover the index pairs from the signals of a port's settings."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit.library import UGate
from qiskit.quantum_info import Pauli

from hpcq.cutting.gate_decompositions import PAULI_BASIS
from hpcq.cutting.subcircuits import PortKind
from hpcq.cutting.subexperiments.port_settings import PortBasis, port_basis

PAULIS = {p: Pauli(p).to_matrix() for p in "IXYZ"}
ENDS = (np.diag([1, 0]), np.diag([0, 1]))
KINDS: list[tuple[PortKind, int]] = [
    ("output", 2),
    ("control", 2),
    ("input", 2),
    ("gate", 2),
    ("gate", 4),
]


def signal_matrix(kind: PortKind, dimension: int, basis: PortBasis) -> np.ndarray:
    """Return each signal as a linear function of the index pairs, by linear algebra alone."""
    rows = []
    for number, signed in basis.signals:
        setting = basis.settings[number]
        before = np.array(UGate(*setting.before).to_matrix())
        after = np.array(UGate(*setting.after).to_matrix())
        if kind == "input":
            state = (after @ before)[:, 0]
            rows.append(np.outer(state, state.conj()).reshape(-1))
        elif kind == "gate":
            row = np.zeros(dimension**2, dtype=complex)
            for bit, end in enumerate(ENDS if setting.measured else (np.eye(2) / 1,)):
                kraus = after @ end @ before
                parts = np.array([np.trace(PAULIS[p] @ kraus) / 2 for p in PAULI_BASIS])
                assert np.allclose(parts[dimension:], 0)
                vector = parts[:dimension]
                row += (-1) ** (bit * signed) * np.outer(vector, vector.conj()).reshape(-1)
            rows.append(row)
        else:
            sign = ENDS[0] - ENDS[1] if signed else np.eye(2)
            rows.append((before.conj().T @ sign @ before).T.reshape(-1))
    return np.array(rows)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize(("kind", "dimension"), KINDS)
def test_every_inversion_matrix_gives_the_index_pairs(
    kind: PortKind, dimension: int, lean: bool
) -> None:
    basis = port_basis(kind, dimension, lean)
    for inversion in basis.inversions:
        product = inversion @ signal_matrix(kind, dimension, basis)
        np.testing.assert_allclose(product, np.eye(dimension**2), atol=1e-12)


def test_three_four_or_five_settings_suffice_for_a_controlled_gate() -> None:
    basis = port_basis("gate", 2)
    assert {int(basis.used(number).sum()) for number in range(len(basis.inversions))} == {3, 4, 5}
    assert len(port_basis("gate", 2, lean=True).settings) == 3


def test_the_first_inversion_matrix_uses_every_setting() -> None:
    for kind, dimension in KINDS:
        for lean in (False, True):
            assert port_basis(kind, dimension, lean).used(0).all()
