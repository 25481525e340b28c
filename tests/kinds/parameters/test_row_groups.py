"""Groups and blocks of rows: everything is computed once, and fits into the memory."""

from __future__ import annotations

import numpy as np
import pytest

from hpcq.kinds.parameters import row_groups
from hpcq.kinds.parameters.row_groups import PiecePoints, RowGroups


def pieces_of(rng: np.random.Generator, rows: int) -> tuple[PiecePoints, ...]:
    """Return pieces with different numbers of points, one of them without angles."""
    counts = (1, 2, 5, rows)
    pieces = []
    for count in counts:
        angles = rng.uniform(-3, 3, (count, 3))[rng.integers(count, size=rows)]
        angles = angles if count > 1 else np.empty((rows, 0))
        pieces.append(
            PiecePoints.of(angles, int(rng.integers(1, 100)), float(rng.uniform(0, 0.02)))
        )
    return tuple(pieces)


def test_points_are_the_distinct_angles_in_the_order_of_rows() -> None:
    angles = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [2.0, 1.0]])
    points = PiecePoints.of(angles, 16, 1e-3)
    assert points.angles.tolist() == [[1, 0], [2, 0], [2, 1]]
    assert points.of_row.tolist() == [0, 1, 0, 2]
    assert points.needed(range(2, 4)).tolist() == [0, 2]
    assert len(PiecePoints.of(np.empty((5, 0)), 16, 1e-3)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_computed_once_and_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 60))
    pieces = pieces_of(rng, rows)
    row_bytes = sum(piece.point_bytes for piece in pieces)
    memory = int(row_bytes * rng.uniform(2, rows + 2))
    groups = RowGroups(pieces, memory)
    assert [row for group in groups.groups for row in group] == list(range(rows))
    kept = sorted(groups.kept)
    kept_blocks = groups.blocks(range(rows), kept)
    kept_bytes = sum(len(b.points) * pieces[b.piece].point_bytes for b in kept_blocks)
    for group in groups.groups:
        others = [number for number in range(len(pieces)) if number not in kept]
        blocks = groups.blocks(group, others)
        size = sum(len(block.points) * pieces[block.piece].point_bytes for block in blocks)
        assert kept_bytes + size <= memory or len(group) == 1
        for number in range(len(pieces)):
            found = [b.points for b in (*kept_blocks, *blocks) if b.piece == number]
            points = np.concatenate(found)
            assert len(set(points.tolist())) == len(points), "a point is computed twice"
            assert set(pieces[number].of_row[group.start : group.stop]) <= set(points)
    if len(groups.groups) == 1:
        assert not kept


def test_few_points_are_kept_for_all_groups() -> None:
    rows = 64
    constant = PiecePoints.of(np.empty((rows, 0)), 100, 1e-3)
    varying = PiecePoints.of(np.arange(rows, dtype=float)[:, None], 100, 1e-3)
    groups = RowGroups((varying, constant), 100 * 9)
    assert groups.kept == {1}
    assert {len(group) for group in groups.groups} == {8}


def test_blocks_are_neither_long_nor_large() -> None:
    def size(point_bytes: int, seconds: float) -> int:
        return PiecePoints.of(np.zeros((1, 1)), point_bytes, seconds).block_size

    assert size(1, 1e-12) == row_groups._MAX_BLOCK_POINTS
    assert size(1, 1e-2) == round(row_groups._BLOCK_SECONDS / 1e-2)
    assert size(1, 10.0) == 1
    assert size(row_groups._BLOCK_BYTES // 2, 1e-6) == 2
    assert size(row_groups._BLOCK_BYTES * 2, 1e-6) == 1
