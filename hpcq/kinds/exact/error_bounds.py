"""Bounds on the errors of values, from bounds on the entries of tensors of subcircuits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import Precision
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.planning.cost import LONG_CONTRACTION, bond_bytes
from hpcq.planning.exact_plan import ExactPlan
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor

_SINGLE_ROUNDING = 2.0**-24
"""Relative rounding error of one operation in single precision."""

_ROUNDINGS_PER_GATE = 32.0
"""Maximum number of relative rounding errors that a gate adds to the state: a product with a 4 x 4
complex matrix, whose entries are rounded too, is 4 sums of 4 complex products. Aer may fuse gates
into larger matrices, with fewer passes over the state than gates."""

_DOUBLE_ROUNDING = 1e-13
"""Relative rounding error of the contraction of absolute values."""


def statevector_bounds(tensor: ExactTensor, precision: Precision) -> NDArray[np.float64]:
    """Return bounds on the errors of a tensor's entries that statevectors give, shape (strings,).

    They are 0 in double precision. In single precision, every gate adds a vector whose norm is at
    most ``_ROUNDINGS_PER_GATE`` rounding errors, and later gates preserve it. An entry is a product
    of two such states, so its error is at most twice their sum. With sliced ports no bound is
    known: it is NaN.
    """
    if precision == "double":
        return np.zeros(len(tensor.strings))
    if tensor.sliced:
        return np.full(len(tensor.strings), np.nan)
    gates = tensor.subcircuit.circuit.size() + 2 * len(tensor.subcircuit.ports) + 1
    error = _ROUNDINGS_PER_GATE * _SINGLE_ROUNDING * gates
    return np.full(len(tensor.strings), tensor.port_factor * (2 + error) * error)


def observable_bounds(
    plan: ExactPlan,
    tensors: Sequence[NDArray[np.complex128]],
    bounds: Sequence[NDArray[np.float64]],
    contraction: Contraction,
) -> NDArray[np.float64]:
    """Return bounds on the errors of the observables' values, shape (observables,).

    Args:
        plan: The plan.
        tensors: The tensors, shape (strings, D, D).
        bounds: Bounds on the errors of all entries of a string's tensor, shape (strings,).
        contraction: The contraction of the plan.
    """
    if not any(bound.any() for bound in bounds):
        return np.zeros(len(plan.observables))
    linked = {subcircuit for edge in plan.cut.edges for subcircuit, _ in edge.ends}
    if any(bounds[plan.uses[subcircuit]].any() for subcircuit in linked):
        if not _is_cheap(plan):
            return np.full(len(plan.observables), np.nan)
        of_terms = _contracted(plan, tensors, bounds, contraction)
    else:
        of_terms = _products(plan, tensors, bounds, linked)
    of_terms[0] = 0.0  # the identity's value is not computed
    return plan.terms.sum_up_bounds(of_terms)


def _is_cheap(plan: ExactPlan) -> bool:
    """Whether two more contractions are quick and fit into the memory of rank 0."""
    stored = bond_bytes(plan.tensors, plan.uses)
    return (
        plan.cost.contraction_flops < LONG_CONTRACTION
        and 3 * stored + plan.cost.tensor_bytes <= plan.limits.memory_bytes
    )


def _products(
    plan: ExactPlan,
    tensors: Sequence[NDArray[np.complex128]],
    bounds: Sequence[NDArray[np.float64]],
    linked: set[int],
) -> NDArray[np.float64]:
    """Return bounds of terms where no entry of the linked subcircuits has an error.

    A term is the product of the values of parts that no gate and no edge connects. The absolute
    value of each part is at most 1, and so is that of a part that consists of linked subcircuits.
    For computed values V and v of exact ones V' and v', ``V v - V' v' = V (v - v') + (V - V') v'``.
    Parts on which a term is the identity are factors too, whose exact value is 1.
    """
    of_identities = _error_of_identities(plan, bounds, linked)
    of_terms = np.zeros(len(plan.terms.picks))
    for term, pick in enumerate(plan.terms.picks):
        value, error = 1.0, 0.0
        for subcircuit, string in pick:
            if subcircuit in linked:
                continue
            use = plan.uses[subcircuit]
            index = plan.strings[use][plan.terms.strings[subcircuit][string]]
            factor, bound = abs(tensors[use][index, 0, 0]), bounds[use][index]
            error = value * bound + error * min(1.0, factor + bound)
            value *= factor
        of_terms[term] = error + value * of_identities
    return of_terms


def _error_of_identities(
    plan: ExactPlan, bounds: Sequence[NDArray[np.float64]], linked: set[int]
) -> float:
    """Return a bound on the error of the product of all parts' values of the identity.

    It is not zero only in single precision: norms of states are rounded.
    """
    errors = [
        bounds[use][plan.strings[use][()]]
        for number, use in enumerate(plan.uses)
        if number not in linked
    ]
    return math.expm1(math.fsum(map(math.log1p, errors)))


def _contracted(
    plan: ExactPlan,
    tensors: Sequence[NDArray[np.complex128]],
    bounds: Sequence[NDArray[np.float64]],
    contraction: Contraction,
) -> NDArray[np.float64]:
    """Return bounds of terms by the contraction.

    A value is a sum of products of entries, so with entries t and errors of at most d its error is
    at most the sum of the products of |t| + d, less that of the products of |t|.
    """
    absolute = replace(
        plan.cut,
        edges=tuple(
            replace(edge, weights=tuple(map(abs, edge.weights))) for edge in plan.cut.edges
        ),
    )
    exact: list[NDArray[np.complex128]] = []
    shifted: list[NDArray[np.complex128]] = []
    for number, use in enumerate(plan.uses):
        index = [plan.strings[use][string] for string in plan.terms.strings[number]]
        sizes = np.abs(tensors[use][index])
        errors = bounds[use][index][:, None, None]
        for entries, chosen in ((sizes, exact), (sizes + errors, shifted)):
            chosen.append(bond_tensor(entries.astype(complex), number, absolute, plan.network))
    least, most = contraction.values(exact).real, contraction.values(shifted).real
    difference: NDArray[np.float64] = most - least + _DOUBLE_ROUNDING * most
    return difference
