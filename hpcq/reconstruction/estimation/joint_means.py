"""Means of the signs of joint samples at one subcircuit, and the errors that samples share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.outcome_signals import parity, string_signs

Reals = NDArray[np.float64]
Indices = NDArray[np.intp]


class SignMeans:
    """Means of the signs of joint samples at one source.

    Args:
        tensor: The source.
        rows: The variants that were run, each its settings, then its basis.
        counts: The counts of these variants.
        signals: The signal of each sample at each port, shape (samples, ports).
    """

    def __init__(
        self, tensor: SampledTensor, rows: NDArray[np.int16], counts: Counts, signals: Indices
    ) -> None:
        self.tensor = tensor
        self.counts = counts
        self.row_index = {tuple(row): index for index, row in enumerate(rows.tolist())}
        self.num_samples = len(signals)
        self._variants = _variants(tensor, signals)

    def values(self) -> Reals:
        """Return the mean sign of every sample and string, shape (samples, strings)."""
        means = np.zeros((self.num_samples, len(self.tensor.strings)))
        identities = np.array([not string for string in self.tensor.strings])
        for settings, samples, masks in self._variants:
            shares = self._shares(settings)
            for basis in np.flatnonzero(shares.any(axis=1)).tolist():
                strings = np.flatnonzero(shares[basis])
                outcomes, frequencies = self.counts.of_variant(self.row_index[*settings, basis])
                of_ports = parity(outcomes, masks) * (frequencies / frequencies.sum())[:, None]
                of_strings = string_signs(self.tensor, outcomes, strings) * shares[basis, strings]
                means[np.ix_(samples, strings)] += of_ports.T @ of_strings
            certain = samples[masks == 0]
            means[np.ix_(certain, np.flatnonzero(identities))] = 1.0
        return means

    def shared_variances(self, strings: Indices, others: Reals, weights: Reals) -> Reals:
        """Return what shared shots add to the variances of weighted sums over all samples.

        Samples with the same variant share its shots, so that their means are correlated.

        Args:
            strings: This subcircuit's string in every row of the part.
            others: Product of the sample's factor and the means of the other subcircuits, shape
                (samples, rows).
            weights: Weight of each row in each sum, shape (sums, rows).

        Returns:
            Shape (sums,).
        """
        total = np.zeros(len(weights))
        for scores, probabilities, shots in self._scores(strings, others):
            sums = scores @ weights.T
            separate = np.sum(_variance(sums, probabilities), axis=0)
            total += (_variance(sums.sum(axis=1), probabilities) - separate) / shots
        return total

    def shared_covariance(self, strings: Indices, others: Reals) -> Reals:
        """Return what shared shots add to the covariance of the rows, shape (rows, rows)."""
        total = np.zeros((len(strings), len(strings)))
        for scores, probabilities, shots in self._scores(strings, others):
            outcomes, samples, rows = scores.shape
            means = np.tensordot(probabilities, scores, axes=1)
            deviations = np.sqrt(probabilities)[:, None, None] * (scores - means)
            joint = deviations.sum(axis=1)
            separate = deviations.reshape(outcomes * samples, rows)
            total += (joint.T @ joint - separate.T @ separate) / shots
        return total

    def _scores(self, strings: Indices, others: Reals) -> Iterator[tuple[Reals, Reals, float]]:
        """Yield the scores of the outcomes of every variant that several samples share.

        Yields:
            The scores, shape (outcomes, samples, rows), the relative frequency of each outcome, and
            the number of shots.
        """
        for settings, samples, masks in self._variants:
            if len(samples) < 2:
                continue
            shares = self._shares(settings)
            for basis in np.flatnonzero(shares[:, strings].any(axis=1)).tolist():
                outcomes, frequencies = self.counts.of_variant(self.row_index[*settings, basis])
                of_strings = string_signs(self.tensor, outcomes, strings) * shares[basis, strings]
                scores = parity(outcomes, masks)[:, :, None] * of_strings[:, None, :]
                scores *= others[samples]
                yield scores, frequencies / frequencies.sum(), float(frequencies.sum())

    def _shares(self, settings: tuple[int, ...]) -> Reals:
        """Return the weight of each basis in the mean of each string, shape (bases, strings)."""
        shots = [
            float(self.counts.shots[self.row_index[*settings, basis]])
            if (*settings, basis) in self.row_index
            else 0.0
            for basis in range(len(self.tensor.bases))
        ]
        weighted = np.array(shots)[:, None] * self.tensor.reads
        total = weighted.sum(axis=0)
        return np.asarray(np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0))


def distinct_variants(
    tensor: SampledTensor, signals: Indices
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the distinct variants of joint samples that measure anything, with frequencies."""
    settings, _ = _settings_and_masks(tensor, signals)
    distinct, frequencies = np.unique(settings, axis=0, return_counts=True)
    rows, weights = [], []
    for setting, frequency in zip(distinct.tolist(), frequencies.tolist(), strict=True):
        for basis in range(len(tensor.bases)):
            if tensor.bit_mask(setting, basis):
                rows.append([*setting, basis])
                weights.append(frequency)
    width = len(tensor.ports) + 1
    return np.array(rows, dtype=np.int16).reshape(-1, width), np.array(weights, dtype=np.int64)


def _variants(
    tensor: SampledTensor, signals: Indices
) -> list[tuple[tuple[int, ...], Indices, NDArray[np.uint64]]]:
    """Return the distinct settings, each with its samples and the masks of their signs."""
    settings, masks = _settings_and_masks(tensor, signals)
    distinct, indices = np.unique(settings, axis=0, return_inverse=True)
    indices = indices.reshape(-1)
    by_setting = np.argsort(indices, kind="stable")
    groups = np.split(by_setting, np.flatnonzero(np.diff(indices[by_setting])) + 1)
    return [
        (tuple(setting), group, masks[group])
        for setting, group in zip(distinct.tolist(), groups, strict=True)
    ]


def _settings_and_masks(
    tensor: SampledTensor, signals: Indices
) -> tuple[NDArray[np.int16], NDArray[np.uint64]]:
    """Return for every sample its settings and the mask of the bits whose parity is its sign."""
    settings = np.zeros(signals.shape, dtype=np.int16)
    masks = np.zeros(len(signals), dtype=np.uint64)
    for port, (port_basis, bit) in enumerate(zip(tensor.port_bases, tensor.port_bits, strict=True)):
        table = np.array(port_basis.signals)
        settings[:, port] = table[signals[:, port], 0]
        if bit is not None:
            masks |= (table[signals[:, port], 1].astype(np.uint64)) << np.uint64(bit)
    return settings, masks


def _variance(scores: Reals, probabilities: Reals) -> Reals:
    """Return the variance of one shot's scores, whose first axis is the outcome."""
    mean = np.tensordot(probabilities, scores, axes=1)
    return np.asarray(np.tensordot(probabilities, (scores - mean) ** 2, axes=1))
