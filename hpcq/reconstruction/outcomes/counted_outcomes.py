"""Samples of outcomes: the distinct ones, with counts and exact probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import ascending


@dataclass(frozen=True, eq=False)
class CountedOutcomes:
    """Distinct outcomes in ascending order.

    Attributes:
        outcomes: Outcomes of all qubits as in :mod:`~hpcq.circuits.packed_bits`,
            shape (n, bytes).
        counts: Number of shots of each, int64, at least 1, shape (n,).
        log_probabilities: Natural logarithm of the exact probability of each, shape (n,).
    """

    outcomes: NDArray[np.uint8]
    counts: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities; those of 1,000 qubits and more may be too small for a float, and 0."""
        return np.exp(self.log_probabilities)

    @property
    def shots(self) -> int:
        """Number of shots."""
        return int(self.counts.sum())

    @classmethod
    def merged(cls, parts: Sequence[CountedOutcomes]) -> CountedOutcomes:
        """Return the samples of all parts; the same whatever their order and their grouping."""
        outcomes = np.concatenate([part.outcomes for part in parts])
        counts = np.concatenate([part.counts for part in parts])
        logs = np.concatenate([part.log_probabilities for part in parts])
        order = ascending(outcomes)
        outcomes, counts, logs = outcomes[order], counts[order], logs[order]
        changes = (outcomes[1:] != outcomes[:-1]).any(axis=1)
        starts = np.flatnonzero(np.concatenate([[True], changes]))
        # Probabilities of equal outcomes differ by rounding errors at most.
        return cls(
            outcomes[starts], np.add.reduceat(counts, starts), np.maximum.reduceat(logs, starts)
        )
