"""Predicted bytes against those that are allocated, without any states."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hpcq.core.errors import MemoryLimitError
from hpcq.reconstruction.outcomes.answer_cost import (
    AnswerCost,
    amplitudes_cost,
    marginal_cost,
    top_cost,
)
from hpcq.reconstruction.outcomes.canonical_chain import CanonicalChain, sides_of
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.order import sampling_order
from hpcq.reconstruction.outcomes.sites import SiteNetwork
from tests.support.outcomes import packed, random_network

_MEMORY = 1 << 26


def shape_of(network: SiteNetwork) -> SiteNetwork:
    """Return a network without states."""

    def no_states(tensor: int, branch: int) -> np.ndarray:
        raise AssertionError((tensor, branch))

    return replace(network, states=(None,) * len(network.states), source=no_states)


def allocated(call: Callable[[], object]) -> int:
    """Return the bytes that a call allocates at most at a time, its answer included."""
    call()  # what is imported and cached
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def check(cost: AnswerCost, peak: int) -> None:
    assert cost.seconds > 0
    assert cost.memory_bytes / 8 < peak < 1.5 * cost.memory_bytes + (1 << 20)


@pytest.mark.parametrize("qubits", [None, (0, 3, 20)])
def test_amplitudes_and_probabilities(qubits: tuple[int, ...] | None) -> None:
    network = random_network(1, qubits=(6, 6, 5, 7))
    rng = np.random.default_rng(1)
    outcomes = packed(rng.integers(0, 1 << 24, 8000), 24)
    distribution = Distribution(network, _MEMORY)
    cost = amplitudes_cost(shape_of(network), 8000, _MEMORY, qubits)
    check(cost, allocated(lambda: distribution.log_probabilities(outcomes, qubits)))


@pytest.mark.parametrize("qubits", [range(16), range(3, 17), (1, 2)])
def test_marginals(qubits: range) -> None:
    network = random_network(2, qubits=(4, 4, 4, 4))
    chosen = [qubit for qubit in qubits if qubit < 16]
    distribution = Distribution(network, _MEMORY)
    assert distribution.log_norm
    cost = marginal_cost(shape_of(network), chosen, _MEMORY)
    check(cost, allocated(lambda: distribution.marginal(chosen)))


def test_the_most_probable() -> None:
    network = random_network(3, [(0, 1), (1, 2)], [9, 8, 9])
    steps = sampling_order(network)

    def both_sides() -> None:
        sides_of(CanonicalChain.of(network, steps), 2)

    check(top_cost(shape_of(network), _MEMORY), allocated(both_sides))
    assert top_cost(shape_of(network), 100) == AnswerCost(0.0, 0)


def test_what_does_not_fit_is_refused() -> None:
    shape = shape_of(random_network(1))
    with pytest.raises(MemoryLimitError, match="memory: the contraction of 4 subcircuits"):
        marginal_cost(shape, [0], 100)
    with pytest.raises(MemoryLimitError, match="memory: the contraction of 4 subcircuits"):
        amplitudes_cost(shape, 1, 100)
