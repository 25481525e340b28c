"""Programs with shots: estimates and their derivatives at rows of parameters, with errors.

Each row is a run with shots of its own, of the circuit with its angles, cut at the places of the
plan. The derivative with respect to the angle a of a rotation exp(-i a P / 2) is half the
difference of the values at a + pi/2 and a - pi/2 (Schuld et al., Phys. Rev. A 99, 032331 (2019)),
for cut rotations too; each of these is one more run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import ParametrisedCircuit, bind_slots
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.plan import CompiledPlan, Plan
from hpcq.planning.planner import plan_question
from hpcq.planning.problem import SampledValues
from hpcq.results.result import Result

RunPlan = Callable[[Plan], Result]
"""Runs a plan without free parameters."""

_QUARTER_TURN = math.pi / 2


@dataclass(frozen=True, eq=False)
class Estimates:
    """Estimates of expectation values and of their derivatives at rows of parameters.

    Attributes:
        values: Shape (rows, observables).
        standard_errors: Shape (rows, observables).
        gradients: Derivatives with respect to the parameters, shape (rows, observables,
            parameters); None if they were not asked for.
        gradient_errors: Their standard errors, in the same shape.
    """

    values: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    gradients: NDArray[np.float64] | None = None
    gradient_errors: NDArray[np.float64] | None = None


class ShotsProgram(CompiledPlan):
    """A plan with shots and free parameters, to be evaluated at rows of their values.

    Every evaluation takes new shots: those of the seed of the plan and of the number of evaluations
    before, so that a program that is compiled again gives the same estimates in the same order.

    Args:
        plan: The plan.
        run_plan: Runs a plan; on all ranks, if there are several.

    Attributes:
        plan: The plan.
    """

    def __init__(self, plan: ShotsPlan, run_plan: RunPlan) -> None:
        self.plan: ShotsPlan = plan
        self._run_plan = run_plan
        self._num_runs = 0

    def values(self, rows: Any) -> NDArray[np.float64]:
        """Return estimates of the expectation values, shape (rows, observables).

        Args:
            rows: Values of the parameters, shape (rows, parameters), or those of one row.

        Raises:
            InputError: If the rows have another shape or are not finite numbers.
        """
        return self.estimate(rows, gradients=False).values

    def values_and_gradients(self, rows: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return estimates of the values and of their derivatives; see :meth:`estimate`.

        Returns:
            Shapes (rows, observables) and (rows, observables, parameters).
        """
        estimates = self.estimate(rows)
        assert estimates.gradients is not None, "they were asked for"
        return estimates.values, estimates.gradients

    def estimate(self, rows: Any, *, gradients: bool = True) -> Estimates:
        """Return estimates with standard errors; each run takes the shots of the plan.

        Args:
            rows: Values of the parameters, shape (rows, parameters), or those of one row.
            gradients: Whether to estimate derivatives too, by two more runs for each angle that
                depends on parameters.

        Raises:
            InputError: If the rows have another shape or are not finite numbers.
        """
        slots = self._parametrised.slots
        checked = slots.rows(rows)
        angles = slots.angles(checked)
        values, errors = self._measure(angles)
        if not gradients:
            return Estimates(values, errors)
        shape = (len(checked), len(self.plan.observables), slots.num_slots)
        by_angle, variances = np.zeros(shape), np.zeros(shape)
        for number in range(slots.num_slots):
            shift = _QUARTER_TURN * (np.arange(slots.num_slots) == number)
            forward, forward_errors = self._measure(angles + shift)
            backward, backward_errors = self._measure(angles - shift)
            by_angle[..., number] = (forward - backward) / 2
            variances[..., number] = (forward_errors**2 + backward_errors**2) / 4
        gradient_errors = np.sqrt(slots.pull_back_variances(checked, variances))
        return Estimates(values, errors, slots.pull_back(checked, by_angle), gradient_errors)

    def skip(self, rows: int, *, gradients: bool) -> None:
        """Leave out the shots of some rows, which an earlier start of a loop has taken.

        Args:
            rows: Number of the rows that were evaluated.
            gradients: Whether their derivatives were, too.
        """
        self._num_runs += rows * (1 + 2 * self._parametrised.slots.num_slots * gradients)

    @property
    def _parametrised(self) -> ParametrisedCircuit:
        assert self.plan.parametrised is not None, "the kind of run has checked it"
        return self.plan.parametrised

    def _measure(
        self, angles: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and standard errors at rows of angles."""
        results = [self._run_plan(self._plan_at(row)) for row in angles]
        shape = (len(angles), len(self.plan.observables))
        values = np.array([result.expectation_values for result in results]).reshape(shape)
        return values, np.array([result.standard_errors for result in results]).reshape(shape)

    def _plan_at(self, angles: NDArray[np.float64]) -> Plan:
        """Return the plan of the next run, at some angles."""
        plan, config = self.plan, self.plan.config
        generic = self._parametrised.generic
        circuit = bind_slots(generic, range(len(angles)), angles)
        sequence = np.random.SeedSequence([config["seed"], self._num_runs])
        self._num_runs += 1
        request = CutRequest(
            cuts=plan.cuts,
            objective=config["objective"],
            ranks=config["ranks"],
            seed=int(sequence.generate_state(1)[0]),
        )
        question = SampledValues(plan.observables, plan.sampling.budget)
        return plan_question(circuit, question, request, plan.limits, earlier=config)
