"""Schedules: they plan the rounds of a run one after the other, and count its shots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.planning.problem import Budget
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator
from hpcq.reconstruction.estimation.joint_samples import JointEstimator
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

TARGET_MARGIN = 1.05
"""Factor by which a round aims below the target error, because it may miss its aim."""

_MAX_GROWTH = 4.0
"""Maximum shots of a round toward a target error, relative to all shots so far: early estimates of
the shots that are still needed are too noisy to spend them all at once."""


@dataclass(frozen=True, eq=False)
class PlannedRound:
    """A round that is planned but not measured.

    Attributes:
        batches: For each source, the variants to run.
        weight: Weight of the round in the average over rounds, not normalised.
        design: What the estimator needs apart from the counts: inversions or joint samples.
    """

    batches: tuple[VariantBatch, ...]
    weight: float
    design: Any


class Schedule(ABC):
    """Plans rounds one after the other, each from the counts of the earlier ones, which it keeps.

    Args:
        budget: Budget of this run; the shots of earlier runs do not count.
        estimator: The estimator with the rounds of earlier runs.
        min_round_shots: Fewest shots of a round.

    Attributes:
        max_round_shots: Most shots of a round toward a target error; None without a limit.
    """

    max_round_shots: int | None = None

    @abstractmethod
    def next_round(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the target error reached."""

    @abstractmethod
    def _round_of(self, planned: PlannedRound, counts: tuple[Counts, ...]) -> Any:
        """Return a planned round with its counts, as the estimator takes it."""

    def __init__(
        self, budget: Budget, estimator: Estimator | JointEstimator, min_round_shots: int
    ) -> None:
        self.budget = budget
        self.min_round_shots = min_round_shots
        self._base_estimator = estimator
        self._earlier_shots = estimator.shots

    @property
    def rounds(self) -> Sequence[Any]:
        """The rounds so far, those of earlier runs first."""
        return self._base_estimator.rounds

    @property
    def shots(self) -> int:
        """Number of shots of all rounds."""
        return self._base_estimator.shots

    def values(self) -> NDArray[np.float64]:
        """Return the estimate of every observable."""
        return self._base_estimator.values()

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """The standard error of every observable."""
        return self._base_estimator.errors()

    @cached_property
    def rough_errors(self) -> NDArray[np.float64]:
        """The standard errors from few points, which are quicker and noisier."""
        return self._base_estimator.errors(quick=True)

    @cached_property
    def cautious_errors(self) -> NDArray[np.float64]:
        """Standard errors for decisions, at least as large as :attr:`errors`."""
        return np.maximum(self._base_estimator.errors(cautious=True), self.errors)

    def add(self, planned: PlannedRound, counts: Sequence[Counts]) -> None:
        """Add the counts of a planned round."""
        self._base_estimator.add(self._round_of(planned, tuple(counts)))
        for name in ("errors", "rough_errors", "cautious_errors"):
            self.__dict__.pop(name, None)

    @property
    def _remaining_shots(self) -> int | None:
        """Shots that remain of the budget; None without a limit."""
        if self.budget.shots is None:
            return None
        return self.budget.shots - (self._base_estimator.shots - self._earlier_shots)

    def _shots_toward_target(self, pilot: int) -> int:
        """Return the shots of the next round toward the target error; 0 where no round is due."""
        target_error = self.budget.target_error
        assert target_error is not None, "the run has a target error"
        min_shots = self.min_round_shots
        shots = self._base_estimator.shots
        if not self._base_estimator.rounds:
            size = pilot
        else:
            worst_error = float(self.cautious_errors.max(initial=0))
            if worst_error <= target_error:
                return 0
            missing_shots = shots * ((worst_error / target_error) ** 2 - 1)
            size = int(
                max(min_shots, shots // 8, min(TARGET_MARGIN * missing_shots, _MAX_GROWTH * shots))
            )
        remaining = self._remaining_shots
        if remaining is None:
            return size
        size = remaining if remaining - size < min_shots else size
        return size if size >= min_shots else 0
