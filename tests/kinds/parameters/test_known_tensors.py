"""Known tensors: what is missing, and what is kept."""

from __future__ import annotations

import numpy as np

from hpcq.kinds.parameters.known_tensors import KnownTensors


def rows(*angles: float) -> np.ndarray:
    return np.array(angles)[:, np.newaxis]


def ask(known: KnownTensors, *angles: float) -> tuple[list[float], list[complex]]:
    """Return the angles that were missing, and the tensors, which are the angles."""
    asked = rows(*angles)
    missing = known.missing(asked)
    tensors = known.update(asked, missing, missing[:, 0].astype(complex))
    return missing[:, 0].tolist(), tensors.tolist()


def test_rows_are_missing_once_and_kept_for_the_next_call() -> None:
    known = KnownTensors()
    assert ask(known, 1, 2, 1) == ([1, 2], [1, 2, 1])
    assert ask(known, 2, 1) == ([], [2, 1])
    assert ask(known, 2, 3) == ([3], [2, 3])
    assert ask(known, 1) == ([1], [1]), "it was not among the rows of the last call"
    assert ask(known, 1, 1) == ([], [1, 1])


def test_a_piece_without_slots_has_one_row() -> None:
    known = KnownTensors()
    asked = np.empty((3, 0))
    missing = known.missing(asked)
    assert missing.shape == (1, 0)
    assert known.update(asked, missing, np.array([7j])).tolist() == [7j] * 3
    assert known.missing(asked).shape == (0, 0)
