"""Values of terms and their derivatives, compared with dense products of all tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit, Edge
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.network import Network, build_network

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
