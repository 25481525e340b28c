"""Networks of sites of cut circuits, and plain enumerations that they are checked against."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from scipy.sparse import csr_array

from hpcq.circuits.packed_bits import num_bytes
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.reconstruction.outcomes.sites import Site, SiteBond, SiteNetwork, site_network


@dataclass(frozen=True)
class StatevectorBranches:
    """Amplitudes of branches by Qiskit's own linear algebra; it can be pickled."""

    tensors: tuple[ExactTensor, ...]

    def __call__(self, tensor: int, branch: int) -> NDArray[np.complex128]:
        piece = self.tensors[tensor]
        states = np.asarray(Statevector(piece.circuit(branch)).data)
        return states.reshape(piece.block_shape[1], -1) * np.sqrt(piece.port_factor)


def network_of(
    circuit: QuantumCircuit,
    cuts: Cuts,
    *,
    sliced_ports: int = 0,
    kept_bytes: int = 1 << 40,
) -> SiteNetwork:
    """Cut a circuit, slice its subcircuits' last ports, and return the network of sites."""
    return sites_of(cut_circuit(circuit, cuts), sliced_ports=sliced_ports, kept_bytes=kept_bytes)


def sites_of(cut: CutCircuit, *, sliced_ports: int = 0, kept_bytes: int = 1 << 40) -> SiteNetwork:
    """Return the network of a cut circuit's sites, with sliced ports."""
    tensors: dict[str, ExactTensor] = {}
    for subcircuit in cut.subcircuits:
        ports = [p for p, port in enumerate(subcircuit.ports) if port.ancillas]
        sliced = tuple(ports[len(ports) - min(sliced_ports, len(ports)) :])
        tensors[subcircuit.content] = replace(ExactTensor(subcircuit, ()), sliced=sliced)
    numbers = {content: number for number, content in enumerate(tensors)}
    uses = [numbers[subcircuit.content] for subcircuit in cut.subcircuits]
    distinct = tuple(tensors.values())
    return site_network(cut, distinct, uses, StatevectorBranches(distinct), kept_bytes)


def joint_amplitudes(network: SiteNetwork) -> NDArray[np.complex128]:
    """Return the amplitudes of all outcomes by brute force: bit i of the index is qubit i.

    Every value of every bond is enumerated, so that nothing is right by an optimised order.
    """
    tensors = [network.amplitudes(site) for site in range(len(network.sites))]
    size = 1 << network.num_qubits
    total = np.zeros(size, dtype=complex)
    outcomes = np.arange(size)
    local = [
        sum((((outcomes >> q) & 1) << bit for bit, q in enumerate(site.qubits)), 0 * outcomes)
        for site in network.sites
    ]
    for values in itertools.product(*(range(bond.dimension) for bond in network.bonds)):
        product = np.ones(size, dtype=complex)
        for site, tensor, outcome in zip(network.sites, tensors, local, strict=True):
            product *= tensor[tuple(values[bond] for bond in site.bonds)][outcome]
        total += product
    return total


def uncut_amplitudes(circuit: QuantumCircuit) -> NDArray[np.complex128]:
    """Return the amplitudes of the uncut circuit."""
    return np.asarray(Statevector(circuit).data)


def packed(outcomes: NDArray[np.integer], num_qubits: int) -> NDArray[np.uint8]:
    """Return outcomes of all qubits, given as numbers, packed."""
    octets = outcomes.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.ascontiguousarray(octets[:, 8 - num_bytes(num_qubits) :])


def all_outcomes(num_qubits: int) -> NDArray[np.uint8]:
    """Return all outcomes in ascending order, packed."""
    return packed(np.arange(1 << num_qubits), num_qubits)


RING = ((0, 1), (1, 2), (2, 3), (0, 3), (0, 2))
"""Pairs of four sites in a ring with a chord, so that frontiers have several bonds."""


def random_network(
    seed: int,
    pairs: Sequence[tuple[int, int]] = RING,
    qubits: Sequence[int] = (2, 3, 1, 3),
) -> SiteNetwork:
    """Return a network of random numbers, of no normalised state."""
    rng = np.random.default_rng(seed)
    bonds = tuple(SiteBond(pair, int(rng.integers(2, 4))) for pair in pairs)
    order = rng.permutation(sum(qubits)).tolist()
    sites, states = [], []
    for number, width in enumerate(qubits):
        legs = tuple(b for b, bond in enumerate(bonds) if number in bond.sites)
        dimensions = tuple(bonds[b].dimension for b in legs)
        size = int(np.prod(dimensions))
        own, order = sorted(order[:width]), order[width:]
        mixing = csr_array(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))
        sites.append(Site(tuple(own), legs, dimensions, number, 1, mixing))
        values = rng.normal(size=(2, size, 1 << width))
        states.append(values[0] + 1j * values[1])
    return SiteNetwork(sum(qubits), tuple(sites), bonds, tuple(states))
