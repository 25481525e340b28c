"""The circuits that a device runs to learn a subcircuit's tensor, as rows of few templates.

A variant is one setting at each port and one measurement basis. All but the measurements at gate
ports are angles of one-qubit gates, so variants that measure at the same gate ports are rows of
parameters of one circuit, their template. On a simulator such a measurement is deferred: a CX to an
ancilla that is measured in the end; on a device it is a measurement in the middle of the circuit.

Every variant measures some bits: first the wires that an observable may be read on, then the ports
with a measurement. The mean of a product of their signs is an *entry*: the reading of a Pauli
string with, for every port with a measurement, its sign or not. A projector in the string gives no
sign: the product is 0 unless its bit is the right one.
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
from hpcq.circuits.port_markers import PORT_MARKERS
from hpcq.core.errors import InputError
from hpcq.cutting.subcircuits import Port, Subcircuit
from hpcq.cutting.subexperiments.measurement_bases import Basis, group, reads
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
MAX_DEFERRED = 5
"""Measurements of a variant that are deferred at most; each doubles the state."""

DEFERRED = "deferred_measurement"
"""Label of the ideal gate that stands for a measurement in the middle of a circuit."""

_MARKER_NAMES = frozenset(PORT_MARKERS.values())


@dataclass(frozen=True, eq=False)
class Template:
    """A circuit with parameters, whose rows are variants.

    Attributes:
        circuit: The circuit; classical bit i is bit i of an outcome.
        parameters: Its parameters, in the order of a row's columns.
        columns: For each of them the place and angle (0 to 5) in a variant's table of angles.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    columns: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class SampledTensor:
    """The variants of one subcircuit.

    Attributes:
        subcircuit: The subcircuit.
        strings: The Pauli strings on its wires (those without an output port) that are asked for;
            the first is the identity.
        lean: Whether the port bases are those with few settings.
    """

    subcircuit: Subcircuit
    strings: tuple[PauliString, ...]
    lean: bool = False

    @cached_property
    def mains(self) -> tuple[int, ...]:
        """Numbers of the ports that have settings: all but twins."""
        return tuple(p for p, port in enumerate(self.subcircuit.ports) if port.shared_with is None)

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """Those ports."""
        return tuple(self.subcircuit.ports[p] for p in self.mains)

    @cached_property
    def port_bases(self) -> tuple[PortBasis, ...]:
        """The port basis of each of them."""
        return tuple(port_basis_of(port, self.lean) for port in self.ports)

    @cached_property
    def bases(self) -> tuple[Basis, ...]:
        """The measurement bases."""
        return group(self.strings)

    @cached_property
    def readable(self) -> tuple[tuple[int, ...], ...]:
        """For each basis the strings that it reads."""
        return tuple(
            tuple(i for i, string in enumerate(self.strings) if reads(basis, string))
            for basis in self.bases
        )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Number of settings of each port, then of bases: the strides of a variant's number."""
        return (*(len(port_basis.settings) for port_basis in self.port_bases), len(self.bases))

    @property
    def num_variants(self) -> int:
        """Number of variants."""
        return math.prod(self.shape)

    @property
    def num_qubits(self) -> int:
        """Qubits of a device that runs them: the wires, and those of control ports."""
        return self.subcircuit.num_qubits + sum(port.kind == "control" for port in self.ports)

    @property
    def simulated_qubits(self) -> int:
        """Qubits of the widest simulation, with its deferred measurements."""
        gates = sum(port.kind == "gate" for port in self.ports)
        return self.num_qubits + min(gates, MAX_DEFERRED)

    @cached_property
    def wires(self) -> tuple[int, ...]:
        """The wires that some basis measures; wire ``wires[i]`` is bit i."""
        return tuple(sorted({wire for basis in self.bases for wire in basis}))

    @cached_property
    def port_bits(self) -> tuple[int | None, ...]:
        """The bit of each port that can be measured."""
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
        """For each string the bits whose signs it multiplies, shape (strings,)."""
        return self._masks(lambda letter: letter not in PROJECTED_BITS)

    @cached_property
    def projector_masks(self) -> NDArray[np.uint64]:
        """For each string the bits that its projectors ask for, shape (strings,)."""
        return self._masks(lambda letter: letter in PROJECTED_BITS)

    @cached_property
    def projector_values(self) -> NDArray[np.uint64]:
        """For each string the values that those bits must have, shape (strings,)."""
        return self._masks(lambda letter: PROJECTED_BITS.get(letter) == 1)

    def _masks(self, chosen: Callable[[str], bool]) -> NDArray[np.uint64]:
        """Return for each string the bits of the wires on which it has a chosen letter."""
        place = {wire: bit for bit, wire in enumerate(self.wires)}
        masks = [sum(1 << place[w] for w, own in s if chosen(own)) for s in self.strings]
        return np.array(masks, dtype=np.uint64)

    def check(self) -> None:
        """Make sure that an outcome fits into a machine word.

        Raises:
            InputError: If it has more bits.
        """
        if self.num_bits > MAX_BITS:
            raise InputError(
                f"observables: they measure {self.num_bits} bits of one subcircuit, expected at "
                f"most {MAX_BITS}; narrower subcircuits or observables would do"
            )

    def decode(self, variant: int) -> tuple[tuple[int, ...], int]:
        """Return a variant's settings and its basis."""
        digits = np.unravel_index(variant, self.shape)
        return tuple(int(d) for d in digits[:-1]), int(digits[-1])

    def measured(self, settings: Sequence[int]) -> tuple[int, ...]:
        """Return the places (in ``mains``) of the gate ports that settings measure."""
        return tuple(
            place
            for place, (port, port_basis, own) in enumerate(
                zip(self.ports, self.port_bases, settings, strict=True)
            )
            if port.kind == "gate" and port_basis.settings[own].measured
        )

    def bits(self, settings: Sequence[int], basis: int) -> int:
        """Return the mask of all bits that a variant's entries depend on."""
        place = {wire: bit for bit, wire in enumerate(self.wires)}
        mask = sum(1 << place[wire] for wire in self.bases[basis])
        for port_basis, own, bit in zip(self.port_bases, settings, self.port_bits, strict=True):
            if bit is not None and port_basis.settings[own].measured:
                mask |= 1 << bit
        return mask

    def signals(self, settings: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield for each entry of an identity string the mask of its signs, and its signals."""
        ways = [
            [
                (1 << (bit or 0) if port_basis.signals[reading][1] else 0, reading)
                for reading in port_basis.signals_of[own]
            ]
            for port_basis, own, bit in zip(self.port_bases, settings, self.port_bits, strict=True)
        ]
        for way in product(*ways):
            yield sum(mask for mask, _ in way), tuple(reading for _, reading in way)

    def template(self, measured: Sequence[int], *, deferred: bool) -> Template:
        """Make the circuit of the variants that measure at some gate ports.

        Args:
            measured: Their places in ``mains``.
            deferred: Whether measurements at gate ports are deferred, for simulators.
        """
        return _Builder(self, tuple(measured), deferred).result()

    def angles(self, settings: Sequence[int], basis: int) -> NDArray[np.float64]:
        """Return a variant's table of angles: before and after each port, then each wire's."""
        table = np.zeros((len(self.ports) + len(self.wires), 6))
        for place, (port_basis, own) in enumerate(zip(self.port_bases, settings, strict=True)):
            setting = port_basis.settings[own]
            table[place] = setting.before + setting.after
        for place, wire in enumerate(self.wires):
            table[len(self.ports) + place, :3] = BASIS_ANGLES[self.bases[basis].get(wire, "Z")]
        return table


def defers(measured: Sequence[int], shots: int) -> bool:
    """Say whether a simulator should defer a variant's measurements in the middle.

    Deferred, they double the state each; as they stand, every shot is a simulation of its own.

    Args:
        measured: Places of the gate ports that are measured.
        shots: Shots of the variant.
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
        controls = [place for place, port in enumerate(tensor.ports) if port.kind == "control"]
        ancillas = len(measured) if deferred else 0
        self.circuit = QuantumCircuit(width + len(controls) + ancillas, tensor.num_bits)
        qubits = self.circuit.qubits
        self.controls = {place: qubits[width + i] for i, place in enumerate(controls)}
        self.ancillas = {
            place: qubits[width + len(controls) + i] for i, place in enumerate(measured[:ancillas])
        }
        self.parameters: list[Parameter] = []
        self.columns: list[tuple[int, int]] = []

    def result(self) -> Template:
        tensor, circuit = self.tensor, self.circuit
        place_of = {number: place for place, number in enumerate(tensor.mains)}
        qubit = dict(zip(tensor.subcircuit.circuit.qubits, circuit.qubits, strict=False))
        for control in self.controls.values():
            circuit.h(control)
        for instruction in tensor.subcircuit.circuit.data:
            qubits = [qubit[q] for q in instruction.qubits]
            if instruction.name in _MARKER_NAMES:
                place = place_of[int(instruction.params[0])]
                self._mark(place, qubits[0], instruction.params)
            else:
                # The checks of `append` would cost more than a small simulation.
                circuit._append(instruction.replace(qubits=qubits))
        ends = {
            place: circuit.qubits[port.wire]
            for place, port in enumerate(tensor.ports)
            if port.kind == "output"
        }
        for place, control in self.controls.items():
            circuit.h(control)
            ends[place] = control
        for place, end in ends.items():
            self._turn(place, end, after=False)
            circuit.measure(end, tensor.port_bits[place])
        for bit, wire in enumerate(tensor.wires):
            rows = [BASIS_ANGLES[basis.get(wire, "Z")] for basis in tensor.bases]
            self._rotate(circuit.qubits[wire], len(tensor.ports) + bit, 0, rows)
            circuit.measure(circuit.qubits[wire], bit)
        for place, ancilla in self.ancillas.items():
            circuit.measure(ancilla, tensor.port_bits[place])
        return Template(circuit, tuple(self.parameters), tuple(self.columns))

    def _mark(self, place: int, qubit: Qubit, params: Sequence[float]) -> None:
        """Put a port where its marker stands."""
        kind = self.tensor.ports[place].kind
        if kind == "control":
            self.circuit.rzz(float(params[1]), self.controls[place], qubit)
        elif kind == "input":
            self._turn(place, qubit, after=True)
        elif kind == "gate":
            self._turn(place, qubit, after=False)
            if place in self.measured:
                self._measure(place, qubit)
            self._turn(place, qubit, after=True)

    def _measure(self, place: int, qubit: Qubit) -> None:
        if not self.deferred:
            self.circuit.measure(qubit, self.tensor.port_bits[place])
            return
        from qiskit.circuit.library import CXGate, UnitaryGate

        gate = UnitaryGate(CXGate().to_matrix(), label=DEFERRED)
        self.circuit.append(gate, [qubit, self.ancillas[place]])

    def _turn(self, place: int, qubit: Qubit, *, after: bool) -> None:
        """Add the gate before or after a port's measurement."""
        port_basis, kind = self.tensor.port_bases[place], self.tensor.ports[place].kind
        settings = port_basis.settings
        if kind == "gate":
            settings = tuple(s for s in settings if s.measured == (place in self.measured))
        rows = [setting.after if after else setting.before for setting in settings]
        self._rotate(qubit, place, 3 if after else 0, rows)

    def _rotate(self, qubit: Qubit, place: int, first: int, rows: Sequence[Angles]) -> None:
        """Add a one-qubit gate; angles that differ from row to row become parameters."""
        from qiskit.circuit import Parameter

        if set(rows) <= {IDLE}:
            return
        angles: list[float | Parameter] = []
        for number, values in enumerate(zip(*rows, strict=True)):
            if len(set(values)) == 1:
                angles.append(values[0])
                continue
            parameter = Parameter(f"angle_{place}_{first + number}")
            self.parameters.append(parameter)
            self.columns.append((place, first + number))
            angles.append(parameter)
        if angles[0] == 0.0 and angles[1] == 0.0:
            self.circuit.p(angles[2], qubit)
        else:
            self.circuit.u(*angles, qubit)
