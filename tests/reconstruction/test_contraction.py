"""Values of terms and their derivatives, compared with dense products of all tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit, Edge
from hpcq.reconstruction import matrix_product, sweep
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.matrix_product import product_threads
from hpcq.reconstruction.network import Network, build_network
from tests.support.device_arrays import DeviceArray

some = settings(max_examples=60, deadline=None)
Tensors = list[np.ndarray]


@dataclass
class Case:
    """A network, terms, and random tensors of several strings at several points."""

    contraction: Contraction
    tensors: Tensors
    cotangents: np.ndarray


def network_of(pairs: list[tuple[int, int]], subcircuits: int, memory_bytes: int) -> Network:
    """The network of so many subcircuits, with an edge for each pair of them."""
    edges = tuple(Edge(((first, 0), (second, 0)), (1, 1), 9.0, "") for first, second in pairs)
    cut: Any = CutCircuit(subcircuits, Cuts((), ()), (None,) * subcircuits, edges)
    return build_network(cut, memory_bytes)


def random(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    subcircuits = draw(st.integers(1, 5))
    numbers = st.integers(0, subcircuits - 1)
    pairs = draw(st.lists(st.tuples(numbers, numbers), max_size=6))
    try:
        network = network_of(pairs, subcircuits, draw(st.sampled_from([1 << 30, 1 << 12, 1 << 11])))
    except MemoryLimitError:
        reject()
    strings = draw(st.lists(st.integers(1, 4), min_size=subcircuits, max_size=subcircuits))
    term = st.tuples(*(st.integers(0, number - 1) for number in strings))
    terms = draw(st.lists(term, min_size=1, max_size=20, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    points = (2,) if draw(st.booleans()) else ()
    tensors = [
        random(rng, number, *points, *(network.bonds[bond].size for bond in legs))
        for number, legs in zip(strings, network.legs, strict=True)
    ]
    picks = [tuple((k, string) for k, string in enumerate(term) if string) for term in terms]
    contraction = Contraction(network, picks, draw(st.integers(1, len(picks))))
    return Case(contraction, tensors, random(rng, len(terms), *points, draw(st.integers(1, 3))))


def dense_values(network: Network, picks: Any, tensors: Tensors) -> np.ndarray:
    """The values of terms without points, each by one product of all tensors."""
    values = []
    for pick in picks:
        operands: list[Any] = []
        for number, tensor in enumerate(tensors):
            operands += [tensor[dict(pick).get(number, 0)], list(network.legs[number])]
        values.append(np.einsum(*operands, [], optimize="greedy"))
    return np.array(values)


def dense_derivatives(case: Case, point: tuple[int, ...]) -> Tensors:
    """The derivatives at a point: for each term and tensor the product of all other tensors."""
    network = case.contraction.network
    derivatives = []
    for number, tensor in enumerate(case.tensors):
        shape = tensor.shape[1 + len(point) :]
        total = np.zeros((len(tensor), case.cotangents.shape[-1], *shape), dtype=complex)
        for pick, weights in zip(case.contraction.picks, case.cotangents, strict=True):
            operands: list[Any] = [np.ones(shape), list(network.legs[number])]
            for other, factor in enumerate(case.tensors):
                if other != number:
                    row = factor[dict(pick).get(other, 0)][point]
                    operands += [row, list(network.legs[other])]
            rest = np.einsum(*operands, list(network.legs[number]), optimize="greedy")
            total[dict(pick).get(number, 0)] += np.multiply.outer(weights[point], rest)
        derivatives.append(total)
    return derivatives


@pytest.mark.slow
@some
@given(cases())
def test_values_and_derivatives_are_products_of_all_tensors(case: Case) -> None:
    contraction = case.contraction
    values = contraction.values(case.tensors)
    derivatives = contraction.vjp(case.tensors, case.cotangents)
    for point in np.ndindex(values.shape[1:]):
        chosen = [tensor[(slice(None), *point)] for tensor in case.tensors]
        expected = dense_values(contraction.network, contraction.picks, chosen)
        scale = 1 + np.abs(expected).max()
        np.testing.assert_allclose(values[(slice(None), *point)], expected, atol=1e-10 * scale)
        for found, dense in zip(derivatives, dense_derivatives(case, point), strict=True):
            scale = 1 + np.abs(dense).max()
            np.testing.assert_allclose(found[(slice(None), *point)], dense, atol=1e-10 * scale)


@some
@given(cases())
def test_arrays_on_a_device_stay_there(case: Case) -> None:
    contraction, tensors = case.contraction, list(map(DeviceArray, case.tensors))
    values = contraction.values(tensors)
    np.testing.assert_array_equal(values.get(), contraction.values(case.tensors))
    derivatives = contraction.vjp(tensors, DeviceArray(case.cotangents))
    expected = contraction.vjp(case.tensors, case.cotangents)
    for found, plain in zip(derivatives, expected, strict=True):
        np.testing.assert_array_equal(found.get(), plain)


def test_points_are_contracted_as_if_each_were_alone() -> None:
    network = network_of([(0, 1), (1, 2), (0, 2), (0, 1)], 4, 1 << 30)
    picks = [(), ((0, 1),), ((0, 1), (1, 1)), ((1, 1), (2, 1)), ((0, 1), (3, 1))]
    rng = np.random.default_rng(1)
    sizes = [[network.bonds[bond].size for bond in legs] for legs in network.legs]
    tensors = [random(rng, 2, 3, *bond_sizes) for bond_sizes in sizes]
    contraction = Contraction(network, picks, 5)
    together = contraction.values(tensors)
    for point in range(3):
        alone = contraction.values([np.ascontiguousarray(tensor[:, point]) for tensor in tensors])
        np.testing.assert_allclose(together[:, point], alone, rtol=1e-13)


@pytest.mark.slow
@some
@given(cases())
def test_the_bits_of_a_point_do_not_depend_on_other_points(case: Case) -> None:
    if case.cotangents.ndim == 2:
        reject()
    contraction = case.contraction
    values = contraction.values(case.tensors)
    derivatives = contraction.vjp(case.tensors, case.cotangents)
    for point in (slice(0, 1), slice(1, 2)):
        alone = [np.ascontiguousarray(tensor[:, point]) for tensor in case.tensors]
        weights = np.ascontiguousarray(case.cotangents[:, point])
        np.testing.assert_array_equal(contraction.values(alone), values[:, point])
        for found, among in zip(contraction.vjp(alone, weights), derivatives, strict=True):
            np.testing.assert_array_equal(found, among[:, point])


@some
@given(cases(), st.integers(0, 99))
def test_the_derivatives_are_the_transpose_of_the_changes_of_values(case: Case, seed: int) -> None:
    """<c, J x> = <J^T c, x>; values are linear in each tensor, so J x needs no small steps."""
    rng = np.random.default_rng(seed)
    contraction, tensors = case.contraction, case.tensors
    changes = [random(rng, *tensor.shape) for tensor in tensors]
    moved = 0
    for number, change in enumerate(changes):
        moved = moved + contraction.values([*tensors[:number], change, *tensors[number + 1 :]])
    expected = np.sum(case.cotangents * moved[..., None], axis=0)
    found = np.zeros_like(expected)
    points = expected.ndim - 1
    for change, derivative in zip(changes, contraction.vjp(tensors, case.cotangents), strict=True):
        spread = np.expand_dims(change, 1 + points)
        found += np.sum(derivative * spread, axis=(0, *range(2 + points, derivative.ndim)))
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-9 * scale)


def test_thousands_of_local_terms_cost_little_more_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted in operations of matrix products, without the clock."""
    length, strings = 12, 300
    network = network_of([(k, k + 1) for k in range(length - 1)] * 2, length, 1 << 30)
    rng = np.random.default_rng(2)
    sizes = [[network.bonds[bond].size for bond in legs] for legs in network.legs]
    tensors = [random(rng, strings, *bond_sizes) / 9 for bond_sizes in sizes]
    one = [((5, 1),)]
    many = [((k, string),) for k in range(length) for string in range(1, strings)]
    flops: list[int] = []

    def counted(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        result = left @ right
        flops.append(result.size * left.shape[-1])
        return result

    monkeypatch.setattr(sweep, "product", counted)

    def cost(picks: Any, derivatives: bool) -> int:
        flops.clear()
        contraction = Contraction.within(network, picks, 1 << 30)
        if derivatives:
            contraction.vjp(tensors, np.ones((len(picks), 1)))
        else:
            contraction.values(tensors)
        return sum(flops)

    assert cost(many, False) < 4 * cost(one, False)
    assert cost(many, True) < 4 * cost(many, False)


def test_products_in_blocks_are_the_same_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrix_product, "_BLOCK_FLOPS", 1000.0)
    monkeypatch.setattr(matrix_product, "_MIN_BLOCK_ROWS", 2)
    network = network_of([(0, 1)] * 3 + [(1, 2)] * 3 + [(0, 2)], 3, 1 << 30)
    rng = np.random.default_rng(3)
    sizes = [[network.bonds[bond].size for bond in legs] for legs in network.legs]
    tensors = [random(rng, 2, *bond_sizes) for bond_sizes in sizes]
    picks = [(), ((0, 1),), ((0, 1), (1, 1)), ((0, 1), (1, 1), (2, 1))]
    case = Case(Contraction(network, picks, 4), tensors, random(rng, 4, 2))
    alone = case.contraction.vjp(tensors, case.cotangents)
    with product_threads(2):
        together = case.contraction.vjp(tensors, case.cotangents)
    for one, two, dense in zip(alone, together, dense_derivatives(case, ()), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, dense, atol=1e-10 * (1 + np.abs(dense).max()))
