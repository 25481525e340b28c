"""Operators: the terms of observables, where terms on a single subcircuit are summed into one.

An observable needs few tensors of a subcircuit: that of the identity, that of the sum of all its
terms on this subcircuit alone, and one for each distinct string of its other terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.engines.requests import Operator
from hpcq.reconstruction.term_table import Pick, TermTable

IDENTITY: Operator = (((), 1.0),)
"""The identity, which is operator 0 of every subcircuit."""


@dataclass(frozen=True, eq=False)
class OperatorTable:
    """The distinct terms of all observables, each a product of operators on the subcircuits.

    Attributes:
        observables: For each observable, its (term, coefficient) pairs.
        picks: For each term, the (subcircuit, operator) pairs where it is not the identity. Term 0
            is the identity.
        operators: For each subcircuit, its distinct operators; the first is the identity.
    """

    observables: tuple[tuple[tuple[int, float], ...], ...]
    picks: tuple[Pick, ...]
    operators: tuple[tuple[Operator, ...], ...]

    @classmethod
    def of(cls, terms: TermTable) -> OperatorTable:
        """Return the operators of a plan's terms."""
        return _Collector(terms).table()

    def values_of_observables(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value of every observable, the correctly rounded sum over its terms.

        Args:
            values: Values of the terms, shape (terms, rows).

        Returns:
            Shape (rows, observables).
        """
        sums = np.empty((values.shape[1], len(self.observables)))
        for number, (terms, coefficients) in enumerate(self._columns):
            products = (values[terms].T * coefficients).tolist()
            sums[:, number] = [math.fsum(row) for row in products]
        return sums

    @cached_property
    def coefficients(self) -> NDArray[np.float64]:
        """Coefficient of each term in each observable, shape (terms, observables)."""
        table = np.zeros((len(self.picks), len(self.observables)))
        for number, (terms, coefficients) in enumerate(self._columns):
            table[terms, number] = coefficients
        return table

    @cached_property
    def scales(self) -> NDArray[np.float64]:
        """Bound on the absolute value of each term, at least 1, shape (terms,)."""
        norms = [
            [math.fsum(abs(coefficient) for _, coefficient in operator) for operator in operators]
            for operators in self.operators
        ]
        products = [math.prod(norms[k][operator] for k, operator in pick) for pick in self.picks]
        return np.maximum(1.0, products)

    @cached_property
    def _columns(self) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """The terms of each observable, and their coefficients."""
        return [
            (
                np.array([term for term, _ in pairs], dtype=np.intp),
                np.array([coefficient for _, coefficient in pairs]),
            )
            for pairs in self.observables
        ]


class _Collector:
    """Numbers operators and terms in the order in which they occur."""

    def __init__(self, terms: TermTable) -> None:
        self._terms = terms
        self._operators: list[dict[Operator, int]] = [{IDENTITY: 0} for _ in terms.strings]
        self._picks: dict[Pick, int] = {(): 0}

    def table(self) -> OperatorTable:
        """Return the table."""
        alone = [self._strings_alone(pairs) for pairs in self._terms.observables]
        for number, pairs in enumerate(self._terms.observables):
            # First the strings that must be operators, so that no sum of these is added as well.
            for term, _ in pairs:
                if term not in alone[number]:
                    self._add_strings(self._terms.picks[term])
        observables = tuple(
            tuple(self._observable(pairs, summed))
            for pairs, summed in zip(self._terms.observables, alone, strict=True)
        )
        return OperatorTable(observables, tuple(self._picks), tuple(map(tuple, self._operators)))

    def _strings_alone(self, pairs: Iterable[tuple[int, float]]) -> dict[int, int]:
        """Return the terms on one subcircuit that has several of them, with their subcircuits."""
        picks = {term: self._terms.picks[term] for term, _ in pairs}
        single = {term: pick[0][0] for term, pick in picks.items() if len(pick) == 1}
        counts: dict[int, int] = {}
        for subcircuit in single.values():
            counts[subcircuit] = counts.get(subcircuit, 0) + 1
        return {term: subcircuit for term, subcircuit in single.items() if counts[subcircuit] > 1}

    def _observable(
        self, pairs: Iterable[tuple[int, float]], summed: dict[int, int]
    ) -> Iterable[tuple[int, float]]:
        """Yield the terms of an observable with their coefficients."""
        sums: dict[int, list[tuple[int, float]]] = {}
        for term, coefficient in pairs:
            if term in summed:
                sums.setdefault(summed[term], []).append((term, coefficient))
            else:
                yield self._number(self._add_strings(self._terms.picks[term])), coefficient
        for subcircuit, members in sums.items():
            strings = [(self._string(term), coefficient) for term, coefficient in members]
            known = self._operators[subcircuit]
            if all(((string, 1.0),) in known for string, _ in strings):
                for term, coefficient in members:
                    pick = self._add_strings(self._terms.picks[term])
                    yield self._number(pick), coefficient
            else:
                operator = known.setdefault(tuple(strings), len(known))
                yield self._number(((subcircuit, operator),)), 1.0

    def _string(self, term: int) -> PauliString:
        """Return the string of a term on one subcircuit."""
        ((subcircuit, string),) = self._terms.picks[term]
        return self._terms.strings[subcircuit][string]

    def _add_strings(self, pick: Pick) -> Pick:
        """Return a pick of strings as one of operators, which are added if they are new."""
        operators = []
        for subcircuit, string in pick:
            known = self._operators[subcircuit]
            operator = ((self._terms.strings[subcircuit][string], 1.0),)
            operators.append((subcircuit, known.setdefault(operator, len(known))))
        return tuple(operators)

    def _number(self, pick: Pick) -> int:
        """Return the number of a term."""
        return self._picks.setdefault(pick, len(self._picks))
