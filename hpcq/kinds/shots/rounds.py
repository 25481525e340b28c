"""Schedules of rounds that run every variant, and of rounds of joint samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.kinds.shots.sampling import Sampling
from hpcq.kinds.shots.schedule import TARGET_MARGIN, PlannedRound, Schedule
from hpcq.reconstruction.estimation.allocation import even_allocation, neyman_allocation
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointDraws, JointEstimator, JointRound
from hpcq.reconstruction.estimation.outcome_signals import Inversions, first_inversions, min_shots
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

_PILOT_SHARE = 0.1
"""Fraction of the budget for the pilot. Larger: variances better known, fewer shots well spread."""

_PILOT_SHOTS_PER_VARIANT = 16
"""Shots per variant that a pilot should have, even above ``_PILOT_SHARE``."""

_MAX_PILOT_SHARE = 0.3
"""Maximum fraction of the budget for the pilot; also its fraction where shots are few."""

_PILOT_WEIGHT = 0.6
"""Weight of a shot of the pilot against one of a later round: later shots are better spread."""

_MIN_SHOTS_FOR_PILOT = 8
"""Shots per variant below which all shots are spread evenly: a pilot would tell too little."""

_MIN_SHOTS_TO_SEPARATE = 64
"""Shots per variant from which the variance of each variant is known well enough to allocate by."""

_SECOND_SHARE = 1 / 3
"""Fraction of the remaining shots for the second round; the better planned third gets the rest."""

_MIN_SECOND_SHOTS = 4
"""Shots per variant that the second round must have for a third to follow."""

_TARGET_PILOT_SHOTS = 32
"""Shots per variant of the first round toward a target error."""

_IMPORTANCE_POWER = 4
"""Power of an observable's error relative to the worst that weights its variance in rounds toward a
target error. Larger: the worst observable counts for more."""

_JOINT_PILOT_SAMPLES = 256
"""Joint samples of the first round toward a target error, at one shot per variant."""

_MAX_SHOTS_PER_SAMPLE = 4
"""Maximum shots per variant and joint sample of a round. Larger: fewer rounds, but more shots
repeat the same samples instead of measuring new ones."""

_MAX_JOINT_ROUNDS = 16
"""Maximum number of rounds of a budget of joint samples; each round draws new samples."""


def make_schedule(sampling: Sampling, seed: int, rounds: Sequence[Any] = ()) -> Schedule:
    """Return a schedule that continues after earlier rounds, if any; joint samples have a seed."""
    if sampling.mode == "joint":
        return JointSchedule(sampling, seed, rounds)
    return EnumeratedSchedule(sampling, rounds)


class EnumeratedSchedule(Schedule):
    """Rounds that run every variant, with shots allocated better from round to round."""

    def __init__(self, sampling: Sampling, rounds: Sequence[ShotRound] = ()) -> None:
        assert sampling.reconstruction is not None, "the mode is enumerated"
        self._estimator = Estimator(sampling.sources, sampling.reconstruction, list(rounds))
        self._tensors = sampling.sources.tensors
        super().__init__(sampling.budget, self._estimator, min_shots(self._tensors))

    def next_round(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the target error reached."""
        shots = self._round_shots()
        if shots == 0 and (self._estimator.rounds or self.min_round_shots):
            return None
        few_shots = self._has_few_shots
        inversions = tuple(first_inversions(tensor) for tensor in self._tensors)
        needed = self._needed_variants(inversions)
        if not self._estimator.rounds:
            weight = shots if few_shots else _PILOT_WEIGHT * shots
            return self._plan_round(weight, inversions, even_allocation(needed, shots))
        importance = self._importance()
        if few_shots:
            by_source = self._estimator.variances_per_shot(inversions, importance)
            averaged = np.concatenate(
                [
                    np.full(len(source_variances), np.sqrt(source_variances).mean() ** 2)
                    for source_variances in by_source
                ]
            )
            return self._plan_round(shots, inversions, neyman_allocation(averaged, needed, shots))
        inversions = self._estimator.choose_inversions(importance)
        needed = self._needed_variants(inversions)
        variances = np.concatenate(self._estimator.variances_per_shot(inversions, importance))
        if self.budget.target_error is not None:
            shots = min(shots, self._shots_to_reach_target(variances, importance))
            shots = max(shots, int(needed.sum()))
        return self._plan_round(shots, inversions, neyman_allocation(variances, needed, shots))

    def _round_of(self, planned: PlannedRound, counts: tuple[Counts, ...]) -> ShotRound:
        return ShotRound(planned.weight, planned.design, counts)

    def _round_shots(self) -> int:
        """Number of shots of the next round."""
        if self.budget.target_error is not None:
            return self._shots_toward_target(_TARGET_PILOT_SHOTS * self.min_round_shots)
        remaining = self._remaining_shots or 0
        if remaining < self.min_round_shots or self.min_round_shots == 0:
            return 0
        if not self._estimator.rounds:
            if remaining < _MIN_SHOTS_FOR_PILOT * self.min_round_shots:
                return remaining
            if self._has_few_shots:
                return max(self.min_round_shots, int(_MAX_PILOT_SHARE * remaining))
            pilot = max(
                _PILOT_SHARE * remaining,
                min(_MAX_PILOT_SHARE * remaining, _PILOT_SHOTS_PER_VARIANT * self.min_round_shots),
            )
            return max(self.min_round_shots, int(pilot))
        second = int(_SECOND_SHARE * remaining)
        if (
            not self._has_few_shots
            and len(self._estimator.rounds) == 1
            and second >= _MIN_SECOND_SHOTS * self.min_round_shots
        ):
            return second
        return remaining

    @property
    def _has_few_shots(self) -> bool:
        """Whether there are too few shots to tell the variants of a subcircuit apart.

        Their variances are then as uncertain as they are large, and shots are allocated by the
        average of each source's variants.
        """
        if self.budget.target_error is not None:
            return False
        all_shots = self._estimator.shots + (self._remaining_shots or 0)
        return all_shots < _MIN_SHOTS_TO_SEPARATE * self.min_round_shots

    def _shots_to_reach_target(
        self, variances: NDArray[np.float64], importance: NDArray[np.float64]
    ) -> int:
        """Return the shots of a round after which the target error should be reached.

        With a share w of the earlier rounds in the average, the variance is w^2 times theirs plus
        (1 - w)^2 times that of the new round, whose shots follow Neyman's allocation. The weighted
        sum of all observables' variances must fall by the factor by which the worst one has to.
        """
        assert self.budget.target_error is not None, "the run has a target error"
        one_shot_variance = float(np.sqrt(variances).sum()) ** 2
        errors = self.cautious_errors
        variance_before = float(importance @ errors**2)
        weight = sum(measured.weight for measured in self._estimator.rounds)
        target_variance = (
            variance_before * (self.budget.target_error / float(errors.max()) / TARGET_MARGIN) ** 2
        )
        low, high = 1.0, 1e18  # bisection of the logarithm
        for _ in range(80):
            shots = math.sqrt(low * high)
            share = weight / (weight + shots)
            variance = share**2 * variance_before + (1 - share) ** 2 * one_shot_variance / shots
            if variance > target_variance:
                low = shots
            else:
                high = shots
        return math.ceil(high)

    def _importance(self) -> NDArray[np.float64]:
        if self.budget.target_error is None:
            return np.ones(self._estimator.reconstruction.parts.num_observables)
        errors = self.cautious_errors
        worst_error = float(errors.max(initial=0))
        if worst_error == 0:
            return np.ones(len(errors))
        return np.asarray((errors / worst_error) ** _IMPORTANCE_POWER)

    def _needed_variants(self, inversions: Sequence[Inversions]) -> NDArray[np.bool_]:
        """Return whether each variant of all sources needs shots, shape (variants,)."""
        needed = [
            reader.used(source_inversions) & reader.informative
            for reader, source_inversions in zip(self._estimator.readers, inversions, strict=True)
        ]
        return np.concatenate([np.empty(0, dtype=bool), *needed])

    def _plan_round(
        self, weight: float, inversions: tuple[Inversions, ...], shots: NDArray[np.int64]
    ) -> PlannedRound:
        ends = np.cumsum([tensor.num_variants for tensor in self._tensors])
        batches = [
            VariantBatch.of_all(tensor, source_shots)
            for tensor, source_shots in zip(self._tensors, np.split(shots, ends[:-1]), strict=False)
        ]
        return PlannedRound(tuple(batches), max(float(weight), 1.0), inversions)


class JointSchedule(Schedule):
    """Rounds of joint samples."""

    def __init__(self, sampling: Sampling, seed: int, rounds: Sequence[JointRound] = ()) -> None:
        self._estimator = JointEstimator(sampling.cut, sampling.parts, sampling.sources, rounds)
        num_bases = [len(tensor.bases) for tensor in sampling.sources.tensors]
        self._variants_per_sample = max(1, sum(num_bases))
        super().__init__(sampling.budget, self._estimator, 2 * self._variants_per_sample)
        self._seed = seed
        self._max_samples = max(2, sampling.budget.max_variants // max(num_bases, default=1))
        # More would repeat the same samples.
        max_shots_per_variant = self._max_samples * _MAX_SHOTS_PER_SAMPLE
        self.max_round_shots: int = max_shots_per_variant * self._variants_per_sample

    def next_round(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the target error reached."""
        if self.budget.target_error is not None:
            shots = self._shots_toward_target(_JOINT_PILOT_SAMPLES * self._variants_per_sample)
            shots = min(shots, self.max_round_shots)
        else:
            remaining = self._remaining_shots or 0
            num_rounds = math.ceil(remaining / self.max_round_shots)
            num_rounds = max(1, min(num_rounds, _MAX_JOINT_ROUNDS))
            shots = math.ceil(remaining / num_rounds) if remaining >= self.min_round_shots else 0
            shots = remaining if remaining - shots < self.min_round_shots else shots
        if shots < self.min_round_shots:
            return None
        samples = min(self._max_samples, shots // self._variants_per_sample)
        spawn_key = (len(self._estimator.rounds),)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=spawn_key))
        draws = self._estimator.draw(samples, rng)
        batches = self._estimator.batches(draws, shots)
        return PlannedRound(tuple(batches), float(shots), draws)

    def _round_of(self, planned: PlannedRound, counts: tuple[Counts, ...]) -> JointRound:
        assert isinstance(planned.design, JointDraws), "this schedule planned the round"
        rows = tuple(batch.rows for batch in planned.batches)
        return JointRound(planned.weight, planned.design, rows, counts)
