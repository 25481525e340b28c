"""Exact tensors of a subcircuit, with each port open (on ancillas) or sliced (to save memory).

With every port on separate qubits, one simulation gives psi[p, rest], and the tensor of a Pauli
string O is ``R[p, p'] = sum_rest (O psi)[p, rest] conj(psi[p', rest])``. A sliced port needs no
ancilla: each of its values k is a separate simulation (a branch), and the tensor is filled block by
block from pairs of branches.

An open control port is the missing control qubit itself, which starts in |+> and ends with an H
gate. A sliced one has a branch for each value z of the control, and the H gate is applied to the
tensor. A port that is shared with an earlier one has no qubit: its index adds to the other's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PauliString
from hpcq.circuits.port_markers import MARKER_NAMES
from hpcq.circuits.slots import slot_label, slot_of
from hpcq.core.arrays import namespace_of
from hpcq.core.strict_json import digest
from hpcq.cutting.gate_decompositions import PAULI_BASIS
from hpcq.cutting.subcircuits import Port, Subcircuit, index_of_settings
from hpcq.cutting.subexperiments.operator_products import (
    Sum,
    operator_products,
    weighted_states,
)
from hpcq.cutting.subexperiments.pauli_products import pauli_products
from hpcq.cutting.subexperiments.projectors import States

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import CircuitInstruction, Qubit

_PAULI_U_ANGLES = {
    "I": (0.0, 0.0, 0.0),
    "Z": (0.0, 0.0, np.pi),
    "X": (np.pi, 0.0, np.pi),
    "Y": (np.pi, np.pi / 2, np.pi / 2),
}


@dataclass(frozen=True)
class Simulation:
    """How a subcircuit without ports is simulated, other than as a statevector.

    Attributes:
        engine: Name of the engine.
        seconds: Predicted seconds for all strings.
        memory_bytes: Predicted bytes.
        cap: Maximum number of Pauli terms, or maximum bond dimension; 0 for the engine's default.
        tolerance: Absolute error of a string's value above which it is given up; None for no limit.
        max_work: Work above which the planner gives up, in the engine's units.
        answer: Values and bounds, shape (2, strings), if planning has computed them.
    """

    engine: str
    seconds: float
    memory_bytes: int
    cap: int = 0
    tolerance: float | None = None
    max_work: float = math.inf
    answer: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @property
    def content(self) -> list[Any]:
        """What the values depend on, as plain JSON values."""
        work = self.max_work if math.isfinite(self.max_work) else None
        return [self.engine, self.cap, self.tolerance, work]


@dataclass(frozen=True, eq=False)
class ExactTensor:
    """How one subcircuit's tensors are computed.

    Attributes:
        subcircuit: The subcircuit.
        strings: The Pauli strings to compute on its wires (those without an output port).
        sliced: Numbers of the ports that are sliced; any but output ports.
        simulation: How it is simulated; None for statevectors, the only way with ports.
    """

    subcircuit: Subcircuit
    strings: tuple[PauliString, ...]
    sliced: tuple[int, ...] = ()
    simulation: Simulation | None = None

    @cached_property
    def open_ports(self) -> tuple[int, ...]:
        """Numbers of the ports that are neither sliced nor shared with an earlier port."""
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
        """Number of qubits of one simulation: wires, and the ancillas of the open ports."""
        ports = self.subcircuit.ports
        return self.subcircuit.num_qubits + sum(ports[p].ancillas for p in self.open_ports)

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """Shape of one task's block: (strings, D, D), D the combined index of the open ports."""
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

    @property
    def slots(self) -> tuple[int, ...]:
        """Numbers of the slots whose angles are the parameters of the piece, ascending."""
        return self.subcircuit.slots

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is simulated: the subcircuit and the sliced ports."""
        return digest([self.subcircuit.content, self.sliced])

    @property
    def engine_name(self) -> str:
        """Name of the method of its simulation."""
        return "statevector" if self.simulation is None else self.simulation.engine

    @property
    def has_bounds(self) -> bool:
        """Whether its one task returns bounds too: an array of shape (2, strings)."""
        return self.simulation is not None

    @property
    def port_factor(self) -> float:
        """Factor of products of states: open ports on ancillas start in normalised states."""
        ports = [self.subcircuit.ports[p] for p in self.open_ports]
        return math.prod(2.0**port.ancillas for port in ports if port.kind != "control")

    def branches(self, task: int) -> tuple[int, int]:
        """Return the pair of branches i >= j that a task multiplies."""
        return _pair(task)

    def products(
        self, ket: States, bra: States, strings: Sequence[PauliString], threads: int = 1
    ) -> NDArray[np.complex128]:
        """Multiply two branches' states for every string: one block of the strings' tensors.

        Args:
            ket: psi[p, rest], p the combined index of the open ports: the statevector of
                :meth:`circuit`.
            bra: The same of the other branch, or the same array.
            strings: Strings on the wires without an output port.
            threads: Number of threads that share the strings.

        Returns:
            Array of shape (strings, D, D).
        """
        on_qubits = [self._on_qubits(string) for string in strings]
        products = pauli_products(ket, bra, on_qubits, threads)
        products *= self.port_factor
        return products

    def operator_products(
        self, ket: States, bra: States, operators: Sequence[Sum], threads: int = 1
    ) -> NDArray[np.complex128]:
        """Return products of two branches' states, each operator in between.

        Args:
            ket: psi[p, rest], as for :meth:`products`.
            bra: The same of the other branch.
            operators: Sums of strings on the wires without an output port.
            threads: Number of threads that share the strings.

        Returns:
            Array of shape (operators, D, D).
        """
        on_qubits = [[(self._on_qubits(s), c) for s, c in operator] for operator in operators]
        products = operator_products(ket, bra, on_qubits, threads)
        products *= self.port_factor
        return products

    def weighted_states(
        self, ket: States, operators: Sequence[Sum], weights: NDArray[np.complex128]
    ) -> States:
        """Return the derivatives of weighted sums of products with respect to the conjugated bras.

        Args:
            ket: psi[p, rest], as for :meth:`products`.
            operators: Sums of strings on the wires without an output port.
            weights: Weight of each entry of :meth:`operator_products` in each sum, shape (sums,
                operators, D, D).

        Returns:
            Shape (sums, D, 2**n / D).
        """
        on_qubits = [[(self._on_qubits(s), c) for s, c in operator] for operator in operators]
        return weighted_states(ket, on_qubits, weights * self.port_factor)

    def prefix_grams(self, ket: States, bra: States, bits: int) -> NDArray[np.complex128]:
        """Multiply two branches' states for each value of the leading bits of the outcome.

        Args:
            ket: psi[p, rest], as for :meth:`products`.
            bra: The same of the other branch.
            bits: Number of leading bits, the highest of ``rest``.

        Returns:
            The sums over the other bits, shape (2**bits, D, D).
        """
        left, right = (
            states.astype(complex, copy=False).reshape(len(states), 1 << bits, -1).swapaxes(0, 1)
            for states in (ket, bra)
        )
        grams: NDArray[np.complex128] = left @ right.conj().swapaxes(1, 2)
        grams *= self.port_factor
        return grams

    def describe(self, task: int) -> str:
        """Describe the branches that a task multiplies, for messages."""
        if not self.sliced:
            return "all variants"
        pair = " with ".join(str(self.branch_values(b)) for b in dict.fromkeys(_pair(task)))
        return f"values of ports {list(self.sliced)}: {pair}"

    def branch_values(self, branch: int) -> list[int]:
        """Return the values of the sliced ports in a branch."""
        return _digits(branch, self._dimensions(self.sliced))

    def assemble(self, blocks: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128]:
        """Assemble the tensors, of ``shape``, from the blocks of all tasks in order."""
        tensor = self.join(blocks)
        ports = self.subcircuit.ports
        if all(port.shared_with is None for port in ports):
            return tensor
        rows = index_of_settings(ports)
        return tensor[:, rows[:, None], rows]

    def join(self, blocks: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128]:
        """Join the blocks of all pairs of branches, in order, to tensors over several ports.

        Returns:
            Shape (strings, D, D), D the combined index of the ports that share no ancilla with an
            earlier port.
        """
        if not self.sliced:
            return blocks[0]
        branches, size = self.num_branches, self.block_shape[1]
        strings = len(blocks[0])
        xp, shape = namespace_of(blocks[0]), (strings, branches, size, branches, size)
        tensor: NDArray[np.complex128] = xp.empty(shape, dtype=complex)
        for task, block in enumerate(blocks):
            i, j = _pair(task)
            tensor[:, i, :, j, :] = block
            tensor[:, j, :, i, :] = block.conj().swapaxes(1, 2)
        order = self.sliced + self.open_ports
        dimensions = self._dimensions(order)
        tensor = self._end_controls(tensor.reshape(strings, *dimensions, *dimensions))
        back = np.argsort(order)
        axes = [0, *(1 + back), *(1 + len(order) + back)]
        return tensor.transpose(axes).reshape(strings, branches * size, branches * size)

    def split(self, weights: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Return weights of the entries of blocks, from those of :meth:`join`'s tensors.

        Args:
            weights: Weight of each entry, shape (n, D, D), D as in :meth:`join`.

        Returns:
            Shape (n, branches, size, branches, size): the weight of each entry of the block of each
            pair of branches. :meth:`join` takes the blocks of one order of each pair; those of the
            other order are their adjoints.
        """
        branches, size = self.num_branches, self.block_shape[1]
        order = self.sliced + self.open_ports
        dimensions = self._dimensions(sorted(order))
        tensor = weights.reshape(len(weights), *dimensions, *dimensions)
        digits = np.argsort(np.argsort(order))
        axes = [0, *(1 + digits), *(1 + len(order) + digits)]
        turned = self._end_controls(tensor.transpose(axes))
        return turned.reshape(len(weights), branches, size, branches, size)

    def _end_controls(self, tensor: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Apply the H gates that end sliced control ports, divided by the square root of two.

        Axis 0 may be any; the ket and then the bra indices of the ports follow, sliced ones first.
        """
        xp, num_ports = namespace_of(tensor), len(self.sliced) + len(self.open_ports)
        for digit, number in enumerate(self.sliced):
            if self.subcircuit.ports[number].kind == "control":
                for axis in (1 + digit, 1 + num_ports + digit):
                    zero, one = xp.moveaxis(tensor, axis, 0)
                    tensor = xp.stack([(zero + one) / 2, (zero - one) / 2], axis)
        return tensor

    def _on_qubits(self, string: PauliString) -> PauliString:
        """Return a string on wires as one on the qubits of the simulated circuit."""
        return tuple((self._qubit_of[wire], letter) for wire, letter in string)

    def circuit(self, branch: int = 0) -> QuantumCircuit:
        """Return the circuit of one branch.

        Its lowest qubits are the wires without an output port, its highest those of the open ports,
        the first port highest, so that its statevector is psi[p, rest] without a transposition.
        """
        from qiskit import QuantumCircuit

        subcircuit = self.subcircuit
        values = dict(zip(self.sliced, self.branch_values(branch), strict=True))
        circuit = QuantumCircuit(self.simulated_qubits)
        qubits = circuit.qubits
        qubit = {q: qubits[self._qubit_of[w]] for w, q in enumerate(subcircuit.circuit.qubits)}
        controls = [
            self._port_qubits[number]
            for number in self.open_ports
            if subcircuit.ports[number].kind == "control"
        ]
        if controls:
            circuit.h(controls)
        for instruction in subcircuit.circuit.data:
            if instruction.name in MARKER_NAMES:
                number = int(instruction.params[0])
                port = subcircuit.ports[number]
                wire = qubit[instruction.qubits[0]]
                if port.kind == "control":
                    control = None if number in values else self._port_qubits[number]
                    _add_controlled(circuit, instruction, wire, control, values.get(number, 0))
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
        """The highest qubit of each open port."""
        top = self.simulated_qubits
        highest = {}
        for number in self.open_ports:
            highest[number] = top - 1
            top -= self.subcircuit.ports[number].qubits
        return highest

    @cached_property
    def _qubit_of(self) -> dict[int, int]:
        """Wire → qubit of the simulated circuit."""
        outputs = {
            port.wire: self._port_qubits[number]
            for number, port in enumerate(self.subcircuit.ports)
            if port.kind == "output"
        }
        rest = [w for w in range(self.subcircuit.num_qubits) if w not in outputs]
        return {**{wire: qubit for qubit, wire in enumerate(rest)}, **outputs}

    def _dimensions(self, ports: Sequence[int]) -> list[int]:
        return [self.subcircuit.ports[p].dimension for p in ports]


def _add_controlled(
    circuit: QuantumCircuit,
    marker: CircuitInstruction,
    wire: Qubit,
    control: int | None,
    value: int,
) -> None:
    """Add a gate of a control port, whose control is a qubit, or has a value if it is sliced."""
    from qiskit.circuit.library import RZGate, RZZGate

    sign = -1 if value else 1
    angle, slot = sign * float(marker.params[1]), slot_of(marker)
    label = None if slot is None else slot_label((slot[0], sign * slot[1]))
    if control is None:
        circuit.append(RZGate(angle, label=label), [wire], copy=False)
    else:
        circuit.append(RZZGate(angle, label=label), [control, wire], copy=False)


def _open(circuit: QuantumCircuit, port: Port, wire: Qubit, top: int) -> None:
    """Entangle a port with its index qubits, whose basis states are the port's values."""
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
    """Add one value of a sliced port to the circuit: prepare |value>, or apply P_value."""
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
