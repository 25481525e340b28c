"""The check of every exact evaluation: the identity has the value 1, and no value is complex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError
from hpcq.core.limits import Precision

_NORM_TOLERANCE: dict[Precision, float] = {"double": 1e-8, "single": 1e-3}
"""Tolerated rounding errors by precision: of the norm, which should be 1, and of the values'
imaginary parts, which should be 0."""


def checked_values(
    values: NDArray[np.complex128], precision: Precision, scales: Any = 1.0
) -> NDArray[np.float64]:
    """Return the real parts of values, after checking that the identity is 1 and none is complex.

    The identity's values are then exactly 1, whatever its coefficient.

    Args:
        values: Values of terms, shape (terms, ...); term 0 is the identity.
        precision: Number format of the amplitudes.
        scales: Bounds on the absolute values of the terms, shape (terms, ...).

    Raises:
        HpcqError: If the check fails, or a value is NaN.
    """
    tolerance = _NORM_TOLERANCE[precision]
    if np.isnan(values).any():
        raise HpcqError(
            "a value could not be computed within the error tolerance on this machine, though "
            "the plan expected it; nothing is written: try another --method"
        )
    norms = values[0].reshape(-1)
    worst = norms[np.argmax(np.abs(norms - 1))]
    error = max(float(abs(worst - 1)), float(np.max(np.abs(values.imag) / scales)))
    if not error <= tolerance:
        raise HpcqError(
            f"the reconstructed state has norm {worst:.6g}, expected 1 to {tolerance:g}: "
            "the result would be wrong and is not written; please report the circuit and its "
            "cuts"
        )
    checked = values.real.copy()
    checked[0] = 1.0
    return checked
