"""Outcomes drawn from matrix product states, site by site, without correlations between draws.

With the centre on the first site, the tensors behind it are isometries. So the probability of the
bits of the first sites is the squared norm of their product of matrices, and each bit is drawn with
its probability given those before it (Ferris and Vidal, Phys. Rev. B 85, 165146 (2012)). Shots that
have the same bits so far are one node with a count: what is computed depends on the number of
distinct outcomes, not on that of shots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import ascending, num_bytes
from hpcq.engines.chain_plan import ChainPlan
from hpcq.engines.chain_work import product_work
from hpcq.engines.matrix_product_state import ChainState, GivenUp
from hpcq.engines.requests import Samples
from hpcq.engines.sampled_outcomes import SampledOutcomes, answer_bytes

_BATCH_BYTES = 2 << 20
"""Maximum bytes of the matrix products of nodes that are computed together. Larger: at most a tenth
quicker with bonds of up to 256; smaller: with wide bonds, the tensors are read too often."""

_NODE_WORK = 80.0
"""Work of a node at a site, whatever its bonds, in units of :mod:`hpcq.engines.chain_work`.
Measured: 30 to 80 ns with bonds of 2."""


def sample_plan(
    plan: ChainPlan, request: Samples, cap: int, rng: np.random.Generator
) -> SampledOutcomes:
    """Simulate the plan of a circuit and draw outcomes from its final state.

    Args:
        plan: The steps.
        request: Number of shots, tolerance and work.
        cap: Maximum bond dimension.
        rng: Source of random numbers.
    """
    wires = len(plan.site_of)
    budget = None
    if request.tolerance is not None:
        # The distance of distributions is at most the trace distance of the states.
        budget = math.asin(min(1.0, max(0.0, request.tolerance)))
    state = ChainState(plan, cap, budget, request.max_work)
    try:
        state.run()
        state.move_centre(0, 0)
        walk = _Walk(state, np.argsort(plan.site_of))
        leaves = list(walk.leaves(_Nodes.root(wires, request.shots), rng))
    except GivenUp:
        return SampledOutcomes.given_up(wires)
    packed, counts, logarithms = (
        np.concatenate([getattr(nodes, name) for nodes in leaves])
        for name in ("packed", "counts", "logarithms")
    )
    order = ascending(packed)
    distance = math.sin(min(state.angle, math.pi / 2))
    return SampledOutcomes(packed[order], counts[order], logarithms[order], distance)


def samples_work(sites: int, bond: float, shots: int) -> float:
    """Return a bound on the work of drawing outcomes, as if all bonds were equal."""
    nodes = min(shots, 1 << sites)
    return sites * nodes * (_NODE_WORK + product_work(1, bond, 2 * bond))


def samples_bytes(sites: int, bond: int, shots: int) -> int:
    """Return a bound on the bytes of drawing outcomes, with those of the answer."""
    batches = 4 + math.ceil(math.log2(shots))  # the parts that wait, and copies of the current one
    size = max(_BATCH_BYTES, 32 * bond)
    return batches * size + answer_bytes(sites, shots)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Outcomes of the first sites.

    Attributes:
        vectors: Their products of matrices, normalised, shape (nodes, bond).
        packed: Their bits, and 0 for the other sites, packed by wires, shape (nodes, bytes).
        counts: Numbers of shots, shape (nodes,).
        logarithms: Natural logarithms of their probabilities, shape (nodes,).
    """

    vectors: NDArray[np.complex128]
    packed: NDArray[np.uint8]
    counts: NDArray[np.int64]
    logarithms: NDArray[np.float64]

    @classmethod
    def root(cls, wires: int, shots: int) -> _Nodes:
        """Return the node of all shots, before the first site."""
        packed = np.zeros((1, num_bytes(wires)), np.uint8)
        return cls(np.ones((1, 1), complex), packed, np.array([shots]), np.zeros(1))

    def part(self, part: slice) -> _Nodes:
        """Return some of the nodes."""
        return _Nodes(
            self.vectors[part], self.packed[part], self.counts[part], self.logarithms[part]
        )


class _Walk:
    """Draws bits from the first site to the last.

    Args:
        state: A state with its centre on the first site.
        wire_at: The wire of each site.
    """

    def __init__(self, state: ChainState, wire_at: NDArray[np.int64]) -> None:
        self._state = state
        self._wire_at = wire_at
        widest = max(tensor.shape[2] for tensor in state.tensors)
        self._max_nodes = max(1, _BATCH_BYTES // (32 * widest))

    def leaves(self, nodes: _Nodes, rng: np.random.Generator, site: int = 0) -> Iterator[_Nodes]:
        """Yield the nodes behind the last site.

        Where there are too many, the half with fewer shots goes first, so that at most log2(shots)
        halves wait.
        """
        for number in range(site, len(self._wire_at)):
            while len(nodes.counts) > self._max_nodes:
                middle = len(nodes.counts) // 2
                halves = [nodes.part(slice(0, middle)), nodes.part(slice(middle, None))]
                lighter, nodes = sorted(halves, key=lambda half: int(half.counts.sum()))
                yield from self.leaves(lighter, rng, number)
            nodes = self._next(nodes, number, rng)
        yield nodes

    def _next(self, nodes: _Nodes, site: int, rng: np.random.Generator) -> _Nodes:
        """Draw the bits of a site."""
        tensor = self._state.tensors[site]
        left, _, right = tensor.shape
        count = len(nodes.counts)
        self._state.spend(count * (_NODE_WORK + product_work(1, left, 2 * right)))
        products = (nodes.vectors @ tensor.reshape(left, 2 * right)).reshape(2 * count, right)
        reals = products.view(np.float64)
        weights = np.einsum("ij,ij->i", reals, reals)
        zero, one = weights.reshape(count, 2).T
        ones = _binomial(nodes.counts, one / (zero + one), rng)
        counts = np.stack([nodes.counts - ones, ones], axis=1).reshape(-1)
        kept = np.flatnonzero(counts)
        parents, bits, weights = kept >> 1, (kept & 1).astype(np.uint8), weights[kept]
        octet, shift = divmod(int(self._wire_at[site]), 8)
        packed = nodes.packed[parents]
        packed[:, -1 - octet] |= bits << np.uint8(shift)
        return _Nodes(
            products[kept] / np.sqrt(weights)[:, np.newaxis],
            packed,
            counts[kept],
            nodes.logarithms[parents] + np.log(weights),
        )


def _binomial(
    counts: NDArray[np.int64], probabilities: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw binomial numbers; the nodes of a single shot, which are many, take a comparison each."""
    drawn = (rng.random(len(counts)) < probabilities).astype(np.int64)
    several = np.flatnonzero(counts > 1)
    drawn[several] = rng.binomial(counts[several], probabilities[several])
    return drawn
