"""Rows of parameters in groups whose tensors fit into memory, and blocks of them that are tasks.

A piece is computed once for all rows at which it has the same set of angles. Pieces with few
distinct sets are computed for all rows first, and kept; the others are computed group by group. All
of this follows from the rows and the plan, never from the number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Numbers = NDArray[np.intp]

_SHARE_OF_KEPT = 0.5
"""Maximum share of the memory for tensors that tensors kept for all rows may take. Larger: fewer
pieces are computed again, but groups have fewer rows."""

_BLOCK_SECONDS = 0.05
"""Predicted seconds of a block on a usual machine. Longer: ranks wait longer for the last blocks of
a group; shorter: more messages, and smaller batches for engines that compute rows together."""

_BLOCK_BYTES = 8 << 20
"""Maximum size of the result of a block in bytes: it is one message."""

_MAX_BLOCK_SIZE = 256
"""Maximum number of sets of angles in a block, so that a stop does not wait long for it if the
prediction was far too low."""


@dataclass(frozen=True, eq=False)
class DistinctAngles:
    """The distinct sets of angles of one piece.

    Attributes:
        angles: Angles of the piece's slots in radians, in the order in which rows first have them,
            shape (sets, slots).
        of_row: Index into ``angles`` for each row of parameters, shape (rows,).
        bytes_each: Bytes of the piece's tensors at one set of angles.
        seconds_each: Predicted seconds of these tensors.
    """

    angles: Rows
    of_row: Numbers
    bytes_each: int
    seconds_each: float

    @classmethod
    def of(cls, angles: Rows, bytes_each: int, seconds_each: float) -> DistinctAngles:
        """Return the distinct sets among the angles in all rows, shape (rows, slots)."""
        numbers: dict[bytes, int] = {}
        # Adding 0 turns -0.0 into 0.0, which is the same angle.
        of_row = [numbers.setdefault(row.tobytes(), len(numbers)) for row in angles + 0.0]
        first_rows = np.unique(of_row, return_index=True)[1]
        return cls(angles[first_rows], np.array(of_row), bytes_each, seconds_each)

    def __len__(self) -> int:
        """Return the number of distinct sets of angles."""
        return len(self.angles)

    @property
    def block_size(self) -> int:
        """Number of sets of angles that are one task."""
        by_time = int(_BLOCK_SECONDS / max(self.seconds_each, 1e-9))
        by_size = _BLOCK_BYTES // max(self.bytes_each, 1)
        return max(1, min(by_time, by_size, _MAX_BLOCK_SIZE))

    def needed(self, rows: range) -> Numbers:
        """Return the indices of the sets of angles that some rows need, ascending."""
        return np.unique(self.of_row[rows.start : rows.stop])


@dataclass(frozen=True, eq=False)
class Block:
    """Sets of angles of one piece, whose tensors are one task.

    Attributes:
        piece: Number of the piece.
        indices: Indices of the sets among the piece's distinct ones, ascending.
    """

    piece: int
    indices: Numbers


@dataclass(frozen=True, eq=False)
class RowGroups:
    """All rows, in groups of equal size; the last may be smaller.

    Attributes:
        pieces: The distinct sets of angles of each piece.
        memory_bytes: Bytes for the tensors of a group and those that are kept for all rows.
    """

    pieces: tuple[DistinctAngles, ...]
    memory_bytes: int

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.pieces[0].of_row)

    @cached_property
    def groups(self) -> tuple[range, ...]:
        """The rows of each group."""
        starts = range(0, self.num_rows, self._size)
        return tuple(range(start, min(start + self._size, self.num_rows)) for start in starts)

    @cached_property
    def kept(self) -> frozenset[int]:
        """Numbers of the pieces that are computed for all rows first, and kept.

        Empty if all rows are one group.
        """
        if self._largest_bytes(self.num_rows, frozenset()) <= self.memory_bytes:
            return frozenset()
        sizes = {n: len(piece) * piece.bytes_each for n, piece in enumerate(self.pieces)}
        kept, left = set(), _SHARE_OF_KEPT * self.memory_bytes
        for number in sorted(sizes, key=lambda n: (len(self.pieces[n]), sizes[n], n)):
            if len(self.pieces[number]) < self.num_rows and sizes[number] <= left:
                kept.add(number)
                left -= sizes[number]
        return frozenset(kept)

    def blocks(self, rows: range, pieces: Sequence[int]) -> tuple[Block, ...]:
        """Return the blocks that compute some pieces at some rows."""
        blocks = []
        for number in pieces:
            needed, size = self.pieces[number].needed(rows), self.pieces[number].block_size
            starts = range(0, len(needed), size)
            blocks += [Block(number, needed[start : start + size]) for start in starts]
        return tuple(blocks)

    @cached_property
    def _size(self) -> int:
        """Number of rows of a group: all, half, a quarter, ..., the first that fits into memory."""
        kept_bytes = sum(len(self.pieces[n]) * self.pieces[n].bytes_each for n in self.kept)
        size = self.num_rows
        while size > 1 and self._largest_bytes(size, self.kept) + kept_bytes > self.memory_bytes:
            size = -(-size // 2)
        return size

    def _largest_bytes(self, size: int, kept: frozenset[int]) -> int:
        """Return the maximum bytes of the tensors of a group, for groups of this many rows."""
        starts = range(0, self.num_rows, size)
        return max(
            sum(
                len(piece.needed(range(start, start + size))) * piece.bytes_each
                for number, piece in enumerate(self.pieces)
                if number not in kept
            )
            for start in starts
        )
