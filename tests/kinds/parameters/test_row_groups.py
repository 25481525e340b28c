"""Groups and blocks of rows: everything is computed once, and fits into the memory."""

from __future__ import annotations

import numpy as np
import pytest

from hpcq.kinds.parameters import row_groups
from hpcq.kinds.parameters.row_groups import DistinctAngles, RowGroups


def pieces_of(rng: np.random.Generator, rows: int) -> tuple[DistinctAngles, ...]:
    """Return pieces with different numbers of sets of angles, one of them without angles."""
    counts = (1, 2, 5, rows)
    pieces = []
    for count in counts:
        angles = rng.uniform(-3, 3, (count, 3))[rng.integers(count, size=rows)]
        angles = angles if count > 1 else np.empty((rows, 0))
        pieces.append(
            DistinctAngles.of(angles, int(rng.integers(1, 100)), float(rng.uniform(0, 0.02)))
        )
    return tuple(pieces)


def test_distinct_angles_are_in_the_order_of_rows() -> None:
    angles = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [2.0, 1.0]])
    distinct = DistinctAngles.of(angles, 16, 1e-3)
    assert distinct.angles.tolist() == [[1, 0], [2, 0], [2, 1]]
    assert distinct.of_row.tolist() == [0, 1, 0, 2]
    assert distinct.needed(range(2, 4)).tolist() == [0, 2]
    assert len(DistinctAngles.of(np.empty((5, 0)), 16, 1e-3)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_everything_is_computed_once_and_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 60))
    pieces = pieces_of(rng, rows)
    row_bytes = sum(piece.bytes_each for piece in pieces)
    memory = int(row_bytes * rng.uniform(2, rows + 2))
    groups = RowGroups(pieces, memory)
    assert [row for group in groups.groups for row in group] == list(range(rows))
    kept = sorted(groups.kept)
    kept_blocks = groups.blocks(range(rows), kept)
    kept_bytes = sum(len(b.indices) * pieces[b.piece].bytes_each for b in kept_blocks)
    for group in groups.groups:
        others = [number for number in range(len(pieces)) if number not in kept]
        blocks = groups.blocks(group, others)
        size = sum(len(block.indices) * pieces[block.piece].bytes_each for block in blocks)
        assert kept_bytes + size <= memory or len(group) == 1
        for number in range(len(pieces)):
            found = [b.indices for b in (*kept_blocks, *blocks) if b.piece == number]
            computed = np.concatenate(found)
            assert len(set(computed.tolist())) == len(computed), "angles are computed twice"
            assert set(pieces[number].of_row[group.start : group.stop]) <= set(computed)
    if len(groups.groups) == 1:
        assert not kept


def test_pieces_with_few_sets_of_angles_are_kept_for_all_groups() -> None:
    rows = 64
    constant = DistinctAngles.of(np.empty((rows, 0)), 100, 1e-3)
    varying = DistinctAngles.of(np.arange(rows, dtype=float)[:, None], 100, 1e-3)
    groups = RowGroups((varying, constant), 100 * 9)
    assert groups.kept == {1}
    assert {len(group) for group in groups.groups} == {8}


def test_blocks_are_neither_long_nor_large() -> None:
    def size(bytes_each: int, seconds: float) -> int:
        return DistinctAngles.of(np.zeros((1, 1)), bytes_each, seconds).block_size

    assert size(1, 1e-12) == row_groups._MAX_BLOCK_SIZE
    assert size(1, 1e-2) == round(row_groups._BLOCK_SECONDS / 1e-2)
    assert size(1, 10.0) == 1
    assert size(row_groups._BLOCK_BYTES // 2, 1e-6) == 2
    assert size(row_groups._BLOCK_BYTES * 2, 1e-6) == 1
