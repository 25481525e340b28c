"""Circuits drawn from a seed: Clifford, near-Clifford, blocks, mixtures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import pi
from typing import TYPE_CHECKING

from circuits import clifford

from .entry import Edges

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_GENERIC_ANGLE = pi / 4
"""Angle of the rotations of near-Clifford circuits, in radians: that of a T gate."""


def near_clifford(
    num_qubits: int, pairs: int, rotations: int, seed: int, angle: float = _GENERIC_ANGLE
) -> QuantumCircuit:
    """Put rotations between a random Clifford circuit and its inverse.

    Without the rotations the circuit is the identity, so expectation values of Z are not zero, as
    they nearly all are after a random Clifford circuit.
    """
    inner = clifford(num_qubits, pairs, seed)
    rng = random.Random(seed + 1)
    circuit = inner.copy()
    for _ in range(rotations):
        turn = rng.choice((circuit.rx, circuit.rz))
        turn(angle, rng.randrange(num_qubits))
    return circuit.compose(inner.inverse())


def clifford_and_t(num_qubits: int, pairs: int, rotations: int, seed: int) -> QuantumCircuit:
    """Spread T gates over the layers of a circuit of H, S and CZ on neighbours."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    due = sorted(rng.sample(range(pairs), rotations))
    for step in range(pairs):
        qubit = rng.randrange(num_qubits - 1)
        for end in (qubit, qubit + 1):
            if rng.random() < 0.5:
                rng.choice((circuit.h, circuit.s))(end)
        circuit.cz(qubit, qubit + 1)
        if step in due:
            circuit.h(qubit)
            circuit.t(qubit)
            circuit.h(qubit)
    return circuit


def linked_blocks(
    width: int, edges: Edges, links: int, layers: int, seed: int, angle: float | None = None
) -> QuantumCircuit:
    """Entangle blocks of qubits inside, and link pairs of blocks by a few gates.

    Args:
        width: Qubits of a block.
        edges: Pairs of blocks that are linked.
        links: Gates for each of these pairs, spread evenly over the layers.
        layers: Layers of random rotations on every qubit and CX or CZ on random pairs of a block.
        seed: Seed of everything random.
        angle: Angle of RZZ gates as links, in radians; None for CZ.
    """
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    edges = list(edges)
    blocks = 1 + max((max(edge) for edge in edges), default=0)
    circuit = QuantumCircuit(blocks * width)
    for layer in range(layers):
        for qubit in range(blocks * width):
            rng.choice((circuit.rx, circuit.ry, circuit.rz))(rng.uniform(0, 2 * pi), qubit)
        for block in range(blocks):
            places = rng.sample(range(block * width, (block + 1) * width), width)
            for a, b in zip(places[::2], places[1::2], strict=False):
                rng.choice((circuit.cz, circuit.cx))(a, b)
        for _ in range(links * (layer + 1) // layers - links * layer // layers):
            for one, other in edges:
                ends = one * width + rng.randrange(width), other * width + rng.randrange(width)
                if angle is None:
                    circuit.cz(*ends)
                else:
                    circuit.rzz(angle, *ends)
    return circuit


def mixture(parts: Sequence[Callable[[], QuantumCircuit]], seed: int) -> QuantumCircuit:
    """Place circuits side by side, on qubits that are shuffled and not joined by any gate."""
    from qiskit import QuantumCircuit

    built = [part() for part in parts]
    places = list(range(sum(part.num_qubits for part in built)))
    random.Random(seed).shuffle(places)
    circuit = QuantumCircuit(len(places))
    for part in built:
        circuit.compose(part, places[: part.num_qubits], inplace=True)
        places = places[part.num_qubits :]
    return circuit


def su4_wall(num_qubits: int, layers: int, seed: int) -> QuantumCircuit:
    """Build a brick wall of random gates of SU(4)."""
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import random_unitary

    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(layer % 2, num_qubits - 1, 2):
            matrix = random_unitary(4, seed=seed + 1000 * layer + qubit)
            circuit.unitary(matrix, [qubit, qubit + 1])
    return circuit


def rare_links(num_qubits: int, layers: int, seed: int, small: float) -> QuantumCircuit:
    """Join random pairs by RZZ with small angles: weakly entangled, but no chain."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        for qubit in range(num_qubits):
            circuit.ry(rng.uniform(0, pi), qubit)
        places = rng.sample(range(num_qubits), num_qubits)
        for a, b in zip(places[::2], places[1::2], strict=False):
            circuit.rzz(rng.uniform(-small, small), a, b)
    return circuit
