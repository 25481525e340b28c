"""Seeds that follow from another one."""

from __future__ import annotations

import numpy as np


def sub_seed(seed: int, number: int) -> int:
    """Return the seed of one among several parts of a computation, such as programs or starts.

    Seeds of different numbers are statistically independent, and each is below 2**32.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
