"""Pauli propagation: expectation values of near-Clifford circuits, with bounds on their errors.

Observables are propagated backwards through the circuit in the Heisenberg picture, as sums of
Paulis. In the frame of the circuit's Cliffords only its rotations are left, and each of them can
double the number of terms. The smallest terms are dropped; Paulis have norm 1, so the sum of the
absolute values of what was dropped bounds the error (Begušić, Gray and Chan, Sci. Adv. 10, eadk4321
(2024)).

A term whose X part no product of the remaining rotations can cancel has the value zero in |0...0>.
It is removed, which causes no error.
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
from hpcq.engines.clifford_frame import CliffordFrame, Paulis, split_projectors
from hpcq.engines.pauli_terms import Errors, TermTable
from hpcq.engines.rotation_blocks import RotationBlocks

MAX_PROJECTORS = 12
"""Maximum number of projectors in a string, unless the cap allows all terms of their expansion."""

SECONDS_PER_WORK = 8.5e-8
"""Seconds of a unit of work, which is a term that a rotation changes, on one thread. With this and
the next constants, 37 runs from 2 ms to 2.3 s took 0.75 to 1.4 times what the work says (kicked
Ising, chains, T gates, 1 to 127 strings, caps from 2**9 to 2**15)."""

BLOCK_WORK = 4500
"""Work of a block of up to 64 rotations."""

STEP_WORK = 700
"""Work of a rotation that changes some term: what its calls of NumPy cost."""

CUT_WORK = 0.17
"""Work per term of a search for the smallest terms."""

_MAX_TOGETHER = 1 << 15
"""Terms up to which strings are propagated together. With 2**13 terms a string, 2**17 took 1.2
times as long and 2**21 twice as long: the terms no longer fit in the caches. Strings of few terms
propagated one by one took 12 times as long."""

_MAX_START = 1 << 18
"""Maximum number of terms with which a batch of strings starts, projectors expanded."""

_MAX_STRINGS = 1 << 16
"""Maximum number of strings in a batch: their numbers have 16 bits."""

_ROUNDING = 1e-13
"""Rounding errors of cancelled terms that are not added to the bound, as long as their sum is no
larger."""

_EARLY_FRACTION = 0.9
"""Fraction of the tolerance that may be spent on small terms before the cap is reached, in
proportion to the square of the progress. Chains at a tolerance of 1e-3 became 18 times faster,
kicked Ising 1.5 times, and no more values were given up than with half of it in proportion to the
progress."""

_MIN_TRIMMED_TERMS = 64
"""Number of terms of a string up to which none is dropped early, so that small sums stay exact."""


@dataclass(frozen=True, eq=False)
class Propagation:
    """Expectation values.

    Attributes:
        values: Shape (strings,); NaN where a value was given up.
        bounds: Bounds on the absolute errors, shape (strings,): 0 if nothing was dropped, infinite
            where a value was given up.
        work: Work, in units of a term that a rotation changes.
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
    blocks = RotationBlocks(frame)
    parts = []
    work = 0.0
    for batch in _batches(strings):
        run = _Run(blocks, batch, cap, tolerance, max_work - work)
        parts.append(run.finish())
        work += parts[-1].work
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


def _batches(strings: Sequence[PauliString]) -> Iterator[list[PauliString]]:
    """Generate the strings in batches that start with a moderate number of terms."""
    batch: list[PauliString] = []
    size = 0
    for string in strings:
        terms = 1 << len(split_projectors(string)[1])
        if batch and (size + terms > _MAX_START or len(batch) == _MAX_STRINGS):
            yield batch
            batch, size = [], 0
        batch.append(string)
        size += terms
    if batch:
        yield batch


def largest_sums(rotations: int, strings: Sequence[PauliString], cap: int) -> tuple[int, float]:
    """Return upper bounds on the number of terms at any time, and on the work of all strings.

    Sums are mostly smaller by orders of magnitude: rotations outside of a string's light cone
    change nothing, and terms merge.
    """
    log_cap = math.log2(cap)
    terms, work = 0, 0.0
    for string in strings:
        doublings = min(rotations, max(0, math.ceil(log_cap) - len(split_projectors(string)[1])))
        growing = 2.0 ** min(log_cap, doublings + len(split_projectors(string)[1]))
        terms = max(terms, 2 * int(growing))
        work += (2 + rotations - doublings) * growing * (1 + CUT_WORK)
    blocks = 2 + rotations // 64
    work += rotations * STEP_WORK + blocks * BLOCK_WORK
    return min(terms, 2 * cap) + 4 * _MAX_TOGETHER + _MAX_START, work


class _Run:
    """The propagation of a batch of strings."""

    def __init__(
        self,
        blocks: RotationBlocks,
        strings: Sequence[PauliString],
        cap: int,
        tolerance: float | None,
        max_work: float,
    ) -> None:
        self._blocks = blocks
        self._cap = cap
        self._tolerance = math.inf if tolerance is None else tolerance
        self._max_work = max_work
        self._work = 0.0
        self._values = np.zeros(len(strings))
        self._given_up = np.zeros(len(strings), bool)
        self._errors = Errors(np.zeros(len(strings)), np.zeros(len(strings)))
        self._first = self._start(strings)

    def finish(self) -> Propagation:
        """Propagate to the start of the circuit; strings with many terms go one after the other."""
        self._cut(self._first)
        waiting = [(self._first, 0)]
        while waiting:
            terms, block = waiting.pop()
            halves = terms.split() if terms.size > _MAX_TOGETHER else None
            if halves:
                waiting += [(halves[1], block), (halves[0], block)]
            elif self._work > self._max_work:
                self._given_up[terms.strings] = True
            elif block == len(self._blocks):
                self._values += terms.values()
            elif terms.size:
                self._apply_block(terms, block)
                waiting.append((terms, block + 1))
        return self._result()

    def _start(self, strings: Sequence[PauliString]) -> TermTable:
        sums = [self._blocks.frame.expanded(string) for string in strings]
        counts = [len(terms.phases) for terms in sums]
        paulis = Paulis(
            np.concatenate([terms.words for terms in sums], axis=1),
            np.concatenate([terms.phases for terms in sums]),
        )
        numbers = np.repeat(np.arange(len(strings)), counts).astype(np.uint16)
        salts = np.random.default_rng(1).integers(1 << 64, size=len(strings), dtype="u8")
        hashes = self._blocks.hash(paulis.words) ^ salts[numbers]
        weights = np.repeat([1 / count for count in counts], counts)
        self._work += float(sum(counts))
        return TermTable(paulis, hashes, weights, numbers, self._errors)

    def _apply_block(self, terms: TermTable, number: int) -> None:
        """Apply a block of rotations."""
        block = self._blocks.block(number)
        terms.drop_cancelled()
        if block.vanishing is not None:
            terms.remove(np.flatnonzero(block.vanishing(terms.words)))
        self._trim(terms, number / len(self._blocks))
        active = terms.set_anticommuting(block.anticommuting(terms.words))
        self._work += BLOCK_WORK
        for bit in reversed(range(len(block.axes))):
            if not active >> bit & 1:
                continue
            before = terms.size
            changed, union = terms.rotate(block.axes[bit], bit)
            active |= union
            self._work += STEP_WORK + changed
            if terms.size > before:
                self._cut(terms)
            if self._work > self._max_work:
                return

    def _result(self) -> Propagation:
        dropped, noise = self._errors.dropped, self._errors.noise
        bounds = np.where(noise > _ROUNDING, dropped + noise, dropped)
        values = self._values
        values[self._given_up] = math.nan
        bounds[self._given_up] = math.inf
        return Propagation(values, bounds, self._work)

    def _cut(self, terms: TermTable) -> None:
        """Drop the smallest terms of the strings that have more than the cap."""
        if terms.size <= self._cap:
            return
        counts = np.bincount(terms.strings)
        if counts.max() <= self._cap:
            return
        sizes, dropped = terms.sizes, []
        for rows in _rows_of(terms.strings, counts, self._cap):
            over = len(rows) - self._cap
            dropped.append(rows[np.argpartition(sizes[rows], over)[:over]])
        self._work += CUT_WORK * terms.size
        self._drop(terms, dropped)

    def _trim(self, terms: TermTable, progress: float) -> None:
        """Drop small terms early as far as the tolerance allows it."""
        if not math.isfinite(self._tolerance) or terms.size <= _MIN_TRIMMED_TERMS:
            return
        sizes, dropped = terms.sizes, []
        budget = _EARLY_FRACTION * progress**2 * self._tolerance
        for rows in _rows_of(terms.strings, np.bincount(terms.strings), _MIN_TRIMMED_TERMS):
            allowed = budget - self._errors.dropped[terms.strings[rows[0]]]
            if allowed > 0:
                order = np.argsort(sizes[rows])
                count = np.searchsorted(np.cumsum(sizes[rows[order]]), allowed)
                dropped.append(rows[order[:count]])
        self._drop(terms, dropped)

    def _drop(self, terms: TermTable, rows: Sequence[NDArray[np.int64]]) -> None:
        """Drop terms, and give up the strings whose bounds exceed the tolerance."""
        if not any(map(len, rows)):
            return
        terms.drop(np.concatenate(rows))
        failed = self._errors.dropped > self._tolerance
        if failed.any():
            self._given_up |= failed
            terms.remove(np.flatnonzero(failed[terms.strings]))


def _rows_of(
    strings: NDArray[np.uint16], counts: NDArray[np.int64], above: int
) -> Iterator[NDArray[np.int64]]:
    """Generate the rows of each string that has more than some terms."""
    order = np.argsort(strings, kind="stable")  # a radix sort, as they have 16 bits
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts > above).tolist():
        yield order[ends[number] - counts[number] : ends[number]]
