"""What the next round measures: shots in rounds, each planned from the ones before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.kinds.shot_schedule import MARGIN, BaseSchedule, PlannedRound, Schedule
from hpcq.planning.sampling import Sampling
from hpcq.reconstruction.estimation.allocation import even_allocation, neyman_allocation
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointDraws, JointEstimator, JointRound
from hpcq.reconstruction.estimation.outcome_signals import (
    Inversions,
    first_inversions,
    min_shots,
)
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

_PILOT = 0.1
_PILOT_SHOTS = 16
_LARGEST_PILOT = 0.3
_PILOT_WEIGHT = 0.6
"""Weight of an evenly spread round's shots against others: those are likely better spread."""

_WORTH_A_PILOT = 8
"""Shots a variant below which all are spread evenly: a pilot would know too little."""

_ENOUGH = 64
"""Shots a variant from which each variant's own spread is known well enough to go by it."""

_SECOND = 1 / 3
_FEWEST = 4
_PRECISION_PILOT = 32
_SHARPNESS = 4
_JOINT_PILOT = 256
_JOINT_SHOTS = 4
_JOINT_ROUNDS = 16


def make_schedule(sampling: Sampling, seed: int, rounds: Sequence[Any] = ()) -> Schedule:
    """Begin, or go on where earlier rounds ended.

    Args:
        sampling: What to sample.
        seed: Seed of joint samples.
        rounds: Rounds of earlier runs.
    """
    if sampling.mode == "joint":
        return JointSchedule(sampling, seed, rounds)
    return EnumeratedSchedule(sampling, rounds)


class EnumeratedSchedule(BaseSchedule):
    """Rounds that run every variant, better and better spread.

    Args:
        sampling: What to sample.
        rounds: Rounds of earlier runs.
    """

    def __init__(self, sampling: Sampling, rounds: Sequence[ShotRound] = ()) -> None:
        assert sampling.reconstruction is not None, "the mode is enumerated"
        self._estimator = Estimator(sampling.sources, sampling.reconstruction, list(rounds))
        super().__init__(sampling.budget, self._estimator)
        self._tensors = sampling.sources.tensors
        self._least = min_shots(self._tensors)

    def next(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the precision reached."""
        size = self._size()
        if size == 0 and (self._estimator.rounds or self._least):
            return None
        few = self._are_few
        inversions = tuple(first_inversions(tensor) for tensor in self._tensors)
        if not self._estimator.rounds:
            weight = size if few else _PILOT_WEIGHT * size
            return self._step(weight, inversions, even_allocation(self._needed(inversions), size))
        importance = self._importance()
        if few:
            found = self._estimator.variances_per_shot(inversions, importance)
            even = np.concatenate([np.full(len(own), np.sqrt(own).mean() ** 2) for own in found])
            return self._step(
                size, inversions, neyman_allocation(even, self._needed(inversions), size)
            )
        inversions = self._estimator.choose_inversions(importance)
        needed = self._needed(inversions)
        spreads = np.concatenate(self._estimator.variances_per_shot(inversions, importance))
        if self.budget.precision is not None:
            size = max(min(size, self._enough(spreads, importance)), int(needed.sum()))
        return self._step(size, inversions, neyman_allocation(spreads, needed, size))

    @property
    def fewest(self) -> int:
        """Fewest shots of a round."""
        return self._least

    @property
    def largest(self) -> int | None:
        """Most shots of a round toward a precision: any number."""
        return None

    def take(self, step: PlannedRound, counts: Sequence[Counts]) -> None:
        """Take in what a round measured."""
        self._estimator.add(ShotRound(step.weight, step.plan, tuple(counts)))
        self._forget()

    def _size(self) -> int:
        """Number of shots of the next round."""
        if self.budget.precision is not None:
            return self._toward_precision(self._least, _PRECISION_PILOT * self._least)
        left = self._left or 0
        if left < self._least or self._least == 0:
            return 0
        if not self._estimator.rounds:
            if left < _WORTH_A_PILOT * self._least:
                return left
            if self._are_few:
                return max(self._least, int(_LARGEST_PILOT * left))
            pilot = max(_PILOT * left, min(_LARGEST_PILOT * left, _PILOT_SHOTS * self._least))
            return max(self._least, int(pilot))
        second = int(_SECOND * left)
        if (
            not self._are_few
            and len(self._estimator.rounds) == 1
            and second >= _FEWEST * self._least
        ):
            return second
        return left

    @property
    def _are_few(self) -> bool:
        """Whether shots are too few to tell the variants of a subcircuit apart.

        Then their spreads are as unsure as large, and only those of whole subcircuits count.
        """
        if self.budget.precision is not None:
            return False
        return self._estimator.shots + (self._left or 0) < _ENOUGH * self._least

    def _enough(self, spreads: NDArray[np.float64], importance: NDArray[np.float64]) -> int:
        """Return the shots of a round after which the precision should be reached.

        With a share w of earlier rounds in the average, the variance is w^2 times theirs and
        (1 - w)^2 times that of the round, whose shots go where they help most. The variances of all
        observables together must fall as far as that of the worst one has to.
        """
        assert self.budget.precision is not None, "it is asked for"
        each = float(np.sqrt(spreads).sum()) ** 2
        errors = self.cautious_errors()
        before = float(importance @ errors**2)
        weight = sum(own.weight for own in self._estimator.rounds)
        wanted = before * (self.budget.precision / float(errors.max()) / MARGIN) ** 2
        low, high = 1.0, 1e18
        for _ in range(80):
            shots = math.sqrt(low * high)
            share = weight / (weight + shots)
            if share**2 * before + (1 - share) ** 2 * each / shots > wanted:
                low = shots
            else:
                high = shots
        return math.ceil(high)

    def _importance(self) -> NDArray[np.float64]:
        if self.budget.precision is None:
            return np.ones(self._estimator.reconstruction.parts.num_observables)
        errors = self.cautious_errors()
        worst = float(errors.max(initial=0))
        if worst == 0:
            return np.ones(len(errors))
        return np.asarray((errors / worst) ** _SHARPNESS)

    def _needed(self, inversions: Sequence[Inversions]) -> NDArray[np.bool_]:
        """Say which variants of all sources need shots."""
        needed = [
            reader.used(own) & reader.informative
            for reader, own in zip(self._estimator.readers, inversions, strict=True)
        ]
        return np.concatenate([np.empty(0, dtype=bool), *needed])

    def _step(
        self, weight: float, inversions: tuple[Inversions, ...], shots: NDArray[np.int64]
    ) -> PlannedRound:
        ends = np.cumsum([tensor.num_variants for tensor in self._tensors])
        batches = [
            VariantBatch.of_all(tensor, own)
            for tensor, own in zip(self._tensors, np.split(shots, ends[:-1]), strict=False)
        ]
        return PlannedRound(tuple(batches), max(float(weight), 1.0), inversions)


class JointSchedule(BaseSchedule):
    """Rounds of joint samples.

    Args:
        sampling: What to sample.
        seed: Seed of the samples.
        rounds: Rounds of earlier runs.
    """

    def __init__(self, sampling: Sampling, seed: int, rounds: Sequence[JointRound] = ()) -> None:
        self._estimator = JointEstimator(sampling.cut, sampling.parts, sampling.sources, rounds)
        super().__init__(sampling.budget, self._estimator)
        self._seed = seed
        self._most = max(
            2,
            sampling.budget.max_variants
            // max((len(tensor.bases) for tensor in sampling.sources.tensors), default=1),
        )

    def next(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the precision reached."""
        each = max(1, self._estimator.variants_per_sample)
        if self.budget.precision is not None:
            size = self._toward_precision(2 * each, _JOINT_PILOT * each)
            size = min(size, self.largest)
        else:
            left = self._left or 0
            rounds = math.ceil(left / self.largest)
            rounds = max(1, min(rounds, _JOINT_ROUNDS))
            size = math.ceil(left / rounds) if left >= 2 * each else 0
            size = left if left - size < 2 * each else size
        if size < 2 * each:
            return None
        samples = min(self._most, size // each)
        key = (len(self._estimator.rounds),)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))
        drawn = self._estimator.draw(samples, rng)
        batches = self._estimator.batches(drawn, size)
        return PlannedRound(tuple(batches), float(size), drawn)

    @property
    def fewest(self) -> int:
        """Fewest shots of a round."""
        return 2 * max(1, self._estimator.variants_per_sample)

    @property
    def largest(self) -> int:
        """Most shots of a round toward a precision: more would repeat the same samples."""
        return self._most * max(1, self._estimator.variants_per_sample) * _JOINT_SHOTS

    def take(self, step: PlannedRound, counts: Sequence[Counts]) -> None:
        """Take in what a round measured."""
        assert isinstance(step.plan, JointDraws), "it is a step of this schedule"
        rows = tuple(batch.rows for batch in step.batches)
        self._estimator.add(JointRound(step.weight, step.plan, rows, tuple(counts)))
        self._forget()
