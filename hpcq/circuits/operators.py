"""The terms of Qiskit's operators, with coefficients unchecked.

This module does not import Qiskit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hpcq.circuits.pauli_text import PauliString
from hpcq.core.errors import InputError

OperatorTerm = tuple[PauliString, Any, str]
"""A string, its coefficient, and the start of the error message if that is not a real number."""

_LETTERS = {(True, False): "X", (True, True): "Y", (False, True): "Z"}


def operator_terms(operator: Any, num_qubits: int, where: str) -> list[OperatorTerm] | None:
    """Return the terms of a SparsePauliOp, a SparseObservable or a Pauli; None for other objects.

    Raises:
        InputError: The operator acts on another number of qubits.
    """
    for kind in type(operator).__mro__:
        if kind.__module__.partition(".")[0] == "qiskit" and kind.__name__ in _KINDS:
            if operator.num_qubits != num_qubits:
                raise InputError(
                    f"{where}: {kind.__name__} acts on {operator.num_qubits} qubits, "
                    f"but the circuit has {num_qubits} qubits"
                )
            return list(_KINDS[kind.__name__](operator, where))
    return None


def _from_sparse_pauli_op(operator: Any, where: str) -> Iterator[OperatorTerm]:
    strings = _pauli_rows(operator.paulis.x, operator.paulis.z)
    for index, (string, coefficient) in enumerate(zip(strings, operator.coeffs, strict=True)):
        yield string, coefficient, f"{where}: coefficient {index}"


def _from_pauli(pauli: Any, where: str) -> Iterator[OperatorTerm]:
    sign = {0: 1.0, 2: -1.0}.get(int(pauli.phase))
    if sign is None:
        raise InputError(f"{where}: Pauli {str(pauli)[:80]!r} must be real, its phase is not")
    (string,) = _pauli_rows(pauli.x[None, :], pauli.z[None, :])
    yield string, sign, where


def _from_sparse_observable(operator: Any, where: str) -> Iterator[OperatorTerm]:
    for index, (letters, qubits, coefficient) in enumerate(operator.to_sparse_list()):
        string = tuple(sorted(zip(map(int, qubits), letters, strict=True)))
        yield string, coefficient, f"{where}: term {index}"


_KINDS = {
    "SparsePauliOp": _from_sparse_pauli_op,
    "Pauli": _from_pauli,
    "SparseObservable": _from_sparse_observable,
}


def _pauli_rows(x: Any, z: Any) -> Iterator[PauliString]:
    """Yield a Pauli string for each row of the symplectic arrays, bool (terms, qubits)."""
    rows, qubits = (x | z).nonzero()
    bits = zip(x[rows, qubits].tolist(), z[rows, qubits].tolist(), strict=True)
    factors = list(zip(qubits.tolist(), map(_LETTERS.__getitem__, bits), strict=True))
    ends = (x | z).sum(axis=1).cumsum().tolist()
    start = 0
    for end in ends:
        yield tuple(factors[start:end])
        start = end
