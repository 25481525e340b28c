"""Local unitaries: products of the gates on one qubit, as 2x2 matrices for many rows of angles.

Every rotation is one about Z between fixed matrices, so a local unitary is
``F_k D(a_k) F_(k-1) ... D(a_1) F_0`` with ``D(a) = diag(exp(-i a / 2), exp(i a / 2))``. Those of a
circuit are computed together: the first factors of all of them, then the second ones, and so on.
The matrix of a group of neighbouring qubits is the Kronecker product of their local unitaries.

Derivatives are computed in the opposite order. They depend on the states psi and lambda after a
group's matrix only through ``C[x, y] = sum psi[x] conj(lambda[y])``, with x and y on the group and
the sum over all other qubits. The partial trace of C to one qubit is C of that qubit,
``F^dagger C F`` is C before F, and the derivative with respect to the angle of D is
``Im (C[0, 0] - C[1, 1])`` after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcq.engines.batched.gates import Matrix

IDENTITY: Matrix = np.eye(2, dtype=complex)


@dataclass(frozen=True, eq=False)
class LocalUnitary:
    """The product of some gates on one qubit.

    Attributes:
        first: The matrix before the first rotation.
        rotations: Numbers of the rotations, each with the matrix that follows.
    """

    first: Matrix
    rotations: tuple[tuple[int, Matrix], ...] = ()

    def then(self, matrix: Matrix) -> LocalUnitary:
        """Return the product with one more fixed gate, applied last."""
        if not self.rotations:
            return LocalUnitary(matrix @ self.first)
        number, last = self.rotations[-1]
        return LocalUnitary(self.first, (*self.rotations[:-1], (number, matrix @ last)))

    def rotated(self, number: int) -> LocalUnitary:
        """Return the product with one more rotation, applied last."""
        return LocalUnitary(self.first, (*self.rotations, (number, IDENTITY)))

    @property
    def is_fixed(self) -> bool:
        """Whether it contains no rotation."""
        return not self.rotations


NO_GATES = LocalUnitary(IDENTITY)
"""The identity, where no gates wait on a qubit."""


class UnitaryTable:
    """All local unitaries of a circuit, and the groups of qubits whose matrices are their products.

    Args:
        unitaries: The local unitaries.
        groups: Number of qubits g → the groups of g qubits, each as the numbers of its local
            unitaries, that of the highest qubit first.
        xp: The module of arrays.
        dtype: Type of the matrices, complex64 or complex128.
    """

    def __init__(
        self,
        unitaries: Sequence[LocalUnitary],
        groups: Mapping[int, Sequence[tuple[int, ...]]],
        xp: Any,
        dtype: Any,
    ) -> None:
        self._xp, self._dtype = xp, dtype
        order = sorted(range(len(unitaries)), key=lambda n: -len(unitaries[n].rotations))
        self._place = {number: place for place, number in enumerate(order)}
        ordered = [unitaries[number] for number in order]
        self._first = self._fixed([each.first for each in ordered])
        self._levels = []
        for level in range(max((len(each.rotations) for each in ordered), default=0)):
            steps = [each.rotations[level] for each in ordered if len(each.rotations) > level]
            numbers = xp.asarray([number for number, _ in steps])
            self._levels.append((numbers, self._fixed([matrix for _, matrix in steps])))
        self._counts = {size: len(of_size) for size, of_size in groups.items()}
        self._members = {
            size: [
                xp.asarray(np.array([self._place[group[digit]] for group in of_size]))
                for digit in range(size)
            ]
            for size, of_size in groups.items()
        }

    def _fixed(self, matrices: Sequence[Matrix]) -> Any:
        return self._xp.asarray(np.array(matrices).reshape(-1, 2, 2), dtype=self._dtype)

    def place(self, number: int) -> int:
        """Return the index of a local unitary in the array that :meth:`matrices` returns."""
        return self._place[number]

    def matrices(self, phases: Any) -> Any:
        """Return the matrices of all local unitaries, shape (rows, unitaries, 2, 2).

        Args:
            phases: exp(-i angle / 2) of all rotations, shape (rows, rotations).
        """
        xp, first = self._xp, self._first
        matrices = xp.empty((len(phases), *first.shape), dtype=self._dtype)
        matrices[:] = first
        for numbers, fixed in self._levels:
            taken = phases[:, numbers, None]
            used = matrices[:, : len(numbers)]
            up, down = used[:, :, 0] * taken, used[:, :, 1] * taken.conj()
            for row in range(2):
                used[:, :, row] = fixed[:, row, :1] * up + fixed[:, row, 1:] * down
        return matrices

    def groups(self, matrices: Any) -> dict[int, Any]:
        """Return the matrices of groups, by number of qubits g: shape (rows, groups, 2^g, 2^g)."""
        groups = {}
        for size, members in self._members.items():
            factors = [matrices[:, places] for places in members]
            while len(factors) > 1:
                pairs = [_kron(*factors[i : i + 2]) for i in range(0, len(factors) - 1, 2)]
                factors = pairs + factors[2 * len(pairs) :]
            groups[size] = factors[0]
        return groups

    def derivatives(self, phases: Any, products: dict[int, Any], out: Any) -> None:
        """Fill in the derivatives with respect to the angles of rotations in local unitaries.

        Args:
            phases: As for :meth:`matrices`.
            products: The matrices C of groups, by number of qubits g, shape
                (rows, sums, groups, 2^g, 2^g).
            out: Derivatives by rotation, float64, shape (rows, sums, rotations).
        """
        xp = self._xp
        rows, sums = out.shape[:2]
        by_unitary = xp.zeros((rows, sums, len(self._first), 2, 2), dtype=self._dtype)
        for size, members in self._members.items():
            traces = _partial_traces(products[size], size)
            for places, single in zip(members, traces, strict=True):
                by_unitary[:, :, places] = single
        for numbers, fixed in reversed(self._levels):
            used = by_unitary[:, :, : len(numbers)]
            _conjugate(used, fixed)
            out[:, :, numbers] = used[..., 0, 0].imag - used[..., 1, 1].imag
            turned = phases[:, None, numbers] ** 2
            # Not in place: there, NumPy rounds products of single numbers in another way, and a row
            # alone would differ from the same row among others.
            used[..., 0, 1] = used[..., 0, 1] * turned.conj()
            used[..., 1, 0] = used[..., 1, 0] * turned

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's matrices."""
        entries = sum(count << 2 * size for size, count in self._counts.items())
        return int(np.dtype(self._dtype).itemsize) * (entries + 8 * len(self._first))


def _kron(high: Any, low: Any) -> Any:
    """Return Kronecker products of matrices in the last two axes."""
    a, b = high.shape[-1], low.shape[-1]
    product = high[..., :, None, :, None] * low[..., None, :, None, :]
    return product.reshape(*high.shape[:-2], a * b, a * b)


def _partial_traces(matrices: Any, size: int) -> list[Any]:
    """Return the partial traces of matrices on g qubits to each qubit, the highest first."""
    if size == 1:
        return [matrices]
    low = size // 2
    split = matrices.reshape(*matrices.shape[:-2], *(2 ** (size - low), 2**low) * 2)
    highs = sum(split[..., :, j, :, j] for j in range(2**low))
    lows = sum(split[..., i, :, i, :] for i in range(2 ** (size - low)))
    return _partial_traces(highs, size - low) + _partial_traces(lows, low)


def _conjugate(matrices: Any, fixed: Any) -> None:
    """Replace C by ``F^dagger C F``, for 2x2 matrices in the last two axes."""
    upper, lower = matrices[..., 0, :].copy(), matrices[..., 1, :].copy()
    for row in range(2):
        column = fixed[:, :, row].conj()
        matrices[..., row, :] = column[:, :1] * upper + column[:, 1:] * lower
    left, right = matrices[..., :, 0].copy(), matrices[..., :, 1].copy()
    for row in range(2):
        matrices[..., :, row] = left * fixed[:, :1, row] + right * fixed[:, 1:, row]
