"""Prepared runs: the base of every kind's runs, and their agreement with output and other jobs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Limits
from hpcq.engines.protocol import Engine
from hpcq.engines.registry import EngineSpec
from hpcq.planning.fingerprint import Fingerprint, RequestSummary, check_same_run
from hpcq.planning.plan import Plan
from hpcq.planning.verdict import ASKED_TO_CUT, Verdict
from hpcq.results.details import ResultDetails
from hpcq.results.parameter_rows import ParameterRows
from hpcq.results.result import Result
from hpcq.runs.options import RunOptions
from hpcq.runs.output import request_summary
from hpcq.runs.provenance import RunAccounting

if TYPE_CHECKING:
    from hpcq.runs.stages import StageRunner


def begin_run(plan: Plan, options: RunOptions, fingerprint: Fingerprint) -> None:
    """Agree on a run with its output and the jobs that share it.

    Raises:
        InputError: If the output holds a result of another run, or the jobs compute another run.
    """
    request = RequestSummary.of(plan)
    options.output.agree_on_run(fingerprint, request)
    previous = options.previous
    if previous is not None and previous.details is not None:
        details = previous.details
        existing = "an unfinished result" if details.unfinished else "a result"
        stored = request_summary(previous)
        check_same_run(details.fingerprint, fingerprint, existing, stored, request)


@dataclass(frozen=True, eq=False)
class PreparedRun(ABC):
    """A run that is prepared but not started.

    Attributes:
        plan: The plan.
        options: How to run.
        fingerprint: Identifies the run: a later run with the same fingerprint can resume it.
        engine_spec: The engine that every rank opens.
    """

    plan: Plan
    options: RunOptions
    fingerprint: Fingerprint
    engine_spec: EngineSpec

    @property
    def limits(self) -> Limits:
        """Limits of a rank."""
        return self.plan.limits

    @property
    def finished(self) -> Result | None:
        """The result, if the output is complete already."""
        previous = self.options.previous
        return previous if previous is not None and previous.status == "complete" else None

    @abstractmethod
    def check_engine(self, engine: Engine) -> None:
        """Check that the engine of rank 0 can compute all tasks.

        Raises:
            InputError: If it cannot.
        """

    @abstractmethod
    def compute(self, runner: StageRunner, engine: Engine) -> Result:
        """Run on rank 0, which hands tasks to the others.

        Raises:
            HpcqError: If the run is stopped, tasks fail, or the result fails its own check.
        """

    def result(
        self,
        accounting: RunAccounting,
        values: NDArray[np.float64] | None,
        errors: NDArray[np.float64] | None = None,
        *,
        bounds: NDArray[np.float64] | None = None,
        verdict: Verdict = ASKED_TO_CUT,
        engines: tuple[str | None, ...] = (),
        simulators: Sequence[str] | None = None,
        status: str = "complete",
        config: Mapping[str, Any] = {},
        provenance: Mapping[str, Any] = {},
        parameters: ParameterRows | None = None,
        **details: Any,
    ) -> Result:
        """Return a result of the plan.

        Args:
            accounting: Seconds of each phase.
            values: Shape (observables,), or (rows, observables) with rows of parameters; None while
                they are not known.
            errors: Standard errors, in the same shape; by default 0, or NaN without values.
            bounds: Error bounds, in the same shape; by default NaN, which is unknown.
            verdict: The method, and why it was chosen.
            engines: The method of each subcircuit's simulation.
            simulators: Names of the engines that simulated; by default those of all ranks.
            status: ``complete`` or ``partial``.
            config: Entries that the kind of run adds to the configuration, as plain JSON values.
            provenance: Entries that it adds to the provenance, as plain JSON values.
            parameters: The rows of parameters that the values are for; None if there are none.
            details: Fields of :class:`hpcq.results.details.ResultDetails` that it sets.
        """
        plan = self.plan
        rows = () if parameters is None else (len(parameters),)
        unknown = np.full((*rows, len(plan.observables)), np.nan)
        if errors is None:
            errors = unknown if values is None else np.zeros_like(values)
        record = accounting.provenance()
        seconds = plan.predicted_seconds
        if plan.cost is not None and parameters is not None:
            of_rows = plan.cost.for_rows(len(parameters))
            seconds = of_rows.predicted_seconds(plan.config["ranks"])
        if simulators is None:
            simulators = record["devices"] if verdict.has_statevectors else []
        return Result(
            names=tuple(observable.name for observable in plan.observables),
            expectation_values=unknown if values is None else values,
            standard_errors=errors,
            status=status,
            error_bounds=unknown if bounds is None else bounds,
            method=verdict.method,
            engine=", ".join(dict.fromkeys([*verdict.engines, *simulators])),
            engines=engines,
            reason=verdict.reason,
            predicted_seconds=math.nan if seconds is None else seconds,
            taken_seconds=sum(record["account"]["seconds"].values()),
            parameters=parameters,
            config={**plan.config, "device": self.options.arguments.device, **config},
            provenance={**record, **provenance},
            details=ResultDetails(
                circuit=plan.circuit,
                cuts=plan.cuts,
                observables=plan.observables,
                cone_of=plan.cone_of,
                fingerprint=self.fingerprint,
                timelines=accounting.timelines(),
                **details,
            ),
        )
