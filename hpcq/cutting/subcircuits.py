"""Represent a cut circuit: subcircuits, their ports, and the edges between them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits import qpy
from hpcq.circuits.port_markers import PortKind
from hpcq.circuits.slots import slot_of
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
        wire: The wire of the subcircuit on which the port is, or on which it acts first.
        dimension: Range of the ket index k (and of the bra index l): 2, or 4 for a general gate.
        shared_with: Number of an earlier gate port of the same run, if there is one: both apply the
            same Pauli, so the tensor depends only on the sum of their indices.
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
        """Number of qubits that the port adds to the subcircuit's wires in a simulation."""
        return 0 if self.kind == "output" else self.qubits


@dataclass(frozen=True, eq=False)
class Subcircuit:
    """A connected piece of the cut circuit.

    Attributes:
        circuit: Its gates on its wires, with a placeholder gate (``PORT_MARKERS``, with the port's
            number as parameter) at each port.
        qubits: For each wire its qubit in the original circuit, ascending; a qubit whose wire is
            cut may appear more than once.
        ports: Its ports in the order in which they occur.
        cone: Number of its light cone; see :mod:`hpcq.cutting.passes.light_cones`.
    """

    circuit: QuantumCircuit
    qubits: tuple[int, ...]
    ports: tuple[Port, ...]
    cone: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # QPY is several times quicker than a circuit's own pickle: 15 times at 40,000 gates.
        # A digest that is known goes along.
        content = vars(self).get("content")
        return _unpickled, (qpy.dump(self.circuit), content, self.qubits, self.ports, self.cone)

    @property
    def num_qubits(self) -> int:
        """Number of wires."""
        return len(self.qubits)

    @property
    def tensor_dimension(self) -> int:
        """Range of the combined port index: the product of the ports' dimensions."""
        return math.prod(port.dimension for port in self.ports)

    @property
    def variants(self) -> int:
        """Number of circuits that a device runs to measure the tensor of one Pauli string.

        An output port is measured in 3 bases, an input port is prepared in 4 states, and a gate
        port of dimension d has d squared settings.
        """
        settings = {"output": 3, "input": 4}
        return math.prod(
            settings.get(port.kind, port.dimension**2)
            for port in self.ports
            if port.shared_with is None
        )

    @cached_property
    def content(self) -> str:
        """SHA-256 of gates, wires and ports; equal subcircuits have equal digests."""
        # Fingerprints in files depend on this text, in which `shared_with` is called `twin`.
        text = repr((self.num_qubits, self.ports)).replace("shared_with=", "twin=")
        digest = hashlib.sha256(text.encode())
        wire = {qubit: index for index, qubit in enumerate(self.circuit.qubits)}
        for instruction in self.circuit.data:
            operation = instruction.operation
            digest.update(f"{operation.name}{[wire[q] for q in instruction.qubits]}".encode())
            for value in operation.params:
                digest.update(np.asarray(value, dtype=complex).tobytes())
        return digest.hexdigest()

    @cached_property
    def slots(self) -> tuple[int, ...]:
        """Numbers of the slots of its gates, ascending."""
        slots = map(slot_of, self.circuit.data)
        return tuple(sorted({slot[0] for slot in slots if slot is not None}))

    @property
    def message_key(self) -> tuple[object, ...]:
        """Key by which ranks know a subcircuit that they have received before."""
        return self.content, self.qubits, self.cone

    @cached_property
    def load(self) -> Load:
        """The work of simulating its gates."""
        return Load.of(self.circuit)

    @cached_property
    def open_wires(self) -> dict[int, int]:
        """Qubit of the original circuit → wire, for the wires without an output port."""
        closed = {port.wire for port in self.ports if port.kind == "output"}
        return {qubit: wire for wire, qubit in enumerate(self.qubits) if wire not in closed}


def index_of_settings(ports: Sequence[Port]) -> NDArray[np.intp]:
    """Return the combined index of the settings for each value of the combined index of all ports.

    A port that shares the settings of another has none of its own: the index of the settings is the
    sum, bit by bit, of those of all such ports. In combined indices the first port is the slowest
    digit.
    """
    indices = np.indices([port.dimension for port in ports], sparse=True)
    of_settings = {
        number: indices[number] for number, port in enumerate(ports) if port.shared_with is None
    }
    for number, port in enumerate(ports):
        if port.shared_with is not None:
            of_settings[port.shared_with] = of_settings[port.shared_with] ^ indices[number]
    combined = np.zeros([port.dimension for port in ports], dtype=np.intp)
    for number, index in of_settings.items():
        combined = combined * ports[number].dimension + index
    return combined.reshape(-1)


def _unpickled(circuit: bytes, content: str | None, *fields: Any) -> Subcircuit:
    subcircuit = Subcircuit(qpy.load(circuit, "subcircuit")[0], *fields)
    if content is not None:
        vars(subcircuit)["content"] = content
    return subcircuit


@dataclass(frozen=True)
class Edge:
    """A pair of ports that a cut, or several cuts that share ports, join into one index.

    Attributes:
        ends: The two ports as (subcircuit, port). For a wire the upstream port comes first, for
            several gates the port on the side of their run.
        weights: ``w_k``; the pair of indices (k, l) has the weight ``w_k conj(w_l)``.
        sampling_overhead: Its factor gamma squared if every gate is cut separately in a
            quasi-probability run.
        cut: Description of the cut, for messages.
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
        cuts: The cuts.
        subcircuits: The subcircuits, sorted by their first qubit.
        edges: One for each cut, or for each set of gates that share one; none for a cut gate that
            is a product of one-qubit gates.
    """

    num_qubits: int
    cuts: Cuts
    subcircuits: tuple[Subcircuit, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def ends(self) -> tuple[dict[tuple[int, int], int], ...]:
        """For each subcircuit its ports, by edge and side: (edge, 0 or 1) → port."""
        ends: tuple[dict[tuple[int, int], int], ...] = tuple({} for _ in self.subcircuits)
        for number, edge in enumerate(self.edges):
            for side, (subcircuit, port) in enumerate(edge.ends):
                ends[subcircuit][number, side] = port
        return ends

    @property
    def sampling_overhead(self) -> float:
        """Sampling overhead gamma squared of all cuts: by how much more shots a device needs.

        Light cones run one by one, so it is the largest of theirs.
        """
        return max(math.prod(factors) for factors in self._overheads)

    @property
    def log10_sampling_overhead(self) -> float:
        """Decimal logarithm of the sampling overhead, finite for any number of cuts."""
        return max(math.fsum(map(math.log10, factors)) for factors in self._overheads)

    @cached_property
    def _overheads(self) -> list[list[float]]:
        """The sampling overheads of the edges, by light cone."""
        factors: dict[int, list[float]] = {0: []}
        for edge in self.edges:
            cone = self.subcircuits[edge.ends[0][0]].cone
            factors.setdefault(cone, []).append(edge.sampling_overhead)
        return list(factors.values())
