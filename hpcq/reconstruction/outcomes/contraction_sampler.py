"""Samples by contractions of the whole network, where the frontier is too wide for memory.

At each step the network of Gram matrices of all other sites is contracted to an environment of the
step's site, for every group of shots: sites that are sampled have the Gram matrix of their outcome
alone. That takes far longer than a vector over the frontier, but no more memory than an expectation
value does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import num_bytes, set_values, values_of
from hpcq.core.errors import MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.reconstruction.outcomes.counted_outcomes import CountedOutcomes
from hpcq.reconstruction.outcomes.distribution import Distribution
from hpcq.reconstruction.outcomes.local_densities import local_densities
from hpcq.reconstruction.outcomes.marginals import REAL_BYTES
from hpcq.reconstruction.outcomes.nodes import Nodes, split_by_children
from hpcq.reconstruction.outcomes.open_contraction import OpenContraction
from hpcq.reconstruction.outcomes.prefix_tree import PrefixTree, tree_bytes
from hpcq.reconstruction.outcomes.sites import SiteNetwork

Reals = NDArray[np.float64]

_MAX_GROUPS = 1 << 10
"""Maximum number of groups of shots whose environments are contracted together. Larger: more
memory; smaller: more calls of Python."""

_STRIDE = 5
"""Bits that are drawn at a time beyond the bits of a tree."""

_MIN_LOG_RATIO = math.log(0.5)
"""Minimum logarithm of the ratio of an outcome's exact probability to that by which it was drawn.
Below, the outcome is impossible, was drawn because of a rounding error, and is drawn again."""


@dataclass(frozen=True, eq=False)
class ContractionSampler:
    """Draws shots step by step, with an environment for each group of equal outcomes.

    Attributes:
        order: The sites in the order in which they are sampled.
        contractions: For each step the contraction of all other sites.
        trees: For each step the site's Gram matrices of leading bits, in real coordinates.
        memory_bytes: Bytes that may be taken.
    """

    order: tuple[int, ...]
    contractions: tuple[OpenContraction, ...]
    trees: tuple[PrefixTree, ...]
    memory_bytes: int

    chunks_together = 1

    @classmethod
    def of(
        cls, network: SiteNetwork, order: tuple[int, ...], memory_bytes: int
    ) -> ContractionSampler:
        """Find orders of contraction and compute the trees.

        Raises:
            MemoryLimitError: If the bonds of a site are too wide for the memory.
        """
        check_grams(network, memory_bytes)
        contractions = contractions_of(network, order, memory_bytes)
        bits = tree_depths(network, order, memory_bytes)
        trees = [
            PrefixTree.of(_densities(network, site, number, np.arange(1 << number), memory_bytes))
            for site, number in zip(order, bits, strict=True)
        ]
        return cls(order, contractions, tuple(trees), memory_bytes)

    def draw(
        self, network: SiteNetwork, sizes: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> list[CountedOutcomes]:
        """Draw chunks of shots; arguments as for :meth:`FrontierSampler.draw`."""
        return [self._chunk(network, *each) for each in zip(sizes, rngs, strict=True)]

    def _chunk(self, network: SiteNetwork, shots: int, rng: np.random.Generator) -> CountedOutcomes:
        distribution = Distribution(network, self.memory_bytes)
        parts = []
        while shots:
            outcomes = np.zeros((1, num_bytes(network.num_qubits)), dtype=np.uint8)
            counts, drawn = np.array([shots]), np.zeros(1)
            for step in range(len(self.order)):
                outcomes, counts, drawn = self._step(network, step, outcomes, counts, drawn, rng)
            exact = distribution.log_probabilities(outcomes)
            possible = exact - drawn >= _MIN_LOG_RATIO  # False for NaN too
            parts.append(CountedOutcomes(outcomes[possible], counts[possible], exact[possible]))
            shots = int(counts[~possible].sum())
        return CountedOutcomes.merged(parts) if len(parts) > 1 else parts[0]

    def _step(
        self,
        network: SiteNetwork,
        step: int,
        outcomes: NDArray[np.uint8],
        counts: NDArray[np.int64],
        drawn: Reals,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], Reals]:
        """Draw the outcome of a site.

        Args:
            network: The network.
            step: Number of the step.
            outcomes: Outcomes of earlier sites, one for each group.
            counts: Shots of each group.
            drawn: Logarithm of the probability by which each was drawn.
            rng: Source of random numbers.
        """
        site, contraction = self.order[step], self.contractions[step]
        each = REAL_BYTES * contraction.row_entries
        length = max(1, min(_MAX_GROUPS, self.memory_bytes // 2 // each))
        parts = []
        for start in range(0, len(outcomes), length):
            part = slice(start, start + length)
            environments = self._environments(network, step, outcomes[part])
            totals = environments @ self.trees[step].levels[0][0]
            nodes = self.trees[step].draw(environments, counts[part], rng)
            nodes = self._last_bits(network, step, nodes, environments, rng)
            with np.errstate(divide="ignore", invalid="ignore"):
                conditional = np.log(nodes.weights / totals[nodes.groups])
            found = outcomes[part][nodes.groups]
            set_values(found, network.sites[site].qubits, nodes.prefixes)
            parts.append((found, nodes.counts, drawn[part][nodes.groups] + conditional))
        joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return joined[0], joined[1], joined[2]

    def _environments(self, network: SiteNetwork, step: int, outcomes: NDArray[np.uint8]) -> Reals:
        """Return the environment of the step's site for each group, shape (groups, D**2)."""
        place = {site: number for number, site in enumerate(self.order)}
        tensors, rows = [], []
        for number, site in enumerate(network.sites):
            if place[number] == step:
                continue
            sizes = [dimension**2 for dimension in site.dimensions]
            if place[number] < step:
                values, where = np.unique(values_of(outcomes, site.qubits), return_inverse=True)
                bits = len(site.qubits)
                densities = _densities(network, number, bits, values, self.memory_bytes)
            else:
                where = np.zeros(len(outcomes), dtype=np.intp)
                densities = self.trees[place[number]].levels[0]
            tensors.append(densities.reshape(-1, *sizes))
            rows.append(where)
        scaled = self.contractions[step].contract(tensors, rows)
        return scaled.values.reshape(len(outcomes), -1)

    def _last_bits(
        self,
        network: SiteNetwork,
        step: int,
        nodes: Nodes,
        environments: Reals,
        rng: np.random.Generator,
    ) -> Nodes:
        """Draw the bits below those of the tree, from Gram matrices that are computed now."""
        site, level = self.order[step], self.trees[step].bits
        qubits = len(network.sites[site].qubits)
        while level < qubits:
            stride = min(_STRIDE, qubits - level)
            level += stride
            each = REAL_BYTES * environments.shape[1] << stride
            length = max(1, self.memory_bytes // 8 // each)
            parts = []
            for start in range(0, len(nodes), length):
                part = nodes.take(slice(start, start + length))
                distinct, where = np.unique(part.prefixes, return_inverse=True)
                children = (distinct[:, None] << stride) + np.arange(1 << stride)
                grams = _densities(network, site, level, children.ravel(), self.memory_bytes)
                grams = grams.reshape(len(distinct), 1 << stride, -1)[where]
                weights = np.einsum("ncd,nd->nc", grams, environments[part.groups])
                parts.append(split_by_children(part, weights, stride, rng))
            nodes = Nodes.joined(parts)
        return nodes


def check_grams(network: SiteNetwork, memory_bytes: int) -> None:
    """Check that the Gram matrices of all sites take half of the memory at most.

    Raises:
        MemoryLimitError: If they do not.
    """
    needed = REAL_BYTES * sum(site.dimension**2 for site in network.sites)
    if needed > memory_bytes // 2:
        raise MemoryLimitError(
            f"memory: Gram matrices of samples need {format_bytes(needed)}, a rank has "
            f"{format_bytes(memory_bytes // 2)} for them; expected fewer cuts of each subcircuit, "
            "or more memory"
        )


def contractions_of(
    network: SiteNetwork, order: Sequence[int], memory_bytes: int
) -> tuple[OpenContraction, ...]:
    """Return for each step the contraction of all sites but the one that is sampled.

    Raises:
        MemoryLimitError: If the bonds of a site are too wide for the memory.
    """
    sizes = [bond.dimension**2 for bond in network.bonds]
    return tuple(
        OpenContraction.within(
            [each.bonds for number, each in enumerate(network.sites) if number != site],
            sizes,
            network.sites[site].bonds,
            memory_bytes // 4,
            REAL_BYTES,
        )
        for site in order
    )


def tree_depths(network: SiteNetwork, order: Sequence[int], memory_bytes: int) -> tuple[int, ...]:
    """Return the bits of the trees of all steps, as many as fit into a quarter of the memory."""
    sites = [network.sites[site] for site in order]
    bits = [len(site.qubits) for site in sites]
    while any(bits):
        sizes = [tree_bytes(s.dimension, b) for s, b in zip(sites, bits, strict=True)]
        if sum(sizes) <= memory_bytes // 4:
            break
        bits[max(range(len(sizes)), key=sizes.__getitem__)] -= 1
    return tuple(bits)


def _densities(
    network: SiteNetwork, site: int, bits: int, prefixes: NDArray[np.int64], memory_bytes: int
) -> Reals:
    """Return the Gram matrices of leading bits in real coordinates, shape (prefixes, D**2)."""
    qubits = len(network.sites[site].qubits)
    leading = range(qubits - bits, qubits)
    found = local_densities(network, site, leading, prefixes, memory_bytes // 4)
    return found.reshape(len(prefixes), -1)
