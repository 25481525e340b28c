"""Means of the signs that joint samples read at one subcircuit, and the errors they share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcq.shots.counts import Counts
from hpcq.shots.reading import parity, string_signs
from hpcq.variants.sampled import SampledTensor

Reals = NDArray[np.float64]
Indices = NDArray[np.intp]


class Means:
    """Means of the signs that joint samples ask one source for.

    Args:
        tensor: The source.
        rows: The variants that were run.
        counts: Their counts.
        readings: The samples' readings, shape (samples, ports).
    """

    def __init__(
        self,
        tensor: SampledTensor,
        rows: NDArray[np.int16],
        counts: Counts,
        readings: Indices,
    ) -> None:
        self.tensor = tensor
        self.counts = counts
        self.place = {tuple(row): i for i, row in enumerate(rows.tolist())}
        self.samples = len(readings)
        self._variants = _variants(tensor, readings)

    def values(self) -> Reals:
        """Return the mean for every sample and string, shape (samples, strings)."""
        found = np.ones((self.samples, len(self.tensor.strings)))
        for settings, samples, masks in self._variants:
            shares = self._shares(settings)
            for string, own in enumerate(self.tensor.strings):
                noisy = (masks != 0) | bool(own)
                if noisy.any():
                    mean = np.zeros(len(samples))
                    for basis, share in shares[string]:
                        outcomes, times = self.counts.of(self.place[*settings, basis])
                        signs = parity(outcomes, masks)
                        signs *= string_signs(self.tensor, outcomes, [string])
                        mean += share * ((times / times.sum()) @ signs)
                    found[samples, string] = np.where(noisy, mean, 1.0)
        return found

    def shared(self, strings: Indices, others: Reals, adjoint: Reals | None) -> Reals:
        """Return what samples that share shots add to the variance of their sum.

        Args:
            strings: This subcircuit's string in every row of the part.
            others: Product of the other subcircuits' means and the factor, shape (samples, rows).
            adjoint: Weight of each row in each sum, shape (sums, rows); None for the rows
                themselves.
        """
        total = np.zeros(others.shape[1] if adjoint is None else len(adjoint))
        for settings, samples, masks in self._variants:
            if len(samples) < 2:
                continue
            shares = self._shares(settings)
            for basis in range(len(self.tensor.bases)):
                read = [
                    (row, dict(shares[string]).get(basis, 0.0))
                    for row, string in enumerate(strings.tolist())
                ]
                row_share = np.array([share for _, share in read])
                if not row_share.any() or (*settings, basis) not in self.place:
                    continue
                outcomes, times = self.counts.of(self.place[*settings, basis])
                shots = float(times.sum())
                if shots == 0:
                    continue
                chances = times / shots
                own = string_signs(self.tensor, outcomes, strings.tolist())
                signs = parity(outcomes, masks)[:, :, None] * own[:, None, :]
                parts = signs * (others[samples] * row_share)[None]
                score = parts if adjoint is None else parts @ adjoint.T
                alone = np.sum(_variance(score, chances), axis=0)
                total += (_variance(score.sum(axis=1), chances) - alone) / shots
        return total

    def _shares(self, settings: tuple[int, ...]) -> list[list[tuple[int, float]]]:
        """Return for each string the bases that it is read in, and their weights."""
        shots = [
            float(self.counts.shots[self.place[*settings, b]])
            if (*settings, b) in self.place
            else 0.0
            for b in range(len(self.tensor.bases))
        ]
        found = []
        for string in range(len(self.tensor.strings)):
            bases = [b for b, own in enumerate(self.tensor.readable) if string in own and shots[b]]
            total = sum(shots[b] for b in bases)
            found.append([(b, shots[b] / total) for b in bases])
        return found


def distinct_variants(
    tensor: SampledTensor, readings: Indices
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return the distinct variants of joint samples that measure anything, and how often."""
    settings, _ = _decode(tensor, readings)
    distinct, times = np.unique(settings, axis=0, return_counts=True)
    rows, weights = [], []
    for own, number in zip(distinct.tolist(), times.tolist(), strict=True):
        for basis in range(len(tensor.bases)):
            if tensor.bits(own, basis):
                rows.append([*own, basis])
                weights.append(number)
    width = len(tensor.ports) + 1
    return np.array(rows, dtype=np.int16).reshape(-1, width), np.array(weights, dtype=np.int64)


def _variants(
    tensor: SampledTensor, readings: Indices
) -> list[tuple[tuple[int, ...], Indices, NDArray[np.uint64]]]:
    """Return the distinct settings, the samples that have them, and their masks of signs."""
    settings, masks = _decode(tensor, readings)
    distinct, place = np.unique(settings, axis=0, return_inverse=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(place[order])) + 1)
    return [
        (tuple(own), group, masks[group])
        for own, group in zip(distinct.tolist(), groups, strict=True)
    ]


def _decode(
    tensor: SampledTensor, readings: Indices
) -> tuple[NDArray[np.int16], NDArray[np.uint64]]:
    """Return the settings and the masks of the ports' signs of every sample."""
    settings = np.zeros(readings.shape, dtype=np.int16)
    masks = np.zeros(len(readings), dtype=np.uint64)
    for place, (menu, bit) in enumerate(zip(tensor.menus, tensor.port_bits, strict=True)):
        table = np.array(menu.readings)
        settings[:, place] = table[readings[:, place], 0]
        if bit is not None:
            masks |= (table[readings[:, place], 1].astype(np.uint64)) << np.uint64(bit)
    return settings, masks


def _variance(scores: Reals, chances: Reals) -> Reals:
    """Return the variance of one shot's scores, whose first axis is the outcome."""
    mean = np.tensordot(chances, scores, axes=1)
    return np.asarray(np.tensordot(chances, (scores - mean) ** 2, axes=1))
