"""Operators: terms on one subcircuit are summed, and no operator is made without need."""

from __future__ import annotations

import numpy as np

from hpcq.kinds.parameters.operator_table import IDENTITY, OperatorTable
from hpcq.reconstruction.term_table import TermTable

Z0, Z1, X0 = ((0, "Z"),), ((1, "Z"),), ((0, "X"),)


def table(*observables: tuple[tuple[int, float], ...]) -> OperatorTable:
    """Return the operators for observables of two subcircuits with three strings each."""
    picks = ((), ((0, 1),), ((0, 2),), ((0, 3),), ((1, 1),), ((0, 1), (1, 2)), ((1, 2),))
    strings = ((), Z0, Z1, X0)
    return OperatorTable.of(TermTable(observables, picks, (strings, strings)))


def test_terms_on_one_subcircuit_are_one_operator() -> None:
    made = table(((0, 2.0), (1, 0.5), (2, 0.25), (3, 1.5), (4, 3.0)))
    summed = ((Z0, 0.5), (Z1, 0.25), (X0, 1.5))
    assert made.operators == ((IDENTITY, summed), (IDENTITY, ((Z0, 1.0),)))
    assert made.picks == ((), ((1, 1),), ((0, 1),))
    assert made.observables == (((0, 2.0), (1, 3.0), (2, 1.0)),)
    np.testing.assert_array_equal(made.scales, [1, 1, 2.25])


def test_strings_that_are_operators_anyway_are_not_summed() -> None:
    made = table(((1, 0.5), (2, 0.25)), ((1, 1.0),), ((2, 4.0),))
    assert made.operators == ((IDENTITY, ((Z0, 1.0),), ((Z1, 1.0),)), (IDENTITY,))
    assert [sorted(pairs) for pairs in made.observables] == [
        [(1, 0.5), (2, 0.25)],
        [(1, 1.0)],
        [(2, 4.0)],
    ]


def test_terms_on_several_subcircuits_stay_products_of_strings() -> None:
    made = table(((5, 0.5), (6, 2.0)), ((5, 1.0),))
    assert made.picks == ((), ((0, 1), (1, 1)), ((1, 1),))
    assert made.observables == (((1, 0.5), (2, 2.0)), ((1, 1.0),))


def test_equal_sums_of_two_observables_are_one_operator() -> None:
    made = table(((1, 0.5), (2, 0.25)), ((1, 0.5), (2, 0.25), (4, 1.0)))
    assert len(made.operators[0]) == 2
    assert made.observables == (((1, 1.0),), ((2, 1.0), (1, 1.0)))


def test_values_of_observables_are_sums_over_terms() -> None:
    made = table(((0, 2.0), (1, 0.5), (4, 3.0)), ((5, 1.0),))
    values = np.random.default_rng(0).normal(size=(len(made.picks), 4))
    expected = values.T @ made.coefficients
    np.testing.assert_allclose(made.values_of_observables(values), expected, atol=1e-14)
