"""How the estimate of one part scatters that one round of joint samples gives.

The spread of the samples counts what each one's own shots add; to that comes what samples have in
common because they share shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpcq.shots.joint_means import Indices, Means, Reals

_FEW = 8
"""Samples below which one more is supposed; what samples share is never taken to cancel more than
all but this fraction of their spread."""

_AGREES = 1e-24
"""Spread of the samples relative to the largest possible, below which they are said to agree."""

_MAX_ROWS = 512
"""Rows of a part up to which their covariance is kept, 2 MiB of it; variances are then quick."""


@dataclass(frozen=True, eq=False)
class PartScatter:
    """The joint samples of one part in one round.

    Attributes:
        factors: Product of the factors of every sample's edges, shape (samples,).
        means: What the samples read at each subcircuit.
        found: The means of each subcircuit's strings, shape (samples, strings).
        choices: The string of each subcircuit in every row, shape (rows, subcircuits).
    """

    factors: Reals
    means: Sequence[Means]
    found: Sequence[Reals]
    choices: Indices

    @cached_property
    def values(self) -> Reals:
        """Every sample's value of every row, shape (samples, rows)."""
        return self._product(range(len(self.found)))

    @cached_property
    def mean(self) -> Reals:
        """The estimate of every row."""
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def away(self) -> Reals:
        """Every sample's distance from the estimate over their number, shape (samples, rows)."""
        return np.asarray((self.values - self.mean) / len(self.values))

    def variances(self, weights: Reals) -> Reals:
        """Return the variances of some weighted sums of the rows.

        Args:
            weights: Weight of each row in each sum, shape (sums, rows).
        """
        if self.values.shape[1] <= _MAX_ROWS:
            alone = np.sum((weights @ self._spread) * weights, axis=1)
            shared = np.sum((weights @ self._shared) * weights, axis=1)
        else:
            alone = np.sum((self.away @ weights.T) ** 2, axis=0)
            shared = np.sum(
                [
                    means.shared(strings, others, weights)
                    for means, strings, others in self._subcircuits
                ],
                axis=0,
            )
            shared = shared / len(self.values) ** 2
        return self._total(alone, shared, np.sum(weights**2, axis=1))

    @cached_property
    def row_variances(self) -> Reals:
        """The variances of the rows, shape (rows,)."""
        rows = self.values.shape[1]
        if rows <= _MAX_ROWS:
            return self._total(np.diag(self._spread), np.diag(self._shared), np.ones(rows))
        found = [
            self.variances(np.eye(_MAX_ROWS, rows, start)[: rows - start])
            for start in range(0, rows, _MAX_ROWS)
        ]
        return np.concatenate(found)

    def _total(self, alone: Reals, shared: Reals, squares: Reals) -> Reals:
        """Add up what samples scatter alone and together.

        Args:
            alone: The variances by the spread of the samples.
            shared: What samples that share shots add to them.
            squares: Sums of the squares of the weights.
        """
        samples = len(self.values)
        # Of a few samples, or some that agree, one more is supposed, as large as any can be.
        largest = self.factors[0] ** 2 * squares / samples**2
        few = (samples < _FEW) | (alone <= _AGREES * largest)
        alone = np.where(few, alone + largest, alone)
        return np.asarray(np.maximum(alone + shared, alone / _FEW))

    @cached_property
    def _spread(self) -> Reals:
        return np.asarray(self.away.T @ self.away)

    @cached_property
    def _shared(self) -> Reals:
        found = [
            means.shared_covariance(strings, others) for means, strings, others in self._subcircuits
        ]
        return np.asarray(np.sum(found, axis=0) / len(self.values) ** 2)

    @property
    def _subcircuits(self) -> Iterator[tuple[Means, Indices, Reals]]:
        """Each subcircuit's means, its strings, and the product of all else in every value."""
        for place, means in enumerate(self.means):
            others = [k for k in range(len(self.means)) if k != place]
            yield means, self.choices[:, place], self._product(others)

    def _product(self, places: Iterable[int]) -> Reals:
        """Multiply the factors and the means of some subcircuits, shape (samples, rows)."""
        columns = [self.found[place][:, self.choices[:, place]] for place in places]
        shape = (len(self.factors), len(self.choices))
        return np.asarray(self.factors[:, None] * math.prod(columns, start=np.ones(shape)))
