"""Running a loop on rank 0: one start after the other, or several side by side."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TextIO

from scipy.optimize import OptimizeResult

from hpcq.core.errors import HpcqError
from hpcq.engines.aer import choose_device
from hpcq.loop.evaluators import Evaluators
from hpcq.loop.file import known_evaluations, result_of_loop
from hpcq.loop.problem import LoopProblem
from hpcq.loop.progress import LoopMonitor
from hpcq.loop.trajectory import Evaluation, Evaluator, Rows
from hpcq.loop.turns import take_turns
from hpcq.parallel.ledger import Ledger
from hpcq.results.result import Result
from hpcq.runs.output import RunOutput
from hpcq.runs.provenance import RunAccounting
from hpcq.runs.session import Session
from hpcq.runs.stop_conditions import StopConditions
from hpcq.runs.stop_signals import uninterrupted


class _UnknownError(Exception):
    """An optimizer asks for an evaluation that is not known yet; caught."""


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop on rank 0 of a session.

    Attributes:
        session: The session, which is open.
        problem: The loop.
        output: Keeps the evaluations; opened, with what it held before.
        stop_conditions: When to stop, entered.
        stream: Where to show progress; None for nowhere.
        callback: Called after each iteration; None for nothing.
    """

    session: Session
    problem: LoopProblem
    output: RunOutput
    stop_conditions: StopConditions
    stream: TextIO | None = None
    callback: Callable[..., object] | None = None

    def run(self) -> tuple[OptimizeResult, Result]:
        """Return scipy's result of the best start, and the result that the file holds.

        Raises:
            InputError: If the output holds something else, or an argument is wrong.
            HpcqError: If the loop is stopped, or an evaluation fails.
        """
        started = time.perf_counter()
        try:
            with uninterrupted():
                return self._run(started)
        finally:
            self.output.close()

    def _run(self, started: float) -> tuple[OptimizeResult, Result]:
        problem, session, output = self.problem, self.session, self.output
        trajectories = known_evaluations(problem, output.previous)
        device = problem.arguments.device
        if session.size == 1:  # several ranks choose together, before they load Aer
            device = choose_device(device)
        ranks = [f"{socket.gethostname()} {device}"] * session.size
        threads = problem.plan.limits.threads
        ledger = Ledger()
        accounting = RunAccounting(session.farm, ranks, threads, started, ledger, output.previous)

        def unfinished() -> Result:
            accounting.end("minimize")
            return result_of_loop(problem, trajectories, accounting)

        monitor = LoopMonitor(
            *(
                output,
                self.stop_conditions,
                trajectories,
                unfinished,
                ledger,
                session.size,
                self.stream,
            )
        )
        known = sum(map(len, trajectories))
        try:
            results = self._results(trajectories, monitor)
        except BaseException:
            # What was computed is worth keeping, whatever went wrong: a callback may raise
            # KeyboardInterrupt or SystemExit.
            if known < sum(map(len, trajectories)) and not monitor.is_saved:
                monitor.save()
            raise
        finally:
            monitor.end_line()
        best = min(results, key=lambda result: float(result.fun))
        best.starts = results
        previous = output.previous
        is_new = known < sum(map(len, trajectories)) or previous is None
        if previous is not None and not is_new and previous.status == "complete":
            monitor.log("the output is already complete, nothing is left to do")
            result = previous
        else:
            accounting.end("minimize")
            result = result_of_loop(problem, trajectories, accounting, best)
        for path in output.finish(result):
            monitor.log(f"wrote {path}")
        return best, result

    def _results(
        self, trajectories: list[list[Evaluation]], monitor: LoopMonitor
    ) -> list[OptimizeResult]:
        """Return the results of all starts."""
        problem = self.problem
        if problem.num_starts > 1 and self.session.size > 1:
            take_turns(
                *(self.session, problem, trajectories, monitor),
                lambda number: self._is_finished(number, trajectories[number]),
            )
        shared = _SharedEvaluators(problem, self.session, monitor)
        results = []
        for number, trajectory in enumerate(trajectories):
            evaluator = shared.of_start(number, trajectory)
            on_new = partial(monitor.after_evaluation, number)
            start = problem.start(number)
            results.append(start.minimize(trajectory, evaluator, self.callback, on_new))
        for result in results:
            names = problem.plan.parameters
            result.parameters = dict(zip(names, map(float, result.x), strict=True))
        return results

    def _is_finished(self, number: int, trajectory: list[Evaluation]) -> bool:
        """Return whether a start needs no more evaluations."""

        def refuse(_: Rows) -> Evaluation:
            raise _UnknownError

        try:
            self.problem.start(number).minimize(trajectory, refuse)
        except _UnknownError:
            return False
        return True


class _SharedEvaluators:
    """The program of a loop, which is compiled when a start first needs it."""

    def __init__(self, problem: LoopProblem, session: Session, monitor: LoopMonitor) -> None:
        self._problem, self._session, self._monitor = problem, session, monitor
        self._made: Evaluators | None = None

    def of_start(self, number: int, trajectory: list[Evaluation]) -> Evaluator:
        """Return the function that evaluates a start, and stops the loop if it has to."""
        made: list[Evaluator] = []

        def evaluate(x: Rows) -> Evaluation:
            self._monitor.before_evaluation()
            if not made:
                made.append(self._evaluators().of_start(number, len(trajectory)))
            try:
                return made[0](x)
            except HpcqError:
                # With shots, an evaluation is a run, which the same signal has stopped.
                self._monitor.before_evaluation()
                raise

        return evaluate

    def _evaluators(self) -> Evaluators:
        if self._made is None:
            problem = self._problem
            gradients = problem.optimizer.uses_gradients
            self._made = Evaluators(
                problem.plan, problem.arguments, gradients=gradients, session=self._session
            )
        return self._made
