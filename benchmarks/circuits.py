"""The circuits whose cuts are searched for, each made from a seed.

Importing this module loads nothing but the standard library.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import TYPE_CHECKING

from workloads import BLOCKS_100

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Edges = list[tuple[int, int]]

FALCON: Edges = [
    *((0, 1), (1, 2), (1, 4), (2, 3), (3, 5), (4, 7), (5, 8), (6, 7), (7, 10), (8, 9)),
    *((8, 11), (10, 12), (11, 14), (12, 13), (12, 15), (13, 14), (14, 16), (15, 18), (16, 19)),
    *((17, 18), (18, 21), (19, 20), (19, 22), (21, 23), (22, 25), (23, 24), (24, 25), (25, 26)),
]
"""Couplings of a 27-qubit heavy-hex lattice."""


@dataclass(frozen=True)
class Case:
    """A circuit to be cut, and how wide its subcircuits may be.

    Attributes:
        name: What ``--only`` calls it.
        max_qubits: The width limit.
        build: Makes the circuit, the same one at every call.
        edges: The couplings of a cost Hamiltonian, which is then the observable, one ZZ for each;
            None to ask for Z on every qubit.
        fields: Whether that observable has X on every qubit too.
    """

    name: str
    max_qubits: int
    build: Callable[[], QuantumCircuit]
    edges: Callable[[], Edges] | None = None
    fields: bool = False

    @property
    def observables(self) -> str | None:
        """The observables, as :func:`hpcq.plan` reads them."""
        if self.edges is None:
            return None
        edges = self.edges()
        terms = [f"Z{a} Z{b}" for a, b in edges]
        if self.fields:
            terms += [f"0.5 X{qubit}" for qubit in range(1 + max(map(max, edges)))]
        return " + ".join(terms)


def regular_edges(num_qubits: int, seed: int) -> Edges:
    """Draw a random 3-regular graph."""
    import networkx

    graph = networkx.random_regular_graph(3, num_qubits, seed=seed)
    return sorted((min(edge), max(edge)) for edge in graph.edges)


def grid_edges(rows: int, columns: int) -> Edges:
    """Join the neighbours of a square lattice, numbered row by row."""
    across = [(r * columns + c, r * columns + c + 1) for r in range(rows) for c in range(columns)]
    down = [(q, q + columns) for q in range((rows - 1) * columns)]
    return [(a, b) for a, b in across if b % columns] + down


def heavy_hex_edges(rows: int, columns: int) -> Edges:
    """Join rows of qubits by single qubits between them, at every fourth column.

    The first row lacks its last column and the last row its first one, as on IBM's devices;
    ``rows`` is odd and ``columns`` is 3 mod 4. Qubits are numbered row by row, the qubits between
    two rows after the upper one.
    """
    edges: Edges = []
    number = 0
    hanging: dict[int, int] = {}
    for row in range(rows):
        place = {}
        for column in range(row == rows - 1, columns - (row == 0)):
            place[column] = number
            number += 1
        edges += pairwise(place.values())
        edges += [(link, place[column]) for column, link in hanging.items()]
        hanging = {}
        if row < rows - 1:
            for column in range(2 * (row % 2), columns, 4):
                edges.append((place[column], number))
                hanging[column] = number
                number += 1
    return edges


def qaoa(
    num_qubits: int,
    edges: Edges,
    layers: int = 1,
    costs: tuple[float, float] = (0.8, 0.1),
    mixers: tuple[float, float] = (0.6, -0.1),
) -> QuantumCircuit:
    """Alternate RZZ on every edge and RX on every qubit, from the uniform superposition.

    The angles are those of the first layer, and by how much they change from layer to layer.
    """
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for layer in range(layers):
        for a, b in edges:
            circuit.rzz(costs[0] + costs[1] * layer, a, b)
        circuit.rx(mixers[0] + mixers[1] * layer, range(num_qubits))
    return circuit


def kicked_ising(edges: Edges, steps: int) -> QuantumCircuit:
    """Trotter steps of the kicked Ising model (Kim et al., Nature 618, 500 (2023))."""
    from qiskit import QuantumCircuit

    num_qubits = 1 + max(map(max, edges))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        circuit.rx(0.7, range(num_qubits))
        for a, b in edges:
            circuit.rzz(-pi / 2, a, b)
    return circuit


def ladder(num_qubits: int, layers: int, seed: int) -> QuantumCircuit:
    """Alternate RY on every qubit and a ladder of CX: the hardware-efficient ansatz."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(layers):
        for qubit in range(num_qubits):
            circuit.ry(rng.uniform(0, 2 * pi), qubit)
        for qubit in range(num_qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


def brick_wall(num_qubits: int, layers: int, seed: int) -> QuantumCircuit:
    """Alternate CZ on even and on odd pairs of neighbours, one layer of either at a time."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.ry(rng.uniform(0, 2 * pi), qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
    return circuit


def fourier(num_qubits: int) -> QuantumCircuit:
    """Transform a product state: H and controlled phases, without the final swaps."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.1 * qubit, qubit)
    for high in reversed(range(num_qubits)):
        circuit.h(high)
        for low in reversed(range(high)):
            circuit.cp(pi / 2 ** (high - low), low, high)
    return circuit


def adder(bits: int) -> QuantumCircuit:
    """Add two superposed numbers with carries that ripple (Cuccaro, arXiv:quant-ph/0410184).

    Qubit 0 is the carry in, then b and a alternate, and the last one is the carry out.
    """
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2 * bits + 2)
    for qubit in range(1, 2 * bits + 1):
        circuit.ry(0.3 + 0.1 * qubit, qubit)
    add_ripple_carry(circuit, bits)
    return circuit


def add_ripple_carry(circuit: QuantumCircuit, bits: int) -> None:
    """Append the gates of :func:`adder`, on its qubits."""
    for low in range(0, 2 * bits, 2):
        circuit.cx(low + 2, low + 1)
        circuit.cx(low + 2, low)
        circuit.ccx(low, low + 1, low + 2)
    circuit.cx(2 * bits, 2 * bits + 1)
    for low in reversed(range(0, 2 * bits, 2)):
        circuit.ccx(low, low + 1, low + 2)
        circuit.cx(low + 2, low)
        circuit.cx(low, low + 1)


def ghz(num_qubits: int, star: bool) -> QuantumCircuit:
    """Entangle all qubits, each with its neighbour or (``star``) with qubit 0."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(1, num_qubits):
        circuit.cx(0 if star else qubit - 1, qubit)
    return circuit


def clifford(num_qubits: int, pairs: int, seed: int) -> QuantumCircuit:
    """Draw H, S and identity on both ends of CX gates between random qubits."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(pairs):
        a, b = rng.sample(range(num_qubits), 2)
        for qubit in (a, b):
            for turn in rng.choice(((), (circuit.h,), (circuit.s,), (circuit.h, circuit.s))):
                turn(qubit)
        circuit.cx(a, b)
    return circuit


def _regular(num_qubits: int, seed: int, name: str) -> Case:
    def edges() -> Edges:
        return regular_edges(num_qubits, seed)

    return Case(name, num_qubits // 2, lambda: qaoa(num_qubits, edges()), edges)


def _grid(layers: int) -> Case:
    edges = grid_edges(5, 10)
    return Case(f"grid-{layers}", 25, lambda: qaoa(50, edges, layers), lambda: edges)


def _heavy_hex(name: str, edges: Edges, max_qubits: int) -> Iterator[Case]:
    for steps in (1, 3, 5):
        yield Case(f"{name}-{steps}", max_qubits, lambda steps=steps: kicked_ising(edges, steps))


def _dense(max_qubits: int) -> Case:
    num_qubits = BLOCKS_100.num_qubits
    return Case(
        f"dense-{max_qubits}",
        max_qubits,
        BLOCKS_100.circuit,
        lambda: list(pairwise(range(num_qubits))),
        fields=True,
    )


CASES: tuple[Case, ...] = (
    _regular(20, 0, "regular-20"),
    _regular(50, 0, "regular-50-a"),
    _regular(50, 1, "regular-50-b"),
    _regular(50, 2, "regular-50-c"),
    _regular(100, 0, "regular-100-a"),
    _regular(100, 3, "regular-100-b"),
    _grid(1),
    _grid(2),
    *_heavy_hex("falcon", FALCON, 14),
    *_heavy_hex("hummingbird", heavy_hex_edges(5, 11), 33),
    *_heavy_hex("eagle", heavy_hex_edges(7, 15), 30),
    Case("ladder-20", 10, lambda: ladder(20, 4, 0)),
    Case("ladder-60", 20, lambda: ladder(60, 6, 0)),
    Case("wall-1000", 20, lambda: brick_wall(1000, 10, 0)),
    _dense(10),
    _dense(20),
    Case("qft-12", 6, lambda: fourier(12)),
    Case("qft-20", 10, lambda: fourier(20)),
    Case("adder-10", 5, lambda: adder(4)),
    Case("ghz-line", 10, lambda: ghz(20, star=False)),
    Case("ghz-star", 10, lambda: ghz(20, star=True)),
    Case("clifford-20", 10, lambda: clifford(20, 60, 0)),
)
"""``regular``: QAOA on random 3-regular graphs; ``grid``: the same on a 5 by 10 lattice, with that
many layers; ``falcon``, ``hummingbird`` and ``eagle``: kicked Ising on heavy-hex lattices of 27, 65
and 127 qubits, with that many steps; ``wall``: a chain of 1000 qubits with 10 layers; ``dense``:
ten dense blocks of ten qubits with weak links, and an energy of 199 terms, whose light cones are
wide and unlike, with that width limit."""
