"""A circuit taken apart at its cuts: subcircuits, their ports, and the edges between them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcq.circuits import qpy
from hpcq.circuits.port_markers import PortKind
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.simulation_load import Load

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


@dataclass(frozen=True)
class Port:
    """Where an edge meets a subcircuit: one index of the subcircuit's tensor.

    Attributes:
        kind: ``output`` and ``input`` are the two ends of a cut wire, upstream and downstream;
            ``gate`` is one side of a cut gate; ``control`` stands for a qubit of another
            subcircuit that acts here through several gates.
        wire: The wire of the subcircuit that it sits on, or acts on first.
        dimension: Range of the index k (and of its bra twin): 2, or 4 for a general gate.
        shared_with: An earlier gate port of the same run, if there is one: the two apply the same
            Pauli, so the tensor depends on the sum of their indices only.
    """

    kind: PortKind
    wire: int
    dimension: int
    shared_with: int | None = None

    @property
    def qubits(self) -> int:
        """Number of qubits that carry the index in a simulation."""
        return 0 if self.shared_with is not None else self.dimension.bit_length() - 1

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
        cone: The light cone that it belongs to; see :mod:`hpcq.cutting.passes.light_cones`.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    ports: tuple[Port, ...]
    cone: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # QPY is several times quicker than a circuit's own pickle: 15 times at 40,000 gates.
        return _unpickled, (qpy.dump(self.circuit), self.qubits, self.ports, self.cone)

    @property
    def num_qubits(self) -> int:
        """Number of wires: the width of the device that runs it."""
        return len(self.qubits)

    @property
    def tensor_dimension(self) -> int:
        """Range of the combined port index: the product of the ports' dimensions."""
        return math.prod(port.dimension for port in self.ports)

    @property
    def variants(self) -> int:
        """Number of circuits that a device would run to learn the tensor of one Pauli string.

        An output port is measured in 3 bases, an input port prepared in 4 states; either side of
        a cut gate of dimension d takes d squared settings.
        """
        settings = {"output": 3, "input": 4}
        return math.prod(
            settings.get(port.kind, port.dimension**2)
            for port in self.ports
            if port.shared_with is None
        )

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
    def load(self) -> Load:
        """How much work its gates are to simulate."""
        return Load.of(self.circuit)

    @cached_property
    def open_wires(self) -> dict[int, int]:
        """Qubit of the whole circuit → wire, for the wires that end where the qubit ends."""
        closed = {port.wire for port in self.ports if port.kind == "output"}
        return {qubit: wire for wire, qubit in enumerate(self.qubits) if wire not in closed}


def _unpickled(circuit: bytes, *rest: Any) -> Subcircuit:
    return Subcircuit(qpy.load(circuit, "subcircuit")[0], *rest)


@dataclass(frozen=True)
class Edge:
    """A cut, or several that share it: two ports of one index, a weight for each of its values.

    Attributes:
        ends: The two ports as (subcircuit, port); upstream first for a wire, and the control's
            side first for several gates.
        weights: ``w_k``; the joined pair of indices (k, l) carries ``w_k conj(w_l)``.
        sampling_overhead: Its factor gamma squared in a quasi-probability run that cuts every
            gate for itself.
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
        num_qubits: Qubits of the circuit that was cut.
        cuts: Where it was cut.
        subcircuits: The pieces, by their first qubit.
        edges: One for each cut or set of gates that share one, but for gates that turn out to act
            on each qubit alone.
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
        """The factor gamma squared of all cuts: how many times more shots a device would need.

        Light cones are run one by one, so it is that of the worst of them.
        """
        return max(math.prod(own) for own in self._overheads)

    @property
    def log10_sampling_overhead(self) -> float:
        """Its decimal logarithm, finite for any number of cuts."""
        return max(math.fsum(map(math.log10, own)) for own in self._overheads)

    @cached_property
    def _overheads(self) -> list[list[float]]:
        """The edges' factors, by light cone."""
        factors: dict[int, list[float]] = {0: []}
        for edge in self.edges:
            cone = self.subcircuits[edge.ends[0][0]].cone
            factors.setdefault(cone, []).append(edge.sampling_overhead)
        return list(factors.values())
