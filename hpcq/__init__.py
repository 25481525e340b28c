"""hpcq: cut quantum circuits that are larger than the machine and compute them on MPI ranks.

:func:`plan` decides how to compute the expectation values of observables and at what cost,
:func:`run` computes them and returns a :class:`Result`. :func:`outcomes` gives samples and
probabilities, :func:`minimize` minimises an observable over free parameters. ``import hpcq`` loads
neither MPI nor a simulator; the names below are loaded when they are first used.
"""

from __future__ import annotations

import atexit
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError, MissingDependencyError, StoppedError
from hpcq.core.version import __version__
from hpcq.parallel.leaving import leave as _leave

if TYPE_CHECKING:
    from hpcq.circuits.reader import read_circuit
    from hpcq.cli.submitting import submit
    from hpcq.cutting.cuts import Cuts
    from hpcq.jobs.job import Job
    from hpcq.kinds.outcomes.outcomes import Outcomes, outcomes
    from hpcq.kinds.parameters.program import Program
    from hpcq.kinds.shots.outcomes import EstimatedOutcomes
    from hpcq.loop.minimize import minimize
    from hpcq.planning.outcome_planner import plan_outcomes
    from hpcq.planning.plan import Plan
    from hpcq.planning.planner import plan
    from hpcq.results import load
    from hpcq.results.result import Result
    from hpcq.runs.session import Session, run

_MODULE_OF = {
    "Cuts": "hpcq.cutting.cuts",
    "EstimatedOutcomes": "hpcq.kinds.shots.outcomes",
    "Job": "hpcq.jobs.job",
    "Outcomes": "hpcq.kinds.outcomes.outcomes",
    "Plan": "hpcq.planning.plan",
    "Program": "hpcq.kinds.parameters.program",
    "Result": "hpcq.results.result",
    "Session": "hpcq.runs.session",
    "load": "hpcq.results",
    "minimize": "hpcq.loop.minimize",
    "outcomes": "hpcq.kinds.outcomes.outcomes",
    "plan": "hpcq.planning.planner",
    "plan_outcomes": "hpcq.planning.outcome_planner",
    "read_circuit": "hpcq.circuits.reader",
    "run": "hpcq.runs.session",
    "submit": "hpcq.cli.submitting",
}

__all__ = [
    "Cuts",
    "EstimatedOutcomes",
    "HpcqError",
    "InputError",
    "Job",
    "MissingDependencyError",
    "Outcomes",
    "Plan",
    "Program",
    "Result",
    "Session",
    "StoppedError",
    "__version__",
    "load",
    "minimize",
    "outcomes",
    "plan",
    "plan_outcomes",
    "read_circuit",
    "run",
    "submit",
]

atexit.register(_leave)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hpcq' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
