"""Variances of products to all orders, and the errors that are drawn for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.covariance import CovarianceBlock, covariance_blocks
from hpcq.reconstruction.estimation.estimator import Estimator
from hpcq.reconstruction.estimation.outcome_signals import SignalReader
from hpcq.reconstruction.estimation.product_variance import variance_of_all_orders
from tests.kinds.distributions import Device, distributions
from tests.kinds.test_error_bars import CASES

SEEDS = 60
"""Number of estimates with different points; their mean has an eighth of the spread of one."""


def variance_of_product(
    means: np.ndarray, errors: np.ndarray, *, cautious: bool = False
) -> np.ndarray:
    """Estimate the variance of a product of independent numbers as that of an observable is.

    Returns:
        The estimates with different points, shape (SEEDS,).
    """

    def first_order(points: list[np.ndarray]) -> np.ndarray:
        factors = np.stack(points)
        variances = [
            error**2 * np.prod(np.delete(factors, index, axis=0), axis=0) ** 2
            for index, error in enumerate(errors)
        ]
        return np.sum(variances, axis=0)[:, None]

    def draw_errors(number: int, rng: np.random.Generator) -> list[np.ndarray]:
        return [error * (rng.integers(0, 2, number) * 2 - 1) for error in errors]

    variances = [
        variance_of_all_orders(first_order, draw_errors, list(means), cautious=cautious, seed=seed)
        for seed in range(SEEDS)
    ]
    return np.array(variances)[:, 0]


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.3)), min_size=1, max_size=5),
    st.booleans(),
)
@settings(deadline=None, max_examples=25)
def test_the_variance_of_a_product_is_known_to_all_orders(
    factors: list[tuple[float, float]], cautious: bool
) -> None:
    means, errors = np.array(factors).T
    start = float(cautious)
    exact = np.prod(means**2 + (1 + start) * errors**2) - np.prod(means**2 + start * errors**2)
    variances = variance_of_product(means, errors, cautious=cautious)
    assert variances.mean() == pytest.approx(
        exact, rel=0.03, abs=5 * variances.std() / np.sqrt(SEEDS)
    )
    assert variances.std() < 0.4 * exact


def test_where_all_factors_vanish_only_the_highest_order_is_left() -> None:
    errors = np.array([0.1, 0.2, 0.3])
    variances = variance_of_product(np.zeros(3), errors)
    assert variances == pytest.approx(np.full(SEEDS, np.prod(errors**2)), rel=0.25)
    # To first order it would be 0, and at estimates nearby some multiple of the truth.


@pytest.fixture(scope="module")
def measured() -> tuple[SignalReader, list[Counts]]:
    """Two rounds of shots of a subcircuit with two cut gates and two observables."""
    tensor = CASES["gates"].sampling().sources.tensors[0]
    exact = distributions(tensor)
    rng = np.random.default_rng(8)
    rounds = []
    for shots in (5, 40):
        rows = []
        for variant in range(tensor.num_variants):
            outcomes, chances = exact.of_variant(variant)
            times = rng.multinomial(shots, chances / chances.sum())
            rows.append((variant, outcomes[times > 0], times[times > 0]))
        rounds.append(Counts.gather(tensor.num_variants, rows))
    return SignalReader(tensor), rounds


def covariance_of(
    reader: SignalReader, rounds: list[Counts], variant: int, pseudo_shots: float
) -> object:
    """Compute the covariance of one shot as its definition says."""
    parts = [counts.of_variant(variant) for counts in rounds]
    shots = np.repeat(
        reader.signs(variant, np.concatenate([outcomes for outcomes, _ in parts])),
        np.concatenate([times for _, times in parts]),
        axis=0,
    )
    scatter = (shots - shots.mean(axis=0)).T @ (shots - shots.mean(axis=0))
    fair_coins = np.diag(reader.fair_coin_variances(variant))
    return (scatter + pseudo_shots * fair_coins) / (len(shots) - 1 + pseudo_shots)


def test_blocks_have_the_covariance_of_their_shots(
    measured: tuple[SignalReader, list[Counts]],
) -> None:
    reader, rounds = measured
    variants = []
    rng = np.random.default_rng(4)
    tensor = reader.tensor
    weights = rng.normal(size=(3, len(tensor.strings), int(np.prod(reader.sizes))))
    shares = rng.uniform(size=(tensor.num_variants, len(tensor.strings)))
    for block in covariance_blocks(reader, rounds):
        variances = block.variances(weights, shares)
        for index, variant in enumerate(block.variants.tolist()):
            expected = covariance_of(reader, rounds, variant, 4.0)
            weighted = weights[:, block.strings][:, :, block.columns[index]]
            weighted = weighted * shares[variant, block.strings][None, :, None]
            weighted = weighted.reshape(len(weighted), -1)
            np.testing.assert_allclose(
                variances[index], np.einsum("si,ij,sj->s", weighted, expected, weighted), rtol=1e-9
            )
            variants.append(variant)
    assert sorted(variants) == np.flatnonzero(reader.informative).tolist()


def test_drawn_errors_have_the_covariance_of_a_shot(
    measured: tuple[SignalReader, list[Counts]],
) -> None:
    reader, rounds = measured
    block: CovarianceBlock = next(iter(covariance_blocks(reader, rounds)))
    number = 20_000
    drawn = block.draw(number, np.random.default_rng(3))
    for index, variant in enumerate(block.variants.tolist()[:5]):
        errors = drawn[:, index].reshape(number, -1)
        expected = covariance_of(reader, rounds, variant, 4.0)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(errors.T @ errors / number, expected, atol=0.06 * scale)


def test_large_groups_of_variants_are_split_into_blocks_of_the_same_variances(
    measured: tuple[SignalReader, list[Counts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, rounds = measured
    tensor: SampledTensor = reader.tensor
    weights = np.ones((1, len(tensor.strings), int(np.prod(reader.sizes))))
    shares = np.ones((tensor.num_variants, len(tensor.strings)))

    def variances() -> np.ndarray:
        found = np.zeros(tensor.num_variants)
        for block in covariance_blocks(reader, rounds):
            found[block.variants] = block.variances(weights, shares)[:, 0]
        return found

    unsplit = variances()
    monkeypatch.setattr("hpcq.reconstruction.estimation.covariance._BLOCK_BYTES", 1)
    np.testing.assert_allclose(variances(), unsplit, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shots"), [("gates", 600), ("wire", 60), ("terms", 2000)])
def test_the_error_is_the_deviation_of_values_from_the_posterior(name: str, shots: int) -> None:
    """Contract many tensors drawn from the posterior, and compare the deviation of their values."""
    run = Device(CASES[name].sampling(shots=shots)).run(5)
    estimator = Estimator(run._estimator.sources, run._estimator.reconstruction, run.rounds)
    number = 3000
    drawn = estimator._draw_errors(number, np.random.default_rng(2))
    pooled = estimator._pooled_tensors()
    values = []
    for index in range(number):
        tensors = [tensor + error[index] for tensor, error in zip(pooled, drawn, strict=True)]
        values.append(estimator.reconstruction.values(estimator.sources.expand(tensors)))
    np.testing.assert_allclose(estimator.errors(), np.std(values, axis=0), rtol=0.15)
    centre = estimator.reconstruction.values(estimator.sources.expand(pooled))
    bias = np.mean(values, axis=0) - centre
    assert np.all(np.abs(bias) < 5 * np.std(values, axis=0) / np.sqrt(number))
