"""The map from sampled tensors to bond tensors, entry by entry as it is defined."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit, Edge, Port
from hpcq.reconstruction.network import bond_tensor, build_network
from hpcq.reconstruction.tensor_nodes import TensorNode
from tests.support.device_arrays import DeviceArray


@st.composite
def cut_circuits(draw: st.DrawFn) -> CutCircuit:
    """Subcircuit 0 with loops, shared ports, and edges to two others; only its ports matter."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    ports: list[Port] = []
    others = [0, 0]
    edges = []

    def add_port(dimension: int) -> tuple[int, int]:
        alike = (p.dimension == dimension and p.shared_with is None for p in ports)
        shared = draw(st.sampled_from([None, *(k for k, fits in enumerate(alike) if fits)]))
        ports.append(Port("gate", 0, dimension, shared))
        return 0, len(ports) - 1

    for _ in range(draw(st.integers(1, 3))):
        dimension = draw(st.sampled_from([2, 2, 4]))
        first = add_port(dimension)
        kind = draw(st.sampled_from(["loop", 1, 2]))
        if kind == "loop":
            ends = (first, add_port(dimension))
        else:
            others[kind - 1] += 1
            ends = (first, (kind, others[kind - 1] - 1))
        if draw(st.booleans()):
            ends = ends[::-1]
        weights = tuple(rng.normal(size=dimension) + 1j * rng.normal(size=dimension))
        edges.append(Edge(ends, weights, 9.0, ""))
    subcircuits: Any = tuple(
        SimpleNamespace(ports=one) for one in (ports, [None] * others[0], [None] * others[1])
    )
    return CutCircuit(1, Cuts((), ()), subcircuits, tuple(edges))


def expected_bond_tensor(cut: CutCircuit, tensor: np.ndarray, node: TensorNode) -> np.ndarray:
    """Sum over the index pairs of all edges, with the weights of the edges that begin here."""
    network, ports = node.network, cut.subcircuits[0].ports
    bonds = [network.bonds[bond] for bond in network.legs[0]]
    total = np.zeros((len(tensor), *(bond.size for bond in bonds)), dtype=complex)
    for pairs in product(*(range(edge.dimension**2) for edge in cut.edges)):
        weight, index = 1.0 + 0j, [0] * len(ports)
        for edge, pair in zip(cut.edges, pairs, strict=True):
            if edge.ends[0][0] == 0:
                ket, bra = divmod(pair, edge.dimension)
                weight *= edge.weights[ket] * np.conj(edge.weights[bra])
            for subcircuit, port in edge.ends:
                if subcircuit == 0:
                    main = ports[port].shared_with
                    index[port if main is None else main] ^= pair
        place = []
        for bond in bonds:
            position = 0
            for edge in bond.edges:
                position = position * cut.edges[edge].dimension ** 2 + pairs[edge]
            place.append(position)
        entry = tuple(k for k, port in zip(index, ports, strict=True) if port.shared_with is None)
        total[(slice(None), *place)] += weight * tensor[(slice(None), *entry)]
    return total


@settings(max_examples=30, deadline=None)
@given(cut_circuits(), st.integers(0, 99))
def test_the_map_and_its_transpose(cut: CutCircuit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = TensorNode(cut, 0, build_network(cut, 1 << 30))
    sizes = [p.dimension**2 for p in cut.subcircuits[0].ports if p.shared_with is None]
    tensor = rng.normal(size=(2, *sizes)) + 1j * rng.normal(size=(2, *sizes))
    bond_tensor = node.bond_tensor(tensor)
    np.testing.assert_allclose(bond_tensor, expected_bond_tensor(cut, tensor, node), atol=1e-10)
    factor = rng.normal(size=bond_tensor.shape) + 1j * rng.normal(size=bond_tensor.shape)
    transposed = node.gradient(factor)
    assert transposed.shape == tensor.shape
    np.testing.assert_allclose(np.sum(transposed * tensor), np.sum(factor * bond_tensor), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(cut_circuits(), st.integers(0, 99))
def test_arrays_on_a_device_stay_there(cut: CutCircuit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = build_network(cut, 1 << 30)
    node = TensorNode(cut, 0, network)
    sizes = [p.dimension**2 for p in cut.subcircuits[0].ports if p.shared_with is None]
    tensor = rng.normal(size=(2, *sizes)) + 1j * rng.normal(size=(2, *sizes))
    bonds = node.bond_tensor(tensor)
    np.testing.assert_array_equal(node.bond_tensor(DeviceArray(tensor)).get(), bonds)
    gradient = node.gradient(DeviceArray(bonds))
    np.testing.assert_array_equal(gradient.get(), node.gradient(bonds))
    if all(port.shared_with is None for port in cut.subcircuits[0].ports):
        size = int(np.prod([port.dimension for port in cut.subcircuits[0].ports]))
        matrices = tensor.reshape(2, size, size)
        on_device = bond_tensor(DeviceArray(matrices), 0, cut, network)
        np.testing.assert_array_equal(on_device.get(), bond_tensor(matrices, 0, cut, network))


@settings(max_examples=30, deadline=None)
@given(cut_circuits(), st.integers(0, 99))
def test_matrices_are_another_order_of_the_same_entries(cut: CutCircuit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = build_network(cut, 1 << 30)
    by_port = TensorNode(cut, 0, network)
    by_matrix = TensorNode(cut, 0, network, has_matrices=True)
    dimensions = [p.dimension for p in cut.subcircuits[0].ports if p.shared_with is None]
    size = int(np.prod(dimensions))
    matrices = rng.normal(size=(2, 3, size, size)) + 1j * rng.normal(size=(2, 3, size, size))

    def port_by_port(given: np.ndarray) -> np.ndarray:
        count = len(dimensions)
        split = given.reshape(2, 3, *dimensions, *dimensions)
        axes = [2 + side * count + port for port in range(count) for side in (0, 1)]
        return split.transpose(0, 1, *axes).reshape(2, 3, *(d**2 for d in dimensions))

    bonds = by_matrix.bond_tensor(matrices)
    np.testing.assert_array_equal(bonds, by_port.bond_tensor(port_by_port(matrices)))
    gradient = by_matrix.gradient(bonds)
    assert gradient.shape == matrices.shape
    np.testing.assert_allclose(port_by_port(gradient), by_port.gradient(bonds), atol=1e-12)
