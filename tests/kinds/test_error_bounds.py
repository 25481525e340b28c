"""Error bounds of observables hold whatever the errors of the entries of tensors are."""

from __future__ import annotations

import numpy as np
import pytest

import hpcq
from hpcq.kinds.exact.error_bounds import observable_bounds
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import bond_tensor
from tests.support.circuits import two_halves

OBSERVABLES = ["Z0 Z5", "X1 + 2 Y3", "Z2"]


def contracted(plan, tensors, contraction):  # type: ignore[no-untyped-def]
    bonds = []
    for number, use in enumerate(plan.uses):
        rows = [plan.strings[use][string] for string in plan.terms.strings[number]]
        bonds.append(bond_tensor(tensors[use][rows], number, plan.cut, plan.network))
    return plan.terms.sum_up(contraction.values(bonds).real)


@pytest.mark.parametrize("labels", ["AAABBB", "AABBAB", "ABABCC"])
@pytest.mark.parametrize("size", [1e-6, 1e-2, 0.3])
def test_perturbed_entries_stay_within_the_bound(labels: str, size: float) -> None:
    plan = hpcq.plan(two_halves(), OBSERVABLES, cut_labels=labels)
    details = hpcq.run(plan).details
    assert details is not None
    of_use = dict(zip(plan.uses, details.tensors, strict=True))
    tensors = [of_use[use] for use in range(len(plan.tensors))]
    contraction = Contraction.within(plan.network, plan.terms.picks, 1 << 30)
    exact = contracted(plan, tensors, contraction)
    rng = np.random.default_rng(5)
    bounds = [size * rng.uniform(0, 1, len(tensor)) for tensor in tensors]
    bound = observable_bounds(plan, tensors, bounds, contraction)
    largest = np.zeros(len(OBSERVABLES))
    for _ in range(20):
        wrong = [
            tensor + limit[:, None, None] * np.exp(2j * np.pi * rng.uniform(size=tensor.shape))
            for tensor, limit in zip(tensors, bounds, strict=True)
        ]
        largest = np.maximum(largest, abs(contracted(plan, wrong, contraction) - exact))
    assert (largest <= bound).all()
    assert (largest > 1e-4 * bound).any(), "the bound is not vacuous"
    none = [np.zeros(len(tensor)) for tensor in tensors]
    assert observable_bounds(plan, tensors, none, contraction).tolist() == [0, 0, 0]
