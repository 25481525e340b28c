"""The circuits that are run many times with shots, and where they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import acos, cos
from typing import Any

from qiskit import QuantumCircuit
from qiskit.quantum_info import (
    Clifford,
    Operator,
    Pauli,
    SparsePauliOp,
    random_clifford,
    random_unitary,
)
from shots import entangled, linked

import hpcq
from hpcq.cutting.cuts import Cuts, GateCut, WireCut
from hpcq.kinds.shots.sampling import CutProblem, Sampling, joint_sampling_of
from hpcq.planning.problem import Budget
from hpcq.reconstruction.estimation.outcome_signals import min_shots

Report = dict[str, Any]
Terms = Sequence[tuple[str, Sequence[int], float]]


@dataclass(frozen=True)
class Case:
    """A circuit that is run many times.

    Attributes:
        about: Purpose of the case.
        circuit: The circuit.
        terms: The observable, as ``SparsePauliOp.from_sparse_list`` takes it.
        cuts: Arguments of ``hpcq.plan`` that define the cuts.
        shots: Shots of a run.
        how: Further arguments of ``hpcq.plan``.
        noisy: Whether the device has noise.
        joint: Whether joint samples are drawn even where all variants could be run.
        unequal: Whether some variants matter much more than others.
        kind: ``linear`` where the first order dominates, ``zeros`` where five and more factors are
            all near zero, ``many`` for eight and more factors of 1 to 3 standard errors, whose
            errors are as skew as a lognormal distribution; else ``mixed``.
    """

    about: str
    circuit: QuantumCircuit
    terms: Terms
    cuts: Report
    shots: int | None
    how: Report = field(default_factory=dict)
    noisy: bool = False
    joint: bool = False
    unequal: bool = False
    kind: str = "mixed"

    def observable(self) -> SparsePauliOp:
        """Build the observable."""
        return SparsePauliOp.from_sparse_list(self.terms, self.circuit.num_qubits)

    def sampling(self) -> Sampling:
        """Return the sampling of the plan."""
        how = {"threads": 1, "shots": self.shots} | self.cuts | self.how
        plan = hpcq.plan(self.circuit, self.observable(), **how)
        return (
            joint_sampling_of(CutProblem.of(plan), Budget(self.shots))
            if self.joint
            else plan.sampling
        )

    def with_shots(self, each: int, kind: str | None = None) -> Case:
        """Return the same with a number of shots for each variant on average."""
        tensors = replace(self, shots=10**9).sampling().sources.tensors
        return replace(self, shots=each * min_shots(tensors), kind=kind or self.kind)


def product(values: Sequence[float]) -> Case:
    """Return qubits that nothing joins, and the product of their values of Z."""
    circuit = QuantumCircuit(len(values))
    for qubit, value in enumerate(values):
        circuit.ry(acos(value), qubit)
    terms = [("Z" * len(values), range(len(values)), 1.0)]
    return Case(f"product of {len(values)} values", circuit, terms, {}, None)


def stabilizer(pairs: Sequence[tuple[int, int]], num_qubits: int, seed: int) -> Case:
    """Return random Clifford gates, and a stabilizer of the state that they make."""
    circuit = QuantumCircuit(num_qubits)
    for number, (first, second) in enumerate(pairs):
        for place, qubit in enumerate((first, second)):
            gate = random_clifford(1, seed=seed + 2 * number + place).to_operator()
            circuit.unitary(gate, [qubit])
        circuit.cz(first, second)
    pauli = Pauli("I" * (num_qubits - 1) + "Z").evolve(Clifford(circuit), frame="s")
    qubits = [q for q in range(num_qubits) if pauli.x[q] or pauli.z[q]]
    label = "".join(pauli.to_label().lstrip("-")[num_qubits - 1 - q] for q in qubits)
    return Case("a stabilizer", circuit, [(label, qubits, 1.0)], {}, None)


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def cuts(gates: Sequence[int], wires: Sequence[tuple[int, int]]) -> Report:
    """Return cuts: numbers of two-qubit gates; qubits, and after how many of their gates."""
    gate_cuts = tuple(GateCut(gate) for gate in gates)
    return {"cuts": Cuts(gate_cuts, tuple(WireCut(*wire) for wire in wires))}


def joined(gate: QuantumCircuit, seed: int) -> QuantumCircuit:
    """Join two blocks of two qubits by one gate of any kind."""
    circuit = entangled(4, [(0, 1), (2, 3)], seed)
    circuit.unitary(Operator(gate), [1, 2])
    return circuit.compose(entangled(4, [(0, 1), (2, 3)], seed + 1))


def weak_gate() -> QuantumCircuit:
    """Return a weakly entangling gate that is no controlled one."""
    gate = QuantumCircuit(2)
    gate.rxx(0.3, 0, 1)
    gate.ryy(0.2, 0, 1)
    gate.rzz(0.1, 0, 1)
    return gate


def strong_gate() -> QuantumCircuit:
    """Return a random two-qubit gate."""
    gate = QuantumCircuit(2)
    gate.unitary(random_unitary(4, seed=5), [0, 1])
    return gate


TWO = {"cut_labels": "AABB"}
THREE = {"cut_labels": "AABBCC"}
# Pairs of qubits that gates join, in their order.
LADDER = [(0, 1), (1, 2), (1, 2), (0, 3), (2, 3)]
MIXED = [("XX", (0, 1), 0.5), ("ZZ", (2, 3), 1.0), ("YX", (1, 2), 0.7), ("X", (5,), -0.4)]
# Pairs of qubits, too.
STAR = [(0, 3), (0, 4), (0, 5), (0, 1), (1, 2), (3, 4), (4, 5)]
# Pairs of qubits around a centre.
CENTRE = [(0, 1), (1, 2), (0, 3), (1, 4), (2, 5), (0, 1), (1, 2)]

# Pairs of qubits within the blocks.
BLOCKS_IN_A_RING = [(0, 1), (2, 3), (4, 5), (6, 7)]
RING = [*BLOCKS_IN_A_RING, (1, 2), (3, 4), (5, 6), (7, 0), *BLOCKS_IN_A_RING]

CHAIN = Case(
    "four blocks in a row, three cut gates",
    entangled(12, linked(4, 3, 1), 22),
    [("ZZZZ", (0, 4, 8, 11), 1.0)],
    {"cut_labels": "AAABBBCCCDDD"},
    None,
)
CIRCLE = Case(
    "a ring of four blocks, four cut gates",
    entangled(8, RING, 4),
    [("ZXZZ", (0, 2, 5, 7), 1.0)],
    {"cut_labels": "AABBCCDD"},
    None,
)
GHZ = Case("GHZ state", ghz(4), [("ZZ", (0, 3), 1.0)], {"cut_labels": "AABB"}, None)
STABILIZER = replace(
    stabilizer([(0, 1), (2, 3), (1, 2), (0, 1), (2, 3)], 4, 5), cuts={"cut_labels": "AABB"}
)
PARTS = Case(
    "joint samples of three parts that nothing joins",
    entangled(6, [(0, 1), (2, 3), (4, 5)], 31),
    [("ZZZZZZ", range(6), 1.0)],
    {"cut_labels": "ABCDEF"},
    1500,
    joint=True,
)

SMALL = {k: product([cos(1.4 - 0.1 * qubit) for qubit in range(k)]) for k in (3, 4, 6)}

PRODUCTS = {
    "product-3-small-100": replace(SMALL[3], shots=100),
    "product-4-small-200": replace(SMALL[4], shots=200),
    "product-6-small-200": replace(SMALL[6], shots=200),
    "product-6-small-1000": replace(SMALL[6], shots=1000),
    "product-3-half-8": product([0.5] * 3).with_shots(8),
    "product-3-half-32": product([0.5] * 3).with_shots(32),
    "product-3-half-1000": product([0.5] * 3).with_shots(1000, "linear"),
    "product-4-sure-8": product([0.97] * 4).with_shots(8),
    "product-4-sure-128": product([0.97] * 4).with_shots(128, "linear"),
    "product-4-sure-10000": product([0.97] * 4).with_shots(10_000, "linear"),
    "product-3-zero-1000": product([0.0] * 3).with_shots(1000),
    "product-5-zero-1000": product([0.0] * 5).with_shots(1000, "zeros"),
    "product-8-tenths-1000": product([0.1] * 8).with_shots(1000, "many"),
}

NETWORKS = {
    "chain-8": CHAIN.with_shots(8),
    "chain-100": CHAIN.with_shots(100),
    "chain-10000": CHAIN.with_shots(10_000, "linear"),
    "ring-100": CIRCLE.with_shots(100),
    "ring-1000": CIRCLE.with_shots(1000),
    "ghz-20": GHZ.with_shots(20),
    "ghz-1000": GHZ.with_shots(1000),
    "stabilizer-100": STABILIZER.with_shots(100),
    "joint-parts": PARTS,
    "joint-chain": replace(CHAIN, about="joint samples of a chain", shots=20_000, joint=True),
}

COVERAGE = {
    **PRODUCTS,
    **NETWORKS,
    "wire": Case(
        "a cut wire",
        entangled(3, [(0, 1), (1, 2)], 3),
        [("ZZ", (0, 2), 1.0)],
        cuts([], [(1, 1)]),
        4000,
    ),
    "gates": Case(
        "two cut gates",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
    ),
    "both": Case(
        "a cut gate and a cut wire",
        entangled(4, LADDER, 8),
        [("ZX", (0, 3), 1.0)],
        cuts([3], [(1, 1)]),
        10000,
    ),
    "general": Case(
        "a cut two-qubit gate of any kind",
        joined(strong_gate(), 4),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        20000,
    ),
    "hamiltonian": Case(
        "terms that do not commute, three subcircuits",
        entangled(6, linked(3, 2, 1), 6),
        [*MIXED, ("Z", (5,), 0.3), ("ZYY", (0, 3, 4), 0.6)],
        THREE,
        20000,
    ),
    "control": Case(
        "a port shared by three cut gates of one qubit",
        entangled(6, STAR[3:] + STAR[:3], 7, quiet=(0,)),
        [("XZX", (0, 3, 5), 1.0)],
        {"cut_labels": "AAABBB"},
        10000,
    ),
    "joint": Case(
        "joint samples of three cut gates",
        entangled(6, linked(2, 3, 3), 9),
        [("ZZ", (0, 5), 1.0), ("X", (2,), 0.5)],
        {"cut_labels": "AAABBB"},
        20000,
        {"max_variants": 20},
    ),
    "noisy": Case(
        "noise of gates and measurements, a cut gate and a cut wire",
        entangled(4, LADDER, 8),
        [("ZX", (0, 3), 1.0), ("Z", (2,), 0.5)],
        cuts([3], [(1, 1)]),
        10000,
        noisy=True,
    ),
    "precision": Case(
        "two cut gates, until a standard error is reached",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        None,
        {"target_error": 0.03},
    ),
    "precision-product": replace(SMALL[4], how={"target_error": 0.01}),
    "few": Case(
        "five subcircuits in a row, 12 shots a variant",
        entangled(15, linked(5, 3, 1), 22),
        [("ZZZZZ", (0, 4, 8, 11, 14), 1.0)],
        {"cut_labels": "AAABBBCCCDDDEEE"},
        1020,
    ),
}
"""Circuits whose error bars are held against their spread."""

ALLOCATION = {
    "weak-gates": Case(
        "two cut rzz(0.1)",
        entangled(4, linked(2, 2, 2, 0.1), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
        unequal=True,
    ),
    "weak-general": Case(
        "a cut gate of three weak angles",
        joined(weak_gate(), 4),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        20000,
        unequal=True,
    ),
    "coefficients": Case(
        "terms with coefficients from 0.02 to 2",
        entangled(6, linked(3, 2, 1), 6),
        [("Z", (0,), 2.0), ("XX", (2, 3), 0.1), ("YZ", (1, 4), 0.05), ("X", (5,), 0.02)],
        THREE,
        20000,
        unequal=True,
    ),
    "subcircuits": Case(
        "a subcircuit with three cuts, and three with one",
        entangled(6, CENTRE, 12),
        [("ZZZZ", (0, 3, 4, 5), 1.0)],
        {"cut_labels": "AAABCD"},
        20000,
        unequal=True,
    ),
    "one-cz": Case(
        "two equal halves, a cut CZ",
        entangled(4, linked(2, 2, 1), 1),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        4000,
    ),
    "two-cz": Case(
        "two equal halves, two cut CZ",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        10000,
    ),
    "one-wire": Case(
        "a cut wire",
        entangled(3, [(0, 1), (1, 2)], 3),
        [("ZZ", (0, 2), 1.0)],
        cuts([], [(1, 1)]),
        4000,
    ),
    "few-one-cz": Case(
        "two equal halves, a cut CZ, 16 shots a variant",
        entangled(4, linked(2, 2, 1), 1),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        160,
    ),
    "few-two-cz": Case(
        "two equal halves, two cut CZ, 12 shots a variant",
        entangled(4, linked(2, 2, 2), 2),
        [("ZZ", (0, 3), 1.0)],
        TWO,
        600,
    ),
}
"""Circuits on which adaptive rounds are compared with one even round."""

for _name in ("product-3-small-100", "product-6-small-200", "product-6-small-1000", "chain-100"):
    ALLOCATION[_name] = COVERAGE[_name]
