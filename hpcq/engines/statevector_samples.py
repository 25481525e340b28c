"""Outcomes drawn from a statevector.

The shots are first divided among blocks of amplitudes, then among the amplitudes of each block that
has any. So probabilities are stored for one block at a time, and rounding errors of cumulative sums
stay within a block: on another machine they change at most about one shot in 10**11.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.multinomial import draw
from hpcq.engines.sampled_outcomes import SampledOutcomes, pack_numbers

_BLOCK_BITS = 16
"""log2 of the number of amplitudes of a block. Larger: blocks outgrow the processor's cache;
smaller: what a block costs whatever its size, about 50 µs, is no longer small."""

_AMPLITUDE_SECONDS, _OUTCOME_SECONDS = 8e-9, 8e-8
"""Seconds per amplitude and per distinct outcome. Measured: 0.08 s for a million shots of 2**20
random amplitudes, 0.21 s for those of 2**24."""


def sample_statevector(
    state: NDArray[np.complexfloating], shots: int, rng: np.random.Generator
) -> SampledOutcomes:
    """Draw outcomes with probabilities proportional to the squares of amplitudes.

    Args:
        state: The 2**wires amplitudes, wire 0 the lowest bit of their index.
        shots: Number of outcomes to draw.
        rng: Source of random numbers.
    """
    wires = len(state).bit_length() - 1
    blocks = state.reshape(-1, 1 << min(wires, _BLOCK_BITS))
    sums = np.array([_squares(block).sum() for block in blocks])
    numbers, counts, weights = [], [], []
    for block, block_shots in zip(*draw(sums, shots, rng), strict=True):
        squares = _squares(blocks[block])
        within, times = draw(squares, int(block_shots), rng)
        numbers.append(within + block * len(squares))
        counts.append(times)
        weights.append(squares[within])
    logarithms = np.log(np.concatenate(weights)) - np.log(sums.sum())
    packed = pack_numbers(np.concatenate(numbers), wires)
    return SampledOutcomes(packed, np.concatenate(counts), logarithms)


def samples_seconds(wires: int, shots: int) -> float:
    """Return the predicted seconds of drawing outcomes."""
    size = 2.0**wires
    return _AMPLITUDE_SECONDS * size + _OUTCOME_SECONDS * min(shots, size)


def _squares(block: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return the squares of amplitudes, in double precision."""
    squares: NDArray[np.float64] = np.square(block.real, dtype=np.float64)
    squares += np.square(block.imag, dtype=np.float64)
    return squares
