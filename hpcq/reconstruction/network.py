"""The network of subcircuit tensors, and the order in which it is contracted.

Parallel edges between two subcircuits form one bond of the network, unless the network has to be
sliced. The index of a bond is the pair (k, l) of ket and bra indices of all its edges, so its size
is the square of the product of their dimensions. The order of contraction comes from
:mod:`hpcq.reconstruction.path_search`.
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

from hpcq.core.arrays import namespace_of
from hpcq.core.errors import MemoryLimitError
from hpcq.core.limits import COMPLEX_BYTES
from hpcq.core.system import format_bytes
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.path_search import PairContraction, PathSearch, pair_contractions

_MAX_QUICK_TRIALS = 8
"""Maximum number of random greedy orders that :func:`contraction_path` tries; the search for cuts
calls it often."""

_MIN_SPREAD_FLOPS = 2e10
"""Floating-point operations of one row from which a contraction is sliced for several ranks."""

_MAX_SPREAD_COST = 1.05
"""Factor by which slices for several ranks may increase the operations."""

_TARGET_SLICES = 16
"""Slices at which a contraction is divided enough for several ranks."""

_MAX_FLOAT_BITS = 900
"""Base-2 logarithm of the largest number that becomes a float; floats end at 2^1024."""


@dataclass(frozen=True)
class Bond:
    """Edges between a pair of subcircuits: all of them, or a single one where bonds are sliced.

    Attributes:
        subcircuits: The pair, ascending.
        edges: Numbers of the edges.
        size: Range of the bond's index.
    """

    subcircuits: tuple[int, int]
    edges: tuple[int, ...]
    size: int


@dataclass(frozen=True, eq=False)
class Network:
    """A tensor network and the plan of its contraction.

    Attributes:
        bonds: The bonds.
        loops: For each subcircuit, its edges to itself.
        legs: For each subcircuit, its bonds, in the order of its tensor's axes.
        linked: The subcircuits that have bonds; the tensors of the others are scalar factors.
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
        """Number of slices, each a separate contraction."""
        return math.prod([self.bonds[b].size for b in self.sliced])

    @cached_property
    def flops(self) -> tuple[float, ...]:
        """Real floating-point operations of each step, for one row, all slices together."""
        return tuple(
            as_float(
                8 * self.num_slices * self.size(step.left_only + step.shared + step.right_only)
            )
            for step in self.steps
        )

    @property
    def largest_bytes(self) -> int:
        """Bytes of the largest tensor of the contraction, for one row."""
        return COMPLEX_BYTES * max(self._node_sizes(), default=1)

    @property
    def sweep_bytes(self) -> int:
        """Bytes of all tensors and environments of one slice's contraction, for one row."""
        environments_of_leaves = sum(self.size(legs) for legs in self.legs)
        return COMPLEX_BYTES * (2 * sum(self._node_sizes()) + environments_of_leaves)

    def slices(self) -> Iterator[dict[int, int]]:
        """Yield the values of the sliced bonds, one slice after the other."""
        for values in product(*(range(self.bonds[b].size) for b in self.sliced)):
            yield dict(zip(self.sliced, values, strict=True))

    def size(self, bonds: Sequence[int]) -> int:
        """Return the size of some bonds' combined index; sliced bonds count as 1."""
        size = 1
        for bond in bonds:
            size *= 1 if bond in self.sliced else self.bonds[bond].size
        return size

    def _node_sizes(self) -> list[int]:
        """Return the number of entries that each step computes, for one row."""
        return [self.size(step.left_only + step.right_only) for step in self.steps]


def build_network(cut: CutCircuit, memory_bytes: int) -> Network:
    """Return the network of a cut circuit, with an order of contraction.

    Bonds are sliced until the contraction fits into the memory.

    Raises:
        MemoryLimitError: If it does not fit however it is sliced.
    """
    pairs: dict[tuple[int, int], list[int]] = {}
    loops: list[list[int]] = [[] for _ in cut.subcircuits]
    for number, edge in enumerate(cut.edges):
        first, second = sorted(end[0] for end in edge.ends)
        if first == second:
            loops[first].append(number)
        else:
            pairs.setdefault((first, second), []).append(number)
    pair_edges = [(pair, tuple(edges)) for pair, edges in sorted(pairs.items())]
    network = next(_networks(cut, pair_edges, loops))
    fits = network.sweep_bytes <= memory_bytes
    if fits and sum(network.flops) < _MIN_SPREAD_FLOPS:
        return network
    # Edge by edge, because slicing whole bonds would make far more slices than necessary.
    single_edges = [(pair, (edge,)) for pair, edges in pair_edges for edge in edges]
    if fits:
        return _sliced_for_ranks(network, _networks(cut, single_edges, loops))
    for network in _networks(cut, single_edges, loops):
        if network.sweep_bytes <= memory_bytes:
            return network
    raise MemoryLimitError(
        f"memory: the contraction of {len(network.linked)} subcircuits needs "
        f"{format_bytes(network.sweep_bytes)} on rank 0, which has "
        f"{format_bytes(memory_bytes)} left for it; expected fewer cuts between two subcircuits, "
        "or more memory"
    )


def _sliced_for_ranks(network: Network, candidates: Iterator[Network]) -> Network:
    """Return the first candidate with enough slices for several ranks, if they cost hardly more."""
    max_flops = _MAX_SPREAD_COST * sum(network.flops)
    for candidate in candidates:
        if sum(candidate.flops) > max_flops:
            break
        network = candidate
        if network.num_slices >= _TARGET_SLICES:
            break
    return network


def _networks(
    cut: CutCircuit,
    pair_edges: Sequence[tuple[tuple[int, int], tuple[int, ...]]],
    loops: Sequence[Sequence[int]],
) -> Iterator[Network]:
    """Yield the network with the given bonds (subcircuits, edges), with more slices each time."""
    bonds = tuple(
        Bond(pair, edges, math.prod([cut.edges[e].dimension ** 2 for e in edges]))
        for pair, edges in pair_edges
    )
    legs: list[list[int]] = [[] for _ in cut.subcircuits]
    for number, bond in enumerate(bonds):
        for subcircuit in bond.subcircuits:
            legs[subcircuit].append(number)
    linked = tuple(subcircuit for subcircuit, bond_numbers in enumerate(legs) if bond_numbers)
    path_search = PathSearch(
        [tuple(legs[subcircuit]) for subcircuit in linked], [bond.size for bond in bonds]
    )
    while True:
        yield Network(
            bonds,
            tuple(map(tuple, loops)),
            tuple(map(tuple, legs)),
            linked,
            pair_contractions([legs[subcircuit] for subcircuit in linked], path_search.path()),
            path_search.sliced(),
        )
        if not path_search.slice_more():
            return


def bond_tensor(
    tensor: NDArray[np.complex128], subcircuit: int, cut: CutCircuit, network: Network
) -> NDArray[np.complex128]:
    """Return a subcircuit's tensor as a tensor over its bonds.

    The given tensor has the shape (strings, D, D), as from
    :class:`hpcq.cutting.subexperiments.exact_tensors.ExactTensor`.

    Returns:
        Shape (strings, size of each bond in ``network.legs``). The tensor of each bond's first
        subcircuit includes the edges' weights, and edges of a subcircuit to itself are summed.
    """
    xp: Any = namespace_of(tensor)
    ports = cut.subcircuits[subcircuit].ports
    dimensions = [port.dimension for port in ports]
    port_at = cut.ends[subcircuit]
    split_tensor = tensor.reshape(-1, *dimensions, *dimensions)
    labels = list(range(2 * len(ports)))
    string_label = len(labels)
    factors: list[Any] = []
    for edge in network.loops[subcircuit]:
        first, second = port_at[edge, 0], port_at[edge, 1]
        labels[second], labels[len(ports) + second] = first, len(ports) + first
        weights = ket_weights(cut, edge)
        matrix = xp.asarray(np.outer(weights, weights.conj()))
        factors += [matrix, [first, len(ports) + first]]
    bonds = [network.bonds[number] for number in network.legs[subcircuit]]
    output_labels: list[int] = []
    for bond in bonds:
        bond_ports = [port_at[edge, int((edge, 0) not in port_at)] for edge in bond.edges]
        output_labels += bond_ports + [len(ports) + port for port in bond_ports]
    operands = [split_tensor, [string_label, *labels], *factors, [string_label, *output_labels]]
    summed = xp.einsum(*operands)
    sizes = [bond.size for bond in bonds]
    result: NDArray[np.complex128] = xp.empty((len(tensor), *sizes), dtype=complex)
    result.reshape(summed.shape)[...] = summed
    for axis, bond in enumerate(bonds):
        if subcircuit == bond.subcircuits[0]:
            weights = ket_weights(cut, *bond.edges)
            split = result.reshape(-1, weights.size, weights.size, math.prod(sizes[axis + 1 :]))
            for ket, weight in enumerate(weights):
                split[:, ket] *= xp.asarray((weight * weights.conj())[:, None])
    return result


def ket_weights(cut: CutCircuit, *edges: int) -> NDArray[np.complex128]:
    """Return ``w_k`` of some edges together, in the order of the ket index of a bond of them."""
    weights = np.ones(1, dtype=complex)
    for edge in edges:
        weights = np.kron(weights, np.asarray(cut.edges[edge].weights, dtype=complex))
    return weights


def contraction_path(tensors: int, sizes: Mapping[tuple[int, int], int]) -> list[tuple[int, int]]:
    """Return an order of contraction for a network of ``tensors`` tensors.

    ``sizes`` has the size of the bond between each pair of tensors that has one.

    Returns:
        The pairs of nodes to contract; each makes a new node with the next number.
    """
    pairs = sorted(sizes)
    legs: list[list[int]] = [[] for _ in range(tensors)]
    for number, pair in enumerate(pairs):
        for tensor in pair:
            legs[tensor].append(number)
    search = PathSearch(
        [tuple(numbers) for numbers in legs],
        [sizes[pair] for pair in pairs],
        max_trials=_MAX_QUICK_TRIALS,
    )
    return search.path()


def as_float(number: int) -> float:
    """Return an integer as a float, capped so that products with it do not overflow."""
    return float(min(number, 1 << _MAX_FLOAT_BITS))
