"""How much the signals of one shot scatter, and errors drawn from that.

A shot of a variant gives a sign for every entry that the variant feeds (see
:mod:`hpcq.reconstruction.estimation.outcome_signals`), and signs that come from the same shot are
correlated. What is known of their covariance are the counts of all rounds. A few more shots are
supposed, of which nothing is known, because outcomes that did not come may be rare but are not
impossible: with n shots, c_o of them with the outcome o, and x_o its signs, the covariance of one
shot is

    (sum_o c_o (x_o - mean) (x_o - mean)^T + a C) / (n - 1 + a).

C is diagonal and the covariance of fair and independent coins: 1 for signs, less for what
projectors let through half of the time, and 0 for entries that are always 1.
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
"""Supposed shots of a variant, the a above.

Where n shots agree, the mean of their signs is off by about a / n at most. Of 0, 1, 2 and 4, the
last was the only one whose error bars held for means of 0.8 to 0.97 and few shots; elsewhere they
are alike.
"""

_BLOCK_BYTES = 32 << 20
"""Bytes of the largest arrays: a block's factors, its drawn errors, and its scores at a time."""

_DRAWS = 16
"""Errors that are drawn together."""

_MAX_REDUCED_RANK = 32
"""Ranks up to which a factor is made as small as it can be, which takes rank^2 operations."""


@dataclass(frozen=True, eq=False)
class CovarianceBlock:
    """The scatter of some variants of one subcircuit, in the same basis, that read the same bits.

    Attributes:
        variants: Their numbers.
        strings: The strings that they read.
        columns: The place of each of their signals in the table, shape (variants, signals).
        factors: Matrices F, shape (variants, rank, strings * signals), so that F^T F is the sum
            over the shots of (x - mean) (x - mean)^T.
        coins: Variance of an entry of a supposed shot, shape (strings * signals,); 0 for those
            that do not depend on the outcome.
        shots: The variants' shots.
    """

    variants: Indices
    strings: Indices
    columns: Indices
    factors: Reals
    coins: Reals
    shots: Reals

    @property
    def nbytes(self) -> int:
        """Memory of the factors."""
        return self.factors.nbytes

    def of(self, shares: Reals) -> Reals:
        """Pick what belongs to these variants and strings from an array of all of them."""
        return np.asarray(shares[np.ix_(self.variants, self.strings)])

    def variances(self, weights: Reals, shares: Reals) -> Reals:
        """Return the variance of one shot's score: the sum of its signs times their weights.

        Args:
            weights: For each score a weight of each entry of the table, shape (scores, strings of
                the tensor, signals of the tensor).
            shares: How much each variant contributes to each string, shape (variants of the
                tensor, strings of the tensor).

        Returns:
            Shape (variants, scores).
        """
        shares = self.of(shares)
        found = np.empty((len(self.variants), len(weights)))
        batch = max(1, _BLOCK_BYTES // (8 * self.columns.size * len(self.strings)))
        for first in range(0, len(weights), batch):
            some = slice(first, first + batch)
            # Scores, strings, variants, signals; and then variants, entries, scores.
            part = weights[some][:, self.strings][:, :, self.columns]
            part = part * shares.T[None, :, :, None]
            entries = part.transpose(2, 1, 3, 0).reshape(len(self.variants), -1, len(part))
            found[:, some] = np.sum((self.factors @ entries) ** 2, axis=1)
            uncertain = self.coins > 0
            squares = entries[:, uncertain] ** 2 * self.coins[uncertain, None]
            found[:, some] += PSEUDO_SHOTS * np.sum(squares, axis=1)
        return found / self._divisors[:, None]

    def draw(self, number: int, rng: np.random.Generator) -> Reals:
        """Draw errors of the mean of one shot.

        Their covariance is that of one shot. They are sums of few random signs and not Gaussian:
        a product of k Gaussian errors varies by a factor of 3^k in its square, that of signs of
        which there is one each does not vary at all.

        Args:
            number: How many errors to draw of every entry.
            rng: Source of the signs.

        Returns:
            Shape (number, variants, strings, signals).
        """
        variants, rank, entries = self.factors.shape
        signs = random_signs((number, variants, 1, rank), rng)
        found = (signs @ self.factors)[:, :, 0]
        found += np.sqrt(PSEUDO_SHOTS * self.coins) * random_signs((number, variants, entries), rng)
        found /= np.sqrt(self._divisors)[:, None]
        return found.reshape(number, variants, len(self.strings), -1)

    @property
    def _divisors(self) -> Reals:
        return np.maximum(self.shots - 1, 0) + PSEUDO_SHOTS


def blocks_of(reader: SignalReader, counts: Sequence[Counts]) -> Iterator[CovarianceBlock]:
    """Yield the scatter of all variants of a subcircuit that measure anything.

    Args:
        reader: Reads the subcircuit's counts.
        counts: The counts of every round.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for variant in np.flatnonzero(reader.informative).tolist():
        basis = reader.tensor.decode(variant)[1]
        masks = reader.entries(variant)[2]
        groups.setdefault((basis, *masks.tolist()), []).append(variant)
    owners = np.concatenate([np.repeat(np.arange(len(c)), np.diff(c.starts)) for c in counts])
    outcomes = np.concatenate([c.outcomes for c in counts])
    times = np.concatenate([c.times for c in counts]).astype(float)
    order = np.argsort(owners, kind="stable")
    pooled = _Pooled(
        outcomes[order],
        times[order],
        np.searchsorted(owners[order], np.arange(reader.tensor.num_variants + 1)),
    )
    for variants in groups.values():
        yield from _split(reader, pooled, np.array(variants, dtype=np.intp))


@dataclass(frozen=True, eq=False)
class _Pooled:
    """Counts of all rounds, in which an outcome of a variant may come several times."""

    outcomes: NDArray[np.uint64]
    times: Reals
    starts: Indices


def _split(reader: SignalReader, pooled: _Pooled, variants: Indices) -> Iterator[CovarianceBlock]:
    """Yield blocks of variants that fit into some memory."""
    spans = [np.arange(pooled.starts[v], pooled.starts[v + 1]) for v in variants.tolist()]
    places = np.concatenate(spans)
    outcomes, column = np.unique(pooled.outcomes[places], return_inverse=True)
    strings, columns, _ = reader.entries(int(variants[0]))
    entries = len(strings) * len(columns)
    each = 8 * entries * max(len(outcomes), _DRAWS)
    if len(variants) > 1 and len(variants) * each > _BLOCK_BYTES:
        half = len(variants) // 2
        yield from _split(reader, pooled, variants[:half])
        yield from _split(reader, pooled, variants[half:])
        return
    counts = np.zeros((len(variants), len(outcomes)))
    row = np.repeat(np.arange(len(variants)), [len(span) for span in spans])
    np.add.at(counts, (row, column.reshape(-1)), pooled.times[places])
    shots = counts.sum(axis=1)
    signs = reader.signs(int(variants[0]), outcomes)
    means = counts @ signs / np.maximum(shots, 1)[:, None]
    factors = np.sqrt(counts)[:, :, None] * (signs[None] - means[:, None])
    yield CovarianceBlock(
        variants,
        np.array(strings, dtype=np.intp),
        np.stack([reader.entries(v)[1] for v in variants.tolist()]),
        _reduced(factors),
        reader.coin_variances(int(variants[0])),
        shots,
    )


def _reduced(factors: Reals) -> Reals:
    """Return factors of the same products F^T F with as few rows as may be, or not many more."""
    rows, entries = factors.shape[1:]
    if rows == 0 or (min(rows, entries) > _MAX_REDUCED_RANK and rows <= 4 * entries):
        return factors
    return np.asarray(np.linalg.qr(factors, mode="r"), dtype=np.float64)
