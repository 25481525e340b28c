"""Values of one part from all rounds of joint samples, and how they scatter.

The spread of the samples counts what each one's own shots add; to that comes what samples have in
common because they share shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpcq.reconstruction.estimation.joint_means import Indices, Reals, SignMeans

_FEW = 8
"""Samples of a round below which one more is supposed; what samples share is never taken to cancel
more than all but this fraction of their spread."""

_AGREES = 1e-24
"""Spread of the samples relative to the largest possible, below which they are said to agree."""

_MAX_ROWS = 512
"""Rows of a part up to which the covariances of all rounds are summed, 4 MiB; each round's samples
are kept otherwise, and looked at again every time."""


@dataclass(frozen=True, eq=False)
class PartSamples:
    """The joint samples of one part in one round.

    Attributes:
        factors: Product of the factors of every sample's edges, shape (samples,).
        means: What the samples read at each subcircuit.
        found: The means of each subcircuit's strings, shape (samples, strings).
        choices: The string of each subcircuit in every row, shape (rows, subcircuits).
    """

    factors: Reals
    means: Sequence[SignMeans]
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
        return np.asarray((self.values - self.mean) / len(self.factors))

    @property
    def largest(self) -> float:
        """Variance that one more sample would add to a row, if it were as large as any can be."""
        return float(self.factors[0] ** 2) / len(self.factors) ** 2

    def shared(self, weights: Reals) -> Reals:
        """Return what samples that share shots add to the variances of weighted sums of rows."""
        found = [
            means.shared(strings, others, weights) for means, strings, others in self._subcircuits
        ]
        return np.asarray(np.sum(found, axis=0) / len(self.factors) ** 2)

    def shared_covariance(self) -> Reals:
        """Return the same as a covariance of the rows."""
        found = [
            means.shared_covariance(strings, others) for means, strings, others in self._subcircuits
        ]
        return np.asarray(np.sum(found, axis=0) / len(self.factors) ** 2)

    @property
    def _subcircuits(self) -> Iterator[tuple[SignMeans, Indices, Reals]]:
        """Each subcircuit's means, its strings, and the product of all else in every value."""
        for place, means in enumerate(self.means):
            others = [k for k in range(len(self.means)) if k != place]
            yield means, self.choices[:, place], self._product(others)

    def _product(self, places: Iterable[int]) -> Reals:
        """Multiply the factors and the means of some subcircuits, shape (samples, rows)."""
        columns = [self.found[place][:, self.choices[:, place]] for place in places]
        shape = (len(self.factors), len(self.choices))
        return np.asarray(self.factors[:, None] * math.prod(columns, start=np.ones(shape)))


class PartEstimate:
    """What all rounds say of one part.

    Args:
        rows: Number of its rows.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._weight = self._largest = self._supposed = 0.0
        self._sum = np.zeros(rows)
        self._kept: list[tuple[float, PartSamples]] = []
        size = rows if rows <= _MAX_ROWS else 0
        self._alone, self._shared = np.zeros((2, size, size))

    def add(self, weight: float, samples: PartSamples) -> None:
        """Take a round in.

        Args:
            weight: Its weight in the average over rounds, not normalised.
            samples: Its samples.
        """
        self._weight += weight
        self._sum = self._sum + weight * samples.mean
        self._largest += weight**2 * samples.largest
        if len(samples.factors) < _FEW:
            self._supposed += weight**2 * samples.largest
        if self.rows <= _MAX_ROWS:
            self._alone = self._alone + weight**2 * (samples.away.T @ samples.away)
            self._shared = self._shared + weight**2 * samples.shared_covariance()
        else:
            self._kept.append((weight, samples))

    @property
    def values(self) -> Reals:
        """The estimate of every row."""
        return self._sum / self._weight

    def variances(self, weights: Reals) -> Reals:
        """Return the variances of some weighted sums of the rows.

        Args:
            weights: Weight of each row in each sum, shape (sums, rows).
        """
        if self.rows <= _MAX_ROWS:
            alone = np.sum((weights @ self._alone) * weights, axis=1)
            shared = np.sum((weights @ self._shared) * weights, axis=1)
        else:
            alone, shared = np.zeros((2, len(weights)))
            for weight, samples in self._kept:
                alone += weight**2 * np.sum((samples.away @ weights.T) ** 2, axis=0)
                shared += weight**2 * samples.shared(weights)
        return self._total(alone, shared, np.sum(weights**2, axis=1))

    @property
    def error_factor(self) -> Reals:
        """A matrix F with the covariance F^T F of the rows, shape (rank, rows).

        Correlations are those of the samples, variances include what samples share.
        """
        if self.rows <= _MAX_ROWS:
            sizes, vectors = np.linalg.eigh(self._alone)
            factor = np.sqrt(np.maximum(sizes, 0))[:, None] * vectors.T / self._weight
            parts = np.diag(self._alone), np.diag(self._shared)
            variances = self._total(*parts, np.ones(self.rows))
        else:
            factor = np.concatenate([w * samples.away for w, samples in self._kept]) / self._weight
            eyes = (
                np.eye(_MAX_ROWS, self.rows, start)[: self.rows - start]
                for start in range(0, self.rows, _MAX_ROWS)
            )
            variances = np.concatenate([self.variances(eye) for eye in eyes])
        alone = np.sum(factor**2, axis=0)
        certain = np.diag(np.where(alone > 0, 0.0, np.sqrt(variances)))
        scale = np.sqrt(np.divide(variances, alone, out=np.zeros_like(alone), where=alone > 0))
        return np.concatenate([factor * scale, certain[np.any(certain, axis=1)]])

    def _total(self, alone: Reals, shared: Reals, squares: Reals) -> Reals:
        """Add up what samples scatter alone and together, over the rounds' weights.

        Args:
            alone: The variances by the spread of the samples.
            shared: What samples that share shots add to them.
            squares: Sums of the squares of the weights.
        """
        # Of a few samples, or some that agree, one more is supposed, as large as any can be.
        agree = alone <= _AGREES * self._largest * squares
        alone = alone + np.where(agree, self._largest, self._supposed) * squares
        return np.asarray(np.maximum(alone + shared, alone / _FEW) / self._weight**2)
