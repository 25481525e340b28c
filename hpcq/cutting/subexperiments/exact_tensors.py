"""Exact tensors: a subcircuit's ports opened as ancillas, or sliced where memory is short.

With every port on qubits of its own, one simulation gives psi[p, rest], and the tensor of a
Pauli string O is ``R[p, p'] = sum_rest (O psi)[p, rest] conj(psi[p', rest])``. A sliced port
takes no ancilla: each of its values k is a simulation of its own (a branch), and the tensor is
filled block by block from pairs of branches.

A control port is opened as the absent control itself, in |+> and turned by H at the end, and sliced
by the control's values z, with the same turn done on the tensor. A twin port has no qubit at all:
its index adds to that of its twin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.cutting.gate_decompositions import PAULI_BASIS
from hpcq.cutting.subcircuits import Port, Subcircuit
from hpcq.cutting.subexperiments.pauli_products import pauli_products

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Qubit

Simulate = Callable[["QuantumCircuit"], NDArray[np.complexfloating]]
"""Runs a circuit from |0...0> and returns its 2**n amplitudes, qubit 0 the lowest bit."""

_PAULI_U_ANGLES = {
    "I": (0.0, 0.0, 0.0),
    "Z": (0.0, 0.0, np.pi),
    "X": (np.pi, 0.0, np.pi),
    "Y": (np.pi, np.pi / 2, np.pi / 2),
}
_MARKER_NAMES = frozenset(PORT_MARKERS.values())


@dataclass(frozen=True, eq=False)
class ExactTensor:
    """How one subcircuit's tensors are computed.

    Attributes:
        subcircuit: The subcircuit.
        strings: The Pauli strings on its wires (those without an output port) that are asked for.
        sliced: Numbers of the input and gate ports that are sliced.
    """

    subcircuit: Subcircuit
    strings: tuple[PauliString, ...]
    sliced: tuple[int, ...] = ()

    @cached_property
    def open_ports(self) -> tuple[int, ...]:
        """Numbers of the ports that are not sliced and no twins."""
        ports = self.subcircuit.ports
        return tuple(
            p for p, port in enumerate(ports) if port.shared_with is None and p not in self.sliced
        )

    @property
    def num_branches(self) -> int:
        """Number of combinations of values of the sliced ports."""
        return math.prod(self._dimensions(self.sliced))

    @property
    def num_tasks(self) -> int:
        """Number of pairs of branches (i >= j; the others follow by conjugation)."""
        return self.num_branches * (self.num_branches + 1) // 2

    @property
    def simulated_qubits(self) -> int:
        """Width of one simulation: wires and the ancillas of the open ports."""
        ports = self.subcircuit.ports
        return self.subcircuit.num_qubits + sum(ports[p].ancillas for p in self.open_ports)

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """Shape of what one task returns: (strings, D, D) over the open ports' values."""
        open_dimension = math.prod(self._dimensions(self.open_ports))
        return (len(self.strings), open_dimension, open_dimension)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the tensors: (strings, D, D), D the combined index of all ports.

        The first port is the slowest digit of the combined index; the second axis is the ket
        index p, the third the bra index p'.
        """
        dimension = self.subcircuit.tensor_dimension
        return (len(self.strings), dimension, dimension)

    def compute(self, task: int, simulate: Simulate, threads: int = 1) -> NDArray[np.complex128]:
        """Compute one block: the Pauli products of one pair of branches.

        Args:
            task: 0 to ``num_tasks - 1``.
            simulate: The engine.
            threads: Threads of the products.

        Returns:
            Array of ``block_shape``.
        """
        i, j = self.branches(task)
        ket = self.states(i, simulate)
        return self.products(ket, ket if i == j else self.states(j, simulate), threads)

    def branches(self, task: int) -> tuple[int, int]:
        """Return the pair of branches i >= j that a task multiplies."""
        return _pair(task)

    def states(self, branch: int, simulate: Simulate) -> NDArray[np.complexfloating]:
        """Simulate one branch; shape (values of the open ports, all else)."""
        return simulate(self.circuit(branch)).reshape(self.block_shape[1], -1)

    def products(
        self,
        ket: NDArray[np.complexfloating],
        bra: NDArray[np.complexfloating],
        threads: int = 1,
    ) -> NDArray[np.complex128]:
        """Multiply the states of two branches for every string; they may be the same array."""
        ports = [self.subcircuit.ports[p] for p in self.open_ports]
        scale = 2.0 ** sum(port.ancillas for port in ports if port.kind != "control")
        products = pauli_products(ket, bra, self._placed_strings, threads)
        products *= scale
        return products

    def describe(self, task: int) -> str:
        """Return in words which variants a task computes."""
        if not self.sliced:
            return "all variants"
        pair = " with ".join(str(self.branch_values(own)) for own in dict.fromkeys(_pair(task)))
        return f"values of ports {list(self.sliced)}: {pair}"

    def branch_values(self, branch: int) -> list[int]:
        """Return the values of the sliced ports in a branch."""
        return _digits(branch, self._dimensions(self.sliced))

    def assemble(self, blocks: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128]:
        """Put the blocks of all tasks, in order, together into the tensors of ``shape``."""
        own = self.open_ports
        whole = blocks[0]
        if self.sliced:
            own = tuple(sorted(self.sliced + self.open_ports))
            whole = self._joined(blocks)
        if len(own) == len(self.subcircuit.ports):
            return whole
        return self._with_twins(whole, own)

    def _joined(self, blocks: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128]:
        """Join the blocks of all pairs of branches to one tensor over all ports but twins."""
        branches = self.num_branches
        strings, size, _ = self.block_shape
        whole = np.empty((strings, branches, size, branches, size), dtype=complex)
        for task, block in enumerate(blocks):
            i, j = _pair(task)
            whole[:, i, :, j, :] = block
            whole[:, j, :, i, :] = block.conj().swapaxes(1, 2)
        order = self.sliced + self.open_ports
        dimensions = self._dimensions(order)
        whole = whole.reshape(strings, *dimensions, *dimensions)
        for place, number in enumerate(self.sliced):
            if self.subcircuit.ports[number].kind == "control":
                for axis in (1 + place, 1 + len(order) + place):
                    zero, one = np.moveaxis(whole, axis, 0)
                    whole = np.stack([(zero + one) / 2, (zero - one) / 2], axis)
        back = np.argsort(order)
        axes = [0, *(1 + back), *(1 + len(order) + back)]
        return whole.transpose(axes).reshape(strings, branches * size, branches * size)

    def _with_twins(
        self, tensor: NDArray[np.complex128], own: Sequence[int]
    ) -> NDArray[np.complex128]:
        """Give every twin port its index: the tensor depends on the sum modulo 2."""
        ports = self.subcircuit.ports
        place = {number: digit for digit, number in enumerate(own)}
        sizes = self._dimensions(own)
        rows = np.zeros([port.dimension for port in ports], dtype=np.intp)
        index = np.indices(rows.shape, sparse=True)
        digits: list[NDArray[np.intp]] = [index[number] for number in own]
        for number, port in enumerate(ports):
            if port.shared_with is not None:
                digits[place[port.shared_with]] = digits[place[port.shared_with]] ^ index[number]
        for digit, size in zip(digits, sizes, strict=True):
            rows = rows * size + digit
        flat = rows.reshape(-1)
        return tensor[:, flat[:, None], flat]

    def circuit(self, branch: int = 0) -> QuantumCircuit:
        """Return the circuit that one branch simulates.

        Its lowest qubits are the wires that end open, its highest those of the open ports, the
        first port on top, so that the statevector is psi[p, rest] as it comes.
        """
        from qiskit import QuantumCircuit

        subcircuit = self.subcircuit
        values = dict(zip(self.sliced, self.branch_values(branch), strict=True))
        circuit = QuantumCircuit(self.simulated_qubits)
        places = circuit.qubits
        qubit = {q: places[self._place[w]] for w, q in enumerate(subcircuit.circuit.qubits)}
        controls = [
            self._port_qubits[number]
            for number in self.open_ports
            if subcircuit.ports[number].kind == "control"
        ]
        if controls:
            circuit.h(controls)
        for instruction in subcircuit.circuit.data:
            if instruction.name in _MARKER_NAMES:
                number = int(instruction.params[0])
                port = subcircuit.ports[number]
                wire = qubit[instruction.qubits[0]]
                if port.kind == "control":
                    angle = float(instruction.params[1])
                    if number in values:
                        circuit.rz(-angle if values[number] else angle, wire)
                    else:
                        circuit.rzz(angle, self._port_qubits[number], wire)
                elif number in values:
                    _prepare_branch(circuit, port, wire, values[number])
                else:
                    _open(circuit, port, wire, self._port_qubits[number])
            else:
                # The checks of `append` would cost more than a small simulation.
                circuit._append(instruction.replace(qubits=[qubit[q] for q in instruction.qubits]))
        if controls:
            circuit.h(controls)
        return circuit

    @cached_property
    def _port_qubits(self) -> dict[int, int]:
        """Highest qubit of each open port."""
        top = self.simulated_qubits
        places = {}
        for number in self.open_ports:
            places[number] = top - 1
            top -= self.subcircuit.ports[number].qubits
        return places

    @cached_property
    def _place(self) -> dict[int, int]:
        """Wire → qubit of the simulated circuit."""
        outputs = {
            port.wire: self._port_qubits[number]
            for number, port in enumerate(self.subcircuit.ports)
            if port.kind == "output"
        }
        rest = [w for w in range(self.subcircuit.num_qubits) if w not in outputs]
        return {**{wire: place for place, wire in enumerate(rest)}, **outputs}

    @cached_property
    def _placed_strings(self) -> tuple[PauliString, ...]:
        return tuple(
            tuple((self._place[wire], pauli) for wire, pauli in string) for string in self.strings
        )

    def _dimensions(self, ports: Sequence[int]) -> list[int]:
        return [self.subcircuit.ports[p].dimension for p in ports]


def _open(circuit: QuantumCircuit, port: Port, wire: Qubit, top: int) -> None:
    """Give a port its index qubits, so that their basis states are the port's values."""
    if port.kind == "output":
        return
    if port.kind == "input":
        circuit.h(top)
        circuit.cx(top, wire)
    elif port.dimension == 2:
        circuit.h(top)
        circuit.cz(top, wire)
    else:
        x, z = top, top - 1
        circuit.h([x, z])
        circuit.cz(z, wire)
        circuit.cx(x, wire)
        circuit.cp(np.pi / 2, x, z)


def _prepare_branch(circuit: QuantumCircuit, port: Port, wire: Qubit, value: int) -> None:
    """Put one value of a sliced port into the circuit: |value>, or the Pauli P_value."""
    if port.kind == "input":
        if value:
            circuit.x(wire)
    elif value:
        circuit.u(*_PAULI_U_ANGLES[PAULI_BASIS[value]], wire)


def _pair(task: int) -> tuple[int, int]:
    """Decode a task into a pair i >= j, row by row of the lower triangle."""
    i = (int(np.sqrt(8 * task + 1)) - 1) // 2
    while i * (i + 1) // 2 > task:
        i -= 1
    while (i + 1) * (i + 2) // 2 <= task:
        i += 1
    return i, task - i * (i + 1) // 2


def _digits(number: int, dimensions: Sequence[int]) -> list[int]:
    """Decode a number by strides, the first digit the slowest."""
    digits = []
    for dimension in reversed(dimensions):
        number, digit = divmod(number, dimension)
        digits.append(digit)
    return digits[::-1]
