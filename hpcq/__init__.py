"""hpcq: quantum circuits larger than the machine, cut, farmed over MPI ranks, put together again.

``import hpcq`` loads neither MPI nor a simulator; the names below are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpcq.errors import HpcqError, InputError, MissingDependencyError
from hpcq.version import __version__

if TYPE_CHECKING:
    from hpcq.assembly import Plan
    from hpcq.batch.job import Job
    from hpcq.batch.python import submit
    from hpcq.cutting.cuts import Cuts
    from hpcq.inputs.circuits import read_circuit
    from hpcq.planning import plan
    from hpcq.result import Result
    from hpcq.running import run
    from hpcq.store import load

_HOME = {
    "Cuts": "hpcq.cutting.cuts",
    "Job": "hpcq.batch.job",
    "Plan": "hpcq.assembly",
    "Result": "hpcq.result",
    "load": "hpcq.store",
    "plan": "hpcq.planning",
    "read_circuit": "hpcq.inputs.circuits",
    "run": "hpcq.running",
    "submit": "hpcq.batch.python",
}

__all__ = [
    "Cuts",
    "HpcqError",
    "InputError",
    "Job",
    "MissingDependencyError",
    "Plan",
    "Result",
    "__version__",
    "load",
    "plan",
    "read_circuit",
    "run",
    "submit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hpcq' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
