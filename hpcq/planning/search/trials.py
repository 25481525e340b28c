"""The portfolio: independent attempts, each a start and a fixed amount of annealing.

How many attempts there are and how long each is follows from the budget alone, never from the
clock or the number of ranks, so that a seed gives the same cuts everywhere, with the same memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hpcq.planning.search.annealing import anneal
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.initial_partitions import Start, start
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition

_STEPS_PER_SECOND = 200_000
"""Steps of annealing that count as a second of the budget."""

_STEPS_PER_END = 500
"""More steps than this for each end bring nothing."""

_MIN_SECONDS = 0.1
_WORTH = 2.0
"""The search takes at most so many times what the run would take without it."""

_MAX_TRIES = 8
_TRIED_ENDS = 2000
_NEXT_SEED = 1001
"""Small graphs are partitioned several times for each lane, with seeds so far apart."""

_MAX_PLANTED = 12
"""Starts of at most so many parts are compared with their contraction. An order of contraction is
found in about 15 ms for 11 parts, but in 50 ms for 16 and 300 ms for 25."""

_MANY_ENDS = 25_000
_FEW_LANES = 3
"""Of larger graphs, so many attempts are made, each in one round."""

_ROUNDS = ((1.0, 2.0), (2.0, 1.0), (4.0, 0.5))
"""Rounds of annealing: how many times the lane's price a qubit too many costs, and the temperature
to start with, in bits. The order of contraction is found anew for each."""

_NARROW = 4
"""The narrowest start has so many qubits a part."""


@dataclass(frozen=True)
class Trial:
    """One attempt.

    Attributes:
        kind: How it starts.
        parts: Into how many parts.
        steps: Steps of annealing.
        excess: Bits that a qubit too many costs at first.
        seed: Seed of all its choices.
        quick: Whether one start and one round of annealing are enough.
    """

    kind: Start
    parts: int
    steps: int
    excess: float
    seed: int
    quick: bool = False


@dataclass(frozen=True)
class TrialResult:
    """What an attempt found.

    Attributes:
        labels: The part of each end.
        fits: Whether no part is too wide.
        bits: log2 of the factor gamma squared.
        seconds: Predicted seconds, those of the contraction included.
        beyond: Bits by which the tensors are too large for the memory.
    """

    labels: tuple[int, ...]
    fits: bool
    bits: float
    seconds: float
    beyond: float


def trials(
    graph: EndGraph, objective: Objective, seconds: float, seed: int, quick: bool = False
) -> list[Trial]:
    """Return the attempts that a budget allows for one graph; with ``quick``, a few short ones."""
    wires = graph.num_wires
    fewest = -(-wires // objective.width)
    guess = _first_guess(graph, objective, seed)
    if objective.kind == "seconds":
        seconds = min(seconds, _MIN_SECONDS + _WORTH * guess.seconds)
    # No cut at all must not look better than cuts that fit.
    excess = max(1.0, guess.bits / max(1, wires - objective.width))
    plain = list(
        _overhead_starts(fewest) if objective.kind == "overhead" else _starts(fewest, wires)
    )
    quick = quick or graph.num_ends > _MANY_ENDS
    if quick:
        plain = _for_many_ends(plain)
    share = int(seconds * _STEPS_PER_SECOND / max(1, len(plain)))
    share = min(share, _STEPS_PER_END * graph.num_ends)
    return [
        Trial(kind, min(parts, wires), share, excess, seed + number, quick)
        for number, (kind, parts) in enumerate(plain)
    ]


def _for_many_ends(plain: Sequence[tuple[Start, int]]) -> list[tuple[Start, int]]:
    """Leave the starts that are quickly made, and few of those."""
    quick = [own for own in plain if own[0] in ("qubits", "rows", "whole")]
    return quick[:: max(1, len(quick) // _FEW_LANES)][-_FEW_LANES:]


def _first_guess(graph: EndGraph, objective: Objective, seed: int) -> TrialResult:
    """Return the best of the first partitions."""
    fewest = -(-graph.num_wires // objective.width)
    counts = {fewest, 2 * fewest, max(fewest, graph.num_wires // 8)}
    kind, width = objective.kind, objective.width
    labels = [start(graph, "rows", fewest, kind, width, seed)]
    labels += [start(graph, "qubits", parts, kind, width, seed) for parts in sorted(counts)]
    found = (weigh(graph, objective, own) for own in labels)
    return min(found, key=lambda own: (not own.fits, own.seconds))


def run_trial(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Do one attempt and return the labels it found."""
    rng = random.Random(trial.seed)
    labels = _best_start(graph, objective, trial)
    rounds = _ROUNDS[-1:] if trial.quick else _ROUNDS
    for times, hot in rounds:
        goal = replace(objective, excess=times * trial.excess)
        partition = Partition(graph, labels, goal)
        if objective.kind == "seconds":
            partition.plant()
        labels = anneal(partition, trial.steps // len(rounds), rng, hot)
    return graph.separated(labels)


def _best_start(graph: EndGraph, objective: Objective, trial: Trial) -> list[int]:
    """Return the best of a few starts, each with a seed of its own."""
    tries = max(1, min(_MAX_TRIES, _TRIED_ENDS // graph.num_ends))
    if trial.quick or trial.kind not in ("qubits", "ends"):
        tries = 1
    found = []
    for attempt in range(tries):
        seed = trial.seed + _NEXT_SEED * attempt
        labels = start(graph, trial.kind, trial.parts, objective.kind, objective.width, seed)
        partition = Partition(graph, labels, objective)
        if objective.kind == "seconds" and tries > 1 and trial.parts <= _MAX_PLANTED:
            partition.plant()
        found.append((partition.excess, partition.energy, labels))
    return min(found)[2]


def weigh(graph: EndGraph, objective: Objective, labels: list[int]) -> TrialResult:
    """Say what a partition costs."""
    partition = Partition(graph, labels, objective)
    partition.plant()
    beyond = objective.storing_bits(partition.stored)
    return TrialResult(tuple(labels), partition.fits, partition.overhead, partition.seconds, beyond)


def _starts(fewest: int, wires: int) -> Iterator[tuple[Start, int]]:
    """Yield starts of few wide parts up to many narrow ones."""
    most = max(fewest, wires // _NARROW)
    counts = sorted({round(fewest * (most / fewest) ** (step / 6)) for step in range(7)})
    for parts in counts:
        yield ("qubits" if parts > 1 else "whole"), parts
    for parts in {max(2, count) for count in counts[1:5:2]}:
        yield "ends", parts
    yield "rows", max(2, fewest)
    yield "slices", max(2, counts[len(counts) // 2])


def _overhead_starts(fewest: int) -> Iterator[tuple[Start, int]]:
    if fewest == 1:
        yield "whole", 1
        return
    for parts in (fewest, fewest, fewest, fewest + 1):
        yield "qubits", parts
    for parts in (fewest, fewest + 1, fewest + 2, 2 * fewest):
        yield "ends", parts
    yield "rows", fewest
    yield "slices", fewest
