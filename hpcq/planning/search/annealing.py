"""Improve a partition by moving gate ends, alone or with their wires, between its parts.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 671 (1983); for partitions with a
penalty in place of a hard limit: Johnson et al., Operations Research 37, 865 (1989)).
"""

from __future__ import annotations

import math
import random

from hpcq.planning.search.partition import Partition

_NEW_PART_PROBABILITY = 0.02
"""Probability of trying an empty part for an end whose neighbours are all in its part. Larger: more
parts are tried, but most of these moves are rejected."""

_FINAL_TEMPERATURE = 1e-3
"""Temperature of the last step, in bits: moves that cost a hundredth of a bit are then rejected."""


def anneal(
    partition: Partition, steps: int, rng: random.Random, initial_temperature: float
) -> list[int]:
    """Anneal a partition in place, and return the labels of least energy that fit, if any do.

    Every proposal counts one step, and two more for each end that it moves. The temperature of the
    first step is in bits.
    """
    best = (not partition.fits, partition.energy)
    best_labels = list(partition.labels)
    energy = partition.energy
    num_ends = partition.graph.num_ends
    steps_done = 0
    while steps_done < steps:
        steps_done += 1
        end = rng.randrange(num_ends)
        targets = partition.neighbouring_parts(end)
        if not targets:
            empty = partition.empty_parts if rng.random() < _NEW_PART_PROBABILITY else []
            if not empty:
                continue
            target = rng.choice(empty)
        else:
            target = rng.choice(targets)
        moving = _choose_moving(partition, end, rng)
        source = partition.labels[end]
        partition.move(moving, target)
        steps_done += 2 * len(moving)
        cooling = (_FINAL_TEMPERATURE / initial_temperature) ** (steps_done / steps)
        temperature = initial_temperature * cooling
        change = partition.energy - energy
        if change <= 0 or rng.random() < math.exp(-change / temperature):
            energy = partition.energy
            candidate = (not partition.fits, energy)
            if candidate < best:
                best, best_labels = candidate, list(partition.labels)
        else:
            partition.move(moving, source)
    return best_labels


def _choose_moving(partition: Partition, end: int, rng: random.Random) -> list[int]:
    """Return an end and what moves with it: nothing, or its part's wire before or after it."""
    before, after = partition.interval(end)
    choice = rng.randrange(4)
    moving = [end]
    if choice & 1:
        moving += before
    if choice & 2:
        moving += after
    return moving
