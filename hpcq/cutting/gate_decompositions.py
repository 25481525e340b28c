"""Write two-qubit gates as short sums of Pauli products, which is how gates are cut.

Up to one-qubit gates on both sides, every two-qubit gate is
``sum_k w_k P_k (x) P_k`` with Paulis P_k (Cartan or KAK form: Zhang et al., Phys. Rev. A 67,
042313 (2003)). A controlled gate needs only I and Z, a general one I, Z, X and Y, so a
cut gate is an edge of dimension 2 or 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import slot_of
from hpcq.circuits.unitary import nearest_unitary

if TYPE_CHECKING:
    from qiskit.circuit import Gate

PAULI_BASIS = "IZXY"
"""The Paulis by the port index k of a gate cut: k = 2 x + z for X to the power x, Z to z."""

Vector = tuple[float, float, float]
"""The coefficients of X, Y and Z of a one-qubit operator."""


_NEGLIGIBLE = 1e-12
"""Absolute weight below which a Pauli product is dropped, far above rounding errors."""

_AXIS_TOLERANCE = 1e-12
"""Distance below which two unit Pauli vectors are taken to be equal, far above rounding errors."""

PAULI_MATRICES: dict[str, NDArray[np.complex128]] = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=complex),
    "Z": np.diag([1, -1]).astype(complex),
}
_HADAMARD = np.array([[1, 1], [1, -1]], dtype=complex) / np.sqrt(2)


@dataclass(frozen=True)
class PauliSum:
    """``(A_0 (x) A_1) [sum_k w_k P_k (x) P_k] (B_0 (x) B_1)``, up to a global phase.

    Attributes:
        weights: The complex weights w_k in the order of ``PAULI_BASIS``; 1, 2 or 4 of them.
        before: One-qubit gates B_0 and B_1 as angles (theta, phi, lambda) of Qiskit's ``UGate``.
        after: One-qubit gates A_0 and A_1, in the same form.
    """

    weights: tuple[complex, ...]
    before: tuple[tuple[float, float, float], tuple[float, float, float]]
    after: tuple[tuple[float, float, float], tuple[float, float, float]]

    @property
    def dimension(self) -> int:
        """Dimension of the edge: 1 for a product gate, 2 for a controlled one, else 4."""
        return len(self.weights)

    @property
    def sampling_overhead(self) -> float:
        """Sampling overhead gamma squared: by how much more shots quasi-probabilities need.

        gamma is ``2 (sum_k |w_k|)^2 - 1`` (Schmitt, Piveteau and Sutter, "Cutting circuits
        with multiple two-qubit unitaries", arXiv:2312.11638); a CZ gate has gamma = 3.
        """
        return float(2 * sum(abs(w) for w in self.weights) ** 2 - 1) ** 2


def pauli_sum(gate: Gate) -> PauliSum:
    """Write a unitary two-qubit gate as a sum of Pauli products, its first qubit as side 0.

    The sum has as few terms as the gate allows, and equals the gate to about 1e-15. The sum of
    a gate whose angle is a slot is the same for every angle, except for its weights, which are
    those of the angle with the largest sampling overhead.
    """
    if slot_of(gate) is not None:
        return _SLOT_SUMS[gate.name]
    return _pauli_sum(np.asarray(gate.to_matrix(), dtype=complex).tobytes())


def axis(angles: tuple[float, float, float], inverse: bool) -> Vector:
    """Return U Z U^dagger of a ``UGate`` U as a Pauli vector; with ``inverse``, U^dagger Z U."""
    theta, phi, lam = angles
    if inverse:
        theta, phi = -theta, -lam
    return math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta)


def relative_sign(a: Vector, b: Vector) -> int:
    """Return 1 for equal unit vectors, -1 for opposite ones, else 0."""
    if math.dist(a, b) < _AXIS_TOLERANCE:
        return 1
    return -1 if math.dist(a, (-b[0], -b[1], -b[2])) < _AXIS_TOLERANCE else 0


def conjugated(vector: Vector, gate: Gate) -> Vector:
    """Return U P U^dagger for a one-qubit gate U and a Pauli vector P, as a Pauli vector."""
    ((a, b), (c, d)) = np.asarray(gate.to_matrix(), dtype=complex).tolist()
    x, y, z = vector
    # The columns of U P are (z a + (x + iy) b, ...) and ((x - iy) a - z b, ...).
    up, down = z * a + complex(x, y) * b, complex(x, -y) * a - z * b
    low_up, low_down = z * c + complex(x, y) * d, complex(x, -y) * c - z * d
    corner = low_up * a.conjugate() + low_down * b.conjugate()
    level = up * a.conjugate() + down * b.conjugate()
    return (corner.real, corner.imag, level.real)


def _rotation_sum(*turns: NDArray[np.complex128]) -> PauliSum:
    """Return the sum of exp(-i t P (x) Q / 2) for any angle t.

    The ``turns`` are the basis changes V and W with V Z V^dagger = P and W Z W^dagger = Q.
    """
    before, after = ([u_angles(t.conj().T) for t in turns], [u_angles(t) for t in turns])
    weights = (math.sqrt(0.5), -1j * math.sqrt(0.5))
    return PauliSum(weights, (before[0], before[1]), (after[0], after[1]))


@lru_cache(maxsize=1 << 15)
def _pauli_sum(matrix: bytes) -> PauliSum:
    from qiskit.synthesis import TwoQubitWeylDecomposition

    unitary = nearest_unitary(np.frombuffer(matrix, dtype=complex).reshape(4, 4))
    kak = TwoQubitWeylDecomposition(unitary, fidelity=None)
    weights = _interaction_weights(kak.a, kak.b, kak.c)
    # Qiskit's "r" factor acts on qubit 0 of the gate, its "l" factor on qubit 1.
    after = [np.asarray(kak.K1r), np.asarray(kak.K1l)]
    before = [np.asarray(kak.K2r), np.asarray(kak.K2l)]
    significant = {p for p, w in weights.items() if abs(w) > _NEGLIGIBLE}
    if len(significant) == 1:
        (pauli,) = significant
        after = [a @ PAULI_MATRICES[pauli] for a in after]
        kept: tuple[complex, ...] = (weights[pauli],)
    elif significant == {"I", "X"}:
        after = [a @ _HADAMARD for a in after]
        before = [_HADAMARD @ b for b in before]
        kept = (weights["I"], weights["X"])
    else:
        kept = tuple(weights[p] for p in PAULI_BASIS)
    return PauliSum(
        weights=kept,
        before=(u_angles(before[0]), u_angles(before[1])),
        after=(u_angles(after[0]), u_angles(after[1])),
    )


def _interaction_weights(a: float, b: float, c: float) -> dict[str, complex]:
    """Return the weights of ``exp(i (a XX + b YY + c ZZ))`` on II, XX, YY and ZZ."""
    ca, cb, cc = np.cos([a, b, c])
    sa, sb, sc = np.sin([a, b, c])
    return {
        "I": complex(ca * cb * cc, sa * sb * sc),
        "X": complex(ca * sb * sc, sa * cb * cc),
        "Y": complex(sa * cb * sc, ca * sb * cc),
        "Z": complex(sa * sb * cc, ca * cb * sc),
    }


def u_angles(unitary: NDArray[np.complex128]) -> tuple[float, float, float]:
    """Return the angles of the ``UGate`` equal to a one-qubit unitary up to a phase."""
    theta = 2 * np.arctan2(abs(unitary[1, 0]), abs(unitary[0, 0]))
    if abs(unitary[0, 0]) > abs(unitary[1, 0]):
        origin = np.angle(unitary[0, 0])
        total = np.angle(unitary[1, 1]) - origin
        phi = np.angle(unitary[1, 0]) - origin if abs(unitary[1, 0]) > 1e-16 else 0.0
        return float(theta), float(phi), float(total - phi)
    # cos(theta / 2) is small: phi and lambda follow from the off-diagonal entries.
    if abs(unitary[0, 0]) > 1e-16:
        origin = np.angle(unitary[0, 0])
        phi, lam = np.angle(unitary[1, 0]) - origin, np.angle(-unitary[0, 1]) - origin
        return float(theta), float(phi), float(lam)
    return float(theta), float(np.angle(unitary[1, 0]) - np.angle(-unitary[0, 1])), 0.0


_QUARTER_X = (PAULI_MATRICES["I"] + 1j * PAULI_MATRICES["X"]) / np.sqrt(2)
"""A rotation about X that turns Z into Y."""

_SLOT_SUMS = {
    "rzz": _rotation_sum(PAULI_MATRICES["I"], PAULI_MATRICES["I"]),
    "rxx": _rotation_sum(_HADAMARD, _HADAMARD),
    "ryy": _rotation_sum(_QUARTER_X, _QUARTER_X),
    "rzx": _rotation_sum(PAULI_MATRICES["I"], _HADAMARD),
}
"""The Pauli sums of the two-qubit gates whose angles are slots."""
