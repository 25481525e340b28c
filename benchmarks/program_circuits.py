"""The parametrised circuits of program.py: ansatz, energy and cut of each workload.

Each circuit is the same at every call, and is written in gates that every simulator knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from circuits import FALCON, Edges
from numpy.typing import NDArray
from routing_circuits.library import plain

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

SparseTerms = list[tuple[str, list[int], float]]
"""An observable: (letters, qubits, coefficient) for each term."""


@dataclass(frozen=True)
class Ansatz:
    """A circuit with free parameters, its energy, and how it is cut.

    Attributes:
        name: What ``--only`` calls it.
        about: The circuit in words.
        cut_labels: One label a qubit, as :func:`hpcq.plan` takes it.
        build: Makes the circuit.
        terms: Makes the terms of the energy.
        seed: Seed of the rows of parameters.
    """

    name: str
    about: str
    cut_labels: str
    build: Callable[[], QuantumCircuit]
    terms: Callable[[], SparseTerms]
    seed: int

    @property
    def num_qubits(self) -> int:
        """Number of qubits of the uncut circuit."""
        return len(self.cut_labels)

    def energy(self) -> SparsePauliOp:
        """Build the observable."""
        from qiskit.quantum_info import SparsePauliOp

        return SparsePauliOp.from_sparse_list(self.terms(), self.num_qubits)

    def rows(self, count: int, num_parameters: int, turn: int = 0) -> NDArray[np.float64]:
        """Draw rows of parameters from -pi to pi, others for each ``turn``.

        No parameter has the same value in two rows, so that nothing of one row helps another.
        """
        rng = np.random.default_rng((self.seed, turn, count))
        return rng.uniform(-np.pi, np.pi, (count, num_parameters))


def rotated_chain(num_qubits: int, layers: int) -> QuantumCircuit:
    """Alternate RY and RZ on every qubit with a chain of CX, from qubit 0 to the last."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    angles = iter(ParameterVector("a", 2 * num_qubits * layers))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        for qubit in range(num_qubits):
            circuit.ry(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


def qaoa(num_qubits: int, edges: Edges, layers: int) -> QuantumCircuit:
    """Alternate RZZ on every edge and RX on every qubit; one parameter for each such layer."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    costs, mixers = ParameterVector("cost", layers), ParameterVector("mixer", layers)
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for cost, mixer in zip(costs, mixers, strict=True):
        for a, b in edges:
            circuit.rzz(cost, a, b)
        circuit.rx(2 * mixer, range(num_qubits))
    return circuit


def linked_halves(width: int, chords: int, links: int, seed: int) -> Edges:
    """Draw a graph of two rings with chords, and ``links`` edges between them."""
    rng = random.Random(seed)
    edges: set[tuple[int, int]] = set()
    for start in (0, width):
        half = range(start, start + width)
        ring = {*pairwise(half), (start, start + width - 1)}
        free = [(a, b) for a in half for b in half if a < b and (a, b) not in ring]
        edges |= ring | set(rng.sample(free, chords))
    ends = zip(rng.sample(range(width), links), rng.sample(range(width), links), strict=True)
    return sorted(edges) + [(a, width + b) for a, b in ends]


def library_ansatz(name: str, num_qubits: int, **options: Any) -> QuantumCircuit:
    """Build a parametrised circuit of Qiskit's library, such as ``efficient_su2``."""
    from qiskit.circuit import library

    return plain(getattr(library, name)(num_qubits, **options))


def cluster_jastrow(sites: int, layers: int, every: int) -> QuantumCircuit:
    """Build a local unitary cluster Jastrow ansatz (Motta et al., arXiv:2302.11588).

    Qubits are the spin-up orbitals, then the spin-down orbitals, in the Jordan-Wigner mapping.
    A layer has Givens rotations of neighbours, with phases, and the density-density phases
    of neighbours and of both spins at every so many sites; the latter link the two halves.

    Phases are written as RZ and RZZ: Aer 0.18.2 ignores the parameter of CP in rows of parameters.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter
    from qiskit.circuit.library import XXPlusYYGate

    circuit = QuantumCircuit(2 * sites)
    count = 0

    def new() -> Parameter:
        nonlocal count
        count += 1
        return Parameter(f"t{count:04d}")

    def phase(a: int, b: int) -> None:
        angle = new()
        circuit.rz(angle / 2, [a, b])
        circuit.rzz(-angle / 2, a, b)

    circuit.x([spin * sites + site for spin in range(2) for site in range(0, sites, 2)])
    for _ in range(layers):
        for first in (0, 1):
            for spin in range(2):
                for site in range(spin * sites + first, (spin + 1) * sites - 1, 2):
                    circuit.append(XXPlusYYGate(new(), -np.pi / 2), [site, site + 1])
        for qubit in range(2 * sites):
            circuit.rz(new(), qubit)
        for spin in range(2):
            for site in range(spin * sites, (spin + 1) * sites - 1):
                phase(site, site + 1)
        for site in range(0, sites, every):
            phase(site, sites + site)
    return plain(circuit)


def coupled_cluster(orbitals: int) -> QuantumCircuit:
    """Evolve under single and double excitations inside two fragments, and one between them.

    Each fragment has as many spin orbitals, the first half of them occupied (Jordan-Wigner). The
    excitation between the fragments, of the orbitals at their border, is what is cut.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import evolved_operator_ansatz

    half = orbitals // 2
    total = 2 * orbitals
    singles, doubles = [], []
    for start in (0, orbitals):
        occupied = range(start, start + half)
        virtual = range(start + half, start + orbitals)
        singles += [_excitation((i,), (a,), total) for i in occupied for a in virtual]
        pairs = pairwise(occupied)
        doubles += [
            _excitation(pair, (a, a + 1), total)
            for pair, a in zip(pairs, virtual[:-1], strict=True)
        ]
    border = _excitation((orbitals - 1,), (orbitals,), total)
    circuit = QuantumCircuit(total)
    circuit.x([start + k for start in (0, orbitals) for k in range(half)])
    return plain(circuit.compose(evolved_operator_ansatz([*singles, *doubles, border], reps=1)))


def lattice_ansatz(edges: Edges, layers: int) -> QuantumCircuit:
    """Alternate RY and RZ on every qubit with CZ on every edge, and end with rotations."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    num_qubits = 1 + max(map(max, edges))
    angles = iter(ParameterVector("a", 2 * num_qubits * (layers + 1)))
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers + 1):
        for qubit in range(num_qubits):
            circuit.ry(next(angles), qubit)
            circuit.rz(next(angles), qubit)
        for a, b in edges if layer < layers else []:
            circuit.cz(a, b)
    return circuit


def random_blocks(width: int, layers: int, links: int, seed: int) -> QuantumCircuit:
    """Draw SU(4) gates on random pairs of each of two blocks, with few parameters.

    Each layer has one RY a block, on a random qubit, and ``links`` RZZ in all join random qubits of
    the blocks. There is nothing but scattered two-qubit matrices.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector
    from qiskit.quantum_info import random_unitary

    rng = random.Random(seed)
    angles = iter(ParameterVector("a", 2 * layers + links))
    circuit = QuantumCircuit(2 * width)
    linked = 0
    for layer in range(layers):
        for start in (0, width):
            places = rng.sample(range(start, start + width), width)
            for pair in zip(places[::2], places[1::2], strict=True):
                circuit.unitary(random_unitary(4, seed=rng.randrange(2**31)), list(pair))
            circuit.ry(next(angles), rng.choice(places))
        due = links * (layer + 1) // (layers + 1)
        for _ in range(due - linked):
            circuit.rzz(next(angles), rng.randrange(width), width + rng.randrange(width))
        linked = due
    for _ in range(links - linked):
        circuit.rzz(next(angles), rng.randrange(width), width + rng.randrange(width))
    return circuit


def heisenberg(pairs: Iterable[tuple[int, int]]) -> SparseTerms:
    """Return the sum of XX, YY and ZZ over pairs of qubits."""
    return [(letter * 2, [a, b], 1.0) for a, b in pairs for letter in "XYZ"]


def cut_cost(edges: Edges) -> SparseTerms:
    """Return ZZ/2 for each edge: the number of edges less twice the size of a graph's cut."""
    return [("ZZ", [a, b], 0.5) for a, b in edges]


def hubbard(sites: int) -> SparseTerms:
    """Return hopping 1 and repulsion 4 of a half-filled chain, up first (Jordan-Wigner)."""
    hops: SparseTerms = [
        (letter * 2, [start + site, start + site + 1], -0.5)
        for start in (0, sites)
        for site in range(sites - 1)
        for letter in "XY"
    ]
    return hops + [("ZZ", [site, sites + site], 1.0) for site in range(sites)]


def _excitation(occupied: tuple[int, ...], virtual: tuple[int, ...], total: int) -> SparsePauliOp:
    """Return i (T - T^dagger) of T = a^dagger... a..., orbitals of ``total`` (Jordan-Wigner)."""
    from qiskit.quantum_info import SparsePauliOp

    raising = SparsePauliOp("I" * total)
    for orbital in virtual:
        raising = raising @ _ladder(orbital, total, -1)
    for orbital in reversed(occupied):
        raising = raising @ _ladder(orbital, total, 1)
    return ((raising - raising.adjoint()) * 1j).simplify()


def _ladder(orbital: int, total: int, sign: int) -> SparsePauliOp:
    """Return (X + sign i Y)/2 behind a string of Z: annihilation, or creation for sign -1."""
    from qiskit.quantum_info import SparsePauliOp

    string, before = "Z" * orbital, list(range(orbital))
    terms = [
        (string + letter, [*before, orbital], factor)
        for letter, factor in (("X", 0.5), ("Y", 0.5j * sign))
    ]
    return SparsePauliOp.from_sparse_list(terms, total)


def _line(num_qubits: int) -> Edges:
    return list(pairwise(range(num_qubits)))


def _labels(*widths: int) -> str:
    return "".join(letter * width for letter, width in zip("ABCDEFGHIJ", widths, strict=False))


_MAX_CUT = linked_halves(10, 5, 2, seed=3)

ANSATZES: tuple[Ansatz, ...] = (
    Ansatz(
        "vqe-24-3x8",
        "RY, RZ and a chain of CX, 3 layers, Heisenberg energy; 3 subcircuits of 8 qubits",
        _labels(8, 8, 8),
        lambda: rotated_chain(24, 3),
        lambda: heisenberg(_line(24)),
        seed=1,
    ),
    Ansatz(
        "vqe-24-2x12",
        "the same circuit and energy; 2 subcircuits of 12 qubits",
        _labels(12, 12),
        lambda: rotated_chain(24, 3),
        lambda: heisenberg(_line(24)),
        seed=2,
    ),
    Ansatz(
        "vqe-60-6x10",
        "RY, RZ and a chain of CX, 3 layers, Heisenberg energy; 6 subcircuits of 10 qubits",
        _labels(*[10] * 6),
        lambda: rotated_chain(60, 3),
        lambda: heisenberg(_line(60)),
        seed=3,
    ),
    Ansatz(
        "qaoa-20",
        "QAOA, p = 2, two rings of 10 with 5 chords each and 2 edges between them: 4 cut RZZ",
        _labels(10, 10),
        lambda: qaoa(20, _MAX_CUT, 2),
        lambda: cut_cost(_MAX_CUT),
        seed=4,
    ),
    Ansatz(
        "cluster-jastrow-20",
        "local unitary cluster Jastrow, 2 layers, 10 sites, Hubbard energy; cut between spins",
        _labels(10, 10),
        lambda: cluster_jastrow(10, 2, 4),
        lambda: hubbard(10),
        seed=5,
    ),
    Ansatz(
        "coupled-cluster-12",
        "evolved_operator_ansatz: excitations in two fragments of 6 orbitals and one between them",
        _labels(6, 6),
        lambda: coupled_cluster(6),
        lambda: heisenberg(_line(12)),
        seed=6,
    ),
    Ansatz(
        "efficient-su2-24",
        "efficient_su2, 2 repetitions, chains of CX, Heisenberg energy; 3 subcircuits of 8 qubits",
        _labels(8, 8, 8),
        lambda: library_ansatz("efficient_su2", 24, reps=2, entanglement="linear"),
        lambda: heisenberg(_line(24)),
        seed=11,
    ),
    Ansatz(
        "efficient-su2-60",
        "efficient_su2, 2 repetitions, chains of CX, Heisenberg energy; 6 subcircuits of 10 qubits",
        _labels(10, 10, 10, 10, 10, 10),
        lambda: library_ansatz("efficient_su2", 60, reps=2, entanglement="linear"),
        lambda: heisenberg(_line(60)),
        seed=12,
    ),
    Ansatz(
        "efficient-su2-20",
        "efficient_su2, 2 repetitions, pairwise entanglement, Heisenberg energy",
        _labels(10, 10),
        lambda: library_ansatz("efficient_su2", 20, reps=2, entanglement="pairwise"),
        lambda: heisenberg(_line(20)),
        seed=7,
    ),
    Ansatz(
        "real-amplitudes-16",
        "real_amplitudes, 3 repetitions, circular entanglement, Heisenberg energy",
        _labels(8, 8),
        lambda: library_ansatz("real_amplitudes", 16, reps=3, entanglement="circular"),
        lambda: heisenberg(_line(16)),
        seed=8,
    ),
    Ansatz(
        "heavy-hex-27",
        "RY, RZ and CZ on a heavy-hex lattice of 27 qubits, 2 layers; cut between its cells",
        _labels(15, 12),
        lambda: lattice_ansatz(FALCON, 2),
        lambda: heisenberg(FALCON),
        seed=9,
    ),
    Ansatz(
        "su4-2x12",
        "random SU(4) on random pairs, 8 layers, few RY, 4 cut RZZ, Heisenberg energy",
        _labels(12, 12),
        lambda: random_blocks(12, 8, 4, seed=10),
        lambda: heisenberg(_line(24)),
        seed=10,
    ),
)
"""All workloads, those of the targets first."""
