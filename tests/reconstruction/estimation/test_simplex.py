"""The nearest distribution: its conditions of optimality, and what it does to errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpcq.reconstruction.estimation.simplex import (
    nearest_distribution,
    nearest_part_of_distribution,
)

estimates = arrays(float, st.integers(1, 24), elements=st.floats(-3, 3))


@given(estimates)
def test_it_is_the_nearest_distribution(values: np.ndarray) -> None:
    """By the conditions of Karush, Kuhn and Tucker, which are sufficient here."""
    found = nearest_distribution(values)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    multipliers = found - values  # one number where the entry is above 0, at least that elsewhere
    shift = multipliers[found > 0].max()
    assert np.ptp(multipliers[found > 0]) < 1e-12
    assert (multipliers[found == 0] >= shift - 1e-12).all()


@given(estimates, st.integers(0, 99))
def test_it_never_moves_away_from_a_distribution(values: np.ndarray, seed: int) -> None:
    truth = np.random.default_rng(seed).dirichlet(np.full(len(values), 0.3))
    before = np.linalg.norm(values - truth)
    assert np.linalg.norm(nearest_distribution(values) - truth) <= before + 1e-12
    part = len(values) // 2
    before = np.linalg.norm(values[:part] - truth[:part])
    found = nearest_part_of_distribution(values[:part])
    assert np.linalg.norm(found - truth[:part]) <= before + 1e-12
    assert found.min(initial=0) >= 0
    assert found.sum() <= 1 + 1e-12


@given(st.integers(1, 24), st.integers(0, 99))
def test_a_distribution_stays_as_it_is(outcomes: int, seed: int) -> None:
    truth = np.random.default_rng(seed).dirichlet(np.full(outcomes, 0.3))
    np.testing.assert_allclose(nearest_distribution(truth), truth, atol=1e-14)
    np.testing.assert_array_equal(nearest_part_of_distribution(0.9 * truth), 0.9 * truth)


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_one_outcome_is_certain(value: float) -> None:
    assert nearest_distribution(np.array([value])).tolist() in ([1.0], [0.0])
    assert nearest_distribution(np.array([value, value]))[0] >= 0
