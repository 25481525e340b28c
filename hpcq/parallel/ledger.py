"""What ranks did and when: busy seconds of each, by whom they were caused, and a timeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.parallel.tasks import Numbers, TaskResults

_MAX_ROWS = 50_000


@dataclass(frozen=True)
class Span:
    """Some tasks that a rank computed without a break.

    Attributes:
        rank: The rank.
        begin: When it began, in seconds since the ledger was opened.
        end: When it ended.
        tasks: Number of tasks.
        owner: What the first of them belongs to.
    """

    rank: int
    begin: float
    end: float
    tasks: int
    owner: int


class Ledger:
    """Account of a farm's work.

    Attributes:
        busy: Seconds that each rank computed.
        by_owner: Seconds that were computed for each owner, such as a subcircuit.
        stretches: The timeline; neighbours are joined where it would grow too long.
    """

    def __init__(self) -> None:
        self.busy: dict[int, float] = {}
        self.by_owner: dict[int, float] = {}
        self.stretches: list[Span] = []
        self._most = _MAX_ROWS

    def note(self, rank: int, batch: TaskResults, owners: Numbers, now: float) -> None:
        """Note a batch of results.

        Args:
            rank: Who computed it.
            batch: The results.
            owners: What each of its tasks belongs to.
            now: Seconds since the ledger was opened.
        """
        seconds = float(batch.seconds.sum())
        self.busy[rank] = self.busy.get(rank, 0.0) + seconds
        for owner in np.unique(owners).tolist():
            own = float(batch.seconds[owners == owner].sum())
            self.by_owner[owner] = self.by_owner.get(owner, 0.0) + own
        self.stretches.append(Span(rank, now - seconds, now, len(batch.tasks), int(owners[0])))
        if len(self.stretches) > self._most:
            self.stretches = _joined(self.stretches)
            self._most = max(_MAX_ROWS, 2 * len(self.stretches))

    def table(self) -> NDArray[np.float64]:
        """Return the timeline as an array: rank, begin, end, tasks, owner; one row a stretch."""
        rows = [(own.rank, own.begin, own.end, own.tasks, own.owner) for own in self.stretches]
        return np.array(rows, dtype=float).reshape(-1, 5)


def _joined(stretches: list[Span]) -> list[Span]:
    """Join every two neighbouring stretches of a rank."""
    joined: list[Span] = []
    waiting: dict[int, Span] = {}
    for own in stretches:
        first = waiting.pop(own.rank, None)
        if first is None:
            waiting[own.rank] = own
        else:
            tasks = first.tasks + own.tasks
            joined.append(Span(own.rank, first.begin, own.end, tasks, first.owner))
    return sorted([*joined, *waiting.values()], key=lambda own: own.end)
