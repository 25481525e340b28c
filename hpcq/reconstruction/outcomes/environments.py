"""Environments: what the sites that are not yet sampled contribute to probabilities.

The environment of step k is a positive matrix Gamma over the frontier, the same for all shots. The
probability of what has been sampled, with the vector Psi over the frontier, is
``sum Psi[x] Gamma[x, x'] conj(Psi[x'])``. Environments follow backwards from Gram matrices G::

    Gamma_k[(c, p), (c', p')] = sum over o, o' of G[(c, o), (c', o')] Gamma_{k+1}[(p, o), (p', o')]

with c the bonds that end at the site of step k, p those that pass it, and o those that it opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import COMPLEX_BYTES
from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Matrix = NDArray[np.complex128]

_NEGLIGIBLE = 1e-14
"""Eigenvalues of an environment below this fraction of the largest are dropped as rounding
errors."""


@dataclass(frozen=True, eq=False)
class Environments:
    """The environments of all steps.

    Attributes:
        matrices: Gamma of each step, over its frontier, with trace 1; and that after the last step,
            which is 1. A trace is the norm only up to the factors that were divided out.
        log_norm: Logarithm of the sum of all probabilities, 0 up to rounding errors.
    """

    matrices: tuple[Matrix, ...]
    log_norm: float

    def factor(self, step: int) -> Matrix:
        """Return C of ``Gamma = C^T conj(C)`` before a step, shape (rank, frontier)."""
        return factor_of(self.matrices[step])


def environments_of(network: SiteNetwork, steps: Sequence[Step]) -> Environments:
    """Compute the environments of an order; see :func:`environment_bytes`."""
    matrices = [np.ones((1, 1), dtype=complex)]
    log_norm = 0.0
    for step in reversed(steps):
        site = network.sites[step.site]
        closed, passed, opened = step.closed_size, step.passed_size, step.opened_size
        gram = network.gram(step.site).reshape(2 * site.dimensions)
        axes = [site.bonds.index(bond) for bond in step.closed + step.opened]
        gram = gram.transpose([*axes, *(len(site.bonds) + axis for axis in axes)])
        pairs = gram.reshape(closed, opened, closed, opened).transpose(0, 2, 1, 3)
        later = matrices[-1].reshape(passed, opened, passed, opened).transpose(1, 3, 0, 2)
        joined = pairs.reshape(closed**2, -1) @ later.reshape(opened**2, -1)
        joined = joined.reshape(closed, closed, passed, passed).transpose(0, 2, 1, 3)
        # From the order (closed, passed) to that of the frontier.
        sizes = [step.dimensions[bond] for bond in step.closed + step.passed]
        back = [(step.closed + step.passed).index(bond) for bond in step.frontier]
        turned = joined.reshape(2 * sizes).transpose([*back, *(len(back) + b for b in back)])
        gamma = turned.reshape(closed * passed, closed * passed)
        gamma = (gamma + gamma.conj().T) / 2
        trace = float(np.trace(gamma).real)
        log_norm += float(np.log(trace))
        matrices.append(gamma / trace)
    return Environments(tuple(matrices[::-1]), log_norm)


def factor_of(gamma: Matrix) -> Matrix:
    """Return C of ``Gamma = C^T conj(C)`` for a positive matrix, without negligible eigenvalues."""
    values, vectors = np.linalg.eigh(gamma)
    kept = values > _NEGLIGIBLE * values[-1]
    factor: Matrix = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return factor


def environment_bytes(steps: Sequence[Step]) -> int:
    """Return the bytes of computing all environments."""
    total = largest = 0
    for step in steps:
        size = (step.closed_size * step.passed_size) ** 2
        later = (step.passed_size * step.opened_size) ** 2
        total += size
        gram = (step.closed_size * step.opened_size) ** 2
        largest = max(largest, 3 * size, size + 2 * (later + gram))
    return COMPLEX_BYTES * (total + largest)
