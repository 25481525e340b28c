"""Operators that share products of states, against matrices of whole strings."""

from __future__ import annotations

import numpy as np
import pytest

from hpcq.engines.batched.operator_set import OperatorSet, num_products
from hpcq.engines.batched.operators import operator_matrix
from hpcq.engines.batched.shared_products import find_groups

BITS = {wire: bit for bit, wire in enumerate((3, 4, 6, 7, 9, 12))}
IDENTITY = (((), 1.0),)


def single(wire, letter, coefficient=1.0):
    return ((((wire, letter),), coefficient),)


ENDS = (IDENTITY, *(single(wire, letter) for wire in (3, 12) for letter in "XYZ"))
MIXED = (
    single(4, "Y", -0.7),
    ((((4, "X"), (9, "Z")), 0.4), (((9, "Y"),), 1.1), ((), 0.2)),
    ((((4, "1"), (9, "+")), 2.0),),
    ((((3, "X"), (4, "X"), (6, "Y"), (12, "Z")), 0.3), (((7, "X"),), 0.6)),
    IDENTITY,
    ((((4, "r"),), 1.0), (((9, "0"),), -1.0)),
)
CASES = {
    "ends": (ENDS, 16),
    "mixed": (MIXED, 16),
    "diagonal": ((IDENTITY, single(3, "Z"), single(12, "0")), 64),
    "few": (ENDS, 2),
    "alone": ((single(3, "X"),), 16),
    "none diagonal": ((single(3, "X"), single(3, "Y")), 16),
}


def random_states(rows, dimension, rng):
    shape = (rows, dimension, 1 << len(BITS))
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_tensors_and_adjoint_are_those_of_the_matrices(case, dtype):
    operators, dimension = CASES[case]
    rng = np.random.default_rng(1)
    states = random_states(3, dimension, rng).astype(dtype)
    whole = [operator_matrix(each, BITS, tuple(range(len(BITS)))) for each in operators]
    kets = [np.einsum("ts,rps->rpt", matrix, states) for matrix in whole]
    compiled = OperatorSet(operators, BITS, dimension, np, dtype)
    applied = compiled.applied(states)
    tensors = compiled.tensors(states, applied)
    expected = np.stack([np.einsum("rps,rqs->rpq", ket, states.conj()) for ket in kets], axis=1)
    tolerance = 1e-12 if dtype == np.complex128 else 1e-5
    size = np.abs(expected).max()
    np.testing.assert_allclose(tensors / size, expected / size, atol=tolerance)
    environments = rng.normal(size=(3, 2, *tensors.shape[1:])) + 0j
    environments = environments + environments.swapaxes(-1, -2)
    adjoint = compiled.adjoint(applied, environments)
    expected = sum(
        np.einsum("rkpq,rps->rkqs", environments[:, :, number], ket)
        for number, ket in enumerate(kets)
    ).conj()
    size = np.abs(expected).max()
    np.testing.assert_allclose(adjoint / size, expected / size, atol=tolerance)


def test_letters_on_one_wire_take_a_product_and_a_half():
    letters = (IDENTITY, *(single(3, letter) for letter in "XYZ"))
    (group,) = find_groups(letters, BITS, 16)
    assert group.numbers == (0, 1, 2, 3)
    assert num_products(letters, BITS, 16) == 1.5


def test_letters_on_both_ends_share_the_diagonal_products():
    assert num_products(ENDS, BITS, 16) == 2


def test_flips_take_half_a_product():
    assert num_products((single(3, "X"),), BITS, 64) == 0.5


def test_operators_on_many_wires_make_several_groups():
    letters = tuple(single(wire, letter) for wire in BITS for letter in "XYZ")
    groups = find_groups(letters, BITS, 64)
    assert len(groups) > 1
    assert sorted(number for group in groups for number in group.numbers) == list(range(18))


def test_nothing_is_shared_where_nothing_is_saved():
    assert find_groups((IDENTITY,), BITS, 64) == []
    assert num_products((IDENTITY,), BITS, 64) == 1
    assert find_groups(ENDS, {3: 0, 12: 1}, 64) == []


def test_rows_do_not_depend_on_other_rows():
    rng = np.random.default_rng(2)
    states = random_states(9, 16, rng)
    compiled = OperatorSet(MIXED, BITS, 16, np, np.complex128)
    environments = rng.normal(size=(9, 1, len(MIXED), 16, 16)) + 0j
    together = compiled.applied(states)
    tensors = compiled.tensors(states, together)
    adjoint = compiled.adjoint(together, environments)
    for part in (slice(0, 1), slice(1, 4), slice(4, 9)):
        alone = compiled.applied(states[part])
        np.testing.assert_array_equal(compiled.tensors(states[part], alone), tensors[part])
        np.testing.assert_array_equal(compiled.adjoint(alone, environments[part]), adjoint[part])
