"""Matrices that are unitary up to rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-13
"""Error up to which a matrix is unitary and stays unchanged, bit for bit."""


def unitary_error(matrix: NDArray[np.complex128]) -> float:
    """Return the largest absolute entry of U^dagger U - 1; NaN if an entry is not finite."""
    with np.errstate(all="ignore"):
        return float(np.abs(matrix.conj().T @ matrix - np.eye(len(matrix))).max())


def nearest_unitary(matrix: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the unitary nearest to a matrix (its polar factor), or the matrix if it is unitary.

    Qiskit's decompositions compare to about 1e-13 and fail for matrices with a larger error.
    """
    if unitary_error(matrix) <= _ROUNDING:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    nearest: NDArray[np.complex128] = left @ right
    return nearest
