"""Terms as products over the connected parts of a cut circuit, which no edge joins.

The value of a term is the product of the values of its parts. A part on which the term is the
identity has exactly the value 1 and is left out, so that errors of estimates there do not enter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.core.arrays import namespace_of
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.term_table import Pick, TermTable

Indices = NDArray[np.intp]
Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConnectedParts:
    """The connected parts on which some term is not the identity.

    Attributes:
        terms: The observables' terms.
        groups: For each part, its subcircuits.
        picks: For each part, the distinct combinations of their strings; none is the identity on
            all of them.
        factors: For each term, the (part, row) pairs whose values multiply.
    """

    terms: TermTable
    groups: tuple[tuple[int, ...], ...]
    picks: tuple[tuple[Pick, ...], ...]
    factors: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, cut: CutCircuit, terms: TermTable) -> ConnectedParts:
        """Return the parts of a cut circuit and the terms as products over them."""
        groups = _connected_groups(cut)
        place = {k: (g, index) for g, group in enumerate(groups) for index, k in enumerate(group)}
        rows: list[dict[Pick, int]] = [{} for _ in groups]
        factors = []
        for term in terms.picks:
            split: dict[int, list[tuple[int, int]]] = {}
            for subcircuit, string in term:
                part, index = place[subcircuit]
                split.setdefault(part, []).append((index, string))
            factors.append(
                [(g, rows[g].setdefault(tuple(pick), len(rows[g]))) for g, pick in split.items()]
            )
        used = [number for number, combinations in enumerate(rows) if combinations]
        part_number = {number: i for i, number in enumerate(used)}
        return cls(
            terms,
            tuple(tuple(groups[number]) for number in used),
            tuple(tuple(rows[number]) for number in used),
            tuple(tuple((part_number[g], row) for g, row in pairs) for pairs in factors),
        )

    @property
    def num_observables(self) -> int:
        """Number of observables."""
        return len(self.terms.observables)

    @cached_property
    def part_of(self) -> dict[int, int]:
        """The part of each subcircuit on which some term depends, directly or through edges."""
        return {k: number for number, group in enumerate(self.groups) for k in group}

    def combine(self, values: Sequence[Reals]) -> Reals:
        """Return the value of every observable, from the value of every row of each part."""
        products = [math.prod(values[p][row] for p, row in pairs) for pairs in self.factors]
        return self.terms.sum_up(np.array(products, dtype=float))

    def adjoints(
        self, values: Sequence[Reals], observables: Indices
    ) -> list[tuple[Indices, Reals]]:
        """Return the derivatives of observables with respect to the values of each part.

        Args:
            values: For each part, the value of every row at every point, shape (points, rows).
            observables: Numbers of the observables.

        Returns:
            For each part, indices into ``observables`` and the derivatives of these, shape (points,
            indices, rows); the derivatives of all others are zero.
        """
        points = len(values[0]) if values else 1
        derivatives_of: list[dict[int, Reals]] = [{} for _ in self.groups]
        for index, observable in enumerate(observables.tolist()):
            for term, coefficient in self.terms.observables[observable]:
                factors = self.factors[term]
                others = products_of_others([values[part][:, row] for part, row in factors])
                for (number, row), product in zip(factors, others, strict=True):
                    if index not in derivatives_of[number]:
                        derivatives_of[number][index] = np.zeros((points, len(self.picks[number])))
                    derivatives_of[number][index][:, row] += coefficient * product
        adjoints = []
        for derivatives, picks in zip(derivatives_of, self.picks, strict=True):
            adjoint = np.array(list(derivatives.values())).reshape(-1, points, len(picks))
            adjoints.append((np.array(list(derivatives), dtype=np.intp), adjoint.swapaxes(0, 1)))
        return adjoints


def products_of_others(factors: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return for each factor the product of all others, without division: some may be zero."""
    if not factors:
        return []
    one = namespace_of(factors[0]).ones(1)
    products: list[NDArray[Any]] = [one] * len(factors)
    for index in range(1, len(factors)):
        products[index] = products[index - 1] * factors[index - 1]
    after: NDArray[Any] = one
    for index in reversed(range(len(factors))):
        products[index] = products[index] * after
        after = after * factors[index]
    return products


def _connected_groups(cut: CutCircuit) -> list[list[int]]:
    """Return the groups of subcircuits that edges connect, sorted by their first members."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edge_ends = [(edge.ends[0][0], edge.ends[1][0]) for edge in cut.edges]
    rows, columns = np.array(edge_ends, dtype=np.intp).reshape(-1, 2).T
    size = len(cut.subcircuits)
    graph = coo_array((np.ones(len(edge_ends)), (rows, columns)), shape=(size, size))
    num_groups, labels = connected_components(graph, directed=False)
    groups: list[list[int]] = [[] for _ in range(num_groups)]
    for subcircuit, label in enumerate(labels):
        groups[label].append(subcircuit)
    return sorted(groups)
