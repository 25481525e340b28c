"""The covariance of the signals of one shot, and errors drawn with that covariance.

A shot of a variant gives a sign for every entry of the table that the variant feeds (see
:mod:`hpcq.reconstruction.estimation.outcome_signals`), and signs of the same shot are correlated.
Their covariance is estimated from the counts of all rounds and a few pseudo-shots, because outcomes
that did not occur may be rare but are not impossible. With n shots, c_o of them with the outcome o,
the signs x_o of that outcome, and a pseudo-shots, the covariance of one shot is

    (sum_o c_o (x_o - mean) (x_o - mean)^T + a C) / (n - 1 + a).

C is diagonal, the covariance of fair and independent coins: 1 for signs, less where a projector
passes half of the shots, and 0 for entries that are always 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.outcome_signals import SignalReader
from hpcq.reconstruction.estimation.product_variance import random_signs

Reals = NDArray[np.float64]
Indices = NDArray[np.intp]

PSEUDO_SHOTS = 4.0
"""Pseudo-shots of a variant, the a above.

Where n shots agree, the mean of their signs is off by about a / n at most. Of 0, 1, 2 and 4, only
4 gave error bars that held for means of 0.8 to 0.97 with few shots; elsewhere they are alike.
"""

_BLOCK_BYTES = 32 << 20
"""Bytes of the largest arrays: the factors of a block, its drawn errors, a batch of its scores."""

_DRAWS_PER_BLOCK = 16
"""Errors that are drawn together, for which a block leaves memory."""

_MAX_QR_RANK = 32
"""Rank up to which factors are always compressed by QR, in about rank^2 operations for each row or
column; factors of higher rank only where that leaves less than a quarter of their rows."""


@dataclass(frozen=True, eq=False)
class CovarianceBlock:
    """Covariances of some variants of one subcircuit that share a basis and read the same bits.

    Attributes:
        variants: Numbers of the variants.
        strings: The strings that they read.
        columns: Column of the table for each of their signals, shape (variants, signals).
        factors: Matrices F, shape (variants, rank, strings * signals), so that F^T F is the sum
            over the shots of (x - mean) (x - mean)^T.
        pseudo_variances: Variance of each entry in a pseudo-shot, the diagonal of C, shape
            (strings * signals,); 0 for entries that do not depend on the outcome.
        shots: Number of shots of each variant.
    """

    variants: Indices
    strings: Indices
    columns: Indices
    factors: Reals
    pseudo_variances: Reals
    shots: Reals

    def select(self, shares: Reals) -> Reals:
        """Return the entries of these variants and strings from an array of all of them."""
        return np.asarray(shares[np.ix_(self.variants, self.strings)])

    def variances(self, weights: Reals, shares: Reals) -> Reals:
        """Return the variance of one shot's score: the sum of its signs times their weights.

        Args:
            weights: For each score, the weight of each entry of the table, shape (scores, strings
                of the tensor, signals of the tensor).
            shares: Weight of each variant's mean in each string, shape (variants of the tensor,
                strings of the tensor).

        Returns:
            Shape (variants, scores).
        """
        shares = self.select(shares)
        variances = np.empty((len(self.variants), len(weights)))
        batch_size = max(1, _BLOCK_BYTES // (8 * self.columns.size * len(self.strings)))
        for first in range(0, len(weights), batch_size):
            scores = slice(first, first + batch_size)
            # Axes: scores, strings, variants, signals; then variants, entries, scores.
            weighted = weights[scores][:, self.strings][:, :, self.columns]
            weighted = weighted * shares.T[None, :, :, None]
            entries = weighted.transpose(2, 1, 3, 0).reshape(len(self.variants), -1, len(weighted))
            variances[:, scores] = np.sum((self.factors @ entries) ** 2, axis=1)
            uncertain = self.pseudo_variances > 0
            squares = entries[:, uncertain] ** 2 * self.pseudo_variances[uncertain, None]
            variances[:, scores] += PSEUDO_SHOTS * np.sum(squares, axis=1)
        return variances / self._divisors[:, None]

    def draw(self, num_errors: int, rng: np.random.Generator) -> Reals:
        """Draw errors with the covariance of one shot, shape (errors, variants, strings, signals).

        They are sums of few random signs and not Gaussian: the square of a product of k Gaussian
        errors has a relative variance of 3^k - 1, that of a product of k single signs has none.
        """
        variants, rank, entries = self.factors.shape
        signs = random_signs((num_errors, variants, 1, rank), rng)
        errors = (signs @ self.factors)[:, :, 0]
        errors += np.sqrt(PSEUDO_SHOTS * self.pseudo_variances) * random_signs(
            (num_errors, variants, entries), rng
        )
        errors /= np.sqrt(self._divisors)[:, None]
        return errors.reshape(num_errors, variants, len(self.strings), -1)

    @property
    def _divisors(self) -> Reals:
        return np.maximum(self.shots - 1, 0) + PSEUDO_SHOTS


def covariance_blocks(reader: SignalReader, counts: Sequence[Counts]) -> Iterator[CovarianceBlock]:
    """Yield the covariances of a subcircuit's variants that measure anything, from all rounds."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for variant in np.flatnonzero(reader.informative).tolist():
        basis = reader.tensor.decode(variant)[1]
        masks = reader.entries(variant)[2]
        groups.setdefault((basis, *masks.tolist()), []).append(variant)
    variants = np.concatenate(
        [np.repeat(np.arange(len(one_round)), np.diff(one_round.starts)) for one_round in counts]
    )
    outcomes = np.concatenate([one_round.outcomes for one_round in counts])
    frequencies = np.concatenate([one_round.frequencies for one_round in counts]).astype(float)
    by_variant = np.argsort(variants, kind="stable")
    # Of all rounds: an outcome of a variant may be listed several times.
    pooled = Counts(
        outcomes[by_variant],
        frequencies[by_variant],
        np.searchsorted(variants[by_variant], np.arange(reader.tensor.num_variants + 1)),
    )
    for group in groups.values():
        yield from _split(reader, pooled, np.array(group, dtype=np.intp))


def _split(reader: SignalReader, pooled: Counts, variants: Indices) -> Iterator[CovarianceBlock]:
    """Yield blocks of at most ``_BLOCK_BYTES``, halving the variants until they fit."""
    spans = [np.arange(pooled.starts[v], pooled.starts[v + 1]) for v in variants.tolist()]
    indices = np.concatenate(spans)
    outcomes, outcome_indices = np.unique(pooled.outcomes[indices], return_inverse=True)
    strings, columns, _ = reader.entries(int(variants[0]))
    entries = len(strings) * len(columns)
    bytes_per_variant = 8 * entries * max(len(outcomes), _DRAWS_PER_BLOCK)
    if len(variants) > 1 and len(variants) * bytes_per_variant > _BLOCK_BYTES:
        half = len(variants) // 2
        yield from _split(reader, pooled, variants[:half])
        yield from _split(reader, pooled, variants[half:])
        return
    counts = np.zeros((len(variants), len(outcomes)))
    rows = np.repeat(np.arange(len(variants)), [len(span) for span in spans])
    np.add.at(counts, (rows, outcome_indices.reshape(-1)), pooled.frequencies[indices])
    shots = counts.sum(axis=1)
    signs = reader.signs(int(variants[0]), outcomes)
    means = counts @ signs / np.maximum(shots, 1)[:, None]
    factors = np.sqrt(counts)[:, :, None] * (signs[None] - means[:, None])
    yield CovarianceBlock(
        variants,
        np.array(strings, dtype=np.intp),
        np.stack([reader.entries(v)[1] for v in variants.tolist()]),
        _compress(factors),
        reader.fair_coin_variances(int(variants[0])),
        shots,
    )


def _compress(factors: Reals) -> Reals:
    """Return factors with the same products F^T F, of fewer rows where a QR is worth its time."""
    rows, entries = factors.shape[1:]
    if rows == 0 or (min(rows, entries) > _MAX_QR_RANK and rows <= 4 * entries):
        return factors
    return np.asarray(np.linalg.qr(factors, mode="r"), dtype=np.float64)
