"""Trials: independent attempts, each an initial partition and a fixed amount of annealing.

The number and length of trials follow from the budget alone, never from the clock or the number of
ranks, so that a seed gives the same cuts on every machine with the same memory limit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hpcq.planning.search.annealing import anneal
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.initial_partitions import StartKind, initial_labels
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition

_STEPS_PER_SECOND = 200_000
"""Steps of annealing that count as one second of the budget. It only sets how long a search takes;
changing it changes the cuts of every seed."""

_STEPS_PER_END = 500
"""Maximum steps of annealing for each end of a graph; more bring nothing."""

_MIN_SECONDS = 0.1
"""Seconds of search that are always spent, however quick the run would be."""

_MAX_SEARCH_RATIO = 2.0
"""Seconds of search in multiples of the predicted run without any search, at most."""

_MAX_STARTS = 8
"""Maximum number of initial partitions that one trial compares."""

_MAX_STARTED_ENDS = 2000
"""Maximum number of ends in all initial partitions of one trial: larger graphs get fewer."""

_SEED_STRIDE = 1001
"""Distance between the seeds of a trial's initial partitions: large, because trials have
consecutive seeds, and odd, so that even and odd seeds alternate, which weigh edges differently."""

_MAX_CONTRACTED_PARTS = 12
"""Number of parts up to which initial partitions are compared with the cost of their contraction. A
contraction path takes about 15 ms for 11 parts, but 50 ms for 16 and 300 ms for 25."""

_MANY_ENDS = 25_000
"""Number of ends of a graph above which trials are few and have one round each."""

_MAX_QUICK_TRIALS = 3
"""Maximum number of trials for such graphs and for quick searches."""

_ROUNDS = ((1.0, 2.0), (2.0, 1.0), (4.0, 0.5))
"""Rounds of annealing: the factor of the trial's penalty for each qubit beyond the width, and the
initial temperature in bits. Each round starts with a new contraction path."""

_MIN_PART_QUBITS = 4
"""Average number of qubits of a part in the initial partition with the most parts."""


@dataclass(frozen=True)
class Trial:
    """One attempt to partition a graph.

    Attributes:
        kind: The kind of initial partition.
        parts: Number of its parts.
        steps: Steps of annealing, over all rounds.
        excess_penalty: Bits of energy for each qubit beyond the width, in the first round.
        seed: Seed of all random choices.
        quick: Whether to make one initial partition and one round of annealing.
    """

    kind: StartKind
    parts: int
    steps: int
    excess_penalty: float
    seed: int
    quick: bool = False


def plan_trials(
    graph: EndGraph, objective: Objective, seconds: float, seed: int, quick: bool = False
) -> list[Trial]:
    """Return the trials on one graph within a budget in seconds; if ``quick``, a few short ones."""
    wires = graph.num_wires
    min_parts = -(-wires // objective.width)
    simple = _best_simple_partition(graph, objective, seed)
    if objective.kind == "seconds":
        seconds = min(seconds, _MIN_SECONDS + _MAX_SEARCH_RATIO * simple.seconds)
    # Otherwise no cut at all, whose parts are too wide, could look better than cuts that fit.
    excess_penalty = max(1.0, simple.overhead / max(1, wires - objective.width))
    by_overhead = objective.kind == "overhead"
    starts = list(_overhead_starts(min_parts) if by_overhead else _starts(min_parts, wires))
    quick = quick or graph.num_ends > _MANY_ENDS
    if quick:  # a few of those whose partitions are quick to find
        starts = [start for start in starts if start[0] in ("qubits", "rows", "whole")]
        starts = starts[:: max(1, len(starts) // _MAX_QUICK_TRIALS)][-_MAX_QUICK_TRIALS:]
    steps = int(seconds * _STEPS_PER_SECOND / max(1, len(starts)))
    steps = min(steps, _STEPS_PER_END * graph.num_ends)
    return [
        Trial(kind, min(parts, wires), steps, excess_penalty, seed + number, quick)
        for number, (kind, parts) in enumerate(starts)
    ]


def _best_simple_partition(graph: EndGraph, objective: Objective, seed: int) -> Partition:
    """Return the best of a few initial partitions, without annealing."""
    min_parts = -(-graph.num_wires // objective.width)
    counts = {min_parts, 2 * min_parts, max(min_parts, graph.num_wires // 8)}
    kind, width = objective.kind, objective.width
    partitions = [initial_labels(graph, "rows", min_parts, kind, width, seed)]
    partitions += [
        initial_labels(graph, "qubits", parts, kind, width, seed) for parts in sorted(counts)
    ]
    evaluated = (evaluate(graph, objective, labels) for labels in partitions)
    return min(evaluated, key=lambda partition: (not partition.fits, partition.seconds))


def run_trial(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Run one trial and return the labels found."""
    rng = random.Random(trial.seed)
    labels = _best_start(graph, objective, trial)
    rounds = _ROUNDS[-1:] if trial.quick else _ROUNDS
    for factor, temperature in rounds:
        round_objective = replace(objective, excess_penalty=factor * trial.excess_penalty)
        partition = Partition(graph, labels, round_objective)
        if objective.kind == "seconds":
            partition.include_contraction()
        labels = anneal(partition, trial.steps // len(rounds), rng, temperature)
    return graph.split_disconnected(labels)


def _best_start(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Return the best of a few initial partitions, which differ in their seeds."""
    num_starts = max(1, min(_MAX_STARTS, _MAX_STARTED_ENDS // graph.num_ends))
    if trial.quick or trial.kind not in ("qubits", "ends"):
        num_starts = 1
    candidates = []
    for attempt in range(num_starts):
        seed = trial.seed + _SEED_STRIDE * attempt
        kind, width = objective.kind, objective.width
        labels = initial_labels(graph, trial.kind, trial.parts, kind, width, seed)
        partition = Partition(graph, labels, objective)
        if objective.kind == "seconds" and num_starts > 1 and trial.parts <= _MAX_CONTRACTED_PARTS:
            partition.include_contraction()
        candidates.append((partition.excess, partition.energy, labels))
    return min(candidates)[2]


def evaluate(graph: EndGraph, objective: Objective, labels: list[int]) -> Partition:
    """Return a partition whose cost includes its contraction."""
    partition = Partition(graph, labels, objective)
    partition.include_contraction()
    return partition


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
