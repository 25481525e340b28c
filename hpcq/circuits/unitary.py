"""Matrices that are unitary but for rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-13
"""Matrices that are off by less stay as they are, bit for bit."""


def unitary_error(matrix: NDArray[np.complex128]) -> float:
    """Return the largest entry of U^dagger U - 1; NaN where an entry is not finite."""
    with np.errstate(all="ignore"):
        return float(np.abs(matrix.conj().T @ matrix - np.eye(len(matrix))).max())


def nearest_unitary(matrix: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return the unitary nearest to a matrix (its polar factor), or itself if it is unitary.

    Decompositions compare to about 1e-13 and fail for matrices that are further off.
    """
    if unitary_error(matrix) <= _ROUNDING:
        return matrix
    left, _, right = np.linalg.svd(matrix)
    nearest: NDArray[np.complex128] = left @ right
    return nearest
