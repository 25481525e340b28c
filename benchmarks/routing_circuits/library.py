"""Circuits of Qiskit's library, written in gates that every simulator knows."""

from __future__ import annotations

import random
from math import pi
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

BASIS = (
    *("x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rx", "ry", "rz", "p", "u"),
    *("cx", "cy", "cz", "ch", "cp", "crx", "cry", "crz", "rxx", "ryy", "rzz", "swap", "ccx"),
)
"""Names of the gates that circuits of the library are written in."""


def plain(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return the circuit in the gates of ``BASIS``, not optimised."""
    from qiskit import transpile

    return transpile(circuit, basis_gates=list(BASIS), optimization_level=0)


def with_angles(circuit: QuantumCircuit, seed: int, size: float = pi) -> QuantumCircuit:
    """Bind all free parameters to random angles of at most ``size`` radians."""
    rng = random.Random(seed)
    angles = [rng.uniform(-size, size) for _ in circuit.parameters]
    return plain(circuit.assign_parameters(angles))


def ansatz(name: str, num_qubits: int, reps: int, seed: int, **options: Any) -> QuantumCircuit:
    """Build a parametrised circuit, such as ``efficient_su2``, with random angles."""
    from qiskit.circuit import library

    return with_angles(getattr(library, name)(num_qubits, reps=reps, **options), seed)


def feature_map(name: str, num_qubits: int, reps: int, seed: int, **options: Any) -> QuantumCircuit:
    """Build a feature map, such as ``zz_feature_map``, of random data."""
    from qiskit.circuit import library

    return with_angles(getattr(library, name)(num_qubits, reps, **options), seed, 1.0)


def two_local(num_qubits: int, reps: int, seed: int, pairs: str) -> QuantumCircuit:
    """Alternate RY and RZ on every qubit with CRX; ``pairs`` is the name of a pattern."""
    from qiskit.circuit.library import n_local

    return with_angles(n_local(num_qubits, ["ry", "rz"], "crx", pairs, reps), seed)


def quantum_volume(num_qubits: int, depth: int, seed: int) -> QuantumCircuit:
    from qiskit.circuit import library

    return plain(library.quantum_volume(num_qubits, depth, seed=seed).decompose())


def iqp(num_qubits: int, seed: int) -> QuantumCircuit:
    """Draw commuting phases on all qubits and pairs, between two layers of H."""
    from qiskit.circuit.library import random_iqp

    return plain(random_iqp(num_qubits, seed=seed))


def phase_estimation(num_evaluation_qubits: int, angle: float) -> QuantumCircuit:
    """Estimate the phase of P(2 pi angle), whose eigenstate is on the last qubit."""
    from qiskit import QuantumCircuit
    from qiskit.synthesis import synth_qft_full

    count = num_evaluation_qubits
    circuit = QuantumCircuit(count + 1)
    circuit.x(count)
    circuit.h(range(count))
    for qubit in range(count):
        circuit.cp(2 * pi * (angle * 2**qubit % 1), qubit, count)
    return plain(circuit.compose(synth_qft_full(count, inverse=True), range(count)))


def grover(num_qubits: int, rounds: int, marked: int) -> QuantumCircuit:
    """Search for one marked outcome of all qubits."""
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import grover_operator

    oracle = QuantumCircuit(num_qubits)
    zeros = [qubit for qubit in range(num_qubits) if not marked >> qubit & 1]
    oracle.x(zeros)
    oracle.h(num_qubits - 1)
    oracle.mcx(list(range(num_qubits - 1)), num_qubits - 1)
    oracle.h(num_qubits - 1)
    oracle.x(zeros)
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for _ in range(rounds):
        circuit.compose(grover_operator(oracle), inplace=True)
    return plain(circuit)


def graph_state(num_qubits: int, seed: int, chords: int) -> QuantumCircuit:
    """Build the graph state of a ring with random chords."""
    from qiskit import QuantumCircuit

    rng = random.Random(seed)
    edges = {(qubit, (qubit + 1) % num_qubits) for qubit in range(num_qubits)}
    while len(edges) < num_qubits + chords:
        edges.add(tuple(sorted(rng.sample(range(num_qubits), 2))))  # type: ignore[arg-type]
    circuit = QuantumCircuit(num_qubits)
    circuit.h(range(num_qubits))
    for edge in sorted(edges):
        circuit.cz(*edge)
    return circuit


def fourier(num_qubits: int, reach: int | None = None) -> QuantumCircuit:
    """Transform a product state; phases of qubits ``reach`` or more apart are left out."""
    from qiskit import QuantumCircuit
    from qiskit.synthesis import synth_qft_full

    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.1 * qubit, qubit)
    dropped = 0 if reach is None else max(0, num_qubits - 1 - reach)
    return plain(
        circuit.compose(synth_qft_full(num_qubits, approximation_degree=dropped, do_swaps=False))
    )


def multiplier(bits: int) -> QuantumCircuit:
    """Multiply two superposed numbers."""
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import MultiplierGate

    circuit = QuantumCircuit(4 * bits)
    for qubit in range(2 * bits):
        circuit.ry(0.3 + 0.2 * qubit, qubit)
    circuit.append(MultiplierGate(bits), range(4 * bits))
    return plain(circuit)


def weighted_sum(weights: list[int]) -> QuantumCircuit:
    """Add the weights of the superposed qubits that are 1."""
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import WeightedSumGate

    gate = WeightedSumGate(len(weights), weights)
    circuit = QuantumCircuit(gate.num_qubits + 4)  # the synthesis needs clean qubits for carries
    for qubit in range(len(weights)):
        circuit.ry(0.4 + 0.3 * qubit, qubit)
    circuit.append(gate, range(gate.num_qubits))
    return plain(circuit)


def random_small(num_qubits: int, depth: int, seed: int) -> QuantumCircuit:
    """Draw standard gates on one to three qubits."""
    from qiskit.circuit.random import random_circuit

    return plain(random_circuit(num_qubits, depth, max_operands=3, seed=seed))
