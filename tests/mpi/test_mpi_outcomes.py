"""Run by ``mpirun -n N python -m mpi4py -m pytest --with-mpi``; see test_launched_runs.py."""

from __future__ import annotations

import numpy as np
import pytest

import hpcq
from hpcq.core.errors import InputError
from hpcq.planning.outcome_plan import KnownSites, OutcomesPlan
from tests.support.circuits import two_halves

pytestmark = pytest.mark.mpi(min_size=2)

SHOTS = 200_000


def plan() -> OutcomesPlan:
    return hpcq.plan_outcomes(two_halves(), cut_labels="AAABBB", threads=1, memory=1 << 30)


def alone() -> hpcq.Outcomes:
    """Return the outcomes that this rank has computed without the others."""
    from mpi4py import MPI

    return hpcq.outcomes(plan(), MPI.COMM_SELF, device="cpu")


def test_all_ranks_have_the_bits_of_one() -> None:
    expected = alone()
    outcomes = hpcq.outcomes(plan(), device="cpu")
    samples = outcomes.sample(SHOTS, seed=3)
    first = expected.sample(SHOTS, seed=3)
    np.testing.assert_array_equal(samples.packed, first.packed)
    np.testing.assert_array_equal(samples.probabilities, first.probabilities)
    asked = list(samples.counts)
    np.testing.assert_array_equal(outcomes.probabilities(asked), expected.probabilities(asked))
    np.testing.assert_array_equal(outcomes.marginal([1, 5]), expected.marginal([1, 5]))
    with pytest.raises(InputError, match="bit string"):
        outcomes.amplitudes(["012345"])


def test_ranks_that_ask_differently_are_refused() -> None:
    from mpi4py import MPI

    outcomes = hpcq.outcomes(plan(), device="cpu")
    with pytest.raises(InputError, match=r"Outcomes\.sample"):
        outcomes.sample(100, seed=MPI.COMM_WORLD.rank)
    with pytest.raises(InputError, match=r"Outcomes\.marginal"):
        outcomes.marginal([MPI.COMM_WORLD.rank])
    assert outcomes.sample(100, seed=1).num_shots == 100


def test_the_ranks_of_a_session_serve_rank_0() -> None:
    expected = alone()
    with hpcq.Session() as session:
        if session.rank == 0:
            outcomes = hpcq.outcomes(two_halves(), cut_labels="AAABBB", threads=1, device="cpu")
            samples = outcomes.sample(SHOTS)
            np.testing.assert_array_equal(samples.packed, expected.sample(SHOTS).packed)
            assert outcomes.probabilities(["000000"]) == expected.probabilities(["000000"])


def test_states_that_are_not_kept_are_simulated_on_each_rank() -> None:
    few = KnownSites()
    made = plan().asking(shots=SHOTS)
    whole = hpcq.run(made, device="cpu")
    object.__setattr__(made, "known", few)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hpcq.planning.outcome_plan._KEPT_DIVISOR", 1 << 40)
        found = hpcq.run(made, device="cpu")
    assert (whole.outcomes is None) == (found.outcomes is None)
    if whole.outcomes is not None and found.outcomes is not None:
        assert few.network is not None
        assert not few.network.is_kept(0)
        assert whole.outcomes.samples is not None
        assert found.outcomes.samples is not None
        np.testing.assert_array_equal(whole.outcomes.packed, found.outcomes.packed)


def test_all_ranks_get_the_counts() -> None:
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    how = {"cut_labels": "AAABBB", "threads": 1, "device": "cpu", "shots": 4000}
    circuit = two_halves()
    expected = hpcq.outcomes(circuit, MPI.COMM_SELF, **how).marginal([0, 4])
    found = hpcq.outcomes(circuit if world.rank == 0 else None, **how).marginal([0, 4])
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.standard_errors, expected.standard_errors)
    with pytest.raises(InputError, match="shots: '0'"):
        hpcq.outcomes(circuit if world.rank == 0 else None, **{**how, "shots": 0})
