"""The order in which a tensor network is contracted, and the indices that are sliced for memory.

The order comes from cotengra (Gray and Kourtis, Quantum 5, 410 (2021)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_MAX_RECONFIGURATIONS = 64
"""Maximum number of subtrees that cotengra reconfigures. Larger: better orders, slower planning."""

_MAX_BONDS_PER_TENSOR = 12
"""Bonds per tensor up to which the order is improved; beyond, it takes minutes and gains little."""

DEFAULT_TRIALS = 64
"""Maximum number of random greedy orders to try; fewer for networks of more than 256 tensors."""

_MAX_TOTAL_BITS = 900.0
"""Largest base-2 logarithm of the product of all bond sizes that is given to cotengra as it is. Its
floats end at 2^1024: above this, all sizes are scaled down in proportion, so that the order is
found for smaller bonds of the same relative sizes."""


@dataclass(frozen=True)
class PairContraction:
    """One pairwise contraction.

    Attributes:
        left: Node that is consumed; nodes 0 to N - 1 are the tensors, and each step adds one.
        right: The other node that is consumed.
        left_only: Indices of the left node that stay.
        shared: Indices that are summed over.
        right_only: Indices of the right node that stay.
    """

    left: int
    right: int
    left_only: tuple[int, ...]
    shared: tuple[int, ...]
    right_only: tuple[int, ...]


class PathSearch:
    """cotengra's order of contraction, sliced as far as memory requires.

    The search is seeded and runs in this process without a clock, so that every run finds the
    same order; cotengra's "auto" does none of this.

    Args:
        legs: For each tensor, the numbers of its indices.
        sizes: Size of each index.
        output: Indices that are not summed over.
        max_trials: Maximum number of random greedy orders to try.
    """

    def __init__(
        self,
        legs: Sequence[tuple[int, ...]],
        sizes: Sequence[int],
        output: tuple[int, ...] = (),
        max_trials: int = DEFAULT_TRIALS,
    ) -> None:
        self._tree: Any = None
        self._trivial_path = [(0, 1)] if len(legs) == 2 else []
        if len(legs) <= 2:
            return

        bits = [math.log2(size) for size in sizes]
        trials = max(4, min(max_trials, 16_384 // len(legs)))
        try:
            self._search(legs, bits, output, trials)
        except OverflowError:  # cotengra computes with floats; relative sizes are enough
            scale = _MAX_TOTAL_BITS / math.fsum(bits)
            self._search(legs, [scale * size_bits for size_bits in bits], output, trials)

    def _search(
        self,
        legs: Sequence[tuple[int, ...]],
        bits: Sequence[float],
        output: tuple[int, ...],
        trials: int,
    ) -> None:
        import cotengra
        from cotengra.pathfinders.path_basic import optimize_random_greedy_track_flops

        sizes = {number: max(2, round(2**size_bits)) for number, size_bits in enumerate(bits)}
        path, _ = optimize_random_greedy_track_flops(
            legs, output, sizes, ntrials=trials, seed=0, use_ssa=True
        )
        self._tree = cotengra.ContractionTree.from_path(legs, output, sizes, ssa_path=path)
        if len(sizes) <= _MAX_BONDS_PER_TENSOR * len(legs):
            self._tree.subtree_reconfigure_(minimize="flops", maxiter=_MAX_RECONFIGURATIONS, seed=0)

    def path(self) -> list[tuple[int, int]]:
        """Return the pairs of nodes to contract; each makes a new node with the next number."""
        return self._trivial_path if self._tree is None else list(self._tree.get_ssa_path())

    def sliced(self) -> tuple[int, ...]:
        """Return the indices that are sliced."""
        return () if self._tree is None else tuple(sorted(self._tree.sliced_inds))

    def slice_more(self) -> bool:
        """Slice until the largest tensor is a quarter of its size; return False if it cannot."""
        if self._tree is None or self._tree.max_size() <= 1:
            return False
        self._tree = self._tree.slice(target_size=max(1, self._tree.max_size() // 4), seed=0)
        return True


def pair_contractions(
    legs: Sequence[Sequence[int]], path: Sequence[tuple[int, int]]
) -> tuple[PairContraction, ...]:
    """Return the pairwise contractions with the indices that each sums over and keeps."""
    nodes = [tuple(indices) for indices in legs]
    steps = []
    for left, right in path:
        shared = tuple(index for index in nodes[left] if index in nodes[right])
        left_only = tuple(index for index in nodes[left] if index not in shared)
        right_only = tuple(index for index in nodes[right] if index not in shared)
        steps.append(PairContraction(left, right, left_only, shared, right_only))
        nodes.append(left_only + right_only)
    return tuple(steps)
