"""Physics on lattices: kicked Ising, Trotter steps of spin chains, surface codes."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

from circuits import heavy_hex_edges

from .entry import Edges

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

EAGLE = heavy_hex_edges(7, 15)
"""Couplings of a heavy-hex lattice of 127 qubits."""


def kicked_ising(edges: Edges, steps: int, angle: float) -> QuantumCircuit:
    """Trotter steps of the kicked Ising model (Kim et al., Nature 618, 500 (2023)).

    ``angle`` is that of the kicks, in radians; multiples of pi/2 make a Clifford circuit.
    """
    from qiskit import QuantumCircuit

    edges = list(edges)
    num_qubits = 1 + max(map(max, edges))
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        circuit.rx(angle, range(num_qubits))
        for a, b in edges:
            circuit.rzz(-pi / 2, a, b)
    return circuit


def ising(num_qubits: int, edges: Edges, steps: int, step: float = 0.2) -> QuantumCircuit:
    """Trotter steps of a transverse-field Ising model from the state of all qubits in 0."""
    from qiskit import QuantumCircuit

    edges = list(edges)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        for a, b in edges:
            circuit.rzz(-2 * step, a, b)
        circuit.rx(-1.8 * step, range(num_qubits))
    return circuit


def heisenberg(num_qubits: int, edges: Edges, steps: int, step: float = 0.15) -> QuantumCircuit:
    """Trotter steps of a Heisenberg model from the Néel state."""
    from qiskit import QuantumCircuit

    edges = list(edges)
    circuit = QuantumCircuit(num_qubits)
    circuit.x(range(1, num_qubits, 2))
    for _ in range(steps):
        for a, b in edges:
            circuit.rxx(2 * step, a, b)
            circuit.ryy(2 * step, a, b)
            circuit.rzz(2 * step, a, b)
    return circuit


def surface_stabilizers(distance: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return the (letter, qubits) of the stabilizers of a rotated surface code, and logical Z.

    Data qubits are numbered row by row. ``distance`` is odd.
    """
    found = []
    for row in range(distance + 1):
        for column in range(distance + 1):
            corners = [(row - 1, column - 1), (row - 1, column), (row, column - 1), (row, column)]
            inside = [
                r * distance + c for r, c in corners if 0 <= r < distance and 0 <= c < distance
            ]
            letter = "XZ"[(row + column) % 2]
            # Pairs at the border: X above and below, Z on the left and right.
            at_border = row in (0, distance), column in (0, distance)
            if len(inside) == 4 or (len(inside) == 2 and letter == "XZ"[at_border[1]]):
                found.append((letter, tuple(inside)))
    return [*found, ("Z", tuple(range(distance)))]


def surface_code(distance: int, kick: float = 0.0, kicked: int = 0) -> QuantumCircuit:
    """Prepare logical 0 of a rotated surface code, and turn some of its qubits about X.

    Args:
        distance: An odd number; there are ``distance`` squared qubits.
        kick: Angle of the coherent error, in radians.
        kicked: Number of qubits that it hits.
    """
    from qiskit.quantum_info import Pauli
    from qiskit.synthesis import synth_circuit_from_stabilizers

    num_qubits = distance**2
    generators = []
    for letter, qubits in surface_stabilizers(distance):
        letters = ["I"] * num_qubits
        for qubit in qubits:
            letters[num_qubits - 1 - qubit] = letter
        generators.append(Pauli("".join(letters)).to_label())
    circuit = synth_circuit_from_stabilizers(generators)
    for place in range(kicked):
        circuit.rx(kick, place * num_qubits // kicked)
    return circuit
