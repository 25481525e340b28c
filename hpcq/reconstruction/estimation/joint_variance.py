"""Values of one part from all rounds of joint samples, and their covariances.

The variance among the samples includes the shot noise of each; the correlations of samples that
share shots are added to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpcq.reconstruction.estimation.joint_means import Indices, Reals, SignMeans

_MIN_SAMPLES = 8
"""Samples of a round below which a pseudo-sample is added. Also, correlations of samples that share
shots never reduce a variance to less than 1 / 8 of that among the samples."""

_NEGLIGIBLE_VARIANCE = 1e-24
"""Variance among the samples, relative to the largest possible, up to which they count as equal."""

_MAX_ROWS = 512
"""Rows of a part up to which the covariances of all rounds are summed (two matrices of 2 MiB). With
more rows, the samples of all rounds are kept, and every variance is computed from them anew."""


@dataclass(frozen=True, eq=False)
class PartSamples:
    """The joint samples of one part in one round.

    Attributes:
        factors: For each sample, the product of the factors of its edges, shape (samples,).
        means: For each subcircuit, the means of the samples' signs.
        string_means: For each subcircuit, the values of these means, shape (samples, strings).
        choices: The string of each subcircuit in every row, shape (rows, subcircuits).
    """

    factors: Reals
    means: Sequence[SignMeans]
    string_means: Sequence[Reals]
    choices: Indices

    @cached_property
    def values(self) -> Reals:
        """The value of every row in every sample, shape (samples, rows)."""
        return self._product(range(len(self.string_means)))

    @cached_property
    def mean(self) -> Reals:
        """The estimate of every row."""
        return np.asarray(self.values.mean(axis=0))

    @cached_property
    def deviations(self) -> Reals:
        """Each sample's deviation from the mean over the number of samples, (samples, rows)."""
        return np.asarray((self.values - self.mean) / len(self.factors))

    @property
    def max_variance(self) -> float:
        """Variance that one more sample of the largest possible value would add to a row."""
        return float(self.factors[0] ** 2) / len(self.factors) ** 2

    def shared_variances(self, weights: Reals) -> Reals:
        """Return what shared shots add to the variances of weighted sums of the rows."""
        contributions = [
            means.shared_variances(strings, others, weights)
            for means, strings, others in self._subcircuits
        ]
        return np.asarray(np.sum(contributions, axis=0) / len(self.factors) ** 2)

    def shared_covariance(self) -> Reals:
        """Return what shared shots add to the covariance of the rows."""
        contributions = [
            means.shared_covariance(strings, others) for means, strings, others in self._subcircuits
        ]
        return np.asarray(np.sum(contributions, axis=0) / len(self.factors) ** 2)

    @property
    def _subcircuits(self) -> Iterator[tuple[SignMeans, Indices, Reals]]:
        """For each subcircuit, its means, its strings, and the product of all other factors."""
        for index, means in enumerate(self.means):
            others = [k for k in range(len(self.means)) if k != index]
            yield means, self.choices[:, index], self._product(others)

    def _product(self, subcircuits: Iterable[int]) -> Reals:
        """Return the product of the factors and some subcircuits' means, shape (samples, rows)."""
        columns = [self.string_means[k][:, self.choices[:, k]] for k in subcircuits]
        shape = (len(self.factors), len(self.choices))
        return np.asarray(self.factors[:, None] * math.prod(columns, start=np.ones(shape)))


class PartEstimate:
    """The estimate of one part, which has ``rows`` rows, from all rounds."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._weight = self._max_variance = self._pseudo = 0.0
        self._sum = np.zeros(rows)
        self._kept: list[tuple[float, PartSamples]] = []
        size = rows if rows <= _MAX_ROWS else 0
        self._separate, self._shared = np.zeros((2, size, size))

    def add(self, weight: float, samples: PartSamples) -> None:
        """Add a round; its weight in the average over rounds is not normalised."""
        self._weight += weight
        self._sum = self._sum + weight * samples.mean
        self._max_variance += weight**2 * samples.max_variance
        if len(samples.factors) < _MIN_SAMPLES:
            self._pseudo += weight**2 * samples.max_variance
        if self.rows <= _MAX_ROWS:
            self._separate = self._separate + weight**2 * (
                samples.deviations.T @ samples.deviations
            )
            self._shared = self._shared + weight**2 * samples.shared_covariance()
        else:
            self._kept.append((weight, samples))

    @property
    def values(self) -> Reals:
        """The estimate of every row."""
        return self._sum / self._weight

    def variances(self, weights: Reals) -> Reals:
        """Return the variances of some sums of the rows with these weights, shape (sums, rows)."""
        if self.rows <= _MAX_ROWS:
            separate = np.sum((weights @ self._separate) * weights, axis=1)
            shared = np.sum((weights @ self._shared) * weights, axis=1)
        else:
            separate, shared = np.zeros((2, len(weights)))
            for weight, samples in self._kept:
                separate += weight**2 * np.sum((samples.deviations @ weights.T) ** 2, axis=0)
                shared += weight**2 * samples.shared_variances(weights)
        return self._total(separate, shared, np.sum(weights**2, axis=1))

    @property
    def error_factor(self) -> Reals:
        """A matrix F, shape (rank, rows), so that F^T F is the covariance of the rows.

        Correlations are those among the samples; variances include what shared shots add.
        """
        if self.rows <= _MAX_ROWS:
            eigenvalues, eigenvectors = np.linalg.eigh(self._separate)
            factor = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * eigenvectors.T / self._weight
            diagonals = np.diag(self._separate), np.diag(self._shared)
            variances = self._total(*diagonals, np.ones(self.rows))
        else:
            factor = (
                np.concatenate([w * samples.deviations for w, samples in self._kept]) / self._weight
            )
            unit_weights = (
                np.eye(_MAX_ROWS, self.rows, start)[: self.rows - start]
                for start in range(0, self.rows, _MAX_ROWS)
            )
            variances = np.concatenate([self.variances(weights) for weights in unit_weights])
        separate = np.sum(factor**2, axis=0)
        uncorrelated = np.diag(np.where(separate > 0, 0.0, np.sqrt(variances)))
        scale = np.sqrt(
            np.divide(variances, separate, out=np.zeros_like(separate), where=separate > 0)
        )
        return np.concatenate([factor * scale, uncorrelated[np.any(uncorrelated, axis=1)]])

    def _total(self, separate: Reals, shared: Reals, squares: Reals) -> Reals:
        """Return the variances of weighted sums of the rows from their contributions.

        These are the variances among the samples and what shared shots add to them. ``squares``
        are the sums of the squares of the weights.
        """
        # Few samples, or equal ones, prove little: a pseudo-sample of the largest value is added.
        samples_agree = separate <= _NEGLIGIBLE_VARIANCE * self._max_variance * squares
        separate = separate + np.where(samples_agree, self._max_variance, self._pseudo) * squares
        return np.asarray(np.maximum(separate + shared, separate / _MIN_SAMPLES) / self._weight**2)
