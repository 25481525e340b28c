"""The network of subcircuit tensors, and the order in which it is contracted.

Parallel edges between two subcircuits are one bond of the network, unless it has to be sliced; a
bond's index is the pair (k, l) of ket and bra indices of all its edges, so its size is the square
of the product of their dimensions. The order comes from cotengra (Gray and Kourtis, Quantum 5, 410
(2021)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import MemoryLimitError
from hpcq.core.system import format_bytes
from hpcq.cutting.subcircuits import CutCircuit, Edge

_BYTES = 16
_RECONFIGURATIONS = 64
_SPARSE = 12
"""Bonds a tensor up to which the order is improved; beyond, that takes minutes and helps little."""

_TRIALS = 64
_QUICK = 8
_MAX_BITS = 900.0
_WORTH_SPREADING = 2e10
"""Floating-point operations of one row from which a contraction is sliced for several ranks."""

_SPREADING_COSTS = 1.05
_ENOUGH_SLICES = 16
_HUGE = 900


@dataclass(frozen=True)
class Bond:
    """Edges between one pair of subcircuits, all of them or one.

    Attributes:
        subcircuits: The pair, ascending.
        edges: Numbers of the edges.
        size: Range of the bond's index.
    """

    subcircuits: tuple[int, int]
    edges: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class PairContraction:
    """One pairwise contraction.

    Attributes:
        left: Node that is consumed; nodes 0 to N - 1 are the tensors, each step adds one.
        right: The other node that is consumed.
        left_only: Bonds of the left node that stay.
        shared: Bonds that are summed over.
        right_only: Bonds of the right node that stay.
    """

    left: int
    right: int
    left_only: tuple[int, ...]
    shared: tuple[int, ...]
    right_only: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """A contraction that is planned but not done.

    Attributes:
        bonds: The bonds.
        loops: For each subcircuit its edges from itself to itself.
        legs: For each subcircuit its bonds, in the order of its tensor's axes.
        linked: The subcircuits that have bonds; the others are factors.
        steps: The order of contraction; node i < len(linked) is the tensor of ``linked[i]``.
        sliced: Bonds that are fixed to one value at a time, to save memory.
    """

    bonds: tuple[Bond, ...]
    loops: tuple[tuple[int, ...], ...]
    legs: tuple[tuple[int, ...], ...]
    linked: tuple[int, ...]
    steps: tuple[PairContraction, ...]
    sliced: tuple[int, ...]

    @property
    def num_slices(self) -> int:
        """How many times the contraction is run."""
        return math.prod([self.bonds[b].size for b in self.sliced])

    @cached_property
    def flops(self) -> tuple[float, ...]:
        """Real floating-point operations of each step, for one row, all slices together."""
        return tuple(
            as_float(
                8
                * self.num_slices
                * self.size(step.left_only)
                * self.size(step.shared)
                * self.size(step.right_only)
            )
            for step in self.steps
        )

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest tensor of the contraction, for one row."""
        return _BYTES * max(self._node_sizes(), default=1)

    @property
    def sweep_bytes(self) -> int:
        """Bytes of all tensors and environments of one slice's contraction, for one row."""
        environments_of_leaves = sum(self.size(legs) for legs in self.legs)
        return _BYTES * (2 * sum(self._node_sizes()) + environments_of_leaves)

    def slices(self) -> Iterator[dict[int, int]]:
        """Yield the values of the sliced bonds, one slice after the other."""
        for values in product(*(range(self.bonds[b].size) for b in self.sliced)):
            yield dict(zip(self.sliced, values, strict=True))

    def size(self, bonds: Sequence[int]) -> int:
        """Range of some bonds' combined index; one that is sliced has one value at a time."""
        size = 1
        for bond in bonds:
            size *= 1 if bond in self.sliced else self.bonds[bond].size
        return size

    def _node_sizes(self) -> list[int]:
        """Number of entries that each step makes, for one row."""
        return [self.size(step.left_only + step.right_only) for step in self.steps]


def build_network(cut: CutCircuit, memory_bytes: int) -> Network:
    """Find the bonds and an order of contraction.

    Args:
        cut: The cut circuit.
        memory_bytes: The most that the contraction may take; bonds are sliced until it does.

    Raises:
        MemoryLimitError: If no slicing brings it down to that.
    """
    pairs: dict[tuple[int, int], list[int]] = {}
    loops: list[list[int]] = [[] for _ in cut.subcircuits]
    for number, edge in enumerate(cut.edges):
        first, second = sorted(end[0] for end in edge.ends)
        if first == second:
            loops[first].append(number)
        else:
            pairs.setdefault((first, second), []).append(number)
    together = [(pair, tuple(edges)) for pair, edges in sorted(pairs.items())]
    network = next(_networks(cut, together, loops))
    fits = network.sweep_bytes <= memory_bytes
    if fits and sum(network.flops) < _WORTH_SPREADING:
        return network
    # Sliced edge by edge, where a whole bond would make far more slices than memory asks for.
    single = [(pair, (edge,)) for pair, edges in together for edge in edges]
    if fits:
        return _spread(network, _networks(cut, single, loops))
    for network in _networks(cut, single, loops):
        if network.sweep_bytes <= memory_bytes:
            return network
    raise MemoryLimitError(
        f"memory: the contraction of {len(network.linked)} subcircuits needs "
        f"{format_bytes(network.sweep_bytes)} on rank 0, {format_bytes(memory_bytes)} are "
        "left for it; expected fewer cuts between two subcircuits, or more memory"
    )


def _spread(network: Network, others: Iterator[Network]) -> Network:
    """Return a network with slices for many ranks, if it takes hardly more operations."""
    most = _SPREADING_COSTS * sum(network.flops)
    for other in others:
        if sum(other.flops) > most:
            break
        network = other
        if network.num_slices >= _ENOUGH_SLICES:
            break
    return network


def _networks(
    cut: CutCircuit,
    parts: Sequence[tuple[tuple[int, int], tuple[int, ...]]],
    loops: Sequence[Sequence[int]],
) -> Iterator[Network]:
    """Yield the network of given bonds (subcircuits, edges), sliced more each time."""
    bonds = tuple(
        Bond(pair, edges, math.prod([cut.edges[e].dimension ** 2 for e in edges]))
        for pair, edges in parts
    )
    legs: list[list[int]] = [[] for _ in cut.subcircuits]
    for number, bond in enumerate(bonds):
        for subcircuit in bond.subcircuits:
            legs[subcircuit].append(number)
    linked = tuple(k for k, own in enumerate(legs) if own)
    order = _PathSearch([tuple(legs[k]) for k in linked], bonds)
    while True:
        yield Network(
            bonds,
            tuple(map(tuple, loops)),
            tuple(map(tuple, legs)),
            linked,
            _steps([legs[k] for k in linked], order.path()),
            order.sliced(),
        )
        if not order.slice_more():
            return


def bond_tensor(
    tensor: NDArray[np.complex128], subcircuit: int, cut: CutCircuit, network: Network
) -> NDArray[np.complex128]:
    """Turn a subcircuit's tensor into a tensor over its bonds.

    Args:
        tensor: Shape (strings, D, D), as
            :class:`hpcq.cutting.subexperiments.exact_tensors.ExactTensor` gives it.
        subcircuit: Number of the subcircuit.
        cut: The cut circuit.
        network: Its network.

    Returns:
        Shape (strings, size of each bond in ``network.legs``), edge weights put on the side of
        each bond's first subcircuit and self-loops summed.
    """
    ports = cut.subcircuits[subcircuit].ports
    dimensions = [port.dimension for port in ports]
    at = cut.ends[subcircuit]
    whole = tensor.reshape(-1, *dimensions, *dimensions)
    labels = list(range(2 * len(ports)))
    batch = len(labels)
    factors: list[Any] = []
    for edge in network.loops[subcircuit]:
        first, second = at[edge, 0], at[edge, 1]
        labels[second], labels[len(ports) + second] = first, len(ports) + first
        factors += [_weights(cut.edges[edge]), [first, len(ports) + first]]
    order: list[int] = []
    sizes: list[int] = []
    for number in network.legs[subcircuit]:
        bond = network.bonds[number]
        own = [at[edge, 0] if (edge, 0) in at else at[edge, 1] for edge in bond.edges]
        order += own + [len(ports) + port for port in own]
        sizes.append(bond.size)
    operands: list[Any] = [whole, [batch, *labels], *factors, [batch, *order]]
    summed = np.einsum(*operands)
    result = np.empty((len(tensor), *sizes), dtype=complex)
    np.copyto(result.reshape(summed.shape), summed)
    for axis, number in enumerate(network.legs[subcircuit]):
        if subcircuit == network.bonds[number].subcircuits[0]:
            weights = _ket_weights(network.bonds[number], cut)
            split = result.reshape(-1, weights.size, weights.size, math.prod(sizes[axis + 1 :]))
            for ket, weight in enumerate(weights):
                split[:, ket] *= (weight * weights.conj())[:, None]
    return result


def _weights(edge: Edge) -> NDArray[np.complex128]:
    """``w_k conj(w_l)`` of an edge."""
    weights = np.asarray(edge.weights, dtype=complex)
    return np.outer(weights, weights.conj())


def _ket_weights(bond: Bond, cut: CutCircuit) -> NDArray[np.complex128]:
    """``w_k`` of all edges of a bond, in the order of its ket index."""
    weights = np.ones(1, dtype=complex)
    for edge in bond.edges:
        weights = np.kron(weights, np.asarray(cut.edges[edge].weights, dtype=complex))
    return weights


def contraction_path(tensors: int, sizes: Mapping[tuple[int, int], int]) -> list[tuple[int, int]]:
    """Find an order of contraction.

    Args:
        tensors: Number of tensors.
        sizes: Size of the bond between each pair of them that has one.

    Returns:
        The pairs to contract; each makes a new node with the next number.
    """
    bonds = tuple(Bond(pair, (), size) for pair, size in sorted(sizes.items()))
    legs: list[list[int]] = [[] for _ in range(tensors)]
    for number, bond in enumerate(bonds):
        for tensor in bond.subcircuits:
            legs[tensor].append(number)
    return _PathSearch([tuple(own) for own in legs], bonds, _QUICK).path()


def as_float(number: int) -> float:
    """Return a whole number as a float; a huge one as one that may still be multiplied."""
    return float(min(number, 1 << _HUGE))


class _PathSearch:
    """cotengra's order of contraction, sliced as much as memory asks for.

    The search is seeded and runs in this process without a clock, so that every run finds the
    same order; cotengra's "auto" is none of the three.
    """

    def __init__(
        self, legs: list[tuple[int, ...]], bonds: tuple[Bond, ...], most_trials: int = _TRIALS
    ) -> None:
        self._tree: Any = None
        self._few = [(0, 1)] if len(legs) == 2 else []
        if len(legs) <= 2:
            return

        bits = [math.log2(bond.size) for bond in bonds]
        trials = max(4, min(most_trials, 16_384 // len(legs)))
        try:
            self._search(legs, bits, trials)
        except OverflowError:  # cotengra computes with floats; the order of sizes is enough
            self._search(legs, [own * _MAX_BITS / math.fsum(bits) for own in bits], trials)

    def _search(self, legs: list[tuple[int, ...]], bits: Sequence[float], trials: int) -> None:
        import cotengra
        from cotengra.pathfinders.path_basic import optimize_random_greedy_track_flops

        sizes = {number: max(2, round(2**own)) for number, own in enumerate(bits)}
        path, _ = optimize_random_greedy_track_flops(
            legs, (), sizes, ntrials=trials, seed=0, use_ssa=True
        )
        self._tree = cotengra.ContractionTree.from_path(legs, (), sizes, ssa_path=path)
        if len(sizes) <= _SPARSE * len(legs):
            self._tree.subtree_reconfigure_(minimize="flops", maxiter=_RECONFIGURATIONS, seed=0)

    def path(self) -> list[tuple[int, int]]:
        """Return the pairs to contract; each makes a new node with the next number."""
        return self._few if self._tree is None else list(self._tree.get_ssa_path())

    def sliced(self) -> tuple[int, ...]:
        """Return the bonds to fix."""
        return () if self._tree is None else tuple(sorted(self._tree.sliced_inds))

    def slice_more(self) -> bool:
        """Slice until the largest tensor is a quarter of what it was; False if none is left."""
        if self._tree is None or self._tree.max_size() <= 1:
            return False
        self._tree = self._tree.slice(target_size=max(1, self._tree.max_size() // 4), seed=0)
        return True


def _steps(legs: list[list[int]], path: list[tuple[int, int]]) -> tuple[PairContraction, ...]:
    """Name the bonds that each contraction sums over and keeps."""
    nodes = [list(own) for own in legs]
    steps = []
    for left, right in path:
        shared = [b for b in nodes[left] if b in nodes[right]]
        left_only = [b for b in nodes[left] if b not in shared]
        right_only = [b for b in nodes[right] if b not in shared]
        steps.append(
            PairContraction(left, right, tuple(left_only), tuple(shared), tuple(right_only))
        )
        nodes.append(left_only + right_only)
    return tuple(steps)
