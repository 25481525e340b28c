"""Means of the signs that joint samples read at one subcircuit, and the errors they share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.outcome_signals import parity, string_signs

Reals = NDArray[np.float64]
Indices = NDArray[np.intp]


class SignMeans:
    """Means of the signs that joint samples ask one source for.

    Args:
        tensor: The source.
        rows: The variants that were run.
        counts: Their counts.
        signals: The samples' signals, shape (samples, ports).
    """

    def __init__(
        self,
        tensor: SampledTensor,
        rows: NDArray[np.int16],
        counts: Counts,
        signals: Indices,
    ) -> None:
        self.tensor = tensor
        self.counts = counts
        self.place = {tuple(row): i for i, row in enumerate(rows.tolist())}
        self.samples = len(signals)
        self._variants = _variants(tensor, signals)

    def values(self) -> Reals:
        """Return the mean for every sample and string, shape (samples, strings)."""
        found = np.zeros((self.samples, len(self.tensor.strings)))
        identities = np.array([not string for string in self.tensor.strings])
        for settings, samples, masks in self._variants:
            shares = self._shares(settings)
            for basis in np.flatnonzero(shares.any(axis=1)).tolist():
                strings = np.flatnonzero(shares[basis])
                outcomes, times = self.counts.of(self.place[*settings, basis])
                of_ports = parity(outcomes, masks) * (times / times.sum())[:, None]
                of_strings = string_signs(self.tensor, outcomes, strings) * shares[basis, strings]
                found[np.ix_(samples, strings)] += of_ports.T @ of_strings
            certain = samples[masks == 0]
            found[np.ix_(certain, np.flatnonzero(identities))] = 1.0
        return found

    def shared(self, strings: Indices, others: Reals, weights: Reals) -> Reals:
        """Return what samples that share shots add to the variances of sums over all samples.

        Args:
            strings: This subcircuit's string in every row of the part.
            others: Product of the other subcircuits' means and the factor, shape (samples, rows).
            weights: Weight of each row in each sum, shape (sums, rows).
        """
        total = np.zeros(len(weights))
        for scores, chances, shots in self._scores(strings, others):
            each = scores @ weights.T
            alone = np.sum(_variance(each, chances), axis=0)
            total += (_variance(each.sum(axis=1), chances) - alone) / shots
        return total

    def shared_covariance(self, strings: Indices, others: Reals) -> Reals:
        """Return the same as a covariance of the rows, shape (rows, rows)."""
        total = np.zeros((len(strings), len(strings)))
        for scores, chances, shots in self._scores(strings, others):
            outcomes, samples, rows = scores.shape
            means = np.tensordot(chances, scores, axes=1)
            away = np.sqrt(chances)[:, None, None] * (scores - means)
            together = away.sum(axis=1)
            alone = away.reshape(outcomes * samples, rows)
            total += (together.T @ together - alone.T @ alone) / shots
        return total

    def _scores(self, strings: Indices, others: Reals) -> Iterator[tuple[Reals, Reals, float]]:
        """Yield for every variant that several samples share what its outcomes add to them.

        Yields:
            The scores, shape (outcomes, samples, rows), how often each outcome came, and the shots.
        """
        for settings, samples, masks in self._variants:
            if len(samples) < 2:
                continue
            shares = self._shares(settings)
            for basis in np.flatnonzero(shares[:, strings].any(axis=1)).tolist():
                outcomes, times = self.counts.of(self.place[*settings, basis])
                of_strings = string_signs(self.tensor, outcomes, strings) * shares[basis, strings]
                scores = parity(outcomes, masks)[:, :, None] * of_strings[:, None, :]
                scores *= others[samples]
                yield scores, times / times.sum(), float(times.sum())

    def _shares(self, settings: tuple[int, ...]) -> Reals:
        """Return with which weight each basis enters each string, shape (bases, strings)."""
        shots = [
            float(self.counts.shots[self.place[*settings, b]])
            if (*settings, b) in self.place
            else 0.0
            for b in range(len(self.tensor.bases))
        ]
        weighted = np.array(shots)[:, None] * self._reads
        total = weighted.sum(axis=0)
        return np.asarray(np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0))

    @cached_property
    def _reads(self) -> Reals:
        """1 where a basis reads a string, shape (bases, strings)."""
        reads = np.zeros((len(self.tensor.bases), len(self.tensor.strings)))
        for basis, strings in enumerate(self.tensor.measured_strings):
            reads[basis, list(strings)] = 1.0
        return reads


def distinct_variants(
    tensor: SampledTensor, signals: Indices
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the distinct variants of joint samples that measure anything, and how often."""
    settings, _ = _decode(tensor, signals)
    distinct, times = np.unique(settings, axis=0, return_counts=True)
    rows, weights = [], []
    for own, number in zip(distinct.tolist(), times.tolist(), strict=True):
        for basis in range(len(tensor.bases)):
            if tensor.bit_mask(own, basis):
                rows.append([*own, basis])
                weights.append(number)
    width = len(tensor.ports) + 1
    return np.array(rows, dtype=np.int16).reshape(-1, width), np.array(weights, dtype=np.int64)


def _variants(
    tensor: SampledTensor, signals: Indices
) -> list[tuple[tuple[int, ...], Indices, NDArray[np.uint64]]]:
    """Return the distinct settings, the samples that have them, and their masks of signs."""
    settings, masks = _decode(tensor, signals)
    distinct, place = np.unique(settings, axis=0, return_inverse=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(place[order])) + 1)
    return [
        (tuple(own), group, masks[group])
        for own, group in zip(distinct.tolist(), groups, strict=True)
    ]


def _decode(
    tensor: SampledTensor, signals: Indices
) -> tuple[NDArray[np.int16], NDArray[np.uint64]]:
    """Return the settings and the masks of the ports' signs of every sample."""
    settings = np.zeros(signals.shape, dtype=np.int16)
    masks = np.zeros(len(signals), dtype=np.uint64)
    for place, (port_basis, bit) in enumerate(
        zip(tensor.port_bases, tensor.port_bits, strict=True)
    ):
        table = np.array(port_basis.signals)
        settings[:, place] = table[signals[:, place], 0]
        if bit is not None:
            masks |= (table[signals[:, place], 1].astype(np.uint64)) << np.uint64(bit)
    return settings, masks


def _variance(scores: Reals, chances: Reals) -> Reals:
    """Return the variance of one shot's scores, whose first axis is the outcome."""
    mean = np.tensordot(chances, scores, axes=1)
    return np.asarray(np.tensordot(chances, (scores - mean) ** 2, axes=1))
