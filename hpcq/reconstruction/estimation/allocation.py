"""How many shots each variant gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Numbers = NDArray[np.int64]

_EVEN = 0.1
"""Part of the shots that is spread evenly, against estimates that are wrong."""


def even_allocation(needed: NDArray[np.bool_], total: int) -> Numbers:
    """Spread shots evenly over the variants that need any.

    Args:
        needed: Which variants do; there are at most ``total`` of them.
        total: Number of shots.
    """
    shots = np.zeros(len(needed), dtype=np.int64)
    number = int(needed.sum())
    if number:
        shots[needed] = total // number
        shots[np.flatnonzero(needed)[: total % number]] += 1
    return shots


def neyman_allocation(spreads: Reals, needed: NDArray[np.bool_], total: int) -> Numbers:
    """Spread shots so that the variance is small: in proportion to the standard deviations.

    Args:
        spreads: Variance that one shot of each variant would add.
        needed: Which variants need at least one shot; at most ``total``.
        total: Number of shots, all of which are spread.

    Returns:
        Numbers of shots. Most are 2, 3, 4, 6, 8, 12, ..., so that many variants have the same
        number and run together; the most important one gets what is left over.
    """
    number = int(needed.sum())
    if number == 0:
        return np.zeros(len(needed), dtype=np.int64)
    weights = np.where(needed, np.sqrt(spreads), 0.0)
    if weights.sum() <= 0:
        return even_allocation(needed, total)
    shares = (1 - _EVEN) * weights / weights.sum() + _EVEN * needed / number
    low, high = 0.0, 2.0 * total / shares[needed].min()
    for _ in range(60):
        middle = (low + high) / 2
        if _rounded(middle * shares, needed).sum() <= total:
            low = middle
        else:
            high = middle
    shots = _rounded(low * shares, needed)
    shots[int(np.argmax(shares))] += total - int(shots.sum())
    return shots


def _rounded(wanted: Reals, needed: NDArray[np.bool_]) -> Numbers:
    """Round to the nearest of 1, 2, 3, 4, 6, 8, 12, ... by ratio; to 0 where none are needed."""
    logs = np.log2(np.maximum(wanted, 1.0))
    whole = np.floor(logs)
    rest = logs - whole
    half = np.log2(1.5)
    steps = np.where(rest < half / 2, 1.0, np.where(rest < (1 + half) / 2, 1.5, 2.0))
    rounded = np.maximum(np.floor(steps * 2.0**whole), 1.0)
    return np.where(needed, np.minimum(rounded, 2.0**62), 0.0).astype(np.int64)
