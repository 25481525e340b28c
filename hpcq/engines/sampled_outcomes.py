"""Outcomes that were drawn from a state: the form of the answer to requests for samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes
from hpcq.engines.requests import Samples

Packed = NDArray[np.uint8]
"""Outcomes, shape (outcomes, bytes), in as few bytes as hold the bits. The first byte is the most
significant, and wire 0 is the lowest bit of the last: the form of Qiskit's ``BitArray``."""


@dataclass(frozen=True, eq=False)
class SampledOutcomes:
    """Distinct outcomes in ascending order.

    Attributes:
        packed: The outcomes as :data:`Packed`, uint8, shape (distinct, ceil(wires / 8)).
        counts: How often each was drawn, at least once, int64, shape (distinct,).
        log_probabilities: Natural logarithms of their probabilities in the distribution that they
            were drawn from, float64, shape (distinct,).
        distance: Bound on the total variation distance of that distribution from the exact one,
            rounding errors not counted: 0, unless the engine truncates states. It is infinite, and
            there are no outcomes, if the samples were given up.
    """

    packed: Packed
    counts: NDArray[np.int64]
    log_probabilities: NDArray[np.float64]
    distance: float = 0.0

    @classmethod
    def given_up(cls, wires: int) -> SampledOutcomes:
        """Return the answer where the tolerance or the work does not suffice."""
        packed = np.empty((0, num_bytes(wires)), np.uint8)
        return cls(packed, np.empty(0, np.int64), np.empty(0), math.inf)


def generators(request: Samples, rows: int) -> Iterator[np.random.Generator]:
    """Yield an independent generator of random numbers for each row of parameters."""
    for sequence in np.random.SeedSequence(request.seed).spawn(rows):
        yield np.random.default_rng(sequence)


def answer_bytes(wires: int, shots: int) -> int:
    """Return a bound on the bytes of an answer, with those that are needed to make and sort it."""
    distinct = min(shots, 1 << wires)
    words = -(-wires // 64)
    return distinct * (4 * num_bytes(wires) + 16 * words + 80)


def pack_numbers(numbers: NDArray[np.int64], wires: int) -> Packed:
    """Return outcomes given as numbers, of less than 64 bits."""
    octets = numbers.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.ascontiguousarray(octets[:, 8 - num_bytes(wires) :])
