"""The ledger: busy seconds of each rank and each owner of tasks, and a timeline."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import Numbers, TaskResults

_MAX_SPANS = 50_000
"""Length of the timeline, 5 numbers each, at which spans are merged in pairs; smaller: coarser."""


@dataclass(frozen=True)
class Span:
    """Tasks that a rank computed without a break.

    Attributes:
        rank: The rank.
        begin: When it began, in seconds since the ledger was opened.
        end: When it ended.
        tasks: Number of tasks.
        owner: Owner of the first of them.
    """

    rank: int
    begin: float
    end: float
    tasks: int
    owner: int


class Ledger:
    """Account of the work of a farm.

    Attributes:
        busy_seconds: Seconds that each rank computed.
        seconds_by_owner: Seconds that were computed for each owner, such as a subcircuit.
        spans: The timeline; consecutive spans of a rank are merged where it would grow too long.
    """

    def __init__(self) -> None:
        self.busy_seconds: dict[int, float] = {}
        self.seconds_by_owner: dict[int, float] = {}
        self.spans: list[Span] = []
        self._max_spans = _MAX_SPANS
        self._opened = time.monotonic()

    def note(self, rank: int, batch: TaskResults, owners: Numbers) -> None:
        """Add a batch of results that has just arrived from a rank; each task has an owner."""
        seconds, now = float(batch.seconds.sum()), time.monotonic() - self._opened
        self.busy_seconds[rank] = self.busy_seconds.get(rank, 0.0) + seconds
        for owner in np.unique(owners).tolist():
            for_owner = float(batch.seconds[owners == owner].sum())
            self.seconds_by_owner[owner] = self.seconds_by_owner.get(owner, 0.0) + for_owner
        self.spans.append(Span(rank, now - seconds, now, len(batch.tasks), int(owners[0])))
        if len(self.spans) > self._max_spans:
            self.spans = _merged(self.spans)
            self._max_spans = max(_MAX_SPANS, 2 * len(self.spans))

    def table(self) -> NDArray[np.float64]:
        """Return the timeline: rank, begin, end, tasks and owner of each span, shape (spans, 5)."""
        rows = [(span.rank, span.begin, span.end, span.tasks, span.owner) for span in self.spans]
        return np.array(rows, dtype=float).reshape(-1, 5)


def _merged(spans: list[Span]) -> list[Span]:
    """Return spans in which consecutive ones of each rank are merged in pairs."""
    merged: list[Span] = []
    unpaired: dict[int, Span] = {}
    for span in spans:
        first = unpaired.pop(span.rank, None)
        if first is None:
            unpaired[span.rank] = span
        else:
            tasks = first.tasks + span.tasks
            merged.append(Span(span.rank, first.begin, span.end, tasks, first.owner))
    return sorted([*merged, *unpaired.values()], key=lambda span: span.end)
