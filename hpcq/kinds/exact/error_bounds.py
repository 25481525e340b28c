"""Bounds on the errors of values, from bounds on the entries of tensors of subcircuits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Precision
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.planning.exact_plan import ExactPlan

_SINGLE_ROUNDING = 2.0**-24
"""Relative rounding error of one operation in single precision."""

_ROUNDINGS_PER_GATE = 32.0
"""Roundings of the amplitudes' norm that a gate can add at most: a product with a 4 x 4 complex
matrix, whose own entries are rounded, is 4 sums of 4 complex products. Aer may fuse gates into
larger matrices, with fewer passes over the state than gates."""


def statevector_bounds(tensor: ExactTensor, precision: Precision) -> NDArray[np.float64]:
    """Return bounds on the errors of a tensor's entries that statevectors give, shape (strings,).

    They are 0 in double precision. In single precision, every gate changes the state by a vector of
    at most ``_ROUNDINGS_PER_GATE`` roundings, and later gates keep its norm, so the bound of the
    value of a string is twice the sum. With ports no bound is known: it is NaN.
    """
    if precision == "double":
        return np.zeros(len(tensor.strings))
    if tensor.subcircuit.ports:
        return np.full(len(tensor.strings), np.nan)
    gates = tensor.subcircuit.circuit.size() + 1
    error = _ROUNDINGS_PER_GATE * _SINGLE_ROUNDING * gates
    return np.full(len(tensor.strings), (2 + error) * error)


def term_bounds(
    plan: ExactPlan, tensors: list[NDArray[np.complex128]], bounds: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return bounds on the errors of the observables' values, shape (observables,).

    A term is the product of the values of parts that no gate and no edge joins. A part of several
    subcircuits has entries without error, and a value of at most 1, as for every string. For the
    other parts the errors are those of a product: (v + d)(w + e) - v w is at most |v| e + |w| d + d
    e.

    Args:
        plan: The plan.
        tensors: The tensors, shape (strings, D, D).
        bounds: Bounds on the errors of all entries of a string's tensor, shape (strings,).
    """
    linked = {end[0] for edge in plan.cut.edges for end in edge.ends}
    if any(np.isnan(bounds[plan.uses[number]]).any() for number in linked):
        return np.full(len(plan.observables), np.nan)
    if not any(bound.any() for bound in bounds):
        return np.zeros(len(plan.observables))
    of_terms = np.zeros(len(plan.terms.picks))
    for term, pick in enumerate(plan.terms.picks):
        value, error = 1.0, 0.0
        for subcircuit, string in pick:
            if subcircuit in linked:
                continue
            use = plan.uses[subcircuit]
            index = plan.strings[use][plan.terms.strings[subcircuit][string]]
            factor, bound = abs(tensors[use][index, 0, 0]), bounds[use][index]
            error = value * bound + factor * error + error * bound
            value *= factor
        of_terms[term] = error
    return np.array(
        [
            math.fsum(abs(coefficient) * of_terms[term] for term, coefficient in terms)
            for terms in plan.terms.observables
        ]
    )
