"""Terms as products over the connected parts of a cut circuit, which no edge joins.

The value of a term is the product of the values of its parts. A part on which the term is the
identity has exactly the value 1 and is left out, so that errors of estimates there do not enter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.term_table import TermTable

Indices = NDArray[np.intp]
Reals = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConnectedParts:
    """The connected parts on which some term is not the identity.

    Attributes:
        terms: The observables' terms.
        groups: For each part its subcircuits.
        choices: For each part the distinct combinations of their strings, shape (rows,
            subcircuits); no row is the identity on all of them.
        factors: For each term the (part, row) pairs whose values multiply.
    """

    terms: TermTable
    groups: tuple[tuple[int, ...], ...]
    choices: tuple[Indices, ...]
    factors: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, cut: CutCircuit, terms: TermTable) -> ConnectedParts:
        """Return the parts of a cut circuit and the terms as products over them."""
        groups = _connected_groups(cut)
        part_of = {k: number for number, group in enumerate(groups) for k in group}
        rows: list[dict[tuple[tuple[int, int], ...], int]] = [{} for _ in groups]
        factors = []
        for pick in terms.picks:
            split: dict[int, list[tuple[int, int]]] = {}
            for subcircuit, string in pick:
                split.setdefault(part_of[subcircuit], []).append((subcircuit, string))
            factors.append(
                [(g, rows[g].setdefault(tuple(part), len(rows[g]))) for g, part in split.items()]
            )
        used = [number for number, combinations in enumerate(rows) if combinations]
        part_number = {number: i for i, number in enumerate(used)}
        return cls(
            terms,
            tuple(tuple(groups[number]) for number in used),
            tuple(_choice_table(groups[number], list(rows[number])) for number in used),
            tuple(tuple((part_number[g], row) for g, row in pairs) for pairs in factors),
        )

    @property
    def num_observables(self) -> int:
        """Number of observables."""
        return len(self.terms.observables)

    @property
    def subcircuits(self) -> frozenset[int]:
        """The subcircuits on which some term depends, directly or through edges."""
        return frozenset(k for group in self.groups for k in group)

    def combine(self, values: Sequence[Reals]) -> Reals:
        """Return the value of every observable.

        Args:
            values: For each part the value of every row.
        """
        products = [math.prod(values[p][row] for p, row in pairs) for pairs in self.factors]
        return self.terms.sum_up(np.array(products, dtype=float))

    def adjoints(
        self, values: Sequence[Reals], observables: Indices
    ) -> list[tuple[Indices, Reals]]:
        """Return for each part the derivatives of observables by its values.

        Args:
            values: For each part the value of every row at every point, shape (points, rows).
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
                other_products = _products_of_others(
                    [values[other][:, other_row] for other, other_row in factors]
                )
                for (number, row), product in zip(factors, other_products, strict=True):
                    if index not in derivatives_of[number]:
                        derivatives_of[number][index] = np.zeros(
                            (points, len(self.choices[number]))
                        )
                    derivatives_of[number][index][:, row] += coefficient * product
        adjoints = []
        for derivatives, choices in zip(derivatives_of, self.choices, strict=True):
            indices = sorted(derivatives)
            adjoint = np.zeros((points, len(indices), len(choices)))
            for position, index in enumerate(indices):
                adjoint[:, position] = derivatives[index]
            adjoints.append((np.array(indices, dtype=np.intp), adjoint))
        return adjoints


def _products_of_others(factors: Sequence[Reals]) -> list[Reals]:
    """Return for each factor the product of all others, without division: some may be zero."""
    products = [np.ones(1)] * len(factors)
    for index in range(1, len(factors)):
        products[index] = products[index - 1] * factors[index - 1]
    after = np.ones(1)
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


def _choice_table(group: list[int], picks: Sequence[tuple[tuple[int, int], ...]]) -> Indices:
    """Return the string of every subcircuit in some combinations, shape (rows, subcircuits)."""
    column = {number: i for i, number in enumerate(group)}
    choices = np.zeros((len(picks), len(group)), dtype=np.intp)
    for row, pick in enumerate(picks):
        for subcircuit, string in pick:
            choices[row, column[subcircuit]] = string
    return choices
