"""Sums of Pauli terms of several strings, rotated together in NumPy arrays.

A term is a coefficient, a Hermitian Pauli i^phase X^x Z^z and the number of its string. A rotation
about G by t leaves a term that commutes with G and maps the others, Q, to cos(t) Q + sin(t) i G Q.
Terms that become equal are found by a hash that is linear over XOR: that of G Q is known from those
of G and Q. Found pairs are compared in full, so that different Paulis are never merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.bit_maps import Words
from hpcq.engines.clifford_frame import Paulis

_SORTED = 256
"""Number of keys up to which equal ones are found by sorting. With 8,000 keys, sorting takes 80 to
100 ns a key, the table of slots about 15 ns."""

_CANCELLED = 8 * np.finfo(np.float64).eps
"""Size of a difference, relative to its operands, below which it is rounding and set to zero."""


@dataclass(frozen=True)
class Axis:
    """A rotation, as the terms of a sum see it.

    Attributes:
        pauli: The axis, one Pauli.
        hash: Hash of its words.
        anticommuting: The rotations of the block that do not commute with it, as bits.
        cosine: Cosine of its angle.
        sine: Sine of its angle.
    """

    pauli: Paulis
    hash: np.uint64
    anticommuting: np.uint64
    cosine: float
    sine: float


@dataclass(frozen=True, eq=False)
class Errors:
    """What is missing from the sums of some strings, in absolute values, shape (strings,).

    Attributes:
        dropped: Coefficients of dropped terms.
        noise: Rounding errors of coefficients that cancelled.
    """

    dropped: NDArray[np.float64]
    noise: NDArray[np.float64]


class TermTable:
    """The terms of some strings' sums.

    Args:
        paulis: The terms, all different within a string.
        hashes: Linear hashes of words and strings, shape (terms,).
        coefficients: Shape (terms,).
        strings: Numbers of the strings from 0, uint16, shape (terms,).
        errors: The errors to which dropped terms are added.
    """

    def __init__(
        self,
        paulis: Paulis,
        hashes: Words,
        coefficients: NDArray[np.float64],
        strings: NDArray[np.uint16],
        errors: Errors,
    ) -> None:
        self.size = len(coefficients)
        self.errors = errors
        self._words = np.ascontiguousarray(paulis.words)
        self._phases, self._hashes = paulis.phases, hashes
        self._coefficients, self._strings = coefficients, strings
        self._anticommuting = np.zeros(self.size, np.uint64)

    @property
    def words(self) -> Words:
        """Words of the terms, shape (2 words, terms)."""
        return self._words[:, : self.size]

    @property
    def strings(self) -> NDArray[np.uint16]:
        """The strings of the terms."""
        return self._strings[: self.size]

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Absolute values of the coefficients."""
        return np.abs(self._coefficients[: self.size])

    def set_anticommuting(self, bits: Words) -> int:
        """Set for each term which rotations of a block do not commute with it; return their union.

        Bit b stands for the rotation number b of the block.
        """
        self._anticommuting[: self.size] = bits
        return int(np.bitwise_or.reduce(bits)) if self.size else 0

    def rotate(self, axis: Axis, bit: int) -> tuple[int, int]:
        """Apply the rotation number ``bit`` of the block.

        Returns:
            The number of terms that it changed, and the union of the bits of new terms.
        """
        chosen = np.flatnonzero((self._anticommuting[: self.size] & np.uint64(1 << bit)) != 0)
        if not len(chosen):
            return 0, 0
        cosine, sine = axis.cosine, axis.sine
        phases = self._rotated_phases(axis, chosen)
        first, second = self._pairs(axis, chosen)
        old = self._coefficients[chosen]
        new = cosine * old
        alone = np.arange(len(chosen))
        if len(first):
            turned = phases[first] - self._phases[chosen[second]]  # modulo 4 this is 0 or 2
            signed = np.where(turned & 2, -sine, sine)
            for here, there, factor in ((first, second, -signed), (second, first, signed)):
                new[here] = self._sum(chosen[here], new[here], factor * old[there])
            single = np.ones(len(chosen), bool)
            single[first] = single[second] = False
            alone = np.flatnonzero(single)
        self._coefficients[chosen] = new
        if sine == 0.0:
            return len(chosen), 0
        union = self._append(axis, chosen[alone], phases[alone], sine * old[alone])
        return len(chosen), union

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Remove some terms, given by their numbers; the order of the others changes."""
        size = self.size - len(rows)
        # The last terms move to the places of removed ones, which is quick if there are few.
        holes = rows[rows < size]
        last = np.ones(self.size - size, bool)
        last[rows[rows >= size] - size] = False
        moved = np.flatnonzero(last) + size
        self._words[:, holes] = self._words[:, moved]
        for column in self._columns():
            column[holes] = column[moved]
        self.size = size

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Remove some terms and count their coefficients as errors."""
        total = self.errors.dropped
        sizes = np.abs(self._coefficients[rows])
        total += np.bincount(self._strings[rows], sizes, len(total))
        self.remove(rows)

    def split(self) -> tuple[TermTable, TermTable] | None:
        """Return two tables with about half of the terms each, or None if there is one string."""
        counts = np.bincount(self.strings)
        middle = int(np.searchsorted(np.cumsum(counts), self.size / 2)) + 1
        later = self.strings >= middle
        if not later.any():
            middle -= 1
            later = self.strings >= middle
        if later.all():
            return None
        return self._taken(np.flatnonzero(~later)), self._taken(np.flatnonzero(later))

    def drop_cancelled(self) -> None:
        """Remove the terms whose coefficient is zero."""
        self.remove(np.flatnonzero(self._coefficients[: self.size] == 0))

    def values(self) -> NDArray[np.float64]:
        """Return the expectation values of the sums in |0...0>, shape (strings,)."""
        half = len(self._words) // 2
        diagonal = ~self.words[:half].any(axis=0)
        signs = 1.0 - self._phases[: self.size][diagonal]  # the phase is 0 or 2
        weights = signs * self._coefficients[: self.size][diagonal]
        # bincount returns integers if there is nothing to count
        return np.bincount(self.strings[diagonal], weights, len(self.errors.noise)).astype(float)

    def _taken(self, index: NDArray[np.int64]) -> TermTable:
        return TermTable(
            Paulis(self._words[:, index], self._phases[index]),
            self._hashes[index],
            self._coefficients[index],
            self._strings[index],
            self.errors,
        )

    def _rotated_phases(self, axis: Axis, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the phases of i G Q in front of X^x Z^z."""
        half = len(self._words) // 2
        swaps = np.zeros(len(chosen), np.uint8)
        for word, bits in enumerate(axis.pauli.words[half:, 0]):
            if bits:
                swaps += np.bitwise_count(self._words[word, chosen] & bits)
        start = np.uint8(1 + int(axis.pauli.phases[0]))
        phases: NDArray[np.uint8] = (self._phases[chosen] + 2 * swaps + start) & np.uint8(3)
        return phases

    def _pairs(
        self, axis: Axis, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions in ``chosen`` of Q and of G Q, for all pairs that are there."""
        hashes = self._hashes[chosen]
        # Both of a pair get the same key: the hash of the one that lacks the lowest bit of G's.
        lowest = axis.hash & (~axis.hash + np.uint64(1))
        keys = np.where(hashes & lowest, hashes ^ axis.hash, hashes)
        first, second = _equal_pairs(keys)
        if len(first):
            one, other = chosen[first], chosen[second]
            same = self._strings[one] == self._strings[other]
            for row, bits in zip(self._words, axis.pauli.words[:, 0], strict=True):
                same &= (row[one] ^ row[other]) == bits
            if not same.all():
                first, second = first[same], second[same]
        return first, second

    def _sum(
        self, rows: NDArray[np.int64], one: NDArray[np.float64], other: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Add coefficients; those that cancel to rounding errors become zero."""
        total = one + other
        cancelled = np.abs(total) <= _CANCELLED * (np.abs(one) + np.abs(other))
        if cancelled.any():
            np.add.at(self.errors.noise, self._strings[rows[cancelled]], np.abs(total[cancelled]))
            total[cancelled] = 0.0
        return total

    def _append(
        self,
        axis: Axis,
        rows: NDArray[np.int64],
        phases: NDArray[np.uint8],
        coefficients: NDArray[np.float64],
    ) -> int:
        """Append G Q of some terms Q."""
        if not len(rows):
            return 0
        start, end = self.size, self.size + len(rows)
        if end > len(self._coefficients):
            self._grow(max(64, 2 * end))
        np.bitwise_xor(self._words[:, rows], axis.pauli.words, out=self._words[:, start:end])
        self._hashes[start:end] = self._hashes[rows] ^ axis.hash
        bits = self._anticommuting[rows] ^ axis.anticommuting
        self._anticommuting[start:end] = bits
        self._phases[start:end], self._coefficients[start:end] = phases, coefficients
        self._strings[start:end] = self._strings[rows]
        self.size = end
        return int(np.bitwise_or.reduce(bits))

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return (
            self._hashes,
            self._phases,
            self._coefficients,
            self._strings,
            self._anticommuting,
        )

    def _grow(self, capacity: int) -> None:
        words = np.empty((len(self._words), capacity), np.uint64)
        words[:, : self.size] = self.words
        self._words = words
        columns = []
        for column in self._columns():
            grown = np.empty(capacity, column.dtype)
            grown[: self.size] = column[: self.size]
            columns.append(grown)
        (
            self._hashes,
            self._phases,
            self._coefficients,
            self._strings,
            self._anticommuting,
        ) = columns


def _equal_pairs(keys: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of equal random keys, of which there are at most two each."""
    size = len(keys)
    if size < _SORTED:
        order = np.argsort(keys)
        equal = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        return order[equal], order[equal + 1]
    # Each key writes its position to a slot; the last one stays. Where it is another's, that is the
    # partner, or both partners have lost the slot to a third key and are searched again.
    bits = size.bit_length() + 2
    slots = (keys >> np.uint64(64 - bits)).astype(np.int64)
    table = np.empty(1 << bits, np.int32)
    positions = np.arange(size, dtype=np.int32)
    table[slots] = positions
    found = table[slots]
    losers = np.flatnonzero(found != positions)
    equal_found = keys[found[losers]] == keys[losers]
    first, rest = losers[equal_found], losers[~equal_found]
    one, other = _equal_pairs(keys[rest])
    return np.concatenate([first, rest[one]]), np.concatenate([found[first], rest[other]])
