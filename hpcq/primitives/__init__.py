"""Qiskit's primitives, as thin layers over plans and programs.

Pubs enter: circuits with observables and values of parameters. Jobs leave, with values and standard
errors in the shapes to which these broadcast. A plan is compiled once for each structure of
circuits, and kept. An Estimator returns what :func:`hpcq.run` returns: values that are exact to
rounding, or estimates with standard errors within the precision that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpcq.primitives.estimator import Estimator

if TYPE_CHECKING:
    from hpcq.primitives.gradient import EstimatorGradient

__all__ = ["Estimator", "EstimatorGradient"]


def __getattr__(name: str) -> Any:
    if name != "EstimatorGradient":
        raise AttributeError(f"module 'hpcq.primitives' has no attribute {name!r}")
    # Importing qiskit-algorithms takes as long as importing Qiskit.
    from hpcq.primitives.gradient import EstimatorGradient

    return EstimatorGradient
