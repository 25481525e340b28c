"""The circuits that are measured, their observables, and the targets.

Importing this module loads nothing but the standard library: the runner must stay small, because
a child process inherits its parent's peak memory.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from math import pi
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp

Pairing = Literal["line", "random"]
Method = Literal["statevector", "mps", "subcircuits", "addon", "pennylane"]
Terms = tuple[tuple[str, tuple[int, ...], float], ...]
"""An observable: (letters, qubits, coefficient) for each term."""

PEERS: tuple[Method, ...] = ("addon", "pennylane")
"""The methods that need a package of somebody else."""


@dataclass(frozen=True)
class Blocks:
    """A row of blocks of qubits, entangled inside, with CZ links between neighbours.

    A layer turns every qubit by a random angle about a random axis, then joins pairs inside each
    block with CZ or CX. Links are spread evenly over the layers.

    Attributes:
        blocks: Number of blocks.
        width: Qubits of a block.
        layers: Number of layers.
        links: CZ gates between two neighbouring blocks; these are the gates that are cut.
        pairing: ``line`` joins next neighbours, like bricks in a wall, and links blocks where
            they touch, which matrix product states like; ``random`` draws the pairs and the ends
            of the links.
        seed: Seed of everything random.
    """

    blocks: int
    width: int
    layers: int
    links: int
    pairing: Pairing
    seed: int

    @property
    def num_qubits(self) -> int:
        """Number of qubits of the whole circuit."""
        return self.blocks * self.width

    @property
    def num_cuts(self) -> int:
        """Number of gates that are cut."""
        return (self.blocks - 1) * self.links

    @property
    def partition(self) -> tuple[int, ...]:
        """One label a qubit: its block."""
        return tuple(qubit // self.width for qubit in range(self.num_qubits))

    def circuit(self) -> QuantumCircuit:
        """Build the circuit; the same one at every call."""
        from qiskit import QuantumCircuit

        rng = random.Random(self.seed)
        circuit = QuantumCircuit(self.num_qubits)
        linked = 0
        for layer in range(self.layers):
            for qubit in range(self.num_qubits):
                turn = rng.choice((circuit.rx, circuit.ry, circuit.rz))
                turn(rng.uniform(0, 2 * pi), qubit)
            for block in range(self.blocks):
                for first, second in self._pairs(layer, rng):
                    join = rng.choice((circuit.cz, circuit.cx))
                    join(block * self.width + first, block * self.width + second)
            due = self.links * (layer + 1) // self.layers
            for _ in range(due - linked):
                for block in range(self.blocks - 1):
                    circuit.cz(*self._link(block, rng))
            linked = due
        return circuit

    def _pairs(self, layer: int, rng: random.Random) -> list[tuple[int, int]]:
        if self.pairing == "line":
            return [(place, place + 1) for place in range(layer % 2, self.width - 1, 2)]
        places = rng.sample(range(self.width), self.width)
        return list(zip(places[::2], places[1::2], strict=False))

    def _link(self, block: int, rng: random.Random) -> tuple[int, int]:
        border = (block + 1) * self.width
        if self.pairing == "line":
            return border - 1, border
        return border - 1 - rng.randrange(self.width), border + rng.randrange(self.width)


@dataclass(frozen=True)
class Target:
    """A target of a workload.

    Attributes:
        text: The target in words.
        bound: Its number.
        against: What hpcq is compared with: a method or another workload; without one, the
            bound is in seconds.
        at_least: Whether the bound is how many times faster hpcq must be; otherwise it is how
            many times the other's seconds hpcq may take.
    """

    text: str
    bound: float
    against: str | None = None
    at_least: bool = False

    def ratio(self, seconds: float, other: float) -> float:
        """Return the ratio that the bound is about."""
        return other / seconds if self.at_least else seconds / other

    def met(self, value: float) -> bool:
        """Whether a ratio, or seconds, meet the target."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Workload:
    """One line of the benchmark.

    Attributes:
        name: Name of the workload.
        blocks: The circuit.
        terms: The observable.
        methods: Other methods that give the same value.
        target: Target of the time; None for none.
        memory_gib: Maximum peak memory in GiB; None for no target.
        advice: What the plan should say is quicker uncut: ``statevector``, ``matrix product
            state``, ``nothing``; None where either answer is fair.
    """

    name: str
    blocks: Blocks
    terms: Terms
    methods: tuple[Method, ...] = ()
    target: Target | None = None
    memory_gib: float | None = None
    advice: str | None = None

    @cached_property
    def about(self) -> str:
        """The workload in words."""
        blocks = self.blocks
        asked = "one string" if len(self.terms) == 1 else f"{len(self.terms)} terms"
        return (
            f"{blocks.num_qubits} qubits, {blocks.blocks} blocks of {blocks.width}, "
            f"{blocks.layers} layers ({blocks.pairing} pairs), {blocks.num_cuts} cuts, {asked}"
        )

    def observable(self) -> SparsePauliOp:
        """Build the observable."""
        from qiskit.quantum_info import SparsePauliOp

        return SparsePauliOp.from_sparse_list(self.terms, self.blocks.num_qubits)


def z_string(num_qubits: int, weight: int) -> Terms:
    """Return Z on ``weight`` qubits, spread evenly."""
    return (("Z" * weight, tuple(k * num_qubits // weight for k in range(weight)), 1.0),)


def ising(num_qubits: int) -> Terms:
    """Return the energy of a transverse-field Ising chain: ``2 num_qubits - 1`` terms."""
    bonds = [("ZZ", (qubit, qubit + 1), -1.0) for qubit in range(num_qubits - 1)]
    fields = [("X", (qubit,), -0.5) for qubit in range(num_qubits)]
    return (*bonds, *fields)


BLOCKS_24 = Blocks(blocks=3, width=8, layers=12, links=3, pairing="line", seed=1)
BLOCKS_12 = Blocks(blocks=2, width=6, layers=8, links=4, pairing="random", seed=2)
BLOCKS_40 = Blocks(blocks=4, width=10, layers=12, links=4, pairing="random", seed=3)
BLOCKS_100 = Blocks(blocks=10, width=10, layers=12, links=3, pairing="random", seed=4)
_DENSE = Blocks(blocks=2, width=20, layers=20, links=3, pairing="random", seed=6)
_MANY = Blocks(blocks=100, width=3, layers=4, links=1, pairing="line", seed=7)
_WEAK = Blocks(blocks=3, width=8, layers=4, links=2, pairing="line", seed=8)
SMALL = Blocks(blocks=2, width=5, layers=6, links=2, pairing="random", seed=9)

WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "24-qubits",
        BLOCKS_24,
        z_string(24, 12),
        ("statevector", "mps"),
        Target("at least 150 times faster than uncut Aer statevector", 150, "statevector", True),
    ),
    Workload(
        "12-qubits",
        BLOCKS_12,
        z_string(12, 6),
        ("statevector", "addon", "pennylane"),
        Target("at least 300 times faster than qiskit-addon-cutting, exact", 300, "addon", True),
    ),
    Workload(
        "40-qubits",
        BLOCKS_40,
        z_string(40, 12),
        ("mps",),
        Target("at most 0.5 s", 0.5),
    ),
    Workload(
        "40-qubits-energy",
        BLOCKS_40,
        ising(40),
        target=Target("at most 2 times one string", 2, "40-qubits"),
    ),
    Workload(
        "100-qubits",
        BLOCKS_100,
        z_string(100, 12),
        ("mps",),
        Target("at most 3 s", 3),
        memory_gib=1,
        advice="nothing",
    ),
    Workload(
        "100-qubits-energy",
        BLOCKS_100,
        ising(100),
        target=Target("at most 2 times one string", 2, "100-qubits"),
        memory_gib=1,
    ),
    Workload(
        "dense",
        _DENSE,
        z_string(40, 12),
        ("subcircuits", "mps"),
        Target("at most 1.3 times Aer's own two simulations", 1.3, "subcircuits"),
        memory_gib=1,
        advice="nothing",
    ),
    Workload(
        "100-subcircuits",
        _MANY,
        z_string(300, 12),
        ("mps",),
        Target("at most 1 s", 1),
    ),
    Workload(
        "weak-chain",
        _WEAK,
        z_string(24, 12),
        ("statevector", "mps"),
        advice="matrix product state",
    ),
    Workload(
        "small",
        SMALL,
        z_string(10, 4),
        ("statevector", "mps"),
        advice="statevector",
    ),
)
"""All workloads that run inside one process; the last two are there because cutting loses."""
