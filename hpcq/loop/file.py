"""Writing the evaluations of a loop to its result, and reading them back to continue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import __version__ as scipy_version
from scipy.optimize import OptimizeResult

from hpcq.core.errors import InputError
from hpcq.kinds.parameters.row_bounds import row_bounds
from hpcq.loop.problem import LoopProblem
from hpcq.loop.trajectory import Evaluation, as_table, from_table
from hpcq.planning.exact_plan import ExactPlan
from hpcq.planning.fingerprint import RequestSummary, check_same_run
from hpcq.planning.verdict import ASKED_TO_CUT
from hpcq.results.details import ResultDetails
from hpcq.results.loop_record import LoopRecord
from hpcq.results.parameter_rows import ParameterRows
from hpcq.results.progress import PartialProgress
from hpcq.results.result import Result
from hpcq.runs.output import request_summary
from hpcq.runs.provenance import RunAccounting

Trajectories = Sequence[list[Evaluation]]
"""The evaluations of each start."""


def known_evaluations(problem: LoopProblem, previous: Result | None) -> list[list[Evaluation]]:
    """Return the evaluations of each start that a file holds.

    Raises:
        InputError: If the file holds something else, or the evaluations of another loop.
    """
    if previous is None:
        return [[] for _ in range(problem.num_starts)]
    details = previous.details
    record = None if details is None else details.section(LoopRecord)
    if details is None or record is None:
        raise InputError(
            "output: it holds a result that is not a minimization, and would be overwritten; "
            "expected another file"
        )
    existing = "an unfinished minimization" if details.unfinished else "a minimization"
    summaries = request_summary(previous), RequestSummary.of(problem.plan)
    check_same_run(details.fingerprint, problem.fingerprint, existing, *summaries)
    columns = [record.values[:, np.newaxis], record.standard_errors[:, np.newaxis]]
    columns.append(record.parameters)
    if problem.optimizer.uses_gradients:
        if record.gradients is None:
            raise InputError("output: it holds no gradients, expected one for each evaluation")
        columns.append(record.gradients)
    table = np.concatenate(columns, axis=1)
    return [
        from_table(table[record.starts == number], problem.num_parameters)
        for number in range(problem.num_starts)
    ]


def record_of(problem: LoopProblem, trajectories: Trajectories, message: str) -> LoopRecord:
    """Return the record of a loop for its file."""
    parameters = problem.num_parameters
    tables = [as_table(each, parameters) for each in trajectories if each]
    gradients = problem.optimizer.uses_gradients
    width = 2 + parameters * (1 + gradients)
    table = np.concatenate(tables) if tables else np.empty((0, width))
    return LoopRecord(
        optimizer=problem.optimizer.name,
        options=problem.options,
        scipy_version=scipy_version,
        seed=problem.seed,
        message=message,
        initial=problem.initial,
        starts=np.repeat(np.arange(len(trajectories)), [len(each) for each in trajectories]),
        parameters=table[:, 2 : 2 + parameters],
        values=table[:, 0],
        standard_errors=table[:, 1],
        gradients=table[:, 2 + parameters :] if gradients else None,
    )


def result_of_loop(
    problem: LoopProblem,
    trajectories: Trajectories,
    accounting: RunAccounting,
    best: OptimizeResult | None = None,
) -> Result:
    """Return what the file of a loop holds: the value at the best parameters, and all evaluations.

    Args:
        problem: The loop.
        trajectories: The evaluations of each start.
        accounting: What the loop has used so far.
        best: The result of the best start; None if the loop is not complete. The best parameters
            are then those of the lowest value so far, and there must be at least one.
    """
    plan = problem.plan
    verdict = plan.verdict if isinstance(plan, ExactPlan) else ASKED_TO_CUT
    if best is None:
        lowest = lowest_evaluation(trajectories)
        x, value, error, gradient = (
            *(lowest.parameters, lowest.value),
            *(lowest.error, lowest.gradient),
        )
    else:
        gradient = best.jac if problem.optimizer.uses_gradients else None
        x, value, error = best.x, best.fun, best.standard_error
    message = "" if best is None else best.message
    record = record_of(problem, trajectories, message)
    provenance = accounting.provenance()
    bounds = row_bounds(plan) if isinstance(plan, ExactPlan) else np.full(1, math.nan)
    loop: dict[str, Any] = {
        "optimizer": problem.optimizer.name,
        "evaluations": len(record.values),
        "starts": problem.num_starts,
        "message": message,
    }
    if gradient is not None:
        loop["gradient_norm"] = float(np.linalg.norm(gradient))
    return Result(
        names=tuple(observable.name for observable in plan.observables),
        expectation_values=np.array([[value]], dtype=float),
        standard_errors=np.array([[error]], dtype=float),
        error_bounds=bounds[np.newaxis],
        status="partial" if best is None else "complete",
        config={**plan.config, "device": problem.arguments.device},
        provenance={**provenance, "loop": loop},
        method=verdict.method,
        engine=", ".join(verdict.engines) or None,
        reason=verdict.reason,
        taken_seconds=sum(provenance["account"]["seconds"].values()),
        parameters=ParameterRows(plan.parameters, np.array([x], dtype=float)),
        details=ResultDetails(
            circuit=plan.circuit,
            cuts=plan.cuts,
            observables=plan.observables,
            cone_of=plan.cone_of,
            sections=(record,),
            fingerprint=problem.fingerprint,
            unfinished=PartialProgress(()) if best is None else None,
            timelines=accounting.timelines(),
        ),
    )


def lowest_evaluation(trajectories: Trajectories) -> Evaluation:
    """Return the evaluation of the lowest value; of several, the first."""
    every = (evaluation for trajectory in trajectories for evaluation in trajectory)
    return min(every, key=lambda evaluation: evaluation.value)
