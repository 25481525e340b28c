"""Evaluates the observable of a loop by a program, exact or with shots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.seeds import sub_seed
from hpcq.engines.aer import choose_device
from hpcq.kinds.parameters.program import Program, compile_here, compile_plan
from hpcq.kinds.shots.program import ShotsProgram
from hpcq.kinds.shots.sampling import ShotsPlan
from hpcq.loop.trajectory import Evaluation, Evaluator, Rows
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.plan import Plan
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.run import run_on_farm
from hpcq.runs.session import Session


class Evaluators:
    """Evaluates the observable of a plan, for any of several starts.

    Args:
        plan: The plan, of one observable.
        arguments: The device, and with shots the engine, its noise or a backend.
        gradients: Whether to compute gradients too.
        session: The session whose ranks share evaluations; None for this process alone.
    """

    def __init__(
        self, plan: Plan, arguments: RunArguments, *, gradients: bool, session: Session | None
    ) -> None:
        self._plan, self._arguments, self._gradients = plan, arguments, gradients
        self._session = session if session is not None and session.size > 1 else None
        self._program: Program | None = None
        if isinstance(plan, ExactPlan):
            self._program = (
                compile_here(plan, arguments.device)
                if self._session is None
                else compile_plan(plan, self._session, arguments.device)
            )

    def of_start(self, number: int, known: int) -> Evaluator:
        """Return the function that evaluates the observable for a start.

        With shots, each start has a seed of its own, and the evaluations that are already known
        have used its first shots.
        """
        if self._program is None:
            return self._sampled(number, known)
        program = self._program

        def evaluate(x: Rows) -> Evaluation:
            if not self._gradients:
                return Evaluation(x, float(program.values(x)[0, 0]), 0.0, None)
            values, gradients = program.values_and_gradients(x)
            return Evaluation(x, float(values[0, 0]), 0.0, gradients[0, 0])

        return evaluate

    def _sampled(self, number: int, known: int) -> Evaluator:
        plan = self._plan
        assert isinstance(plan, ShotsPlan), "plans of other kinds have no programs"
        if number:
            seed = sub_seed(plan.config["seed"], number)
            plan = replace(plan, config={**plan.config, "seed": seed})
        program = ShotsProgram(plan, self._run)
        program.skip(known, gradients=self._gradients)

        def evaluate(x: Rows) -> Evaluation:
            found = program.estimate(x, gradients=self._gradients)
            gradient = None if found.gradients is None else found.gradients[0, 0]
            value, error = float(found.values[0, 0]), float(found.standard_errors[0, 0])
            return Evaluation(x, value, error, gradient)

        return evaluate

    def _run(self, plan: Plan) -> Result:
        given = self._arguments
        names = ("device", "engine", "noise", "backend")
        options: dict[str, Any] = {name: getattr(given, name) for name in names}
        if self._session is not None:
            return self._session.run(plan, **options)
        options["device"] = choose_device(given.device)
        return run_on_farm(plan, SerialFarm(), RunOptions(RunArguments(**options)))


def check_plan_of_loop(plan: Plan) -> None:
    """Check that a plan has free parameters and one observable.

    Raises:
        InputError: If it does not.
    """
    if not plan.parameters:
        raise InputError("ansatz: it has no free parameters, expected at least one")
    if len(plan.observables) != 1:
        raise InputError(
            f"observable: {len(plan.observables)} observables, expected one; a weighted sum, such "
            "as 'Z0 Z1 + 0.5 X0', is one observable"
        )
