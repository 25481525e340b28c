"""Terms taken apart over the parts of a cut circuit that no edge joins.

A term's value is the product of what its parts give. A part on which it is the identity gives
exactly 1 and is left out, so that no error of an estimate there can reach it.
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
    """The parts that some term is not the identity on.

    Attributes:
        terms: The observables' terms.
        groups: The subcircuits of each part.
        choices: For each part the distinct combinations of their strings, shape (rows,
            subcircuits); none is the identity on all of them.
        factors: For each term its (part, row) pairs.
    """

    terms: TermTable
    groups: tuple[tuple[int, ...], ...]
    choices: tuple[Indices, ...]
    factors: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, cut: CutCircuit, terms: TermTable) -> ConnectedParts:
        """Take the terms apart."""
        groups = _joined(cut)
        part_of = {k: number for number, group in enumerate(groups) for k in group}
        rows: list[dict[tuple[tuple[int, int], ...], int]] = [{} for _ in groups]
        factors = []
        for pick in terms.picks:
            split: dict[int, list[tuple[int, int]]] = {}
            for subcircuit, string in pick:
                split.setdefault(part_of[subcircuit], []).append((subcircuit, string))
            factors.append(
                [(g, rows[g].setdefault(tuple(own), len(rows[g]))) for g, own in split.items()]
            )
        used = [number for number, own in enumerate(rows) if own]
        place = {number: i for i, number in enumerate(used)}
        return cls(
            terms,
            tuple(tuple(groups[number]) for number in used),
            tuple(_table(groups[number], list(rows[number])) for number in used),
            tuple(tuple((place[g], row) for g, row in own) for own in factors),
        )

    @property
    def num_observables(self) -> int:
        """Number of observables."""
        return len(self.terms.observables)

    @property
    def subcircuits(self) -> frozenset[int]:
        """The subcircuits that some term is seen by, directly or through edges."""
        return frozenset(k for group in self.groups for k in group)

    def combine(self, values: Sequence[Reals]) -> Reals:
        """Return every observable's value.

        Args:
            values: For each part the value of every row.
        """
        products = [math.prod(values[p][row] for p, row in own) for own in self.factors]
        return self.terms.sum_up(np.array(products, dtype=float))

    def adjoints(
        self, values: Sequence[Reals], observables: Indices
    ) -> list[tuple[Indices, Reals]]:
        """Return for each part how observables change with its values.

        Args:
            values: For each part the value of every row at every point, shape (points, rows).
            observables: Numbers of the observables.

        Returns:
            For each part, places in ``observables`` and their derivatives, shape (points, places,
            rows); those that are not named do not change.
        """
        points = len(values[0]) if values else 1
        found: list[dict[int, Reals]] = [{} for _ in self.groups]
        for place, observable in enumerate(observables.tolist()):
            for term, coefficient in self.terms.observables[observable]:
                factors = self.factors[term]
                rest = _products_of_others([values[q][:, r] for q, r in factors])
                for (number, row), others in zip(factors, rest, strict=True):
                    if place not in found[number]:
                        found[number][place] = np.zeros((points, len(self.choices[number])))
                    found[number][place][:, row] += coefficient * others
        adjoints = []
        for derivatives, choices in zip(found, self.choices, strict=True):
            places = sorted(derivatives)
            adjoint = np.zeros((points, len(places), len(choices)))
            for number, place in enumerate(places):
                adjoint[:, number] = derivatives[place]
            adjoints.append((np.array(places, dtype=np.intp), adjoint))
        return adjoints


def _products_of_others(factors: Sequence[Reals]) -> list[Reals]:
    """Return for each factor the product of all the others, also where some are zero."""
    found = [np.ones(1)] * len(factors)
    for place in range(1, len(factors)):
        found[place] = found[place - 1] * factors[place - 1]
    after = np.ones(1)
    for place in reversed(range(len(factors))):
        found[place] = found[place] * after
        after = after * factors[place]
    return found


def _joined(cut: CutCircuit) -> list[list[int]]:
    """Return the subcircuits in groups that edges join, by their first members."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = [(edge.ends[0][0], edge.ends[1][0]) for edge in cut.edges]
    rows, columns = np.array(ends, dtype=np.intp).reshape(-1, 2).T
    size = len(cut.subcircuits)
    graph = coo_array((np.ones(len(ends)), (rows, columns)), shape=(size, size))
    number, labels = connected_components(graph, directed=False)
    groups: list[list[int]] = [[] for _ in range(number)]
    for subcircuit, label in enumerate(labels):
        groups[label].append(subcircuit)
    return sorted(groups)


def _table(group: list[int], picks: Sequence[tuple[tuple[int, int], ...]]) -> Indices:
    place = {number: i for i, number in enumerate(group)}
    choices = np.zeros((len(picks), len(group)), dtype=np.intp)
    for row, pick in enumerate(picks):
        for subcircuit, string in pick:
            choices[row, place[subcircuit]] = string
    return choices
