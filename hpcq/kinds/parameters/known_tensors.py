"""The tensors of a piece at the rows of angles of the last call, which the next call may need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.complex128]
Rows = NDArray[np.float64]


class KnownTensors:
    """Tensors of a piece by rows of its angles; those of the last call are kept.

    Call :meth:`missing`, compute what is missing, and call :meth:`update` with the same rows.
    """

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {}
        self._tensors: Tensor = np.empty(0, dtype=complex)

    def missing(self, rows: Rows) -> Rows:
        """Return the distinct rows whose tensors are not known, in order of first occurrence.

        Args:
            rows: Angles of the piece's slots in radians, shape (rows, slots).
        """
        keys = {row.tobytes(): number for number, row in reversed(list(enumerate(rows)))}
        return rows[sorted(number for key, number in keys.items() if key not in self._index)]

    def update(self, rows: Rows, new_rows: Rows, new_tensors: Tensor) -> Tensor:
        """Return the tensors at rows, and forget those at all others.

        Args:
            rows: The rows, shape (rows, slots).
            new_rows: What :meth:`missing` returned for them.
            new_tensors: Tensors at ``new_rows``, shape (new rows, ...).

        Returns:
            Shape (rows, ...).
        """
        keys = [row.tobytes() for row in rows]
        distinct = dict.fromkeys(keys)
        if len(new_rows) or len(distinct) < len(self._index):
            kept = [key for key in distinct if key in self._index]
            old = [self._index[key] for key in kept]
            known = new_tensors if not old else self._tensors[old]
            both = old and len(new_rows)
            self._tensors = np.concatenate([known, new_tensors]) if both else known
            new = (row.tobytes() for row in new_rows)
            self._index = {key: number for number, key in enumerate((*kept, *new))}
        places = [self._index[key] for key in keys]
        return self._tensors if places == list(range(len(self._index))) else self._tensors[places]
