"""A circuit's rotations in blocks, with tables that speed up their action on sums of Paulis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpcq.engines.bit_maps import BitMap, RowSpan, Words, bits_of, columns_of
from hpcq.engines.clifford_frame import CliffordFrame
from hpcq.engines.gate_rotations import ANGLE_ROUNDING
from hpcq.engines.pauli_terms import Axis

_BLOCK = 64
"""Rotations in a block: as many as a word has bits."""

_FRONT = (8, 8, 16, 32)
"""Rotations in the first blocks of a circuit. They are short because many terms are found to end as
zero there, and are dropped at the start of a block."""

_KEPT_BLOCKS = 256
"""Number of blocks that are cached for other strings; one takes about 100 kB with 127 qubits."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some successive rotations.

    Attributes:
        anticommuting: Maps the words of a term to the rotations that do not commute with it, as
            bits.
        vanishing: Map that is not zero for terms that end as zero in |0...0>, whatever this block's
            and the earlier rotations do; None if there are none.
        axes: The rotations in temporal order.
    """

    anticommuting: BitMap
    vanishing: BitMap | None
    axes: tuple[Axis, ...]


class RotationBlocks:
    """The rotations of a frame in blocks, numbered from the end of the circuit.

    Args:
        frame: The frame.
    """

    def __init__(self, frame: CliffordFrame) -> None:
        self.frame = frame
        self._half = len(frame.rotations.words) // 2
        bits = 64 * 2 * self._half
        images = np.random.default_rng(0).integers(1 << 64, size=bits, dtype="u8")
        self.hash = BitMap(images)
        self._hashes = self.hash(frame.rotations.words)
        self._spans = _spans(len(frame.angles))
        self._vanishing = self._vanishing_columns(images[: bits // 2])
        self.block = lru_cache(_KEPT_BLOCKS)(self._block)

    def __len__(self) -> int:
        return len(self._spans)

    def _block(self, number: int) -> Block:
        """Return a block, number 0 the last one in the circuit."""
        start, end = self._spans[-1 - number]
        rotations = self.frame.rotations.take(slice(start, end))
        x, z = rotations.words[: self._half], rotations.words[self._half :]
        anticommuting = BitMap(columns_of(np.concatenate([z, x])))
        relations = anticommuting(rotations.words)
        axes = tuple(
            Axis(
                rotations.take(slice(bit, bit + 1)),
                self._hashes[start + bit],
                relations[bit],
                *_cosine_and_sine(float(self.frame.angles[start + bit])),
            )
            for bit in range(end - start)
        )
        columns = self._vanishing[-1 - number]
        return Block(anticommuting, None if columns is None else BitMap(columns), axes)

    def _vanishing_columns(self, images: Words) -> list[Words | None]:
        """Return for each block in temporal order the columns of its map ``vanishing``.

        A term can only end with an x part of zero if that is a product of rotations' x parts.
        """
        x_parts = np.packbits(
            bits_of(self.frame.rotations.words[: self._half]), axis=1, bitorder="little"
        )
        rows = [int.from_bytes(row.tobytes(), "little") for row in x_parts]
        span = RowSpan(images)
        maps: list[Words | None] = []
        for start, end in self._spans:
            if span.rank < self.frame.num_qubits:
                span.add(dict.fromkeys(rows[start:end]))
            if span.rank < self.frame.num_qubits:
                columns = span.columns()
                maps.append(np.concatenate([columns, np.zeros_like(columns)]))
            else:
                maps.append(None)
        return maps


def _cosine_and_sine(angle: float) -> tuple[float, float]:
    """Return the cosine and the sine of an angle, of multiples of pi/2 without rounding."""
    turns = round(angle / (math.pi / 2))
    if abs(angle - turns * math.pi / 2) <= ANGLE_ROUNDING * abs(angle):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[turns % 4]
    return math.cos(angle), math.sin(angle)


def _spans(count: int) -> list[tuple[int, int]]:
    """Return the blocks of some rotations as (start, end), in temporal order."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < count:
        size = _FRONT[len(spans)] if len(spans) < len(_FRONT) else _BLOCK
        spans.append((start, min(start + size, count)))
        start += size
    return spans
