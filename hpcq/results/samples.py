"""Samples: outcomes of a circuit's measurements in the order in which they were drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.measurements import Measurements

if TYPE_CHECKING:
    from qiskit.primitives import BitArray


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of the outcomes of a circuit's measurements.

    Attributes:
        measurements: The classical registers.
        packed: The samples, shape (shots, bytes), as in Qiskit's ``BitArray``: bit 0, the lowest
            bit of the first register, is the lowest bit of the last byte.
        probabilities: The probability of each sample's outcome, shape (shots,); NaN where the
            method does not know it.

    Example:
        >>> from hpcq.circuits.measurements import measure_all
        >>> samples = Samples(
        ...     measure_all(2), np.array([[3], [0], [3]], dtype=np.uint8), np.full(3, 0.5)
        ... )
        >>> samples.counts
        {'00': 1, '11': 2}
        >>> samples.memory
        ['11', '00', '11']
        >>> samples.register("meas").get_counts() == samples.counts
        True
    """

    measurements: Measurements
    packed: NDArray[np.uint8]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.packed)

    @property
    def num_shots(self) -> int:
        """Number of samples."""
        return len(self.packed)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of times of each outcome, by bit strings as in Qiskit, ascending."""
        outcomes, _, times = self._distinct
        texts = self.measurements.texts_of_packed(outcomes)
        return dict(sorted(zip(texts, times.tolist(), strict=True)))

    @property
    def memory(self) -> list[str]:
        """The bit string of each sample, in the order in which they were drawn."""
        return self.measurements.texts_of_packed(self.packed)

    @property
    def bit_array(self) -> BitArray:
        """All classical bits as a ``BitArray``, those of the first register lowest."""
        from qiskit.primitives import BitArray

        return BitArray(self.packed, self.measurements.num_bits)

    def register(self, name: str) -> BitArray:
        """Return the bits of a register.

        Raises:
            KeyError: If there is no such register.
        """
        start = 0
        for register in self.measurements.registers:
            if register.name == name:
                return self.bit_array.slice_bits(range(start, start + len(register)))
            start += len(register)
        raise KeyError(name)

    def distinct(self) -> Iterator[tuple[str, float, int]]:
        """Yield each distinct outcome as a bit string, with its probability and count.

        The outcome with the largest count comes first; of equal counts, the most probable one.
        """
        outcomes, first, times = self._distinct
        texts = self.measurements.texts_of_packed(outcomes)
        rows = zip(texts, self.probabilities[first].tolist(), times.tolist(), strict=True)
        # Where no probability is known, the bit strings decide.
        yield from sorted(rows, key=lambda row: (-row[2], -np.nan_to_num(row[1]), row[0]))

    @cached_property
    def _distinct(self) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.intp]]:
        """Distinct outcomes, the first sample of each, and their counts."""
        width = self.packed.shape[1]
        rows = np.ascontiguousarray(self.packed).view(f"V{width}")[:, 0] if width else None
        if rows is None or not len(rows):
            one = np.zeros(min(1, len(self.packed)), dtype=np.intp)
            return self.packed[: len(one)], one, one + len(self.packed)
        _, first, times = np.unique(rows, return_index=True, return_counts=True)
        return self.packed[first], first, times
