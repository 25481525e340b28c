"""Outcomes that may be the most probable ones, and a bound on all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Candidates:
    """Distinct outcomes with their probabilities, and what is certain about the others.

    Attributes:
        outcomes: Packed outcomes, uint8, shape (n, bytes).
        probabilities: Their probabilities, shape (n,).
        others: Bound on the probability of every outcome that is not among them.
    """

    outcomes: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    others: float

    def best(self, number: int) -> Candidates:
        """Return the most probable ones, in descending order."""
        order = np.argsort(-self.probabilities, kind="stable")
        kept, left_out = order[:number], order[number:]
        others = max(self.others, float(self.probabilities[left_out].max(initial=0.0)))
        return Candidates(self.outcomes[kept], self.probabilities[kept], others)


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Return all candidates of several searches; what none of them found is below every bound."""
    outcomes = np.concatenate([part.outcomes for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    distinct, first = np.unique(outcomes, axis=0, return_index=True)
    return Candidates(distinct, probabilities[first], min(part.others for part in parts))
