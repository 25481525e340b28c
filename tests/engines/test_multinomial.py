from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from hpcq.engines.multinomial import draw

DRAWS = [100, 1023, 1024, 100_000]
"""Below and above the number of weights, from which the method is another."""


@pytest.mark.parametrize("draws", DRAWS)
def test_counts_follow_the_weights(draws: int) -> None:
    weights = np.random.default_rng(1).exponential(size=1024)
    total = np.zeros(1024)
    rng = np.random.default_rng(2)
    repetitions = 1 + 200_000 // draws
    for _ in range(repetitions):
        numbers, counts = draw(weights, draws, rng)
        assert (np.diff(numbers) > 0).all()
        assert counts.min() >= 1
        assert counts.sum() == draws
        total[numbers] += counts
    expected = weights / weights.sum() * draws * repetitions
    common = expected > 5
    groups = [np.append(x[common], x[~common].sum()) for x in (total, expected)]
    assert chisquare(*groups).pvalue > 1e-5
    wrong = np.append(total[::-1][common], total[::-1][~common].sum())
    assert chisquare(wrong, groups[1]).pvalue < 1e-5


@pytest.mark.parametrize("draws", DRAWS)
def test_numbers_vary_as_much_as_independent_draws(draws: int) -> None:
    # Of equal weights, a number gets n / 1024 draws with a variance of almost as much.
    rng = np.random.default_rng(3)
    counts = np.zeros((200, 1024))
    for row in counts:
        numbers, times = draw(np.ones(1024), draws, rng)
        row[numbers] = times
    assert counts.var(axis=0).mean() == pytest.approx(draws / 1024 * (1023 / 1024), rel=0.02)
    halves = counts[:, :512].sum(axis=1)
    assert halves.var() == pytest.approx(draws / 4, rel=0.4)


@pytest.mark.parametrize("draws", [1, 7, 10**6, 10**15])
def test_weights_of_zero_are_never_drawn(draws: int) -> None:
    weights = np.zeros(16)
    weights[[3, 8]] = 1e-300, 3e-300
    numbers, counts = draw(weights, draws, np.random.default_rng(4))
    assert set(numbers) <= {3, 8}
    assert counts.sum() == draws
    if draws > 1000:
        assert counts[1] / draws == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-53])
def test_the_smallest_and_the_largest_random_number(uniform: float) -> None:
    class Extreme:
        def random(self, size: int) -> np.ndarray:
            return np.full(size, uniform)

    for total in (1.0, 1 + 2.0**-52, 1.5, np.pi, 2 - 2.0**-52):
        weights = np.zeros(8)
        weights[2] = total
        numbers, counts = draw(weights, 3, Extreme())  # type: ignore[arg-type]
        assert (numbers.tolist(), counts.tolist()) == ([2], [3])


def test_one_number() -> None:
    for draws in (1, 10**12):
        numbers, counts = draw(np.array([0.3]), draws, np.random.default_rng(5))
        assert (numbers.tolist(), counts.tolist()) == ([0], [draws])
