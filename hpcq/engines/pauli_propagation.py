"""Pauli propagation: expectation values of near-Clifford circuits, with bounds on their errors.

Observables go backwards through the circuit in the Heisenberg picture, as sums of Paulis. In the
frame of the circuit's Cliffords only its other rotations are left, and each of them can double the
number of terms. The smallest terms are dropped; Paulis have norm 1, so the sum of the absolute
values of what was dropped bounds the error (Begušić, Gray and Chan, Sci. Adv. 10, eadk4321 (2024)).

A term with an X part that no product of the remaining rotations can undo ends as zero in the state
|0...0>, and goes without an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

from hpcq.circuits.pauli_text import PauliString
from hpcq.core.errors import InputError
from hpcq.engines.bit_maps import BitMap, Words, XSpans, bits_of, columns_of
from hpcq.engines.clifford_frame import CliffordFrame, Paulis, split_projectors
from hpcq.engines.pauli_terms import Axis, TermTable

MAX_PROJECTORS = 12
"""Projectors of a string that are expanded whatever the cap; more only if the terms fit in it."""

STEP_WORK = 400
"""Work of a rotation that changes some term, in terms touched: what its NumPy calls cost."""

CHANGED_WORK = 12
"""Work of a term that a rotation changes, in terms that it only checks."""

_MAX_TOGETHER = 1 << 18
"""Terms up to which strings are propagated together; they are counted as the cap each."""

_ROUNDING = 1e-13
"""Sum of rounding errors from cancelled terms above which it is added to the bound."""

_BLOCK = 64
_FRONT = (8, 8, 16, 32)
"""Rotations in a block, and in the first ones of the circuit, where terms end as zero."""


@dataclass(frozen=True, eq=False)
class Propagation:
    """Expectation values.

    Attributes:
        values: Shape (strings,); NaN where a value was given up.
        bounds: Bounds on the absolute errors, shape (strings,): 0 if nothing was dropped, infinite
            where a value was given up.
        work: Work in terms touched.
    """

    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    work: float


def propagate(
    circuit: QuantumCircuit,
    strings: Sequence[PauliString],
    *,
    cap: int,
    tolerance: float | None = None,
    max_work: float = math.inf,
) -> Propagation:
    """Return expectation values of strings in the state that a circuit prepares from |0...0>.

    Args:
        circuit: A circuit of one- and two-qubit gates.
        strings: Strings of Paulis and projectors.
        cap: Maximum number of terms of a string, at least 1.
        tolerance: Absolute error above which a value is given up; None for no limit.
        max_work: Work above which the unfinished values are given up.

    Raises:
        InputError: If the circuit has other gates or a string has too many projectors.
    """
    return propagate_frame(
        CliffordFrame.of(circuit), strings, cap=cap, tolerance=tolerance, max_work=max_work
    )


def propagate_frame(
    frame: CliffordFrame,
    strings: Sequence[PauliString],
    *,
    cap: int,
    tolerance: float | None = None,
    max_work: float = math.inf,
) -> Propagation:
    """Return expectation values as :func:`propagate` does, for a frame."""
    if cap < 1:
        raise InputError(f"cap: {cap}, expected at least 1")
    for string in strings:
        check_projectors(string, cap)
    rotations = _Rotations(frame)
    together = max(1, min(_MAX_TOGETHER // cap, 1 << 16))
    parts = []
    work = 0.0
    for start in range(0, len(strings), together):
        run = _Run(rotations, strings[start : start + together], cap, tolerance, max_work - work)
        part = run.finish()
        work += part.work
        parts.append(part)
    return Propagation(
        np.concatenate([np.empty(0), *(part.values for part in parts)]),
        np.concatenate([np.empty(0), *(part.bounds for part in parts)]),
        work,
    )


def check_projectors(string: PauliString, cap: int) -> None:
    """Check that a string's projectors can be expanded into Paulis.

    Raises:
        InputError: If there are too many.
    """
    count = len(split_projectors(string)[1])
    if count > MAX_PROJECTORS and 2.0**count > cap:
        raise InputError(
            f"strings: one has {count} projectors, expected at most {MAX_PROJECTORS}, or a cap of "
            "the 2**projectors terms"
        )


class _Rotations:
    """The rotations of a frame in blocks, the last one first, with what all strings share."""

    def __init__(self, frame: CliffordFrame) -> None:
        self.frame = frame
        self._size = len(frame.rotations.words) // 2
        images = np.random.default_rng(0).integers(1 << 64, size=64 * 2 * self._size, dtype="u8")
        self.hash = BitMap(images)
        self._hashes = self.hash(frame.rotations.words)
        self._filters = self._make_filters(images)

    def blocks(self) -> Iterator[tuple[BitMap, BitMap | None, list[Axis]]]:
        """Generate for each block, the last one first, what its terms need.

        That is a map from terms to the rotations that do not commute with them; a map that is not
        zero for terms that end as zero, or None; and the rotations in temporal order.
        """
        rotations = self.frame.rotations
        half = self._size
        for start, end in reversed(_spans(len(self.frame.angles))):
            words = rotations.words[:, start:end]
            anticommuting = BitMap(columns_of(np.concatenate([words[half:], words[:half]])))
            relations = anticommuting(words)
            axes = [
                Axis(
                    rotations.take(slice(start + bit, start + bit + 1)),
                    self._hashes[start + bit],
                    relations[bit],
                    float(self.frame.angles[start + bit]),
                )
                for bit in range(end - start)
            ]
            yield anticommuting, self._filters[end], axes

    def _make_filters(self, images: Words) -> dict[int, BitMap | None]:
        """Return for each block's end a map of terms, not zero if they end as zero."""
        x_parts = bits_of(self.frame.rotations.words[: self._size])
        packed = np.packbits(x_parts, axis=1, bitorder="little")
        rows = [int.from_bytes(row.tobytes(), "little") for row in packed]
        spans = XSpans(images[: 64 * self._size])
        filters: dict[int, BitMap | None] = {}
        for start, end in _spans(len(rows)):
            if spans.rank < self.frame.num_qubits:
                spans.add(iter(dict.fromkeys(rows[start:end])))
            useful = spans.rank < self.frame.num_qubits
            filters[end] = BitMap(_padded(spans.columns())) if useful else None
        return filters


def _padded(columns: Words) -> Words:
    """Return the columns of a map of x parts as those of a map of all words."""
    return np.concatenate([columns, np.zeros_like(columns)])


def _spans(count: int) -> list[tuple[int, int]]:
    """Return the blocks of some rotations as (start, end)."""
    spans, start = [], 0
    while start < count:
        size = _FRONT[len(spans)] if len(spans) < len(_FRONT) else _BLOCK
        spans.append((start, min(start + size, count)))
        start += size
    return spans


class _Run:
    """The propagation of some strings together."""

    def __init__(
        self,
        rotations: _Rotations,
        strings: Sequence[PauliString],
        cap: int,
        tolerance: float | None,
        max_work: float,
    ) -> None:
        self._rotations = rotations
        self._cap = cap
        self._tolerance = math.inf if tolerance is None else tolerance
        self._max_work = max_work
        self._work = 0.0
        self._given_up = np.zeros(len(strings), bool)
        self._terms = self._start(strings)

    def finish(self) -> Propagation:
        """Propagate to the front of the circuit."""
        self._cut()
        done, count = 0, len(self._rotations.frame.angles)
        for anticommuting, dead, axes in self._rotations.blocks():
            self._discard(dead)
            self._trim(done / count)
            living = self._terms.set_anticommuting(anticommuting(self._terms.words))
            for bit in reversed(range(len(axes))):
                if living >> bit & 1:
                    living |= self._rotate(axes[bit], bit)
                if self._work > self._max_work:
                    self._given_up[:] = True
                    return self._result()
            done += len(axes)
        return self._result()

    def _start(self, strings: Sequence[PauliString]) -> TermTable:
        sums = [self._rotations.frame.expanded(string) for string in strings]
        counts = [len(terms.phases) for terms in sums]
        paulis = Paulis(
            np.concatenate([terms.words for terms in sums], axis=1),
            np.concatenate([terms.phases for terms in sums]),
        )
        numbers = np.repeat(np.arange(len(strings)), counts).astype(np.uint16)
        salts = np.random.default_rng(1).integers(1 << 64, size=len(strings), dtype="u8")
        hashes = self._rotations.hash(paulis.words) ^ salts[numbers]
        weights = np.repeat([1 / count for count in counts], counts)
        self._work += float(sum(counts))
        return TermTable(paulis, hashes, weights, numbers, len(strings))

    def _result(self) -> Propagation:
        terms = self._terms
        values = terms.values()
        bounds = np.where(terms.noise > _ROUNDING, terms.dropped + terms.noise, terms.dropped)
        values[self._given_up] = math.nan
        bounds[self._given_up] = math.inf
        return Propagation(values, bounds, self._work)

    def _rotate(self, axis: Axis, bit: int) -> int:
        before = self._terms.size
        changed, union = self._terms.rotate(axis, bit)
        if changed:
            self._work += STEP_WORK + before + CHANGED_WORK * changed
            if self._terms.size > before:
                self._cut()
        return union

    def _discard(self, dead: BitMap | None) -> None:
        """Drop the terms that end as zero."""
        self._terms.drop_cancelled()
        if dead is not None:
            self._terms.keep(dead(self._terms.words) == 0)

    def _cut(self) -> None:
        """Drop the smallest terms of the strings that have more than the cap."""
        terms = self._terms
        if terms.size <= self._cap:
            return
        counts = np.bincount(terms.strings)
        if counts.max() <= self._cap:
            return
        sizes, dropped = terms.sizes, np.zeros(terms.size, bool)
        for rows in _rows_of(terms.strings, counts, self._cap):
            over = len(rows) - self._cap
            dropped[rows[np.argpartition(sizes[rows], over)[:over]]] = True
        self._drop(dropped)

    def _trim(self, progress: float) -> None:
        """Drop small terms early as far as the tolerance allows it.

        Half of the tolerance is spent in proportion to the progress.
        """
        if not math.isfinite(self._tolerance):
            return
        terms = self._terms
        if terms.size == 0:
            return
        sizes, dropped = terms.sizes, np.zeros(terms.size, bool)
        for rows in _rows_of(terms.strings, np.bincount(terms.strings), 0):
            allowed = self._tolerance * progress / 2 - terms.dropped[terms.strings[rows[0]]]
            if allowed > 0:
                order = np.argsort(sizes[rows])
                count = np.searchsorted(np.cumsum(sizes[rows[order]]), allowed)
                dropped[rows[order[:count]]] = True
        self._drop(dropped)

    def _drop(self, dropped: NDArray[np.bool_]) -> None:
        if not dropped.any():
            return
        self._terms.drop(dropped)
        failed = self._terms.dropped > self._tolerance
        if failed.any():
            self._given_up |= failed
            self._terms.keep(~failed[self._terms.strings])


def _rows_of(
    strings: NDArray[np.uint16], counts: NDArray[np.int64], above: int
) -> Iterator[NDArray[np.int64]]:
    """Generate the rows of each string that has more than some terms."""
    order = np.argsort(strings, kind="stable")
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts > above).tolist():
        yield order[ends[number] - counts[number] : ends[number]]
