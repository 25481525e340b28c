"""One way up and down the contraction: which rows it needs, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.matrix_product import product
from hpcq.reconstruction.network import Network, PairContraction

Tensor = NDArray[np.complex128]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class LocalTerms:
    """The terms whose home a node is, and the rows of its two children that they take.

    At a leaf, the pairs are its strings, twice.
    """

    terms: Indices
    pairs: Indices
    place: Indices


class SweepPlan:
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
        self.at_home: list[LocalTerms] = []
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


class Sweep:
    """One contraction, upwards and downwards, with some bonds fixed."""

    def __init__(
        self,
        itinerary: SweepPlan,
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

    def _laid_out(self, step: PairContraction) -> tuple[Tensor, Tensor]:
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


def _at_home(arrived: NDArray[np.bool_], left: Indices, right: Indices) -> LocalTerms:
    terms = np.flatnonzero(arrived)
    pairs, place = np.unique(
        np.stack([left[terms], right[terms]], axis=1), axis=0, return_inverse=True
    )
    return LocalTerms(terms, pairs, place.reshape(-1))


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
