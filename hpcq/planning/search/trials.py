"""Trials: independent attempts, each an initial partition and a fixed amount of annealing."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from hpcq.planning.search import effort
from hpcq.planning.search.annealing import anneal
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.initial_partitions import StartKind, initial_labels
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition

_SEED_STRIDE = 1001
"""Distance between the seeds of a trial's initial partitions: large, because trials have
consecutive seeds, and odd, so that even and odd seeds alternate, which weigh edges differently."""

MAX_CONTRACTED_PARTS = 12
"""Number of parts up to which initial partitions are compared with the cost of their contraction. A
contraction path takes about 15 ms for 11 parts, but 50 ms for 16 and 300 ms for 25."""

_ROUNDS = ((1.0, 2.0), (2.0, 1.0), (4.0, 0.5))
"""Rounds of annealing: the factor of the trial's penalty for each qubit beyond the width, and the
initial temperature in bits. Each round starts with a new contraction path."""

MAX_ROUNDS = len(_ROUNDS)
"""Number of rounds of a trial that is not short of time; the others have only the last ones."""


@dataclass(frozen=True)
class Trial:
    """One attempt to partition a graph.

    Attributes:
        kind: The kind of initial partition.
        parts: Number of its parts.
        steps: Steps of annealing, over all rounds.
        excess_penalty: Bits of energy for each qubit beyond the width, in the first round.
        seed: Seed of all random choices.
        starts: Number of initial partitions, which differ in their seeds; the best is annealed.
        rounds: Number of rounds of annealing, the last ones of :data:`MAX_ROUNDS`.
        labels: The labels of the ends, if the initial partition is given.
    """

    kind: StartKind
    parts: int
    steps: int
    excess_penalty: float
    seed: int
    starts: int = 1
    rounds: int = MAX_ROUNDS
    labels: tuple[int, ...] = ()


def trial_seconds(graph: EndGraph, objective: Objective, trial: Trial) -> float:
    """Return the seconds of a trial's work, counted as in :mod:`hpcq.planning.search.effort`."""
    parts = trial.parts if objective.kind == "seconds" else 1
    return (
        trial.starts * effort.start_seconds(graph, trial.kind, trial.parts, objective.kind)
        + trial.rounds * effort.evaluation_seconds(graph, parts)
        + trial.steps / effort.STEPS_PER_SECOND[objective.kind]
    )


def run_trial(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Run one trial and return the labels found."""
    rng = random.Random(trial.seed)
    labels = list(trial.labels) or _best_start(graph, objective, trial)
    for factor, temperature in _ROUNDS[-trial.rounds :]:
        round_objective = replace(objective, excess_penalty=factor * trial.excess_penalty)
        partition = Partition(graph, labels, round_objective)
        if objective.kind == "seconds":
            partition.include_contraction()
        labels = anneal(partition, trial.steps // trial.rounds, rng, temperature)
    return graph.split_disconnected(labels)


def _best_start(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Return the best of a few initial partitions, which differ in their seeds."""
    candidates = []
    for attempt in range(trial.starts):
        seed = trial.seed + _SEED_STRIDE * attempt
        kind, width = objective.kind, objective.width
        labels = initial_labels(graph, trial.kind, trial.parts, kind, width, seed)
        partition = Partition(graph, labels, objective)
        contracted = trial.starts > 1 and trial.parts <= MAX_CONTRACTED_PARTS
        if objective.kind == "seconds" and contracted:
            partition.include_contraction()
        candidates.append((partition.excess, partition.energy, labels))
    return min(candidates)[2]


def evaluate(graph: EndGraph, objective: Objective, labels: list[int]) -> Partition:
    """Return a partition whose cost includes its contraction."""
    partition = Partition(graph, labels, objective)
    partition.include_contraction()
    return partition
