"""One step of sampling: shots that agree in earlier outcomes draw the outcome of the next site.

A group of shots has a normalised vector Psi over the frontier. The leading bits of the outcome come
from the site's tree, the others from the amplitudes ``phi_b = sum over closed bonds of Psi A_b``
themselves, with the probability ``|C phi_b|^2``, C the factor of the later sites' environment. The
amplitudes of the drawn outcome, normalised, are the next vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import set_values
from hpcq.reconstruction.outcomes.group_environments import GroupEnvironments
from hpcq.reconstruction.outcomes.nodes import Nodes, split_by_children
from hpcq.reconstruction.outcomes.order import Step
from hpcq.reconstruction.outcomes.prefix_tree import PrefixTree
from hpcq.reconstruction.outcomes.site_tables import Mixing, state_rows
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Matrix = NDArray[np.complex128]

_BLOCK_ENTRIES = 1 << 18
"""Numbers in the arrays of one block of shots: 4 MiB of complex ones, which caches hold. Smaller
blocks spend more time in Python, larger ones in waiting for memory."""

_MIN_RATIO = 0.5
"""Minimum ratio of a prefix's probability from its amplitudes to that by which it was drawn. They
agree to about 1e-15 of the Gram matrices' size, so a smaller ratio shows that the prefix is
impossible and was drawn because of a rounding error of the tree; it is drawn again."""


@dataclass(frozen=True, eq=False)
class Shots:
    """Shots between two steps, grouped by the outcomes that were drawn so far.

    Attributes:
        vectors: Normalised vector of each group over the frontier, shape (groups, size).
        outcomes: Packed outcomes, shape (groups, bytes).
        counts: Number of shots of each group.
        log_weights: Logarithm of the squared norm that was divided out of each vector.
    """

    vectors: Matrix
    outcomes: NDArray[np.uint8]
    counts: NDArray[np.int64]
    log_weights: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SiteSampler:
    """What is needed to sample one site.

    Attributes:
        step: The step.
        qubits: The site's qubits.
        mixing: The site's matrix, in the order of the step.
        tree: The site's tree.
        factor: C of the environment after the step, shape (rank, passed times opened).
        amplitudes: The site's amplitudes, shape (2**bits, closed times opened); None if they are
            computed from states each time.
    """

    step: Step
    qubits: tuple[int, ...]
    mixing: Mixing
    tree: PrefixTree
    factor: Matrix
    amplitudes: Matrix | None

    @cached_property
    def environments(self) -> GroupEnvironments:
        """The environments of groups over the tree's index."""
        return GroupEnvironments.of(self.step, self.factor)

    @property
    def leaf_bits(self) -> int:
        """Number of bits that are drawn from amplitudes."""
        return len(self.qubits) - self.tree.bits

    @property
    def next_size(self) -> int:
        """Size of a vector over the next frontier."""
        return self.step.passed_size * self.step.opened_size

    def advance(
        self,
        network: SiteNetwork,
        chunks: Sequence[Shots],
        rngs: Sequence[np.random.Generator],
    ) -> list[Shots]:
        """Draw the site's outcome for several chunks of shots.

        If the site's states are not kept, its branches are computed once for all chunks.

        Args:
            network: The network, for the site's states.
            chunks: Shots before the step.
            rngs: Source of random numbers of each chunk.

        Returns:
            Shots after the step.
        """
        vectors = [self.step.split(shots.vectors) for shots in chunks]
        missing = [shots.counts for shots in chunks]
        found: list[list[tuple[Nodes, Matrix]]] = [[] for _ in chunks]
        while any(counts.any() for counts in missing):
            drawn = [
                self._draw_prefixes(*each) for each in zip(vectors, missing, rngs, strict=True)
            ]
            if network.is_kept(self.step.site):
                finished = [
                    self._from_kept_states(network, *each)
                    for each in zip(drawn, vectors, rngs, strict=True)
                ]
            else:
                finished = self._from_branches(network, drawn, vectors, rngs)
            missing = [np.zeros_like(shots.counts) for shots in chunks]
            for number, (nodes, phi, rejected) in enumerate(finished):
                found[number].append((nodes, phi))
                np.add.at(missing[number], rejected.groups, rejected.counts)
        return [self._next(*each) for each in zip(chunks, found, strict=True)]

    def _draw_prefixes(
        self, vectors: Matrix, counts: NDArray[np.int64], rng: np.random.Generator
    ) -> Nodes:
        """Draw the leading bits for all groups with shots, block by block."""
        groups = np.flatnonzero(counts)
        if not self.tree.bits:
            zeros = np.zeros(len(groups), dtype=np.int64)
            return Nodes(groups, zeros, counts[groups], np.zeros(len(groups)))
        size = vectors.shape[1] * self.step.opened_size
        entries = len(self.environments.entries) ** 2
        if self.step.passed_size > 1:
            entries = size * max(size, self.step.passed_size * self.step.opened_size)
        length = max(1, _BLOCK_ENTRIES // entries)
        parts = []
        for start in range(0, len(groups), length):
            block = groups[start : start + length]
            nodes = self.tree.draw(self.environments.of_vectors(vectors[block]), counts[block], rng)
            parts.append(Nodes(block[nodes.groups], nodes.prefixes, nodes.counts, nodes.weights))
        return Nodes.joined(parts) if parts else _no_nodes()

    def _from_kept_states(
        self, network: SiteNetwork, drawn: Nodes, vectors: Matrix, rng: np.random.Generator
    ) -> tuple[Nodes, Matrix, Nodes]:
        """Finish outcomes whose prefixes are drawn, block by block; see :meth:`_finish`."""
        leaves, rows = 1 << self.leaf_bits, self.amplitudes
        if rows is None:
            ((_, rows),) = state_rows(network, self.step.site)
        rows = rows.reshape(1 << self.tree.bits, leaves, -1)
        width = max(rows.shape[2], vectors.shape[1] * self.step.opened_size, self.next_size)
        length = max(1, _BLOCK_ENTRIES // (leaves * width))
        parts = []
        for start in range(0, len(drawn), length):
            nodes = drawn.take(slice(start, start + length))
            found = rows[nodes.prefixes].reshape(-1, rows.shape[2])
            if self.amplitudes is None:
                found = self.mixing.apply(found, None)
            phi = self._products(found, vectors[nodes.groups])
            parts.append(self._finish(nodes, phi, rng))
        if not parts:
            return _no_nodes(), np.empty((0, self.next_size), dtype=complex), _no_nodes()
        return (
            Nodes.joined([nodes for nodes, _, _ in parts]),
            np.concatenate([phi for _, phi, _ in parts]),
            Nodes.joined([rejected for _, _, rejected in parts]),
        )

    def _from_branches(
        self,
        network: SiteNetwork,
        drawn: Sequence[Nodes],
        vectors: Sequence[Matrix],
        rngs: Sequence[np.random.Generator],
    ) -> list[tuple[Nodes, Matrix, Nodes]]:
        """Finish outcomes of all chunks in one pass over the branches."""
        leaves = 1 << self.leaf_bits
        totals = [np.zeros((len(nodes), leaves, self.next_size), complex) for nodes in drawn]
        for branch, rows in state_rows(network, self.step.site):
            rows = rows.reshape(1 << self.tree.bits, leaves, -1)
            length = max(1, _BLOCK_ENTRIES // (leaves * max(rows.shape[2], self.next_size)))
            for nodes, of_groups, total in zip(drawn, vectors, totals, strict=True):
                for start in range(0, len(nodes), length):
                    part = nodes.take(slice(start, start + length))
                    states = rows[part.prefixes].reshape(-1, rows.shape[2])
                    mixed = self.mixing.apply(states, branch)
                    phi = self._products(mixed, of_groups[part.groups])
                    total[start : start + length] += phi
        return [self._finish(*each) for each in zip(drawn, totals, rngs, strict=True)]

    def _products(self, amplitudes: Matrix, vectors: Matrix) -> Matrix:
        """Return phi of all leaves of some nodes.

        Args:
            amplitudes: Amplitudes of the leaves, shape (nodes times leaves, closed times opened).
            vectors: Psi of each node, shape (nodes, closed, passed).

        Returns:
            Shape (nodes, leaves, passed times opened).
        """
        nodes, closed, passed = vectors.shape
        leaves, opened = 1 << self.leaf_bits, self.step.opened_size
        mixed = amplitudes.reshape(nodes, leaves, closed, opened)
        if closed == 1:
            phi = vectors[:, :, :, None] * mixed
        elif passed == opened == 1:
            phi = mixed[..., 0] @ vectors
        elif leaves == 1:
            phi = vectors.swapaxes(1, 2) @ mixed[:, 0]
        else:
            turned = mixed.swapaxes(1, 2).reshape(nodes, closed, leaves * opened)
            phi = vectors.swapaxes(1, 2) @ turned
            phi = phi.reshape(nodes, passed, leaves, opened).swapaxes(1, 2)
        return phi.reshape(nodes, leaves, passed * opened)

    def _finish(
        self, nodes: Nodes, phi: Matrix, rng: np.random.Generator
    ) -> tuple[Nodes, Matrix, Nodes]:
        """Draw the last bits of nodes.

        Args:
            nodes: Nodes with drawn prefixes.
            phi: Amplitudes of their leaves, shape (nodes, leaves, passed times opened).
            rng: Source of random numbers.

        Returns:
            Nodes with complete outcomes, phi of each, and the nodes whose prefix is impossible.
        """
        leaves = phi.shape[1]
        weights = _squared_norms(phi.reshape(-1, phi.shape[2]) @ self.factor.T)
        weights = weights.reshape(-1, leaves)
        rejected = ~(weights.sum(axis=1) >= _MIN_RATIO * nodes.weights)
        refused = nodes.take(np.flatnonzero(rejected))
        if rejected.any():
            accepted = np.flatnonzero(~rejected)
            nodes, phi, weights = nodes.take(accepted), phi[accepted], weights[accepted]
        if leaves == 1 or not len(nodes):
            return nodes, phi.reshape(-1, phi.shape[2]), refused
        numbered = Nodes(np.arange(len(nodes)), nodes.prefixes, nodes.counts, nodes.weights)
        children = split_by_children(numbered, weights, self.leaf_bits, rng)
        parents = children.groups
        chosen = phi[parents, children.prefixes & (leaves - 1)]
        complete = Nodes(
            nodes.groups[parents], children.prefixes, children.counts, children.weights
        )
        return complete, chosen, refused

    def _next(self, shots: Shots, found: Sequence[tuple[Nodes, Matrix]]) -> Shots:
        """Return shots after the step, from complete outcomes and their amplitudes."""
        nodes = Nodes.joined([nodes for nodes, _ in found])
        phi = np.concatenate([phi for _, phi in found]) if len(found) > 1 else found[0][1]
        norms = _squared_norms(phi)
        outcomes = shots.outcomes[nodes.groups]
        set_values(outcomes, self.qubits, nodes.prefixes)
        return Shots(
            phi / np.sqrt(norms)[:, None],
            outcomes,
            nodes.counts,
            shots.log_weights[nodes.groups] + np.log(norms),
        )


def _squared_norms(vectors: Matrix) -> NDArray[np.float64]:
    parts = np.ascontiguousarray(vectors).view(np.float64)
    norms: NDArray[np.float64] = np.einsum("nd,nd->n", parts, parts)
    return norms


def _no_nodes() -> Nodes:
    integers = np.empty(0, dtype=np.int64)
    return Nodes(np.empty(0, dtype=np.intp), integers, integers, np.empty(0))
