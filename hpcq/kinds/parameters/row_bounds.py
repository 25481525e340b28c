"""Bounds on the errors of values at rows of parameters, which are the same for all rows.

Parts without parameters may be computed by methods that truncate. Such parts have no ports, so a
term is the product of their values and that of the rest, each at most 1 in absolute value.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.planning.exact_plan import ExactPlan


def row_bounds(plan: ExactPlan) -> NDArray[np.float64]:
    """Return bounds on the errors of the observables' values, shape (observables,).

    They are NaN if the error of some part has no bound, as in single precision.
    """
    of_tensors = [_string_bounds(tensor, plan) for tensor in plan.tensors]
    if any(np.isnan(bounds).any() for bounds in of_tensors):
        return np.full(len(plan.observables), np.nan)
    of_terms = []
    for pick in plan.terms.picks:
        errors = []
        for subcircuit, number in pick:
            use = plan.uses[subcircuit]
            string = plan.terms.strings[subcircuit][number]
            errors.append(float(of_tensors[use][plan.strings[use][string]]))
        of_terms.append(math.expm1(math.fsum(map(math.log1p, errors))))
    return plan.terms.sum_up_bounds(of_terms)


def _string_bounds(tensor: ExactTensor, plan: ExactPlan) -> NDArray[np.float64]:
    """Return bounds on the errors of a tensor's entries, shape (strings,); NaN if unknown."""
    simulation = tensor.simulation
    if simulation is not None and simulation.answer is not None:
        bounds: NDArray[np.float64] = simulation.answer[1]
        return bounds
    if simulation is None:
        bound = 0.0 if plan.limits.precision == "double" else None
    else:
        bound = 0.0 if simulation.engine == "stabilizer" else simulation.tolerance
    return np.full(len(tensor.strings), np.nan if bound is None else bound)
