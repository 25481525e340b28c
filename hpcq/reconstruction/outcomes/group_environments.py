"""Environments of groups of shots, over the index of a site's tree.

Where no bond passes the site, the environment of a group is the projector onto its vector, since
the later sites' environment is part of the tree. Otherwise it is
``E[(c, o), (c', o')] = sum over p, p' of Psi[c, p] Gamma[(p, o), (p', o')] conj(Psi[c', p'])``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.prefix_tree import packed_environments, packed_projectors

Matrix = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class GroupEnvironments:
    """What the environments of groups are computed from.

    Attributes:
        passed: Combined dimension of the bonds that pass the site.
        gamma: The environment after the step, shape (p, o o' p'), if bonds pass.
        entries: Where the entries of E are in the order (c, o, o', c'), shape (D, D).
    """

    passed: int
    gamma: Matrix
    entries: NDArray[np.intp]

    @classmethod
    def of(cls, step: Step, factor: Matrix) -> GroupEnvironments:
        """Return those of a step, from C of the environment after it."""
        closed, passed, opened = step.closed_size, step.passed_size, step.opened_size
        if passed == 1:
            return cls(1, np.empty((1, 0), dtype=complex), np.empty((closed, closed), dtype=int))
        gamma = (factor.T @ factor.conj()).reshape(passed, opened, passed, opened)
        entries = np.arange((closed * opened) ** 2).reshape(closed, opened, opened, closed)
        return cls(
            passed,
            np.ascontiguousarray(gamma.transpose(0, 1, 3, 2)).reshape(passed, -1),
            entries.transpose(0, 1, 3, 2).reshape(closed * opened, closed * opened),
        )

    def of_vectors(self, vectors: Matrix) -> NDArray[np.float64]:
        """Return the packed environments of groups.

        Args:
            vectors: Psi of each group, shape (n, closed, passed).

        Returns:
            Shape (n, D**2).
        """
        if self.passed == 1:
            return packed_projectors(vectors[:, :, 0])
        groups, _, passed = vectors.shape
        halves = (vectors.reshape(-1, passed) @ self.gamma).reshape(groups, -1, passed)
        matrices = halves @ vectors.conj().swapaxes(1, 2)
        return packed_environments(matrices.reshape(groups, -1), self.entries)
