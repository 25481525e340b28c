"""Counts of measured outcomes, of many variants in a few arrays."""

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
    """Outcomes of a row of variants and how often each came.

    Attributes:
        outcomes: Distinct outcomes, variant after variant; bit i is classical bit i.
        times: How often each of them came, an integer; or its probability, where the true
            distribution takes the place of shots.
        starts: Where each variant's outcomes start, and the number of all at the end.
    """

    outcomes: Outcomes
    times: NDArray[np.int64] | NDArray[np.float64]
    starts: Numbers

    def __len__(self) -> int:
        """Return the number of variants."""
        return len(self.starts) - 1

    @cached_property
    def shots(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Number of shots of each variant."""
        sums = np.concatenate([np.zeros(1, self.times.dtype), np.cumsum(self.times)])
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]])

    def of(self, variant: int) -> tuple[Outcomes, NDArray[np.int64] | NDArray[np.float64]]:
        """Return the outcomes of one variant, and how often each came."""
        span = slice(self.starts[variant], self.starts[variant + 1])
        return self.outcomes[span], self.times[span]

    @classmethod
    def gather(cls, variants: int, rows: Sequence[tuple[int, Outcomes, Numbers]]) -> Counts:
        """Put rows together, some of which may be of the same variant.

        Args:
            variants: Number of variants.
            rows: Variant, outcomes and how often each came, in any order.
        """
        parts: list[list[tuple[Outcomes, Numbers]]] = [[] for _ in range(variants)]
        for variant, outcomes, times in rows:
            parts[variant].append((outcomes, times))
        merged = [merge(own) for own in parts]
        starts = np.cumsum([0, *(len(outcomes) for outcomes, _ in merged)], dtype=np.int64)
        return cls(
            np.concatenate([np.empty(0, np.uint64), *(outcomes for outcomes, _ in merged)]),
            np.concatenate([np.empty(0, np.int64), *(times for _, times in merged)]),
            starts,
        )


def merge(parts: Sequence[tuple[Outcomes, Numbers]]) -> tuple[Outcomes, Numbers]:
    """Return the distinct outcomes of several lists, ascending, and how often each came."""
    if not parts:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    outcomes, place = np.unique(np.concatenate([own for own, _ in parts]), return_inverse=True)
    times = np.concatenate([own for _, own in parts])
    total = np.zeros(len(outcomes), dtype=times.dtype)
    np.add.at(total, place.reshape(-1), times)
    return outcomes, total


def masked(outcomes: Outcomes, times: Numbers, mask: int) -> tuple[Outcomes, Numbers]:
    """Return counts of the bits of a mask only; the others just tell equal outcomes apart."""
    kept = outcomes & np.uint64(mask)
    if np.array_equal(kept, outcomes):
        return outcomes, times
    return merge([(kept, times)])


def pack(rows: Sequence[tuple[Outcomes, Numbers]]) -> NDArray[np.uint64]:
    """Pack the rows of one task into one array that travels as a buffer."""
    lengths = [len(rows), *(len(outcomes) for outcomes, _ in rows)]
    return np.concatenate(
        [
            np.array(lengths, dtype=np.uint64),
            *(outcomes for outcomes, _ in rows),
            *(times.astype(np.uint64) for _, times in rows),
        ]
    )


def unpack(data: NDArray[np.uint64]) -> list[tuple[Outcomes, Numbers]]:
    """Return the rows that :func:`pack` packed."""
    rows = int(data[0])
    lengths = data[1 : 1 + rows].astype(np.int64)
    ends = np.cumsum(lengths)
    outcomes, times = data[1 + rows :].reshape(2, -1)
    return [
        (outcomes[end - length : end], times[end - length : end].astype(np.int64))
        for end, length in zip(ends, lengths, strict=True)
    ]
