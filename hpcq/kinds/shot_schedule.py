"""What decides the rounds of a run, and the account of shots that every such schedule keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcq.planning.sampling import Budget
from hpcq.reconstruction.estimation.counts import Counts
from hpcq.reconstruction.estimation.estimator import Estimator, ShotRound
from hpcq.reconstruction.estimation.joint_samples import JointEstimator, JointRound
from hpcq.reconstruction.estimation.variant_batches import VariantBatch

MARGIN = 1.05
"""How much further than a precision a round is to go, as it may fall short."""

_GROWTH = 4.0


@dataclass(frozen=True, eq=False)
class PlannedRound:
    """A round to be done.

    Attributes:
        batches: For each source the variants to run.
        weight: Its weight in the average over rounds.
        plan: What the estimator needs to know beside the counts.
    """

    batches: tuple[VariantBatch, ...]
    weight: float
    plan: Any


class Schedule(Protocol):
    """Decides round after round what to measure, and keeps what came of it.

    Attributes:
        budget: What may be spent.
        rounds: The rounds so far, those of earlier runs first.
    """

    budget: Budget

    @property
    def rounds(self) -> Sequence[ShotRound] | Sequence[JointRound]:
        """The rounds so far, those of earlier runs first."""

    @property
    def shots(self) -> int:
        """Shots of all rounds."""

    @property
    def fewest(self) -> int:
        """Fewest shots of a round."""

    @property
    def largest(self) -> int | None:
        """Most shots of a round toward a precision; None for any number."""

    def next(self) -> PlannedRound | None:
        """Return the next round; None when the budget is spent or the precision reached."""

    def take(self, step: PlannedRound, counts: Sequence[Counts]) -> None:
        """Take in what a round measured."""

    def values(self) -> NDArray[np.float64]:
        """Return the estimate of every observable."""

    def errors(self) -> NDArray[np.float64]:
        """Return the standard error of every observable."""

    def rough_errors(self) -> NDArray[np.float64]:
        """Return noisier estimates of the standard errors, which take less time."""

    def cautious_errors(self) -> NDArray[np.float64]:
        """Return standard errors to decide by; they are not smaller than :meth:`errors`."""


class BaseSchedule:
    """What both kinds of schedules share: the account of shots.

    Args:
        budget: What may be spent from now on.
        estimator: What is known.
    """

    def __init__(self, budget: Budget, estimator: Estimator | JointEstimator) -> None:
        self.budget = budget
        self._known = estimator
        self._before = estimator.shots

    @property
    def rounds(self) -> Sequence[Any]:
        """The rounds so far, those of earlier runs first."""
        return self._known.rounds

    @property
    def shots(self) -> int:
        """Shots of all rounds."""
        return self._known.shots

    def values(self) -> NDArray[np.float64]:
        """Return the estimate of every observable."""
        return self._known.values()

    def errors(self) -> NDArray[np.float64]:
        """Return the standard error of every observable."""
        return self._errors

    def rough_errors(self) -> NDArray[np.float64]:
        """Return noisier estimates of the standard errors, which take less time."""
        return self._rough_errors

    def cautious_errors(self) -> NDArray[np.float64]:
        """Return standard errors to decide by; they are not smaller than :meth:`errors`."""
        return self._cautious_errors

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        return self._known.errors()

    @cached_property
    def _rough_errors(self) -> NDArray[np.float64]:
        return self._known.errors(quick=True)

    @cached_property
    def _cautious_errors(self) -> NDArray[np.float64]:
        return np.maximum(self._known.errors(cautious=True), self._errors)

    def _forget(self) -> None:
        """Forget what was known before a round."""
        for name in ("_errors", "_rough_errors", "_cautious_errors"):
            self.__dict__.pop(name, None)

    @property
    def _left(self) -> int | None:
        """Shots that are left; None for any number."""
        if self.budget.shots is None:
            return None
        return self.budget.shots - (self._known.shots - self._before)

    def _toward_precision(self, least: int, pilot: int) -> int:
        """Return the shots of the next round toward a precision."""
        precision = self.budget.precision
        assert precision is not None, "it is asked for"
        done = self._known.shots
        if not self._known.rounds:
            size = pilot
        else:
            worst = float(self.cautious_errors().max(initial=0))
            if worst <= precision:
                return 0
            missing = done * ((worst / precision) ** 2 - 1)
            size = int(max(least, done // 8, min(MARGIN * missing, _GROWTH * done)))
        left = self._left
        if left is None:
            return size
        size = left if left - size < least else size
        return size if size >= least else 0
