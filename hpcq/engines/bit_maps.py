"""Linear maps over XOR, from rows of bits to words of 64 bits, by a table for each byte."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
"""Bits in words of 64, the lowest first."""


class BitMap:
    """A linear map over XOR from rows of bits to one word.

    Args:
        columns: The image of each bit, shape (bits,); the number of bits is a multiple of 64.
    """

    def __init__(self, columns: Words) -> None:
        columns = columns.reshape(-1, 8)
        tables = np.zeros((len(columns), 1), np.uint64)
        for bit in range(8):
            tables = np.concatenate([tables, tables ^ columns[:, bit : bit + 1]], axis=1)
        self._tables = tables
        self._used = np.flatnonzero(columns.any(axis=1))

    def __call__(self, words: Words) -> Words:
        """Return the images of rows, given as words of shape (words, rows)."""
        images = np.zeros(words.shape[1], np.uint64)
        for byte in self._used.tolist():
            word, place = divmod(byte, 8)
            digits = (words[word] >> np.uint64(8 * place)).astype(np.uint8)
            images ^= self._tables[byte].take(digits)
        return images


def bits_of(words: Words) -> NDArray[np.uint8]:
    """Return words of shape (words, rows) as bits of shape (rows, 64 * words), lowest first."""
    octets = np.ascontiguousarray(words.T).astype("<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little")


def columns_of(words: Words) -> Words:
    """Return up to 64 rows, given as words of shape (words, rows), as columns.

    Bit r of the word k is bit k of row r; shape (64 * words,).
    """
    packed = np.packbits(bits_of(words), axis=0, bitorder="little")
    octets = np.zeros((8, packed.shape[1]), np.uint8)
    octets[: len(packed)] = packed
    return np.ascontiguousarray(octets.T).view("<u8")[:, 0].astype(np.uint64)


class RowSpan:
    """The span of a growing list of rows of bits, and maps that tell whether a row is in it.

    Args:
        images: Random images of the bits, shape (bits,).
    """

    def __init__(self, images: Words) -> None:
        self._images = images
        self._rows: dict[int, int] = {}

    @property
    def rank(self) -> int:
        """Dimension of the span."""
        return len(self._rows)

    def add(self, rows: Iterable[int]) -> None:
        """Add rows, each the bits of one integer."""
        for row in rows:
            rest = self._reduced(row)
            if not rest:
                continue
            pivot = rest.bit_length() - 1
            for other, bits in self._rows.items():
                if bits >> pivot & 1:
                    self._rows[other] = bits ^ rest
            self._rows[pivot] = rest

    def columns(self) -> Words:
        """Return the columns of a :class:`BitMap` that is zero on the span.

        It is zero on a row outside of the span with a probability of 2**-64. A pivot is replaced by
        the rest of its row.
        """
        columns = self._images.copy()
        if self._rows:
            octets = len(columns) // 8
            packed = b"".join(row.to_bytes(octets, "little") for row in self._rows.values())
            words = np.frombuffer(packed, "<u8").reshape(len(self._rows), -1).T
            columns[list(self._rows)] ^= BitMap(self._images)(words.astype(np.uint64))
        return columns

    def _reduced(self, row: int) -> int:
        for pivot, bits in self._rows.items():
            if row >> pivot & 1:
                row ^= bits
        return row
