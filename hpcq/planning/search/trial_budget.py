"""Plan the trials of a search within a budget.

All work is counted (:mod:`hpcq.planning.search.effort`): initial partitions, contraction paths and
annealing. The number and length of trials follow from the budget alone, never from the clock or the
number of ranks, so that a seed gives the same cuts on every machine with the same memory limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from hpcq.planning.search import effort
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.initial_partitions import StartKind, initial_labels, natural_groups
from hpcq.planning.search.objective import Objective, ObjectiveName
from hpcq.planning.search.partition import Partition
from hpcq.planning.search.trials import MAX_CONTRACTED_PARTS, MAX_ROUNDS, Trial, evaluate

_STEPS_PER_END = 500
"""Maximum number of steps of annealing for each end of a graph; more do not improve the cuts."""

_MIN_FRACTION = 1 / 15
"""Fraction of the budget that is always annealed, however quick the run would be: 0.2 s of the
default budget, for all components together."""

_MAX_SEARCH_RATIO = 2.0
"""Maximum seconds of annealing, in multiples of the predicted seconds of a run with the best simple
partition."""

_MAX_STARTS = 8
"""Maximum number of initial partitions that one trial compares."""

_MAX_STARTED_ENDS = 2000
"""Maximum number of ends in all initial partitions of one trial: larger graphs get fewer."""

_GIVEN_ROUNDS = 1
"""Rounds of annealing of labels that are already good. Several rounds start hotter and lose them:
blocks of 6 to 14 qubits were predicted to take 1.3 s with 3 rounds and 0.96 s with 1."""

_START_FRACTION: dict[ObjectiveName, float] = {"overhead": 0.7, "seconds": 0.5}
"""Fraction of the budget for initial partitions and contraction paths; the rest is annealed."""

_SIMPLE_FRACTION = 0.25
"""Fraction of the budget for partitions without annealing, by whose cost the rest is planned."""

_MANY_ENDS = 25_000
"""Number of ends of a graph above which trials are few and have one round each."""

_MAX_QUICK_TRIALS = 3
"""Maximum number of trials for such graphs and for quick searches."""

_MIN_PART_QUBITS = 4
"""Average number of qubits of a part in the initial partition with the most parts."""


@dataclass(frozen=True)
class _Start:
    """A kind of initial partition, and seconds of work.

    Attributes:
        kind: The kind.
        parts: Number of parts.
        start_seconds: Work of one initial partition.
        round_seconds: Work before each round of annealing.
    """

    kind: StartKind
    parts: int
    start_seconds: float
    round_seconds: float

    @property
    def varies(self) -> bool:
        """Whether initial partitions differ by their seeds."""
        return self.start_seconds > 0


def plan_trials(
    graph: EndGraph,
    objective: Objective,
    seconds: float,
    seed: int,
    quick: bool = False,
    given: Sequence[int] = (),
) -> list[Trial]:
    """Return the trials on one graph within a budget.

    The first one starts from the best of a few quick partitions.

    Args:
        graph: The graph.
        objective: What the search minimises.
        seconds: The budget, in seconds of :mod:`hpcq.planning.search.effort`.
        seed: Seed of the first trial; the others have the next ones.
        quick: Whether a few short trials are enough.
        given: Labels from which the first trial may start.
    """
    simple, spent = _best_simple_partition(graph, objective, seed, seconds, given)
    left = max(0.0, seconds - spent)
    annealing = left
    if objective.kind == "seconds":
        annealing = min(left, _MIN_FRACTION * seconds + _MAX_SEARCH_RATIO * simple.seconds)
    # Otherwise no cut at all, whose parts are too wide, could look better than cuts that fit.
    excess_penalty = max(1.0, simple.overhead / max(1, graph.num_wires - objective.width))
    quick = quick or graph.num_ends > _MANY_ENDS
    kinds = [("given", len(set(simple.labels))), *_kinds(graph, objective, quick)]
    starts = [_start(graph, objective, kind, parts) for kind, parts in kinds]
    fixed = _START_FRACTION[objective.kind] * left
    starts, rounds = _affordable(starts, fixed, 1 if quick else MAX_ROUNDS)
    spent = sum(start.start_seconds + rounds * start.round_seconds for start in starts)
    num_starts = 1
    if not quick:
        extra = min(fixed, annealing) - spent
        num_starts, extra = _num_starts(graph, objective, starts, extra)
        spent += extra
    annealing = min(annealing, max(0.0, left - spent))
    steps = int(annealing * effort.STEPS_PER_SECOND[objective.kind] / len(starts))
    steps = min(steps, _STEPS_PER_END * graph.num_ends)
    return [
        Trial(
            start.kind,
            start.parts,
            steps,
            excess_penalty,
            seed + number,
            num_starts if start.varies else 1,
            _GIVEN_ROUNDS if start.kind == "given" else rounds,
            tuple(simple.labels) if start.kind == "given" else (),
        )
        for number, start in enumerate(starts)
    ]


def _kinds(graph: EndGraph, objective: Objective, quick: bool) -> list[tuple[StartKind, int]]:
    """Return the kinds of initial partitions, and the number of parts of each."""
    wires = graph.num_wires
    min_parts = -(-wires // objective.width)
    by_overhead = objective.kind == "overhead"
    kinds = list(_overhead_starts(min_parts) if by_overhead else _starts(min_parts, wires))
    if quick:  # a few of those whose partitions are quick to find
        kinds = [start for start in kinds if start[0] in ("qubits", "rows", "whole")]
        kinds = kinds[:: max(1, len(kinds) // _MAX_QUICK_TRIALS)][-_MAX_QUICK_TRIALS:]
    return [(kind, min(parts, wires)) for kind, parts in kinds]


def _start(graph: EndGraph, objective: Objective, kind: StartKind, parts: int) -> _Start:
    by_seconds = objective.kind == "seconds"
    return _Start(
        kind,
        parts,
        effort.start_seconds(graph, kind, parts, objective.kind),
        effort.evaluation_seconds(graph, parts if by_seconds else 1),
    )


def _affordable(starts: list[_Start], seconds: float, rounds: int) -> tuple[list[_Start], int]:
    """Return starts whose work is within the budget, and their rounds of annealing.

    The first one is always kept; the others are evenly spread over all. One round for each comes
    before fewer starts.
    """
    first, *others = starts
    for stride in range(1, 1 + len(others)):
        chosen = [first, *others[::-1][::stride][::-1]]
        for rounds_each in dict.fromkeys((rounds, 1)):
            work = sum(s.start_seconds + rounds_each * s.round_seconds for s in chosen)
            if work <= seconds:
                return chosen, rounds_each
    return [first], 1


def _num_starts(
    graph: EndGraph, objective: Objective, starts: Sequence[_Start], seconds: float
) -> tuple[int, float]:
    """Return the number of initial partitions of each trial, and the work of all but the first.

    That work is within the seconds.
    """
    each = 0.0
    for start in starts:
        if start.varies:
            compared = objective.kind == "seconds" and start.parts <= MAX_CONTRACTED_PARTS
            each += start.start_seconds + (start.round_seconds if compared else 0.0)
    if not each:
        return 1, 0.0
    most = max(1, min(_MAX_STARTS, _MAX_STARTED_ENDS // graph.num_ends))
    extra = min(most - 1, int(max(0.0, seconds) / each))
    return 1 + extra, extra * each


class _SimplePartitions:
    """A few initial partitions without annealing, within a budget.

    Attributes:
        spent: Seconds of work so far.
    """

    def __init__(self, graph: EndGraph, objective: Objective, seconds: float) -> None:
        self.spent = 0.0
        self._graph, self._objective, self._seconds = graph, objective, seconds
        self._found: list[Partition] = []

    def add(self, labels: Callable[[], Sequence[int]], parts: int, work: float = 0.0) -> None:
        """Add a partition whose labels take some work, unless that exceeds the budget.

        The first one is always added.
        """
        work += effort.evaluation_seconds(self._graph, parts)
        if self._found and self.spent + work > self._seconds:
            return
        self.spent += work
        self._found.append(evaluate(self._graph, self._objective, list(labels())))

    def add_groups(self, max_groups: int) -> None:
        """Add natural groups of qubits."""
        graph, objective = self._graph, self._objective
        work = effort.merging_seconds(graph)
        if self.spent + work > self._seconds:
            return
        self.spent += work
        for count, labels in natural_groups(graph, objective.kind, objective.width, max_groups):
            self.add(partial(list, labels), count)

    @property
    def best(self) -> Partition:
        """The best of them."""
        return min(self._found, key=lambda partition: (not partition.fits, partition.energy))


def _best_simple_partition(
    graph: EndGraph, objective: Objective, seed: int, seconds: float, given: Sequence[int]
) -> tuple[Partition, float]:
    """Return the best of a few initial partitions, without annealing, and the seconds of work.

    They take at most a quarter of the budget, except for the first of them.
    """
    simple = _SimplePartitions(graph, objective, _SIMPLE_FRACTION * seconds)
    kind, width, wires = objective.kind, objective.width, graph.num_wires
    min_parts = -(-wires // width)
    if given:
        simple.add(lambda: given, len(set(given)))
    starts: list[tuple[StartKind, int]] = [("rows", min_parts)]
    counts = {min_parts, 2 * min_parts, max(min_parts, wires // 8)}
    starts += [("qubits", parts) for parts in sorted(counts)]
    for number, (start, parts) in enumerate(starts):
        labels = partial(initial_labels, graph, start, parts, kind, width, seed)
        simple.add(labels, parts, effort.start_seconds(graph, start, parts, kind))
        if number == 0:
            simple.add_groups(max(2 * min_parts, wires // _MIN_PART_QUBITS))
    return simple.best, simple.spent


def _starts(min_parts: int, wires: int) -> Iterator[tuple[StartKind, int]]:
    """Yield starts for the least seconds, from few wide parts to many narrow ones."""
    max_parts = max(min_parts, wires // _MIN_PART_QUBITS)
    counts = sorted({round(min_parts * (max_parts / min_parts) ** (step / 6)) for step in range(7)})
    for parts in counts:
        yield ("qubits" if parts > 1 else "whole"), parts
    for parts in {max(2, count) for count in counts[1:5:2]}:
        yield "ends", parts
    yield "rows", max(2, min_parts)
    yield "slices", max(2, counts[len(counts) // 2])


def _overhead_starts(min_parts: int) -> Iterator[tuple[StartKind, int]]:
    """Yield starts for the least overhead, all of about as few parts as fit."""
    if min_parts == 1:
        yield "whole", 1
        return
    for parts in (min_parts, min_parts, min_parts, min_parts + 1):
        yield "qubits", parts
    for parts in (min_parts, min_parts + 1, min_parts + 2, 2 * min_parts):
        yield "ends", parts
    yield "rows", min_parts
    yield "slices", min_parts
