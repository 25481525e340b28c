"""Counts of measured outcomes: many variants in a few arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Outcomes of several variants and how often each occurred.

    Attributes:
        outcomes: Distinct outcomes, variant after variant; bit i is classical bit i.
        frequencies: How often each outcome occurred, an integer; or its probability, where the
            true distribution takes the place of shots.
        starts: Index of each variant's first outcome, then the number of all outcomes.
    """

    outcomes: Outcomes
    frequencies: NDArray[np.int64] | NDArray[np.float64]
    starts: Numbers

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.starts) - 1

    @cached_property
    def shots(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Number of shots of each variant."""
        sums = np.concatenate([np.zeros(1, self.frequencies.dtype), np.cumsum(self.frequencies)])
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]])

    def of_variant(self, variant: int) -> tuple[Outcomes, NDArray[np.int64] | NDArray[np.float64]]:
        """Return the outcomes of one variant and how often each occurred."""
        span = slice(self.starts[variant], self.starts[variant + 1])
        return self.outcomes[span], self.frequencies[span]

    @classmethod
    def gather(cls, variants: int, rows: Sequence[tuple[int, Outcomes, Numbers]]) -> Counts:
        """Collect rows in any order: variant, outcomes and how often each occurred.

        Several rows may belong to the same variant.
        """
        rows_by_variant: list[list[tuple[Outcomes, Numbers]]] = [[] for _ in range(variants)]
        for variant, outcomes, frequencies in rows:
            rows_by_variant[variant].append((outcomes, frequencies))
        merged = [merge(rows_of_variant) for rows_of_variant in rows_by_variant]
        starts = np.cumsum([0, *(len(outcomes) for outcomes, _ in merged)], dtype=np.int64)
        return cls(
            np.concatenate([np.empty(0, np.uint64), *(outcomes for outcomes, _ in merged)]),
            np.concatenate([np.empty(0, np.int64), *(frequencies for _, frequencies in merged)]),
            starts,
        )


def merge(parts: Sequence[tuple[Outcomes, Numbers]]) -> tuple[Outcomes, Numbers]:
    """Return the distinct outcomes of several lists, ascending, and how often each occurred."""
    if not parts:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    outcomes, indices = np.unique(np.concatenate([part for part, _ in parts]), return_inverse=True)
    frequencies = np.concatenate([part for _, part in parts])
    total = np.zeros(len(outcomes), dtype=frequencies.dtype)
    np.add.at(total, indices.reshape(-1), frequencies)
    return outcomes, total


def masked(outcomes: Outcomes, frequencies: Numbers, mask: int) -> tuple[Outcomes, Numbers]:
    """Return the counts of the masked bits alone: outcomes that agree in them are merged."""
    kept = outcomes & np.uint64(mask)
    if np.array_equal(kept, outcomes):
        return outcomes, frequencies
    return merge([(kept, frequencies)])


def pack(rows: Sequence[tuple[Outcomes, Numbers]]) -> NDArray[np.uint64]:
    """Pack the rows of one task into one array, which MPI sends as a buffer."""
    lengths = [len(rows), *(len(outcomes) for outcomes, _ in rows)]
    return np.concatenate(
        [
            np.array(lengths, dtype=np.uint64),
            *(outcomes for outcomes, _ in rows),
            *(frequencies.astype(np.uint64) for _, frequencies in rows),
        ]
    )


def unpack(data: NDArray[np.uint64]) -> list[tuple[Outcomes, Numbers]]:
    """Return the rows packed by :func:`pack`."""
    rows = int(data[0])
    lengths = data[1 : 1 + rows].astype(np.int64)
    ends = np.cumsum(lengths)
    outcomes, frequencies = data[1 + rows :].reshape(2, -1)
    return [
        (outcomes[end - length : end], frequencies[end - length : end].astype(np.int64))
        for end, length in zip(ends, lengths, strict=True)
    ]
