"""Shots of each variant: spread evenly, or in proportion to standard deviations (Neyman)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Numbers = NDArray[np.int64]

_EVEN_SHARE = 0.1
"""Fraction of the shots that is spread evenly, a safeguard against wrong variance estimates.

Larger: safer where the variances are badly known, further from the optimum where they are right.
"""


def even_allocation(needed: NDArray[np.bool_], total: int) -> Numbers:
    """Spread shots evenly over the variants that need any, of which there are at most ``total``."""
    shots = np.zeros(len(needed), dtype=np.int64)
    num_needed = int(needed.sum())
    if num_needed:
        shots[needed] = total // num_needed
        shots[np.flatnonzero(needed)[: total % num_needed]] += 1
    return shots


def neyman_allocation(variances: Reals, needed: NDArray[np.bool_], total: int) -> Numbers:
    """Spread shots in proportion to the standard deviations, which makes the variance smallest.

    Args:
        variances: Variance that one shot of each variant would add.
        needed: Whether each variant needs at least one shot; at most ``total`` of them do.
        total: Number of shots, all of which are spread.

    Returns:
        Number of shots of each variant. Most are 2, 3, 4, 6, 8, 12, ..., so that many variants
        have the same number and run together; the most important one gets the remainder.
    """
    num_needed = int(needed.sum())
    if num_needed == 0:
        return np.zeros(len(needed), dtype=np.int64)
    weights = np.where(needed, np.sqrt(variances), 0.0)
    if weights.sum() <= 0:
        return even_allocation(needed, total)
    shares = (1 - _EVEN_SHARE) * weights / weights.sum() + _EVEN_SHARE * needed / num_needed
    low, high = 0.0, 2.0 * total / shares[needed].min()
    # Bisection for the largest scale whose rounded shots do not exceed the total.
    for _ in range(60):
        middle = (low + high) / 2
        if _round_to_grid(middle * shares, needed).sum() <= total:
            low = middle
        else:
            high = middle
    shots = _round_to_grid(low * shares, needed)
    shots[int(np.argmax(shares))] += total - int(shots.sum())
    return shots


def _round_to_grid(ideal: Reals, needed: NDArray[np.bool_]) -> Numbers:
    """Round to the nearest of 1, 2, 3, 4, 6, 8, 12, ... by ratio; to 0 where none are needed."""
    logs = np.log2(np.maximum(ideal, 1.0))
    exponents = np.floor(logs)
    fractions = logs - exponents
    log_1_5 = np.log2(1.5)
    mantissas = np.where(
        fractions < log_1_5 / 2, 1.0, np.where(fractions < (1 + log_1_5) / 2, 1.5, 2.0)
    )
    rounded = np.maximum(np.floor(mantissas * 2.0**exponents), 1.0)
    return np.where(needed, np.minimum(rounded, 2.0**62), 0.0).astype(np.int64)
