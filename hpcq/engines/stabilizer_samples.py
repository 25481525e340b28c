"""Outcomes drawn from stabilizer states of hundreds of qubits.

All outcomes that a stabilizer state can have are equally probable. They are the sums, modulo 2, of
one of them and of any combination of some independent vectors: the X parts of the stabilizers
(Dehaene and De Moor, Phys. Rev. A 68, 042318 (2003), theorem 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import stim
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import ascending, pack_bits
from hpcq.engines.multinomial import draw
from hpcq.engines.sampled_outcomes import (
    Packed,
    SampledOutcomes,
    answer_bytes,
    pack_numbers,
)

_MAX_COUNTED = 16
"""Maximum number of vectors whose combinations are counted rather than drawn one by one, so that
any number of shots of a GHZ state takes hardly any time. Larger: counting takes more than a few
ms."""


OCTET_SECONDS = 5e-8
"""Seconds of one shot for every eight vectors. Measured: 0.3 µs a shot for 48 vectors, 0.6 µs for
99 and 1.9 µs for 299."""


@dataclass(frozen=True, eq=False)
class StabilizerSupport:
    """The outcomes that a stabilizer state can have.

    Attributes:
        offset: The lowest outcome, packed, shape (bytes,).
        vectors: Independent vectors, packed, in descending order, shape (vectors, bytes). The
            highest bit of each is 0 in all others and in the offset, so that combinations in
            ascending order are outcomes in ascending order.
    """

    offset: Packed
    vectors: Packed

    @classmethod
    def of(cls, tableau: stim.Tableau, simulator: stim.TableauSimulator) -> StabilizerSupport:
        """Return the support of the state C|0...0>.

        Args:
            tableau: The Clifford C, P to C P C^dagger.
            simulator: A simulator in the state.
        """
        outcome = simulator.copy().measure_many(*range(len(tableau)))
        z_to_x = tableau.to_numpy()[2]
        rows = pack_bits(np.vstack([z_to_x, outcome]))
        vectors, offset = rows[:-1], rows[-1]
        rank = 0
        for wire in reversed(range(len(tableau))):
            octet, bit = rows.shape[1] - 1 - wire // 8, np.uint8(1 << wire % 8)
            with_bit = np.flatnonzero(rows[:, octet] & bit)
            pivots = with_bit[(with_bit >= rank) & (with_bit < len(vectors))]
            if not len(pivots):
                continue
            vector = vectors[pivots[0]].copy()
            rows[with_bit] ^= vector
            vectors[pivots[0]] = vectors[rank]
            vectors[rank] = vector
            rank += 1
        return cls(offset.copy(), vectors[:rank].copy())

    def sample(self, shots: int, rng: np.random.Generator) -> SampledOutcomes:
        """Draw outcomes."""
        combinations, counts = self._combinations(shots, rng)
        outcomes = self._combined(combinations)
        logarithm = -len(self.vectors) * math.log(2)
        return SampledOutcomes(outcomes, counts, np.full(len(counts), logarithm))

    def sample_seconds(self, shots: int) -> float:
        """Return the predicted seconds of a number of shots."""
        return OCTET_SECONDS * self._num_drawn(shots) * math.ceil(len(self.vectors) / 8)

    def sample_bytes(self, shots: int) -> int:
        """Return a bound on the bytes of a number of shots, with those of the answer."""
        return self._num_drawn(shots) * answer_bytes(8 * len(self.offset), 1)

    def _num_drawn(self, shots: int) -> int:
        """Return how many combinations are counted or drawn for a number of shots."""
        return 1 << len(self.vectors) if len(self.vectors) <= _MAX_COUNTED else shots

    def _combinations(
        self, shots: int, rng: np.random.Generator
    ) -> tuple[Packed, NDArray[np.int64]]:
        """Draw combinations of the vectors, the last the lowest bit; return distinct ones."""
        size = len(self.vectors)
        if size <= _MAX_COUNTED:
            numbers, counts = draw(np.ones(1 << size), shots, rng)
            return pack_numbers(numbers, size), counts
        drawn = rng.integers(256, size=(shots, -(-size // 8)), dtype=np.uint8)
        drawn[:, 0] &= 255 >> -size % 8
        drawn = drawn[ascending(drawn)]
        starts = np.flatnonzero(np.r_[True, (drawn[1:] != drawn[:-1]).any(axis=1)])
        return drawn[starts], np.diff(starts, append=shots)

    def _combined(self, combinations: Packed) -> Packed:
        """Return the outcomes of combinations, from tables of sums of eight vectors each."""
        padding = -len(self.vectors) % 8
        vectors = np.pad(self.vectors, ((padding, 0), (0, 0))).reshape(-1, 8, len(self.offset))
        outcomes = np.tile(self.offset, (len(combinations), 1))
        for column, eight in enumerate(vectors):
            sums = np.zeros((1, len(self.offset)), np.uint8)
            for vector in eight[::-1]:
                sums = np.concatenate([sums, sums ^ vector])
            outcomes ^= sums[combinations[:, column]]
        return outcomes
