"""Rank 0 coordinates a thousand simulated workers; see ``benchmarks/simulated_farm.py``."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated_farm import Simulation, Team, simulate

HANDLING = 60e-6
"""Rank 0's seconds for a batch, so that the outcome is the same on every machine."""


def run(
    ranks: int, each: int, *, slow: float = 0.0, dead: float = 0.0, wrong: float = 1.0
) -> Simulation:
    """Simulate tasks of 1 to 10 seconds, a number ``each`` for every rank."""
    rng = np.random.default_rng(3)
    seconds = rng.uniform(1, 10, ranks * each)
    team = Team.of(ranks - 1, slow, dead, float(seconds.sum()) / ranks, rng)
    predicted = seconds * wrong ** rng.uniform(-1, 1, len(seconds))
    simulation = simulate(seconds, team, predicted, handling=HANDLING)
    assert simulation.outcome.complete
    assert simulation.outcome.finished.num_done == len(seconds)
    for task, numbers in enumerate(simulation.outcome.finished):
        assert numbers.tolist() == [task], "ordered by task"
    return simulation


@pytest.mark.slow
def test_a_thousand_ranks_are_busy_to_the_end() -> None:
    simulation = run(1_000, 20)
    assert simulation.efficiency >= 0.9
    assert simulation.computed <= 20_100, "next to nothing is computed twice without failures"
    assert simulation.busy_share < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_predictions_may_be_off_by_a_common_factor(scale: float) -> None:
    rng = np.random.default_rng(3)
    seconds = rng.uniform(1, 10, 4_000)
    team = Team.of(199, 0.0, 0.0, 1.0, rng)
    simulation = simulate(seconds, team, scale * seconds, handling=HANDLING)
    assert simulation.outcome.complete
    assert simulation.efficiency >= 0.9


@pytest.mark.slow
def test_dead_and_slow_workers_delay_the_end_little() -> None:
    simulation = run(500, 20, slow=0.05, dead=0.02, wrong=3.0)
    assert len(simulation.outcome.lost) == 10
    assert simulation.of_best >= 0.8
    assert 10_000 <= simulation.computed < 11_000


@pytest.mark.slow
def test_small_tasks_share_messages() -> None:
    rng = np.random.default_rng(3)
    seconds = rng.uniform(0.001, 0.003, 200_000)
    simulation = simulate(seconds, Team.of(49, 0.05, 0.05, 8.0, rng), handling=HANDLING)
    assert simulation.outcome.complete
    assert simulation.of_best >= 0.8
    assert simulation.received < 4_000
