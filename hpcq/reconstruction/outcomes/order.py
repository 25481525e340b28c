"""The order in which sites are sampled, and the bonds that are open in between.

Before step k the *frontier* F_k has the bonds between sites that are sampled and the others. The
state of a shot is a vector over the frontier, so that time and memory depend on the dimension of
the frontier, which depends on the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.reconstruction.outcomes.sites import SiteNetwork
from hpcq.reconstruction.outcomes.step_work import StepShape

_MAX_EXACT_SITES = 12
"""Number of sites up to which the best of all orders is found: 2**12 sets in 0.1 s."""

_MAX_STARTS = 16
"""Number of first sites that are tried in larger networks: those of the lowest dimension."""

_MAX_BITS = 100.0
"""Base-2 logarithm at which sizes are cut off, so that products of several are finite floats."""


@dataclass(frozen=True)
class Step:
    """A step of the order: one site is sampled.

    Attributes:
        site: Number of the site.
        frontier: Bonds that are open before the step, in the order of the vector's axes.
        closed: Those that end at the site, in the order of the site's bonds.
        passed: The other bonds of the frontier.
        opened: Bonds of the site to later sites. The next frontier is ``passed + opened``.
        dimensions: Dimension of every bond of the network.
    """

    site: int
    frontier: tuple[int, ...]
    closed: tuple[int, ...]
    passed: tuple[int, ...]
    opened: tuple[int, ...]
    dimensions: tuple[int, ...]

    def size(self, bonds: Sequence[int]) -> int:
        """Return the range of the combined index of some bonds."""
        return math.prod([self.dimensions[bond] for bond in bonds])

    @cached_property
    def closed_size(self) -> int:
        """Combined dimension of the bonds that end at the site."""
        return self.size(self.closed)

    @cached_property
    def passed_size(self) -> int:
        """Combined dimension of the bonds that the site does not touch."""
        return self.size(self.passed)

    @cached_property
    def opened_size(self) -> int:
        """Combined dimension of the bonds to later sites."""
        return self.size(self.opened)

    def split(self, vectors: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return vectors over the frontier, shape (n, size), as (n, closed, passed)."""
        sizes = [self.dimensions[bond] for bond in self.frontier]
        axes = [1 + self.frontier.index(bond) for bond in self.closed + self.passed]
        turned = vectors.reshape(-1, *sizes).transpose(0, *axes)
        return turned.reshape(-1, self.closed_size, self.passed_size)


def sampling_order(network: SiteNetwork) -> tuple[Step, ...]:
    """Return the order in which the sites are sampled.

    The order takes the fewest operations per shot, among all orders of up to 12 sites and among
    greedy ones of more.
    """
    search = _OrderSearch(network)
    return steps_of(network, search.best())


def steps_of(network: SiteNetwork, order: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps of a given order of the sites."""
    dimensions = tuple(bond.dimension for bond in network.bonds)
    frontier: tuple[int, ...] = ()
    steps = []
    for site in order:
        bonds = network.sites[site].bonds
        closed = tuple(bond for bond in bonds if bond in frontier)
        passed = tuple(bond for bond in frontier if bond not in closed)
        opened = tuple(bond for bond in bonds if bond not in closed)
        steps.append(Step(site, frontier, closed, passed, opened, dimensions))
        frontier = passed + opened
    return tuple(steps)


class _OrderSearch:
    """A search for the order of least work; a step's depends only on the set of sites before it."""

    def __init__(self, network: SiteNetwork) -> None:
        self._bits = [math.log2(bond.dimension) for bond in network.bonds]
        self._ends = [bond.sites for bond in network.bonds]
        self._legs = [frozenset(site.bonds) for site in network.sites]
        self._qubits = [len(site.qubits) for site in network.sites]

    def best(self) -> list[int]:
        """Return the order: connected sites together, as parts do not depend on each other."""
        order: list[int] = []
        for part in self._parts():
            if len(part) <= _MAX_EXACT_SITES:
                order += self._exact(part)
            else:
                starts = sorted(part, key=lambda site: (self._sum(self._legs[site]), site))
                order += min(self._greedy(len(part), start) for start in starts[:_MAX_STARTS])[1]
        return order

    def _parts(self) -> list[list[int]]:
        """Return the connected parts of the network, sites ascending."""
        parts, found = [], [False] * len(self._legs)
        for start in range(len(self._legs)):
            if found[start]:
                continue
            part, found[start] = [start], True
            for site in part:
                for other in sorted(self._neighbours(self._legs[site])):
                    if not found[other]:
                        found[other] = True
                        part.append(other)
            parts.append(sorted(part))
        return parts

    def _neighbours(self, bonds: frozenset[int]) -> set[int]:
        return {site for bond in bonds for site in self._ends[bond]}

    def _exact(self, part: list[int]) -> list[int]:
        """Return the best of all orders of a part, by the best orders of all its subsets."""
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        frontiers: list[frozenset[int]] = [frozenset()]
        for subset in range(1, 1 << len(part)):
            work, last, before = math.inf, -1, 0
            for place, site in enumerate(part):
                if subset >> place & 1:
                    earlier = subset ^ (1 << place)
                    total = best[earlier][0] + self._work(frontiers[earlier], site)
                    if total < work or last < 0:
                        work, last, before = total, site, earlier
            best.append((work, [*best[before][1], last]))
            frontiers.append(frontiers[before] ^ self._legs[last])
        return best[-1][1]

    def _greedy(self, size: int, start: int) -> tuple[float, list[int]]:
        """Return an order from a first site, each next one with the smallest frontier and work."""
        order, done = [start], {start}
        total, frontier = self._work(frozenset(), start), self._legs[start]
        while len(order) < size:
            _, work, site = min(
                (self._sum(frontier ^ self._legs[site]), self._work(frontier, site), site)
                for site in self._neighbours(frontier) - done
            )
            order.append(site)
            done.add(site)
            total += work
            frontier = frontier ^ self._legs[site]
        return total, order

    def _work(self, frontier: frozenset[int], site: int) -> float:
        """Return the operations per shot of sampling a site with a frontier before it."""
        legs = self._legs[site]
        sizes = [2.0 ** self._sum(b) for b in (legs & frontier, frontier - legs, legs - frontier)]
        return StepShape(sizes[0], sizes[1], sizes[2], self._qubits[site]).work

    def _sum(self, bonds: frozenset[int]) -> float:
        return min(_MAX_BITS, math.fsum(self._bits[bond] for bond in bonds))
