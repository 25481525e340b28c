"""Divide a circuit into subcircuits at its cuts.

A run is a row of gates that commute on a wire (:mod:`hpcq.cutting.analysis`). Cut gates of one run
become one edge if they lead to the same other subcircuit. With z the eigenvalue index of the run's
Pauli, each gate g is ``sum_z |z><z| (x) D_g(z)``, so all of them together are
``sum_k Z^k (x) 1/2 sum_z (-1)^(kz) D(z)``, where D(z) is the product of the D_g(z). The edge has
one gate port on the run's side and one control port, an ancilla in place of the run's qubit, on
the other side. A cut gate whose angle is a slot always has such an edge, if need be one of its own:
the angle is then that of a gate in the other subcircuit, and no weight depends on it.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import rustworkx
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Gate
from qiskit.circuit.library import UGate

from hpcq.circuits.port_markers import PORT_MARKERS, PortKind
from hpcq.circuits.slots import Slot, generic_angle, slot_label, slot_of
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.port_sharing import minimum_vertex_cover
from hpcq.cutting.subcircuits import CutCircuit, Edge, Port, Subcircuit

Segment = tuple[int, int]
"""A segment of a wire: its qubit, and the number of that qubit's wire cuts before it."""

End = tuple[int, int]
"""A port, as (subcircuit, port)."""

WIRE_OVERHEAD = 16.0
"""gamma squared of a cut wire without classical communication (Peng et al., Phys. Rev. Lett. 125,
150504 (2020), and Brenner, Piveteau and Sutter, arXiv:2302.03366)."""


def cut_circuit(
    circuit: QuantumCircuit | CircuitAnalysis,
    cuts: Cuts,
    labels: Sequence[tuple[int, int]] | None = None,
    *,
    share_ancillas: bool = True,
    shared_above: float = 0.0,
) -> CutCircuit:
    """Return a circuit divided into subcircuits at its cuts.

    Parts that no gate joins become separate subcircuits, whether a cut separated them or not.

    Args:
        circuit: The circuit, or its analysis: unitary gates on one or two qubits.
        cuts: Cuts that the circuit has positions for (:meth:`hpcq.cutting.cuts.Cuts.check`).
        labels: For each qubit of the circuit, its light cone and its qubit in the original circuit;
            by default cone 0 and the qubit itself.
        share_ancillas: Whether gate ports of one run that belong to different edges share an
            ancilla.
        shared_above: Gates that can share an edge do so if their sampling overhead (gamma squared)
            would be larger than this when cut one by one.
    """
    analysis = circuit if isinstance(circuit, CircuitAnalysis) else CircuitAnalysis(circuit)
    labels = labels or [(0, q) for q in range(analysis.num_qubits)]
    return _Cutter(
        analysis, cuts, labels, share_ancillas=share_ancillas, shared_above=shared_above
    ).result()


def subcircuit_segments(
    circuit: QuantumCircuit | CircuitAnalysis, cuts: Cuts
) -> list[list[Segment]]:
    """Return the wire segments of each subcircuit, without building the subcircuits."""
    analysis = circuit if isinstance(circuit, CircuitAnalysis) else CircuitAnalysis(circuit)
    return _Cutter(analysis, cuts, ()).segments()


def subcircuit_gates(
    analysis: CircuitAnalysis, cuts: Cuts
) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return each subcircuit's number of wires and the wires of its uncut gates, in order."""
    cutter = _Cutter(analysis, cuts, ())
    pieces = cutter.segments()
    wire_of = {
        segment: (number, wire)
        for number, piece in enumerate(pieces)
        for wire, segment in enumerate(piece)
    }
    gates: list[list[tuple[int, int]]] = [[] for _ in pieces]
    for _, segments, gate in cutter._walk():
        if gate is not None and gate not in cutter.cut_gates:
            (number, a), (_, b) = wire_of[segments[0]], wire_of[segments[1]]
            gates[number].append((a, b))
    return [(len(piece), pairs) for piece, pairs in zip(pieces, gates, strict=True)]


class _Cutter:
    """Walks twice over the circuit: first to find the subcircuits' segments, then to fill them."""

    def __init__(
        self,
        analysis: CircuitAnalysis,
        cuts: Cuts,
        labels: Sequence[tuple[int, int]],
        *,
        share_ancillas: bool = True,
        shared_above: float = 0.0,
    ) -> None:
        self.analysis, self.cuts, self.labels = analysis, cuts, labels
        self.share_ancillas, self.shared_above = share_ancillas, shared_above
        self.cut_gates = {cut.gate for cut in cuts.gates}
        self.cut_wires = {(cut.qubit, cut.after) for cut in cuts.wires}
        self.edges: list[Edge] = []
        self.controls: dict[int, int] = {}

    def result(self) -> CutCircuit:
        builders = [_Builder(k, piece, self.labels) for k, piece in enumerate(self.segments())]
        self.builder_of = {segment: b for b in builders for segment in b.wire}
        groups = self._groups()
        for instruction, segments, gate in self._walk():
            if gate is None or gate not in self.cut_gates:
                self.builder_of[segments[0]].add(instruction, segments)
            elif gate in groups:
                self._share(gate, *groups[gate], segments)
            else:
                self._cut(gate, segments)
        self._cut_wires()
        pieces = tuple(builder.result() for builder in builders)
        return CutCircuit(self.analysis.num_qubits, self.cuts, pieces, tuple(self.edges))

    def segments(self) -> list[list[Segment]]:
        """Return the segments that uncut gates join, in groups; groups and members are sorted."""
        number_of = {(qubit, 0): qubit for qubit in range(self.analysis.num_qubits)}
        joined = set()
        for _, segments, gate in self._walk():
            numbers = [number_of.setdefault(segment, len(number_of)) for segment in segments]
            if gate is not None and gate not in self.cut_gates:
                joined.add((numbers[0], numbers[1]))
        graph = rustworkx.PyGraph()
        graph.add_nodes_from(list(number_of))
        graph.add_edges_from_no_data(list(joined))
        components = rustworkx.connected_components(graph)
        return sorted(sorted(graph[number] for number in group) for group in components)

    def _walk(self) -> Iterator[tuple[CircuitInstruction, tuple[Segment, ...], int | None]]:
        """Yield every gate with its segments, and its number if it acts on two qubits."""
        passed = [0] * self.analysis.num_qubits
        segment = [0] * self.analysis.num_qubits
        number = -1
        for instruction, qubits in self.analysis.steps:
            if len(qubits) == 1:
                yield instruction, ((qubits[0], segment[qubits[0]]),), None
                continue
            number += 1
            yield instruction, tuple([(q, segment[q]) for q in qubits]), number
            for qubit in qubits:
                passed[qubit] += 1
                if (qubit, passed[qubit]) in self.cut_wires:
                    segment[qubit] += 1

    def _groups(self) -> dict[int, tuple[list[int], int]]:
        """For each cut gate that shares an edge, return the edge's gates and the run's side."""
        slots = self._cut_slots
        if len(self.cut_gates) < 2 and not slots:
            return {}
        groups: dict[int, tuple[list[int], int]] = {}
        between: dict[tuple[int, int], dict[int, tuple[object, object]]] = {}
        flipped = {}
        for _, segments, gate in self._walk():
            if gate is None or gate not in self.cut_gates or self.analysis.runs[gate] is None:
                continue
            runs = self.analysis.runs[gate] or ()
            ends = [
                (self.builder_of[segment].number, (run, segment))
                for segment, (run, _) in zip(segments, runs, strict=True)
            ]
            if ends[0][0] == ends[1][0]:
                if gate in slots:
                    groups[gate] = ([gate], 0)
                continue
            flipped[gate] = ends[0][0] > ends[1][0]
            (a, left), (b, right) = sorted(ends)
            between.setdefault((a, b), {})[gate] = (left, right)
        for gates in between.values():
            members: dict[object, list[int]] = {}
            run_sides = minimum_vertex_cover(gates)
            for gate, side in run_sides.items():
                members.setdefault((side, gates[gate][side]), []).append(gate)
            for gate, side in run_sides.items():
                shared = members[side, gates[gate][side]]
                overhead = math.prod(self.analysis.sums[g].sampling_overhead for g in shared)
                if len(shared) > 1 and overhead > self.shared_above:
                    groups[gate] = (shared, side ^ flipped[gate])
                elif gate in slots:
                    groups[gate] = ([gate], side ^ flipped[gate])
        return groups

    @cached_property
    def _cut_slots(self) -> dict[int, Slot]:
        """The slots of the cut gates that have one."""
        gates = (i for i, qubits in self.analysis.steps if len(qubits) == 2)
        slots = {g: slot_of(each) for g, each in enumerate(gates) if g in self.cut_gates}
        return {gate: slot for gate, slot in slots.items() if slot is not None}

    def _cut(self, gate: int, segments: tuple[Segment, ...]) -> None:
        """Cut one gate: add a gate port on either side."""
        terms = self.analysis.sums[gate]
        ends, sign = [], 1
        for side, segment in enumerate(segments):
            builder = self.builder_of[segment]
            builder.add_u(terms.before[side], segment)
            if terms.dimension > 1:
                run = self._run(gate, side, gate)
                number, port_sign = builder.gate_port(segment, terms.dimension, run)
                ends.append((builder.number, number))
                sign *= port_sign
            builder.add_u(terms.after[side], segment)
        if ends:
            weights = terms.weights if sign > 0 else (terms.weights[0], -terms.weights[1])
            self._add_edge((ends[0], ends[1]), weights, [gate])

    def _share(
        self, gate: int, members: list[int], run_side: int, segments: Sequence[Segment]
    ) -> None:
        """Cut one of several gates that share an edge; the first of them adds the two ports."""
        terms, run = self.analysis.sums[gate], self._run(gate, run_side, members[0])
        assert run is not None, "only gates of dimension 2 share edges"
        run_segment, control_segment = segments[run_side], segments[1 - run_side]
        run_builder = self.builder_of[run_segment]
        control_builder = self.builder_of[control_segment]
        run_builder.add_u(terms.before[run_side], run_segment)
        if gate == members[0]:
            number, _ = run_builder.gate_port(run_segment, 2, run)
            control = control_builder.add_port("control", control_segment, 2)
            self.controls[gate] = control[1]
            self._add_edge(((run_builder.number, number), control), (1.0, 1.0), members)
        run_builder.add_u(terms.after[run_side], run_segment)
        identity, pauli = terms.weights
        pauli *= run_builder.sign(run_segment, run)
        angle, label = cmath.phase((identity - pauli) / (identity + pauli)), None
        if gate in self._cut_slots:
            slot, sign = self._cut_slots[gate]
            sign *= run_builder.sign(run_segment, run)
            angle, label = sign * generic_angle(slot), slot_label((slot, sign))
        control_builder.add_u(terms.before[1 - run_side], control_segment)
        port = self.controls[members[0]]
        control_builder.add_marker("control", port, control_segment, angle, label=label)
        control_builder.add_u(terms.after[1 - run_side], control_segment)

    def _run(self, gate: int, side: int, group: int) -> tuple[tuple[int, int], int] | None:
        """Return the run of one side of a gate, and the sign of the gate's Pauli in it; or None.

        Without shared ancillas, every group of gates that share an edge is a separate run.
        """
        runs = self.analysis.runs[gate]
        if runs is None:
            return None
        run, sign = runs[side]
        return (run, -1 if self.share_ancillas else group), sign

    def _cut_wires(self) -> None:
        segment_before: dict[int, int] = {}
        for qubit, after in sorted(self.cut_wires):
            before = (qubit, segment_before.get(qubit, 0))
            following = (qubit, before[1] + 1)
            segment_before[qubit] = following[1]
            ends = (
                self.builder_of[before].add_port("output", before, 2, mark=True),
                self.builder_of[following].inputs[following],
            )
            original, gate = self.analysis.original_position(qubit, after)
            cut = f"wire of qubit {original} after its two-qubit gate number {gate}"
            self.edges.append(Edge(ends, (1.0, 1.0), WIRE_OVERHEAD, cut))

    def _add_edge(
        self, ends: tuple[End, End], weights: tuple[complex, ...], gates: list[int]
    ) -> None:
        overhead = math.prod(self.analysis.sums[gate].sampling_overhead for gate in gates)
        names = []
        for gate in gates:
            a, b = (self.labels[qubit][1] for qubit in self.analysis.pairs[gate])
            names.append(f"{self.analysis.names[gate]} on qubits {a}, {b}")
        noun = "gate" if len(gates) == 1 else f"{len(gates)} gates through one port"
        self.edges.append(Edge(ends, weights, overhead, f"{noun} {'; '.join(names)}"))


class _Builder:
    """Collects the gates and ports of one subcircuit."""

    def __init__(
        self, number: int, segments: list[Segment], labels: Sequence[tuple[int, int]]
    ) -> None:
        self.number = number
        self.wire = {segment: wire for wire, segment in enumerate(segments)}
        self.cone = labels[segments[0][0]][0]
        self.labels = tuple(labels[qubit][1] for qubit, _ in segments)
        self.circuit = QuantumCircuit(len(segments))
        self._qubits = self.circuit.qubits
        self.ports: list[Port] = []
        self._run_ports: dict[tuple[tuple[int, int], Segment], tuple[int, int]] = {}
        self.inputs: dict[Segment, End] = {}
        for segment in segments:
            if segment[1] > 0:
                self.inputs[segment] = self.add_port("input", segment, 2, mark=True)

    def add(self, instruction: CircuitInstruction, segments: tuple[Segment, ...]) -> None:
        """Add an uncut gate."""
        wires = [self._qubits[self.wire[segment]] for segment in segments]
        self.circuit._append(instruction.replace(qubits=wires))

    def add_u(self, angles: tuple[float, float, float], segment: Segment) -> None:
        """Add a one-qubit gate, unless it does nothing."""
        if angles[0] or angles[1] + angles[2]:
            self.circuit.append(UGate(*angles), [self.wire[segment]], copy=False)

    def gate_port(
        self, segment: Segment, dimension: int, run: tuple[tuple[int, int], int] | None
    ) -> tuple[int, int]:
        """Add the port on one side of a cut gate.

        Returns:
            The port's number, and the sign of the gate's Pauli relative to that of the run's first
            port here.
        """
        first_port = None if run is None else self._run_ports.get((run[0], segment))
        if first_port is not None and run is not None:
            self.add_port("gate", segment, dimension, shared_with=first_port[0])
            return len(self.ports) - 1, first_port[1] * run[1]
        _, number = self.add_port("gate", segment, dimension, mark=True)
        if run is not None:
            self._run_ports[run[0], segment] = (number, run[1])
        return number, 1

    def sign(self, segment: Segment, run: tuple[tuple[int, int], int]) -> int:
        """Return the sign of a gate's Pauli relative to that of its run's first port."""
        return self._run_ports[run[0], segment][1] * run[1]

    def add_port(
        self,
        kind: PortKind,
        segment: Segment,
        dimension: int,
        *,
        shared_with: int | None = None,
        mark: bool = False,
    ) -> End:
        """Add and return a port; with ``mark``, add its placeholder at this point of the wire."""
        number = len(self.ports)
        self.ports.append(Port(kind, self.wire[segment], dimension, shared_with))
        if mark:
            self.add_marker(kind, number, segment)
        return self.number, number

    def add_marker(
        self, kind: PortKind, port: int, segment: Segment, *angles: float, label: str | None = None
    ) -> None:
        """Add the placeholder of a port; the label is that of a slot."""
        marker = Gate(PORT_MARKERS[kind], 1, [port, *angles], label)
        self.circuit.append(marker, [self.wire[segment]])

    def result(self) -> Subcircuit:
        return Subcircuit(self.circuit, self.labels, tuple(self.ports), self.cone)
