"""Gates of a labelled circuit as fixed matrices and rotations about Z and ZZ by angles of slots."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import slot_of

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Matrix = NDArray[np.complex128]

_ZERO = 1e-15
"""Absolute value below which an entry of a gate's matrix is rounding, such as cos(pi/2)."""

HADAMARD: Matrix = np.array([[1, 1], [1, -1]]) * (math.sqrt(0.5) + 0j)
_PHASE: Matrix = np.array([[1, 0], [0, 1j]])
_TO_Y: Matrix = _PHASE @ HADAMARD
_BASES: Mapping[str, Matrix | None] = {"X": HADAMARD, "Y": _TO_Y, "Z": None}
"""The basis change V of each Pauli ``P = V Z V^dagger``; None for the identity."""

_ROTATIONS: Mapping[str, str] = {
    **{f"r{letter}": letter.upper() for letter in "xyz"},
    **{f"r{letters}": letters.upper() for letters in ("xx", "yy", "zz", "zx")},
}
"""Gates exp(-i angle P / 2) → the letters of P, the first qubit's first."""

_SX: Matrix = np.array([[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]])
_X: Matrix = np.array([[0, 1], [1, 0]], dtype=complex)
_CX: Matrix = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=complex)


@dataclass(frozen=True, eq=False)
class Gate:
    """A fixed matrix on one or two qubits, or a rotation about Z or ZZ by the angle of a slot.

    Attributes:
        qubits: The qubits; the first is the lowest bit of the matrix's index.
        matrix: The matrix; None for a rotation exp(-i angle Z / 2), or of ZZ on two qubits.
        slot: Index of the rotation's slot among those of the piece.
        sign: Factor of the slot's angle, 1 or -1.
    """

    qubits: tuple[int, ...]
    matrix: Matrix | None
    slot: int = -1
    sign: int = 1

    @property
    def is_monomial(self) -> bool:
        """Whether it maps basis states to basis states, up to phases."""
        return self.matrix is None or bool((np.count_nonzero(self.matrix, axis=0) == 1).all())


def gates_of(circuit: QuantumCircuit, slots: Mapping[int, int]) -> list[Gate]:
    """Return a circuit's gates, up to a global phase.

    Args:
        circuit: Gates on one or two qubits, some of them with labels of slots.
        slots: Number of a slot → its index among those of the piece.
    """
    index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    gates: list[Gate] = []
    for instruction in circuit.data:
        qubits = tuple([index[qubit] for qubit in instruction.qubits])
        gates += _gates(instruction, qubits, slots)
    return gates


def kronecker(factors: Iterable[Matrix]) -> Matrix:
    """Return the Kronecker product of matrices, the first on the highest qubit."""
    product: Matrix = np.ones((1, 1), dtype=complex)
    for factor in factors:
        product = np.asarray(np.kron(product, factor))
    return product


def _gates(instruction: Any, qubits: tuple[int, ...], slots: Mapping[int, int]) -> Iterator[Gate]:
    slot = slot_of(instruction)
    name = instruction.name
    if slot is None and name == "ecr":
        # RZX(pi/4) X RZX(-pi/4) is a CX gate with gates on one qubit around it.
        yield Gate(qubits[:1], _PHASE)
        yield Gate(qubits[1:], _SX)
        yield Gate(qubits, _CX)
        yield Gate(qubits[:1], _X)
        return
    if slot is None and (len(qubits) == 1 or name not in _ROTATIONS):
        yield Gate(qubits, _cleaned(instruction.operation.to_matrix()))
        return
    bases = [(q, _BASES[p]) for q, p in zip(qubits, _ROTATIONS[name], strict=True)]
    for qubit, basis in bases:
        if basis is not None:
            yield Gate((qubit,), basis.conj().T)
    if slot is None:
        yield Gate(qubits, _zz(float(instruction.params[0])))
    else:
        yield Gate(qubits, None, slots[slot[0]], slot[1])
    for qubit, basis in bases:
        if basis is not None:
            yield Gate((qubit,), basis)


def _cleaned(matrix: Any) -> Matrix:
    cleaned = np.array(matrix, dtype=np.complex128)
    cleaned[abs(cleaned) < _ZERO] = 0
    return cleaned


def _zz(angle: float) -> Matrix:
    phase = cmath.exp(-0.5j * angle)
    return np.diag([phase, phase.conjugate(), phase.conjugate(), phase])
