"""Improve a partition by moving ends, pieces of wires and whole wires between its parts.

Simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 220, 671 (1983); for partitions with a
penalty in place of a hard limit: Johnson et al., Operations Research 37, 865 (1989)).
"""

from __future__ import annotations

import math
import random

from hpcq.planning.search.partition import Partition

_NEW_PART = 0.02
_COLD = 1e-3


def anneal(partition: Partition, steps: int, rng: random.Random, hot: float) -> list[int]:
    """Anneal a partition.

    Args:
        partition: Where to start; it is changed.
        steps: Number of ends that may be moved, which is what the work is in proportion to.
        rng: Source of all choices.
        hot: Temperature to start with, in bits.

    Returns:
        The best labels seen that fit, or the best of all if none did.
    """
    best = (not partition.fits, partition.energy)
    best_labels = list(partition.labels)
    energy = partition.energy
    ends = partition.graph.num_ends
    done = 0
    while done < steps:
        done += 1
        end = rng.randrange(ends)
        targets = partition.neighbours(end)
        if not targets:
            empty = partition.empty if rng.random() < _NEW_PART else []
            if not empty:
                continue
            target = rng.choice(empty)
        else:
            target = rng.choice(targets)
        moving = _extent(partition, end, rng)
        home = partition.labels[end]
        partition.move(moving, target)
        done += 2 * len(moving)
        temperature = hot * (_COLD / hot) ** (done / steps)
        change = partition.energy - energy
        if change <= 0 or rng.random() < math.exp(-change / temperature):
            energy = partition.energy
            found = (not partition.fits, energy)
            if found < best:
                best, best_labels = found, list(partition.labels)
        else:
            partition.move(moving, home)
    return best_labels


def _extent(partition: Partition, end: int, rng: random.Random) -> list[int]:
    """Choose what moves with an end: nothing, or its part's wire before it, behind it, or both."""
    before, behind = partition.interval(end)
    choice = rng.randrange(4)
    moving = [end]
    if choice & 1:
        moving += before
    if choice & 2:
        moving += behind
    return moving
