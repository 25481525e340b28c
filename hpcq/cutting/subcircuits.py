"""A circuit taken apart at its cuts: subcircuits, their ports, and the edges between them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpcq.cutting.cuts import Cuts
from hpcq.cutting.gates import PauliSum, pauli_sum

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction

PortKind = Literal["input", "output", "gate"]

PORT_MARKERS: dict[PortKind, str] = {
    "input": "input_port",
    "output": "output_port",
    "gate": "gate_port",
}
"""Name of the one-qubit placeholder that stands in a subcircuit's circuit for a port."""


@dataclass(frozen=True)
class Port:
    """Where an edge meets a subcircuit: one index of the subcircuit's tensor.

    Attributes:
        kind: ``output`` and ``input`` are the two ends of a cut wire, upstream and downstream;
            ``gate`` is one side of a cut gate.
        wire: The wire of the subcircuit that it sits on.
        dimension: Range of the index k (and of its bra twin): 2, or 4 for a general gate.
    """

    kind: PortKind
    wire: int
    dimension: int

    @property
    def qubits(self) -> int:
        """Number of qubits that carry the index in a simulation."""
        return self.dimension.bit_length() - 1

    @property
    def ancillas(self) -> int:
        """Number of those that are not wires of the subcircuit."""
        return 0 if self.kind == "output" else self.qubits


@dataclass(frozen=True, eq=False)
class Subcircuit:
    """One piece of the cut circuit.

    Attributes:
        circuit: Its gates on its own wires, with a placeholder gate (``PORT_MARKERS``, the
            port's number as parameter) wherever a port is.
        qubits: The qubit of the whole circuit that each wire is a piece of, ascending; a qubit
            whose wire is cut may appear more than once.
        ports: Its ports in the order in which they occur.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    ports: tuple[Port, ...]

    @property
    def num_qubits(self) -> int:
        """Number of wires: the width of the device that runs it."""
        return len(self.qubits)

    @property
    def tensor_dimension(self) -> int:
        """Range of the combined port index: the product of the ports' dimensions."""
        return math.prod(port.dimension for port in self.ports)

    @cached_property
    def content(self) -> str:
        """SHA-256 of gates, wires and ports: equal for subcircuits that do the same."""
        digest = hashlib.sha256(repr((self.num_qubits, self.ports)).encode())
        wire = {qubit: index for index, qubit in enumerate(self.circuit.qubits)}
        for instruction in self.circuit.data:
            operation = instruction.operation
            digest.update(f"{operation.name}{[wire[q] for q in instruction.qubits]}".encode())
            for value in operation.params:
                digest.update(np.asarray(value, dtype=complex).tobytes())
        return digest.hexdigest()

    @cached_property
    def open_wires(self) -> dict[int, int]:
        """Qubit of the whole circuit → wire, for the wires that end where the qubit ends."""
        closed = {port.wire for port in self.ports if port.kind == "output"}
        return {qubit: wire for wire, qubit in enumerate(self.qubits) if wire not in closed}


@dataclass(frozen=True)
class Edge:
    """A cut: two ports that share an index, with one weight for each of its values.

    Attributes:
        ends: The two ports as (subcircuit, port); upstream first for a wire.
        weights: ``w_k``; the joined pair of indices (k, l) carries ``w_k conj(w_l)``.
        sampling_overhead: Its factor gamma squared in a quasi-probability run.
        cut: The cut in words.
    """

    ends: tuple[tuple[int, int], tuple[int, int]]
    weights: tuple[complex, ...]
    sampling_overhead: float
    cut: str

    @property
    def dimension(self) -> int:
        """Range of the index k."""
        return len(self.weights)


@dataclass(frozen=True, eq=False)
class CutCircuit:
    """Subcircuits and the edges that join them.

    Attributes:
        num_qubits: Qubits of the whole circuit.
        cuts: Where it was cut.
        subcircuits: The pieces, by their first qubit.
        edges: One for each cut, but for gates that turn out to act on each qubit alone.
    """

    num_qubits: int
    cuts: Cuts
    subcircuits: tuple[Subcircuit, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def ends(self) -> tuple[dict[tuple[int, int], int], ...]:
        """For each subcircuit, the port where each end (edge, 0 or 1) meets it."""
        ends: tuple[dict[tuple[int, int], int], ...] = tuple({} for _ in self.subcircuits)
        for number, edge in enumerate(self.edges):
            for side, (subcircuit, port) in enumerate(edge.ends):
                ends[subcircuit][number, side] = port
        return ends

    @property
    def sampling_overhead(self) -> float:
        """The factor gamma squared of all cuts: how many times more shots a device would need."""
        return math.prod(edge.sampling_overhead for edge in self.edges)

    @property
    def log10_sampling_overhead(self) -> float:
        """Its decimal logarithm, finite for any number of cuts."""
        return math.fsum(math.log10(edge.sampling_overhead) for edge in self.edges)


def cut_circuit(circuit: QuantumCircuit, cuts: Cuts) -> CutCircuit:
    """Take a circuit apart.

    Parts that no gate joins become separate subcircuits of their own, whether a cut made them
    so or not.

    Args:
        circuit: The normalised circuit: unitary gates on one or two qubits.
        cuts: Cuts at places that the circuit has (:meth:`hpcq.cutting.cuts.Cuts.check`).
    """
    return _Cutter(circuit, cuts).result()


def subcircuit_widths(circuit: QuantumCircuit, cuts: Cuts) -> list[int]:
    """Return the subcircuits' numbers of qubits without building any; see :func:`cut_circuit`."""
    return [len(segments) for segments in _Cutter(circuit, cuts).pieces()]


def pieces(circuit: QuantumCircuit, cuts: Cuts) -> list[list[tuple[int, int]]]:
    """Return each subcircuit's segments (qubit, wire cuts before) without building any.

    Piece k is subcircuit k of :func:`cut_circuit`.
    """
    return _Cutter(circuit, cuts).pieces()


_WIRE_OVERHEAD = 16.0
"""gamma squared of a cut wire without classical communication (Peng et al., Phys. Rev. Lett. 125,
150504 (2020), and Brenner, Piveteau and Sutter, arXiv:2302.03366)."""


class _Cutter:
    """Two walks over the circuit: the first finds the pieces, the second fills them."""

    def __init__(self, circuit: QuantumCircuit, cuts: Cuts) -> None:
        self.circuit = circuit
        self.cuts = cuts
        self.cut_gates = {cut.gate for cut in cuts.gates}
        self.cut_wires = {(cut.qubit, cut.after) for cut in cuts.wires}
        index = {qubit: position for position, qubit in enumerate(circuit.qubits)}
        self.steps: list[tuple[CircuitInstruction, tuple[int, ...]]] = [
            (instruction, tuple(index[q] for q in instruction.qubits))
            for instruction in circuit.data
        ]

    def result(self) -> CutCircuit:
        builders = [_Builder(number, segments) for number, segments in enumerate(self.pieces())]
        home = {segment: builder for builder in builders for segment in builder.segments}
        edges: list[Edge] = []
        for instruction, segments, gate in self._walk():
            if gate in self.cut_gates:
                terms = pauli_sum(instruction.operation)
                first, second = (
                    home[segment].add_gate_side(segment, terms, side)
                    for side, segment in enumerate(segments)
                )
                if first and second:
                    pair = ", ".join(str(qubit) for qubit, _ in segments)
                    cut = f"gate {gate}: {instruction.name} on qubits {pair}"
                    edges.append(Edge((first, second), terms.weights, terms.sampling_overhead, cut))
            else:
                home[segments[0]].add(instruction, segments)
        segment_before: dict[int, int] = {}
        for qubit, after in sorted(self.cut_wires):
            before = (qubit, segment_before.get(qubit, 0))
            segment_before[qubit] = before[1] + 1
            behind = (qubit, before[1] + 1)
            ends = (home[before].close(before), home[behind].inputs[behind])
            cut = f"wire of qubit {qubit} after its two-qubit gate number {after}"
            edges.append(Edge(ends, (1.0, 1.0), _WIRE_OVERHEAD, cut))
        return CutCircuit(
            self.circuit.num_qubits,
            self.cuts,
            tuple(builder.result() for builder in builders),
            tuple(edges),
        )

    def _walk(self) -> Iterable[tuple[CircuitInstruction, tuple[tuple[int, int], ...], int | None]]:
        """Yield every gate with its segments (qubit, number of cuts before) and its number."""
        passed = [0] * self.circuit.num_qubits
        segment = [0] * self.circuit.num_qubits
        number = -1
        for instruction, qubits in self.steps:
            if len(qubits) == 1:
                yield instruction, ((qubits[0], segment[qubits[0]]),), None
                continue
            number += 1
            yield instruction, tuple((q, segment[q]) for q in qubits), number
            for qubit in qubits:
                passed[qubit] += 1
                if (qubit, passed[qubit]) in self.cut_wires:
                    segment[qubit] += 1

    def pieces(self) -> list[list[tuple[int, int]]]:
        """Group the segments that uncut gates join; groups and members in order."""
        parent = {(qubit, 0): (qubit, 0) for qubit in range(self.circuit.num_qubits)}

        def find(segment: tuple[int, int]) -> tuple[int, int]:
            while parent[segment] != segment:
                parent[segment] = parent[parent[segment]]
                segment = parent[segment]
            return segment

        for _, segments, gate in self._walk():
            for segment in segments:
                parent.setdefault(segment, segment)
            if gate is not None and gate not in self.cut_gates:
                roots = sorted(find(segment) for segment in segments)
                parent[roots[1]] = roots[0]
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for segment in sorted(parent):
            groups.setdefault(find(segment), []).append(segment)
        return sorted(groups.values())


class _Builder:
    """Collects the gates and ports of one subcircuit; an end is (subcircuit, port)."""

    def __init__(self, number: int, segments: list[tuple[int, int]]) -> None:
        from qiskit import QuantumCircuit

        self.number = number
        self.segments = segments
        self.wire = {segment: wire for wire, segment in enumerate(segments)}
        self.circuit = QuantumCircuit(len(segments))
        self._qubits = self.circuit.qubits
        self.ports: list[Port] = []
        self.inputs: dict[tuple[int, int], tuple[int, int]] = {}
        for segment in segments:
            if segment[1] > 0:
                self.inputs[segment] = self._add_port("input", segment, 2)

    def add(self, instruction: CircuitInstruction, segments: tuple[tuple[int, int], ...]) -> None:
        """Add an uncut gate."""
        wires = [self._qubits[self.wire[segment]] for segment in segments]
        self.circuit._append(instruction.replace(qubits=wires))

    def add_gate_side(
        self, segment: tuple[int, int], terms: PauliSum, side: int
    ) -> tuple[int, int] | None:
        """Add one side of a cut gate; return its end, or None where it needs no port."""
        self._add_u(terms.before[side], segment)
        end = None
        if terms.dimension > 1:
            end = self._add_port("gate", segment, terms.dimension)
        self._add_u(terms.after[side], segment)
        return end

    def close(self, segment: tuple[int, int]) -> tuple[int, int]:
        return self._add_port("output", segment, 2)

    def result(self) -> Subcircuit:
        return Subcircuit(
            self.circuit, tuple(qubit for qubit, _ in self.segments), tuple(self.ports)
        )

    def _add_u(self, angles: tuple[float, float, float], segment: tuple[int, int]) -> None:
        from qiskit.circuit.library import UGate

        if angles[0] or angles[1] + angles[2]:
            self.circuit.append(UGate(*angles), [self.wire[segment]], copy=False)

    def _add_port(
        self, kind: PortKind, segment: tuple[int, int], dimension: int
    ) -> tuple[int, int]:
        from qiskit.circuit import Gate

        number = len(self.ports)
        self.ports.append(Port(kind, self.wire[segment], dimension))
        self.circuit.append(Gate(PORT_MARKERS[kind], 1, [number]), [self.wire[segment]])
        return self.number, number
