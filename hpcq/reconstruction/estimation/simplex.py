"""The probability distribution that is nearest to estimates, some of which are below zero.

Estimates of probabilities from a cut circuit are unbiased, but none of them need be a probability.
The nearest distribution in the 2-norm is the most likely one if all errors are independent normal
numbers of the same size (Smolin, Gambetta and Smith, Phys. Rev. Lett. 108, 070502 (2012)). As the
true distribution is in the same convex set, the projection never increases the 2-norm of the error.
It is biased, though, so averages and error bars belong to the estimates themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def nearest_distribution(values: Reals) -> Reals:
    """Return the distribution nearest to some values, in O(d log d).

    It is ``max(value - shift, 0)`` with the shift for which the sum is 1.

    Args:
        values: Estimates of the probabilities of all outcomes, shape (outcomes,).

    Example:
        >>> nearest_distribution(np.array([0.75, 0.5, -0.25]))
        array([0.625, 0.375, 0.   ])
    """
    descending = np.sort(values)[::-1]
    shifts = (np.cumsum(descending) - 1) / np.arange(1, len(values) + 1)
    positive = int(np.count_nonzero(descending > shifts))
    # The largest value exceeds its shift, though rounding may hide that where it is very large.
    return np.asarray(np.maximum(values - shifts[max(positive, 1) - 1], 0.0))


def nearest_part_of_distribution(values: Reals) -> Reals:
    """Return the nearest probabilities of some of the outcomes: their sum may be less than 1.

    Args:
        values: Estimates of the probabilities of distinct outcomes, shape (outcomes,).

    Example:
        >>> nearest_part_of_distribution(np.array([0.5, -0.25]))
        array([0.5, 0. ])
    """
    clipped = np.maximum(values, 0.0)
    return clipped if clipped.sum() <= 1 else nearest_distribution(values)
