"""Qiskit's primitives, as thin layers over plans and programs.

Pubs enter: circuits with values of parameters, and for an Estimator observables. Jobs leave, with
values and standard errors, or samples, in the shapes to which these broadcast. A plan is compiled
once for each structure of circuits, and kept, and so are the cuts of sampled circuits. An Estimator
returns what :func:`hpcq.run` returns: values that are exact to rounding, or estimates with standard
errors within the precision that was asked for. A Sampler returns perfect samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcq.primitives.estimator import Estimator
from hpcq.primitives.sampler import Sampler

if TYPE_CHECKING:
    from hpcq.primitives.gradient import EstimatorGradient

__all__ = ["Estimator", "EstimatorGradient", "Sampler"]


def __getattr__(name: str) -> Any:
    if name != "EstimatorGradient":
        raise AttributeError(f"module 'hpcq.primitives' has no attribute {name!r}")
    # Importing qiskit-algorithms takes as long as importing Qiskit.
    from hpcq.primitives.gradient import EstimatorGradient

    return EstimatorGradient
