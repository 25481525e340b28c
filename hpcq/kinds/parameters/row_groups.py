"""Rows of parameters in groups whose tensors fit into memory, and in blocks that are tasks.

A piece is computed once for all rows at which it has the same angles: its *points*. Pieces with few
points are computed for all rows at first, and kept. The others are computed group by group. All of
this follows from the rows and the plan, never from the number of ranks.
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
"""Share of the memory for tensors that those kept for all rows may take. Larger: fewer pieces are
computed again, but groups have fewer rows."""

_BLOCK_SECONDS = 0.05
"""Predicted seconds of a block on a usual machine. Longer: ranks wait longer for the last blocks of
a group; shorter: more messages, and smaller batches for engines that compute rows together."""

_BLOCK_BYTES = 8 << 20
"""Largest result of a block in bytes: it is one message."""

_MAX_BLOCK_POINTS = 256
"""Maximum number of points of a block, so that a stop does not wait long for it if the prediction
was far too low."""


@dataclass(frozen=True, eq=False)
class PiecePoints:
    """The points of one piece.

    Attributes:
        angles: The distinct angles of its slots in the order of their first rows, shape (points,
            slots).
        of_row: The point of each row, shape (rows,).
        point_bytes: Bytes of its tensors at one point.
        point_seconds: Predicted seconds of its tensors at one point.
    """

    angles: Rows
    of_row: Numbers
    point_bytes: int
    point_seconds: float

    @classmethod
    def of(cls, angles: Rows, point_bytes: int, point_seconds: float) -> PiecePoints:
        """Return the points of a piece from its angles in all rows, shape (rows, slots)."""
        numbers: dict[bytes, int] = {}
        # Adding 0 turns -0.0 into 0.0, which is the same angle.
        of_row = [numbers.setdefault(row.tobytes(), len(numbers)) for row in angles + 0.0]
        first_rows = np.unique(of_row, return_index=True)[1]
        return cls(angles[first_rows], np.array(of_row), point_bytes, point_seconds)

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.angles)

    @property
    def block_size(self) -> int:
        """Number of points of a task."""
        by_time = int(_BLOCK_SECONDS / max(self.point_seconds, 1e-9))
        by_size = _BLOCK_BYTES // max(self.point_bytes, 1)
        return max(1, min(by_time, by_size, _MAX_BLOCK_POINTS))

    def needed(self, rows: range) -> Numbers:
        """Return the points of some rows, ascending."""
        return np.unique(self.of_row[rows.start : rows.stop])


@dataclass(frozen=True, eq=False)
class Block:
    """Points of one piece that one task computes.

    Attributes:
        piece: Number of the piece.
        points: Numbers of the points, ascending.
    """

    piece: int
    points: Numbers


@dataclass(frozen=True, eq=False)
class RowGroups:
    """All rows, in groups of equal size, but for the last.

    Attributes:
        pieces: The points of each piece.
        memory_bytes: Bytes for the tensors of a group, and of the pieces that are kept.
    """

    pieces: tuple[PiecePoints, ...]
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
        """Numbers of the pieces that are computed for all rows at first, and kept.

        None if there is one group, for which everything is computed at once.
        """
        if self._largest_bytes(self.num_rows, frozenset()) <= self.memory_bytes:
            return frozenset()
        sizes = {n: len(piece) * piece.point_bytes for n, piece in enumerate(self.pieces)}
        kept, left = set(), _SHARE_OF_KEPT * self.memory_bytes
        for number in sorted(sizes, key=lambda n: (len(self.pieces[n]), sizes[n], n)):
            if len(self.pieces[number]) < self.num_rows and sizes[number] <= left:
                kept.add(number)
                left -= sizes[number]
        return frozenset(kept)

    def blocks(self, rows: range, pieces: Sequence[int]) -> tuple[Block, ...]:
        """Return the blocks of the points of some pieces in some rows."""
        blocks = []
        for number in pieces:
            points, size = self.pieces[number].needed(rows), self.pieces[number].block_size
            starts = range(0, len(points), size)
            blocks += [Block(number, points[start : start + size]) for start in starts]
        return tuple(blocks)

    @cached_property
    def _size(self) -> int:
        """Number of rows of a group, the largest half, quarter, ... that fits into the memory."""
        kept_bytes = sum(len(self.pieces[n]) * self.pieces[n].point_bytes for n in self.kept)
        size = self.num_rows
        while size > 1 and self._largest_bytes(size, self.kept) + kept_bytes > self.memory_bytes:
            size = -(-size // 2)
        return size

    def _largest_bytes(self, size: int, kept: frozenset[int]) -> int:
        """Return the bytes of the tensors of the largest of groups of this many rows."""
        starts = range(0, self.num_rows, size)
        return max(
            sum(
                len(piece.needed(range(start, start + size))) * piece.point_bytes
                for number, piece in enumerate(self.pieces)
                if number not in kept
            )
            for start in starts
        )
