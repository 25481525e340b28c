"""Twenty circuits as varied as users' are, with cuts, to compare predicted costs with.

They were chosen before the model was measured against them; none may be dropped because it is
predicted badly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import pi
from typing import TYPE_CHECKING, Any

from circuits import grid_edges, qaoa
from workloads import (
    BLOCKS_12,
    BLOCKS_24,
    BLOCKS_40,
    BLOCKS_100,
    SMALL,
    Blocks,
    Terms,
    ising,
    z_string,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Pairs = Iterable[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    """A circuit, its observable, and its cuts.

    Attributes:
        name: Name of the case.
        num_qubits: Width of the circuit.
        build: Builds the circuit; the same one at every call.
        terms: The observable.
        options: Further arguments of :func:`hpcq.plan`.
    """

    name: str
    num_qubits: int
    build: Callable[[], QuantumCircuit]
    terms: Terms
    options: dict[str, Any] = field(default_factory=dict)

    def observable(self) -> Any:
        """Build the observable."""
        from qiskit.quantum_info import SparsePauliOp

        return SparsePauliOp.from_sparse_list(self.terms, self.num_qubits)


def _blocks(name: str, blocks: Blocks, terms: Terms, **options: Any) -> Case:
    options.setdefault("cut_labels", blocks.partition)
    return Case(name, blocks.num_qubits, blocks.circuit, terms, options)


def _halves(num_qubits: int, parts: int = 2) -> tuple[int, ...]:
    return tuple(qubit * parts // num_qubits for qubit in range(num_qubits))


def _ghz(num_qubits: int) -> QuantumCircuit:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def _trotter(num_qubits: int, pairs: Pairs, steps: int) -> QuantumCircuit:
    """Trotter steps of a transverse-field Ising model; all angles alike, so equal parts join."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        for a, b in pairs:
            circuit.rzz(0.4, a, b)
        for qubit in range(num_qubits):
            circuit.rx(0.7, qubit)
    return circuit


def _regular(num_qubits: int) -> list[tuple[int, int]]:
    """Return the edges of a random cubic graph that is a ring with chords to near places."""
    rng = random.Random(11)
    ring = [(q, (q + 1) % num_qubits) for q in range(num_qubits)]
    chords = []
    for start in range(0, num_qubits, 8):
        places = rng.sample(range(start, start + 8), 8)
        chords += list(zip(places[::2], places[1::2], strict=True))
    return ring + chords


def _qft(num_qubits: int, reach: int) -> QuantumCircuit:
    """Approximate Fourier transform of a product state: phases up to ``reach`` qubits apart."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.1 + 0.2 * qubit, qubit)
    for qubit in reversed(range(num_qubits)):
        circuit.h(qubit)
        for other in range(max(0, qubit - reach), qubit):
            circuit.cp(pi / 2 ** (qubit - other), other, qubit)
    return circuit


def _su4(num_qubits: int, layers: int, apart: int) -> QuantumCircuit:
    """A brick wall of random SU(4); only in the first four layers does a gate cross ``apart``."""
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import random_unitary

    circuit = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(layer % 2, num_qubits - 1, 2):
            if layer < 4 or qubit + 1 != apart:
                matrix = random_unitary(4, seed=100 * layer + qubit)
                circuit.unitary(matrix, [qubit, qubit + 1])
    return circuit


def _relay(width: int, layers: int) -> QuantumCircuit:
    """Random gates on the lower half, then on the upper half, which shares two qubits with it."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2 * width - 2)
    rng = random.Random(12)
    for first in (0, width - 2):
        for _ in range(layers):
            for qubit in range(first, first + width):
                circuit.ry(rng.uniform(0, pi), qubit)
            places = rng.sample(range(first, first + width), width)
            for a, b in zip(places[::2], places[1::2], strict=True):
                circuit.cx(a, b)
    return circuit


def _all_linked(blocks: int, width: int, links: int) -> QuantumCircuit:
    """Blocks of which every one is linked with every other: the contraction is the work."""
    from qiskit import QuantumCircuit

    rng = random.Random(13)
    circuit = QuantumCircuit(blocks * width)
    for _ in range(links):
        for qubit in range(blocks * width):
            circuit.ry(rng.uniform(0, pi), qubit)
        for block in range(blocks):
            for place in range(width - 1):
                circuit.cx(block * width + place, block * width + place + 1)
        for a in range(blocks):
            for b in range(a):
                circuit.cz(a * width + rng.randrange(width), b * width + rng.randrange(width))
    return circuit


def _random_terms(num_qubits: int, count: int, weight: int) -> Terms:
    rng = random.Random(14)
    return tuple(
        (
            "".join(rng.choices("XYZ", k=weight)),
            tuple(rng.sample(range(num_qubits), weight)),
            rng.uniform(-1, 1),
        )
        for _ in range(count)
    )


_300 = Blocks(blocks=300, width=3, layers=4, links=1, pairing="line", seed=7)
_32 = Blocks(blocks=2, width=16, layers=16, links=4, pairing="random", seed=15)
_38 = Blocks(blocks=2, width=19, layers=16, links=3, pairing="random", seed=16)
_21 = Blocks(blocks=1, width=21, layers=12, links=0, pairing="random", seed=17)
_GRID, _TALL = grid_edges(4, 6), grid_edges(3, 12)
_CUBIC = _regular(24)
_RELAY = {
    "format": "hpcq-cuts",
    "format_version": 1,
    "gate_cuts": [],
    "wire_cuts": [{"qubit": qubit, "after": 8} for qubit in (10, 11)],
}

CASES: tuple[Case, ...] = (
    Case("ghz-6", 6, lambda: _ghz(6), z_string(6, 2), {"cut_labels": "AAABBB"}),
    Case("ghz-60", 60, lambda: _ghz(60), z_string(60, 2), {"cut_labels": _halves(60, 10)}),
    _blocks("small", SMALL, z_string(10, 4)),
    _blocks("12-qubits", BLOCKS_12, z_string(12, 6)),
    _blocks("24-qubits", BLOCKS_24, z_string(24, 12)),
    _blocks("40-qubits-energy", BLOCKS_40, ising(40)),
    _blocks("100-qubits", BLOCKS_100, z_string(100, 12)),
    _blocks("300-subcircuits", _300, z_string(900, 12)),
    _blocks("sliced", _32, ising(32), memory=16 << 20),
    _blocks("dense-single", _38, z_string(38, 12), dtype="complex64"),
    _blocks("uncut-21", _21, ising(21)),
    _blocks("many-terms", BLOCKS_12, _random_terms(12, 2500, 4)),
    Case("su4", 20, lambda: _su4(20, 8, 10), z_string(20, 5), {"cut_labels": _halves(20)}),
    Case("relay", 22, lambda: _relay(12, 8), ising(22), {"cuts": _RELAY}),
    Case("chain", 60, lambda: _trotter(60, grid_edges(1, 60), 4), ising(60), {"max_qubits": 8}),
    Case("grid", 24, lambda: _trotter(24, _GRID, 1), ising(24), {"max_qubits": 12}),
    Case("tall-grid", 36, lambda: _trotter(36, _TALL, 2), ising(36), {"max_qubits": 12}),
    Case(
        "qaoa",
        24,
        lambda: qaoa(24, _CUBIC, 2, (0.3, 0.2), (0.9, -0.3)),
        ising(24),
        {"max_qubits": 16},
    ),
    Case("qft", 28, lambda: _qft(28, 3), z_string(28, 3), {"cut_labels": _halves(28)}),
    Case("all-linked", 20, lambda: _all_linked(5, 4, 2), ising(20), {"cut_labels": _halves(20, 5)}),
)
"""The cases, from a millisecond to several seconds."""
