"""Expectation values from subcircuit tensors: one contraction for all terms together.

A term of an observable is the identity on most subcircuits. Its home is the smallest node of the
contraction that holds all the others; the rest of the network, its environment, is the same for
all terms of that home. So the network is contracted once upwards, for the identity and for terms
that are not at home yet, and once downwards for the environments, and every term is a product of
its home's tensors and environment: thousands of local terms cost about three times what one does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.network import Network, Step, as_float
from hpcq.reconstruction.product import product
from hpcq.reconstruction.terms import TermTable

Tensor = NDArray[np.complex128]
Indices = NDArray[np.intp]

_TERMS_AT_ONCE = 4096
_MOST_PARTS = 4096
_WORTH_SPREADING = 1e11
"""Floating-point operations from which a contraction is divided for several ranks."""

_ENOUGH_PARTS = 16
_LEAST_BATCH = 8
_SPREADING_COSTS = 1.1


@dataclass(frozen=True, eq=False)
class Contraction:
    """A contraction for every term, in parts that can be done apart and in any order.

    A part is a batch of terms in some slices of the network. What the parts are follows from the
    plan alone, and their sums are taken in order, so that the values are the same bit for bit
    wherever the parts are done.

    Attributes:
        network: The order of contraction.
        terms: Which string of each tensor a term takes.
        batch: Number of terms that are taken at once.
    """

    network: Network
    terms: TermTable
    batch: int

    @classmethod
    def within(cls, network: Network, terms: TermTable, memory_bytes: int) -> Contraction:
        """Return a contraction whose batches' intermediates fit in about so many bytes."""
        return cls(network, terms, _batch(network, memory_bytes))

    def spread(self, flops: float) -> Contraction:
        """Return the contraction in smaller batches, if it is long and that costs hardly more.

        Args:
            flops: What it takes as it is.
        """
        total = len(self.terms.picks)
        batch = -(-total // _ENOUGH_PARTS)
        if flops < _WORTH_SPREADING or self.num_parts >= _ENOUGH_PARTS or batch < _LEAST_BATCH:
            return self
        smaller = replace(self, batch=batch)
        cost = _work(self.network, self.terms, batch).flops
        return smaller if cost <= _SPREADING_COSTS * flops else self

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return self._num_batches * self._num_groups

    @cached_property
    def _num_batches(self) -> int:
        return -(-len(self.terms.picks) // self.batch)

    @cached_property
    def _num_groups(self) -> int:
        """Number of groups of slices; each group's slices are done one after the other."""
        if not self.network.linked:
            return 1
        return min(self.network.num_slices, max(1, _MOST_PARTS // self._num_batches))

    def part(self, number: int, tensors: Sequence[Tensor]) -> Tensor:
        """Do one part.

        Args:
            number: 0 to ``num_parts - 1``.
            tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).

        Returns:
            What it adds to the values of its batch of terms.
        """
        batch, group = divmod(number, self._num_groups)
        choices = self._choices(batch)
        if not self.network.linked:
            return np.ones(len(choices), dtype=complex)
        itinerary = self._itinerary(batch, choices)
        total = self.network.num_slices
        first, last = (own * total // self._num_groups for own in (group, group + 1))
        values = np.zeros(len(choices), dtype=complex)
        for fixed in islice(self.network.slices(), first, last):
            values += _Sweep(itinerary, self.network, tensors, fixed).values()
        return values

    def sum_up(self, parts: Iterable[Tensor], tensors: Sequence[Tensor]) -> Tensor:
        """Return the value of every term from all parts in order, shape (terms,).

        The imaginary parts are rounding errors.
        """
        values = []
        everything = iter(parts)
        for batch in range(self._num_batches):
            own = sum(islice(everything, self._num_groups))
            choices = self._choices(batch)
            for number, tensor in enumerate(tensors):
                if not self.network.legs[number]:
                    own = own * tensor[choices[:, number]]
            values.append(own)
        return np.concatenate(values)

    def _choices(self, batch: int) -> Indices:
        start = batch * self.batch
        return self.terms.choices(start, min(len(self.terms.picks), start + self.batch))

    def _itinerary(self, batch: int, choices: Indices) -> _Itinerary:
        """Return the itinerary of a batch; that of the last one is kept."""
        if batch not in self._known:
            self._known.clear()
            self._known[batch] = _Itinerary(self.network, choices)
        return self._known[batch]

    @cached_property
    def _known(self) -> dict[int, _Itinerary]:
        return {}


def contract(
    tensors: Sequence[Tensor], network: Network, terms: TermTable, memory_bytes: int
) -> Tensor:
    """Contract the network for every term, here and now.

    Args:
        tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).
        network: The order of contraction.
        terms: Which string of each tensor a term takes.
        memory_bytes: Terms are taken in batches whose intermediates fit in about this.

    Returns:
        The expectation value of every term, shape (terms,); the imaginary parts are rounding
        errors.
    """
    contraction = Contraction.within(network, terms, memory_bytes)
    parts = (contraction.part(number, tensors) for number in range(contraction.num_parts))
    return contraction.sum_up(parts, tensors)


@dataclass(frozen=True)
class Work:
    """What a contraction amounts to.

    Attributes:
        flops: Real floating-point operations.
        entries: Numbers that are computed or copied.
        steps: Contractions of two nodes, and tensors brought into shape.
        products: Matrix products within these, however small.
    """

    flops: float
    entries: float
    steps: float
    products: float


def predicted_work(network: Network, terms: TermTable, memory_bytes: int) -> Work:
    """Predict what :func:`contract` does, from its first batch of terms."""
    return _work(network, terms, _batch(network, memory_bytes))


def _work(network: Network, terms: TermTable, batch: int) -> Work:
    if not network.linked:
        return Work(0.0, 0.0, len(network.legs), 0.0)
    total = len(terms.picks)
    sample = min(total, batch)
    itinerary = _Itinerary(network, terms.choices(0, sample))
    needed, first = itinerary.needed, len(network.linked)
    flops, entries, products = 0.0, 0.0, 0
    rows = [len(used) for used in itinerary.used] + [len(own) for own in itinerary.pairs]
    for leaf, number in enumerate(network.linked):
        entries += len(itinerary.at_home[leaf].pairs) * as_float(network.size(network.legs[number]))
        products += leaf in needed
    for number, (step, each) in enumerate(zip(network.steps, network.flops, strict=True)):
        legs = (step.left_only, step.shared, step.right_only)
        left, shared, right = (as_float(network.size(own)) for own in legs)
        pairs, at_home = itinerary.pairs[number], itinerary.at_home[first + number].pairs
        ways_down = (step.left in needed) * left + (step.right in needed) * right
        down = (step.left in needed) + (step.right in needed)
        # Computed: rows (then put in place), environments, halves of terms. Copied: the layout.
        flops += each * (len(pairs) + down + _groups(at_home))
        entries += 2 * len(pairs) * left * right + shared * ways_down
        laid_out = shared * (rows[step.left] * left + rows[step.right] * right)
        entries += laid_out * (1 + (first + number in needed))
        entries += len(at_home) * shared * min(left, right)
        products += _groups(pairs) + down + 2 * _groups(at_home)
    batches = total / sample
    sweeps = network.num_slices * batches
    return Work(
        flops * batches,
        entries * sweeps,
        len(network.steps) * sweeps + len(network.legs),
        products * sweeps,
    )


def _batch(network: Network, memory_bytes: int) -> int:
    """Number of terms whose intermediates fit into the memory."""
    return int(np.clip(memory_bytes // (4 * network.largest_bytes), 1, _TERMS_AT_ONCE))


def _groups(pairs: Indices) -> int:
    """Number of products in which the pairs of rows can be taken."""
    return min(len(np.unique(pairs[:, side])) for side in (0, 1))


@dataclass(frozen=True)
class _AtHome:
    """The terms whose home a node is, and the rows of its two children that they take.

    At a leaf, the pairs are its strings, twice.
    """

    terms: Indices
    pairs: Indices
    place: Indices


class _Itinerary:
    """Which rows of which nodes a batch of terms needs, without any tensor.

    Row 0 of every node is the identity's. A leaf's other rows are the strings, and a step's
    other rows the pairs of its children's rows, that some term takes whose home is further up.

    Attributes:
        used: For each leaf the strings that are its rows.
        pairs: For each step the pairs of its children's rows that are its rows.
        at_home: For each node the terms that are at home there.
        needed: The nodes whose environment is needed.
    """

    def __init__(self, network: Network, choices: Indices) -> None:
        leaves = len(network.linked)
        strings = [choices[:, number] for number in network.linked]
        met = [(own > 0).astype(np.intp) for own in strings]
        total = np.sum(met, axis=0)
        homeless = np.ones(len(choices), dtype=bool)
        rows: list[Indices] = []
        self.used: list[Indices] = []
        self.pairs: list[Indices] = []
        self.at_home: list[_AtHome] = []
        for own, count in zip(strings, met, strict=True):
            arrived = homeless & (count == total) & (total > 0)
            self.at_home.append(_at_home(arrived, own, own))
            homeless &= ~arrived
            travels = homeless & (count > 0)
            used, place = _distinct(np.stack([own, own], axis=1), travels)
            self.used.append(used[:, 0])
            rows.append(place)
        for number, step in enumerate(network.steps):
            count = met[step.left] + met[step.right]
            met.append(count)
            last = number == len(network.steps) - 1
            arrived = homeless if last else homeless & (count == total) & (total > 0)
            left, right = rows[step.left], rows[step.right]
            self.at_home.append(_at_home(arrived, left, right))
            homeless = homeless & ~arrived
            pairs, place = _distinct(np.stack([left, right], axis=1), homeless & (count > 0))
            self.pairs.append(pairs)
            rows.append(place)
        self.needed = {node for node, own in enumerate(self.at_home) if len(own.terms)}
        for number, step in enumerate(network.steps):
            if step.left in self.needed or step.right in self.needed:
                self.needed.add(leaves + number)


class _Sweep:
    """One contraction, upwards and downwards, with some bonds fixed."""

    def __init__(
        self,
        itinerary: _Itinerary,
        network: Network,
        tensors: Sequence[Tensor],
        fixed: dict[int, int],
    ) -> None:
        self._itinerary = itinerary
        self._network = network
        self._fixed = fixed
        self._leaves: list[Tensor] = []
        self._nodes: list[Tensor] = []
        self._axes: list[tuple[int, ...]] = []
        for used, number in zip(itinerary.used, network.linked, strict=True):
            legs = network.legs[number]
            pick = tuple(fixed.get(bond, slice(None)) for bond in legs)
            self._leaves.append(tensors[number][(slice(None), *pick)])
            contiguous = np.array_equal(used, np.arange(len(used)))
            self._nodes.append(self._leaves[-1][slice(len(used)) if contiguous else used])
            self._axes.append(self._free(legs))
        for step, pairs in zip(network.steps, itinerary.pairs, strict=True):
            left, right = self._laid_out(step)
            merged = _merge(left, right, pairs)
            axes = self._free(step.left_only + step.right_only)
            self._nodes.append(merged.reshape(len(pairs), *self._sizes(axes)))
            self._axes.append(axes)

    def values(self) -> Tensor:
        """Return the value of every term of the batch."""
        itinerary, network = self._itinerary, self._network
        leaves = len(self._leaves)
        values = np.zeros(sum(len(own.terms) for own in itinerary.at_home), dtype=complex)
        around: dict[int, Tensor] = {leaves + len(network.steps) - 1: np.ones((), dtype=complex)}
        for number in reversed(range(len(network.steps))):
            node = leaves + number
            if node not in itinerary.needed:
                continue
            step = network.steps[number]
            left, right = self._laid_out(step)
            environment = around.pop(node).reshape(left.shape[1], right.shape[1])
            own = itinerary.at_home[node]
            values[own.terms] = _pair_values(environment, left, right, own.pairs)[own.place]
            if step.left in itinerary.needed:
                axes = self._free(step.left_only + step.shared)
                around[step.left] = self._turned(product(environment, right[0]), axes, step.left)
            if step.right in itinerary.needed:
                axes = self._free(step.right_only + step.shared)
                around[step.right] = self._turned(product(environment.T, left[0]), axes, step.right)
        for node, environment in around.items():
            own = itinerary.at_home[node]
            leaf, strings = self._leaves[node], own.pairs[:, 0]
            if 2 * len(strings) < len(leaf):
                leaf, strings = leaf[strings], np.arange(len(strings))
            products = leaf.reshape(len(leaf), -1) @ environment.reshape(-1)
            values[own.terms] = products[strings[own.place]]
        return values

    def _laid_out(self, step: Step) -> tuple[Tensor, Tensor]:
        """Lay the children of a step out as (rows, kept, summed)."""
        return (
            self._matrices(step.left, step.left_only, step.shared),
            self._matrices(step.right, step.right_only, step.shared),
        )

    def _matrices(self, node: int, kept: tuple[int, ...], summed: tuple[int, ...]) -> Tensor:
        tensor, axes = self._nodes[node], self._axes[node]
        kept, summed = self._free(kept), self._free(summed)
        laid = tensor.transpose(0, *(1 + axes.index(bond) for bond in kept + summed))
        shape = (len(tensor), math.prod(self._sizes(kept)), math.prod(self._sizes(summed)))
        return laid.reshape(shape)

    def _turned(self, environment: Tensor, axes: tuple[int, ...], node: int) -> Tensor:
        """Bring an environment into the order of its node's axes."""
        shaped = environment.reshape(self._sizes(axes))
        return shaped.transpose([axes.index(bond) for bond in self._axes[node]])

    def _free(self, bonds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(bond for bond in bonds if bond not in self._fixed)

    def _sizes(self, bonds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self._network.bonds[bond].size for bond in bonds)


def _distinct(pairs: Indices, chosen: NDArray[np.bool_]) -> tuple[Indices, Indices]:
    """Return the distinct pairs of the chosen terms after (0, 0), and every term's place.

    Terms that are not chosen get place 0.
    """
    base = int(pairs[:, 1].max(initial=0)) + 1
    codes = np.where(chosen, pairs[:, 0] * base + pairs[:, 1], 0)
    distinct, place = np.unique(np.append(codes, 0), return_inverse=True)
    return np.stack(np.divmod(distinct, base), axis=1), place[:-1]


def _at_home(arrived: NDArray[np.bool_], left: Indices, right: Indices) -> _AtHome:
    terms = np.flatnonzero(arrived)
    pairs, place = np.unique(
        np.stack([left[terms], right[terms]], axis=1), axis=0, return_inverse=True
    )
    return _AtHome(terms, pairs, place.reshape(-1))


def _merge(left: Tensor, right: Tensor, pairs: Indices) -> Tensor:
    """Contract two nodes for every pair of rows, as few and as large products as possible."""
    merged = np.empty((len(pairs), left.shape[1], right.shape[1]), dtype=complex)
    side = 0 if len(np.unique(pairs[:, 0])) <= len(np.unique(pairs[:, 1])) else 1
    for row in np.unique(pairs[:, side]):
        where = np.flatnonzero(pairs[:, side] == row)
        others = pairs[where, 1 - side]
        if side == 0:
            merged[where] = product(left[row], right[others].transpose(0, 2, 1))
        else:
            stacked = product(left[others].reshape(-1, left.shape[2]), right[row].T)
            merged[where] = stacked.reshape(len(where), left.shape[1], right.shape[1])
    return merged


def _pair_values(environment: Tensor, left: Tensor, right: Tensor, pairs: Indices) -> Tensor:
    """Contract two nodes and their environment to a number for every pair of rows."""
    values = np.empty(len(pairs), dtype=complex)
    rows = [np.unique(pairs[:, side]) for side in (0, 1)]
    side = 0 if len(rows[0]) <= len(rows[1]) else 1
    for row in rows[side]:
        where = np.flatnonzero(pairs[:, side] == row)
        others = pairs[where, 1 - side]
        if side == 0:
            half, rest = product(environment.T, left[row]), right[others]
        else:
            half, rest = product(environment, right[row]), left[others]
        values[where] = rest.reshape(len(others), -1) @ half.reshape(-1)
    return values
