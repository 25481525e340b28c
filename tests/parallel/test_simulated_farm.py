"""Rank 0 leads a thousand workers that are made up; see ``benchmarks/simulated_farm.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

from simulated_farm import Simulation, Team, simulate

HANDLING = 60e-6
"""Seconds of rank 0 for a batch, so that the outcome is the same on every machine."""


def run(
    ranks: int, each: int, *, slow: float = 0.0, dead: float = 0.0, wrong: float = 1.0
) -> Simulation:
    """Have chunks of 1 to 10 seconds computed, so many for each rank."""
    chance = np.random.default_rng(3)
    seconds = chance.uniform(1, 10, ranks * each)
    team = Team.of(ranks - 1, slow, dead, float(seconds.sum()) / ranks, chance)
    predicted = seconds * wrong ** chance.uniform(-1, 1, len(seconds))
    found = simulate(seconds, team, predicted, handling=HANDLING)
    assert found.outcome.complete
    assert found.outcome.finished.num_done == len(seconds)
    for task, own in enumerate(found.outcome.finished):
        assert own.tolist() == [task], "each in its place"
    return found


def test_a_thousand_ranks_are_busy_to_the_end() -> None:
    found = run(1_000, 20)
    assert found.efficiency >= 0.9
    assert found.computed <= 20_100, "next to nothing is computed twice where all goes well"
    assert found.busy_share < 0.05


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_predictions_may_be_off_by_a_common_factor(scale: float) -> None:
    chance = np.random.default_rng(3)
    seconds = chance.uniform(1, 10, 4_000)
    team = Team.of(199, 0.0, 0.0, 1.0, chance)
    found = simulate(seconds, team, scale * seconds, handling=HANDLING)
    assert found.outcome.complete
    assert found.efficiency >= 0.9


def test_dead_and_slow_workers_hold_up_nobody_for_long() -> None:
    found = run(500, 20, slow=0.05, dead=0.02, wrong=3.0)
    assert len(found.outcome.lost) == 10
    assert found.of_best >= 0.8
    assert 10_000 <= found.computed < 11_000


def test_small_chunks_travel_together() -> None:
    chance = np.random.default_rng(3)
    seconds = chance.uniform(0.001, 0.003, 200_000)
    found = simulate(seconds, Team.of(49, 0.05, 0.05, 8.0, chance), handling=HANDLING)
    assert found.outcome.complete
    assert found.of_best >= 0.8
    assert found.received < 4_000
