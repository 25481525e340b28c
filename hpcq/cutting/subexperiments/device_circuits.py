"""Circuits that a device runs to measure a subcircuit's tensor, as rows of few templates.

A variant is one setting at each port and one measurement basis. All settings but the measurements
at gate ports are angles of one-qubit gates, so variants that measure at the same gate ports are
rows of parameters of one circuit, their template. On a simulator such a measurement is deferred: a
CX to an ancilla that is measured at the end; on a device it is a mid-circuit measurement.

Every variant measures some bits: first the wires that an observable acts on, then the ports with a
measurement. The mean of a product of their signs is an *entry*: the mean of a Pauli string with or
without the sign of each port that is measured. A projector in the string gives no sign: the product
is 0 unless its bit has the projector's value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PROJECTED_BITS, PauliString
from hpcq.circuits.port_markers import MARKER_NAMES
from hpcq.core.errors import InputError
from hpcq.core.strict_json import digest
from hpcq.cutting.subcircuits import Port, Subcircuit
from hpcq.cutting.subexperiments.measurement_bases import Basis, can_measure, group_strings
from hpcq.cutting.subexperiments.port_settings import (
    BASIS_ANGLES,
    IDLE,
    Angles,
    PortBasis,
    port_basis_of,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter, Qubit

MAX_BITS = 63
"""Largest number of bits of an outcome, which is stored as a 64-bit integer."""

MAX_DEFERRED = 5
"""Largest number of measurements of a variant that are deferred. Each doubles the state; with more
of them every shot is a separate simulation."""

DEFERRED = "deferred_measurement"
"""Label of the noiseless gate that replaces a mid-circuit measurement."""


@dataclass(frozen=True, eq=False)
class Template:
    """A circuit with parameters, whose rows are variants.

    Attributes:
        circuit: The circuit; classical bit i is bit i of an outcome.
        parameters: Its parameters, in the order of a row's columns.
        columns: For each of them its row and column (0 to 5) in a variant's table of angles.
        fingerprint: SHA-256 of what the circuit was built from.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    columns: tuple[tuple[int, int], ...]
    fingerprint: str


@dataclass(frozen=True, eq=False)
class SampledTensor:
    """The variants of one subcircuit.

    Attributes:
        subcircuit: The subcircuit.
        strings: The Pauli strings to measure on its wires (those without an output port); the first
            is the identity.
        lean: Whether the port bases are those with few settings.
    """

    subcircuit: Subcircuit
    strings: tuple[PauliString, ...]
    lean: bool = False

    @cached_property
    def port_numbers(self) -> tuple[int, ...]:
        """Numbers of the ports that have settings: all but those shared with an earlier port."""
        return tuple(p for p, port in enumerate(self.subcircuit.ports) if port.shared_with is None)

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The ports that have settings."""
        return tuple(self.subcircuit.ports[p] for p in self.port_numbers)

    @cached_property
    def port_bases(self) -> tuple[PortBasis, ...]:
        """The port basis of each port that has settings."""
        return tuple(port_basis_of(port, self.lean) for port in self.ports)

    @cached_property
    def bases(self) -> tuple[Basis, ...]:
        """The measurement bases."""
        return group_strings(self.strings)

    @cached_property
    def measured_strings(self) -> tuple[tuple[int, ...], ...]:
        """For each basis the numbers of the strings that it measures."""
        return tuple(
            tuple(i for i, string in enumerate(self.strings) if can_measure(basis, string))
            for basis in self.bases
        )

    @cached_property
    def reads(self) -> NDArray[np.float64]:
        """1 where a basis measures a string, 0 elsewhere, shape (bases, strings)."""
        reads = np.zeros((len(self.bases), len(self.strings)))
        for basis, strings in enumerate(self.measured_strings):
            reads[basis, list(strings)] = 1.0
        return reads

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of settings of each port, then of bases: the shape that decodes variants."""
        return (*(len(port_basis.settings) for port_basis in self.port_bases), len(self.bases))

    @property
    def num_variants(self) -> int:
        """Number of variants."""
        return math.prod(self.shape)

    @property
    def num_qubits(self) -> int:
        """Number of qubits that a device needs: the wires, and an ancilla for each control port."""
        return self.subcircuit.num_qubits + sum(port.kind == "control" for port in self.ports)

    @property
    def simulated_qubits(self) -> int:
        """Number of qubits of the widest simulation, with its deferred measurements."""
        gates = sum(port.kind == "gate" for port in self.ports)
        return self.num_qubits + min(gates, MAX_DEFERRED)

    @cached_property
    def wires(self) -> tuple[int, ...]:
        """The wires that some basis measures; wire ``wires[i]`` is bit i."""
        return tuple(sorted({wire for basis in self.bases for wire in basis}))

    @cached_property
    def port_bits(self) -> tuple[int | None, ...]:
        """The bit of each port with a setting that measures, else None."""
        bits: list[int | None] = []
        number = len(self.wires)
        for port_basis in self.port_bases:
            measured = any(setting.measured for setting in port_basis.settings)
            bits.append(number if measured else None)
            number += measured
        return tuple(bits)

    @property
    def num_bits(self) -> int:
        """Number of bits of an outcome."""
        return len(self.wires) + sum(bit is not None for bit in self.port_bits)

    @cached_property
    def string_masks(self) -> NDArray[np.uint64]:
        """Mask for each string of the bits whose signs it multiplies, shape (strings,)."""
        return self._masks(lambda letter: letter not in PROJECTED_BITS)

    @cached_property
    def projector_masks(self) -> NDArray[np.uint64]:
        """Mask for each string of the bits of its projectors, shape (strings,)."""
        return self._masks(lambda letter: letter in PROJECTED_BITS)

    @cached_property
    def projector_values(self) -> NDArray[np.uint64]:
        """For each string the values that its projectors' bits must have, shape (strings,)."""
        return self._masks(lambda letter: PROJECTED_BITS.get(letter) == 1)

    def _masks(self, is_chosen: Callable[[str], bool]) -> NDArray[np.uint64]:
        """Return for each string the mask of the wires on which it has a chosen letter."""
        bit_of = {wire: bit for bit, wire in enumerate(self.wires)}
        masks = [sum(1 << bit_of[w] for w, p in s if is_chosen(p)) for s in self.strings]
        return np.array(masks, dtype=np.uint64)

    def check(self) -> None:
        """Check that an outcome fits into a machine word.

        Raises:
            InputError: If it has too many bits.
        """
        if self.num_bits > MAX_BITS:
            raise InputError(
                f"observables: they measure {self.num_bits} bits of one subcircuit, expected at "
                f"most {MAX_BITS}; narrower subcircuits (--max-qubits) or observables would work"
            )

    def decode(self, variant: int) -> tuple[tuple[int, ...], int]:
        """Return a variant's settings and its basis."""
        digits = np.unravel_index(variant, self.shape)
        return tuple(int(d) for d in digits[:-1]), int(digits[-1])

    def measured_ports(self, settings: Sequence[int]) -> tuple[int, ...]:
        """Return the gate ports that settings measure, as indices into ``ports``."""
        return tuple(
            index
            for index, (port, port_basis, setting) in enumerate(
                zip(self.ports, self.port_bases, settings, strict=True)
            )
            if port.kind == "gate" and port_basis.settings[setting].measured
        )

    def bit_mask(self, settings: Sequence[int], basis: int) -> int:
        """Return the mask of all bits that a variant's entries depend on."""
        bit_of = {wire: bit for bit, wire in enumerate(self.wires)}
        mask = sum(1 << bit_of[wire] for wire in self.bases[basis])
        for port_basis, setting, bit in zip(self.port_bases, settings, self.port_bits, strict=True):
            if bit is not None and port_basis.settings[setting].measured:
                mask |= 1 << bit
        return mask

    def signals(self, settings: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield the mask of signs and the ports' signals of each entry of the identity string."""
        choices = [
            [
                (1 << (bit or 0) if port_basis.signals[signal][1] else 0, signal)
                for signal in port_basis.signals_of[setting]
            ]
            for port_basis, setting, bit in zip(
                self.port_bases, settings, self.port_bits, strict=True
            )
        ]
        for combination in product(*choices):
            yield sum(mask for mask, _ in combination), tuple(s for _, s in combination)

    def template(self, measured: Sequence[int], *, deferred: bool) -> Template:
        """Return the circuit of the variants that measure at some gate ports.

        Args:
            measured: These gate ports, as indices into ``ports``.
            deferred: Whether measurements at gate ports are deferred, for simulators.
        """
        return _Builder(self, tuple(measured), deferred).result()

    def angles(self, settings: Sequence[int], basis: int) -> NDArray[np.float64]:
        """Return a variant's angles, shape (ports + wires, 6).

        A port's row has the angles of its gates before and after the measurement, a wire's row
        those of the rotation to its measurement basis and zeros.
        """
        table = np.zeros((len(self.ports) + len(self.wires), 6))
        for row, (port_basis, number) in enumerate(zip(self.port_bases, settings, strict=True)):
            setting = port_basis.settings[number]
            table[row] = setting.before + setting.after
        for row, wire in enumerate(self.wires, len(self.ports)):
            table[row, :3] = BASIS_ANGLES[self.bases[basis].get(wire, "Z")]
        return table


def should_defer(measured: Sequence[int], shots: int) -> bool:
    """Whether a simulator should defer a variant's mid-circuit measurements.

    Each deferred measurement doubles the state; without deferring, every shot is a simulation of
    its own.

    Args:
        measured: The gate ports that are measured.
        shots: Number of shots of the variant.
    """
    return len(measured) <= MAX_DEFERRED and 1 << len(measured) <= shots


class _Builder:
    """Builds one template."""

    def __init__(self, tensor: SampledTensor, measured: tuple[int, ...], deferred: bool) -> None:
        from qiskit import QuantumCircuit

        self.tensor = tensor
        self.measured = measured
        self.deferred = deferred
        width = tensor.subcircuit.num_qubits
        controls = [index for index, port in enumerate(tensor.ports) if port.kind == "control"]
        ancillas = len(measured) if deferred else 0
        self.circuit = QuantumCircuit(width + len(controls) + ancillas, tensor.num_bits)
        qubits = self.circuit.qubits
        self.controls = {index: qubits[width + i] for i, index in enumerate(controls)}
        self.ancillas = {
            index: qubits[width + len(controls) + i] for i, index in enumerate(measured[:ancillas])
        }
        self.parameters: list[Parameter] = []
        self.columns: list[tuple[int, int]] = []

    def result(self) -> Template:
        tensor, circuit = self.tensor, self.circuit
        index_of = {number: index for index, number in enumerate(tensor.port_numbers)}
        qubit = dict(zip(tensor.subcircuit.circuit.qubits, circuit.qubits, strict=False))
        for control in self.controls.values():
            circuit.h(control)
        for instruction in tensor.subcircuit.circuit.data:
            qubits = [qubit[q] for q in instruction.qubits]
            if instruction.name in MARKER_NAMES:
                index = index_of[int(instruction.params[0])]
                self._port(index, qubits[0], instruction.params)
            else:
                # The checks of `append` would cost more than a small simulation.
                circuit._append(instruction.replace(qubits=qubits))
        ends = {
            index: circuit.qubits[port.wire]
            for index, port in enumerate(tensor.ports)
            if port.kind == "output"
        }
        for index, control in self.controls.items():
            circuit.h(control)
            ends[index] = control
        for index, end in ends.items():
            self._local_gate(index, end, after=False)
            circuit.measure(end, tensor.port_bits[index])
        for bit, wire in enumerate(tensor.wires):
            rows = [BASIS_ANGLES[basis.get(wire, "Z")] for basis in tensor.bases]
            self._rotate(circuit.qubits[wire], len(tensor.ports) + bit, 0, rows)
            circuit.measure(circuit.qubits[wire], bit)
        for index, ancilla in self.ancillas.items():
            circuit.measure(ancilla, tensor.port_bits[index])
        origin = [tensor.subcircuit.content, tensor.strings, tensor.lean]
        fingerprint = digest([*origin, self.measured, self.deferred])
        return Template(circuit, tuple(self.parameters), tuple(self.columns), fingerprint)

    def _port(self, index: int, qubit: Qubit, params: Sequence[float]) -> None:
        """Add the gates of a port at its marker."""
        kind = self.tensor.ports[index].kind
        if kind == "control":
            self.circuit.rzz(float(params[1]), self.controls[index], qubit)
        elif kind == "input":
            self._local_gate(index, qubit, after=True)
        elif kind == "gate":
            self._local_gate(index, qubit, after=False)
            if index in self.measured:
                self._measure(index, qubit)
            self._local_gate(index, qubit, after=True)

    def _measure(self, index: int, qubit: Qubit) -> None:
        if not self.deferred:
            self.circuit.measure(qubit, self.tensor.port_bits[index])
            return
        from qiskit.circuit.library import CXGate, UnitaryGate

        gate = UnitaryGate(CXGate().to_matrix(), label=DEFERRED)
        self.circuit.append(gate, [qubit, self.ancillas[index]])

    def _local_gate(self, index: int, qubit: Qubit, *, after: bool) -> None:
        """Add the gate before or after the measurement of a port."""
        port_basis, kind = self.tensor.port_bases[index], self.tensor.ports[index].kind
        settings = port_basis.settings
        if kind == "gate":
            settings = tuple(s for s in settings if s.measured == (index in self.measured))
        rows = [setting.after if after else setting.before for setting in settings]
        self._rotate(qubit, index, 3 if after else 0, rows)

    def _rotate(self, qubit: Qubit, row: int, first: int, rows: Sequence[Angles]) -> None:
        """Add a one-qubit gate; angles that differ between rows become parameters."""
        from qiskit.circuit import Parameter

        if set(rows) <= {IDLE}:
            return
        angles: list[float | Parameter] = []
        for number, values in enumerate(zip(*rows, strict=True)):
            if len(set(values)) == 1:
                angles.append(values[0])
                continue
            parameter = Parameter(f"angle_{row}_{first + number}")
            self.parameters.append(parameter)
            self.columns.append((row, first + number))
            angles.append(parameter)
        if angles[0] == 0.0 and angles[1] == 0.0:
            self.circuit.p(angles[2], qubit)
        else:
            self.circuit.u(*angles, qubit)
