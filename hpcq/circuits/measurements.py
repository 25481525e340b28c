"""Final measurements: the qubit whose outcome each classical bit holds, and outcomes as text.

Bit strings are those of Qiskit: the highest bit of a register is leftmost, registers are separated
by a space, and the last one is leftmost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.packed_bits import pack_bits, unpack_bits
from hpcq.core.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Bits = NDArray[np.uint8]
"""Bits of outcomes, each 0 or 1: shape (outcomes, bits)."""

_KEY = "measurements"
"""Key of the measurements in the metadata of a normalised circuit."""

_ALL = "meas"
"""Name of the register of a circuit without measurements, as by ``QuantumCircuit.measure_all``."""

_LOOSE = "bits"
"""Name of the register of the classical bits that are in no register of the circuit."""


@dataclass(frozen=True)
class Register:
    """A classical register.

    Attributes:
        name: Its name.
        qubits: For each of its bits, lowest first, the qubit whose outcome it holds; None for a bit
            that nothing is written to, which is 0.
    """

    name: str
    qubits: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.qubits)


@dataclass(frozen=True)
class Measurements:
    """The final measurements of a circuit.

    Attributes:
        registers: The classical registers, in the order of the circuit.
        are_implied: Whether the circuit has no measurement, so that all qubits are measured.

    Example:
        >>> bell = Measurements((Register("a", (0,)), Register("b", (1, None))))
        >>> bell.texts(np.array([[1, 1]], dtype=np.uint8))
        ['01 1']
        >>> bell.columns(["01 1", "10 1"])
        (array([[1, 1],
               [1, 0]], dtype=uint8), array([ True, False]))
    """

    registers: tuple[Register, ...]
    are_implied: bool = False

    @cached_property
    def qubits(self) -> tuple[int, ...]:
        """The measured qubits, ascending."""
        sources = {qubit for register in self.registers for qubit in register.qubits}
        return tuple(sorted(qubit for qubit in sources if qubit is not None))

    @property
    def num_bits(self) -> int:
        """Number of bits of all registers."""
        return sum(map(len, self.registers))

    def register_bits(self, outcomes: Bits) -> Iterator[tuple[Register, Bits]]:
        """Yield each register with its bits, shape (outcomes, bits), lowest first.

        Args:
            outcomes: Bits of :attr:`qubits`, shape (outcomes, qubits).
        """
        column = {qubit: number for number, qubit in enumerate(self.qubits)}
        for register in self.registers:
            bits = np.zeros((len(outcomes), len(register)), dtype=np.uint8)
            for number, qubit in enumerate(register.qubits):
                if qubit is not None:
                    bits[:, number] = outcomes[:, column[qubit]]
            yield register, bits

    def texts(self, outcomes: Bits) -> list[str]:
        """Return outcomes of :attr:`qubits` as bit strings."""
        return self.texts_of_packed(self.packed(outcomes))

    def packed(self, outcomes: Bits) -> NDArray[np.uint8]:
        """Return outcomes of :attr:`qubits` as classical bits, packed as in Qiskit's ``BitArray``.

        Bit 0 is the lowest bit of the first register, and the lowest bit of the last byte.

        Returns:
            Shape (outcomes, bytes), with the fewest bytes that hold all bits.
        """
        bits = np.zeros((len(outcomes), self.num_bits), dtype=np.uint8)
        start = 0
        for register, values in self.register_bits(outcomes):
            bits[:, start : start + len(register)] = values
            start += len(register)
        return pack_bits(bits)

    def texts_of_packed(self, packed: NDArray[np.uint8]) -> list[str]:
        """Return what :meth:`packed` returned as bit strings."""
        bits = unpack_bits(packed, self.num_bits)
        parts: list[NDArray[np.uint8]] = []
        start = 0
        for register in self.registers:
            word = bits[:, start : start + len(register)][:, ::-1] + np.uint8(ord("0"))
            space = np.full((len(bits), 1), ord(" "), dtype=np.uint8)
            parts = [word, *([space, *parts] if parts else [])]
            start += len(register)
        rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
        if not rows.shape[1]:
            return [""] * len(rows)
        return [text.decode() for text in rows.view(f"S{rows.shape[1]}")[:, 0].tolist()]

    def columns(self, texts: Sequence[str]) -> tuple[Bits, NDArray[np.bool_]]:
        """Return bit strings as bits of :attr:`qubits`, and which of them can occur.

        A string cannot occur if a bit that nothing is written to is 1 in it, or if two bits with
        the outcome of one qubit differ. The spaces between registers may be left out.

        Raises:
            InputError: If a text is no bit string of these registers.
        """
        rows = self._bits_of(texts)
        outcomes = np.zeros((len(texts), len(self.qubits)), dtype=np.uint8)
        possible = np.ones(len(texts), dtype=bool)
        column = {qubit: number for number, qubit in enumerate(self.qubits)}
        sources = [qubit for register in self.registers for qubit in register.qubits]
        for bit, qubit in enumerate(sources):
            if qubit is not None:
                outcomes[:, column[qubit]] = rows[:, bit]
        for bit, qubit in enumerate(sources):
            expected = 0 if qubit is None else outcomes[:, column[qubit]]
            possible &= rows[:, bit] == expected
        return outcomes, possible

    def _bits_of(self, texts: Sequence[str]) -> Bits:
        """Return the bits of strings, those of the first register first, each lowest first.

        Raises:
            InputError: If a text is no bit string of these registers.
        """
        form = " ".join("b" * len(register) for register in reversed(self.registers))
        dense = form.replace(" ", "")
        groups: dict[str, list[int]] = {form: [], dense: []}
        for number, text in enumerate(texts):
            fits = isinstance(text, str) and len(text) in (len(form), len(dense))
            groups[form if fits and len(text) == len(form) else dense].append(number)
            if not fits:
                raise _wrong_form(text, form)
        bits = np.empty((len(texts), len(dense)), dtype=np.uint8)
        for shape, numbers in groups.items():
            letters = "".join([texts[number] for number in numbers])
            codes = np.frombuffer(letters.encode("ascii", "replace"), dtype=np.uint8)
            rows = codes.reshape(len(numbers), len(shape))
            is_bit = np.frombuffer(shape.encode(), dtype=np.uint8) == ord("b")
            values = rows - np.where(is_bit, ord("0"), ord(" ")).astype(np.uint8)
            wrong = (values > is_bit.astype(np.uint8)).any(axis=1)
            if wrong.any():
                raise _wrong_form(texts[numbers[int(np.argmax(wrong))]], form)
            bits[numbers] = values[:, is_bit]
        return bits[:, ::-1]

    def to_json(self) -> list[Any]:
        """Return the measurements as plain JSON values."""
        return [[register.name, list(register.qubits)] for register in self.registers]

    def describe(self) -> list[dict[str, Any]]:
        """Return the registers as commands print them in JSON.

        >>> measure_all(2).describe()
        [{'name': 'meas', 'size': 2, 'qubits': [0, 1]}]
        """
        return [
            {"name": each.name, "size": len(each), "qubits": list(each.qubits)}
            for each in self.registers
        ]

    @classmethod
    def from_json(cls, value: object, num_qubits: int) -> Measurements:
        """Return the measurements that :meth:`to_json` wrote.

        Raises:
            InputError: If the value is none of a circuit with this many qubits.
        """
        rows = value if isinstance(value, list) else [value]
        registers = []
        for row in rows:
            name, sources = row if isinstance(row, list) and len(row) == 2 else (None, [])
            if not isinstance(name, str) or not _are_sources(sources, num_qubits):
                raise InputError(
                    f"measurements: {str(row)[:40]!r}, expected a register's name and the qubits "
                    "that its bits measure"
                )
            registers.append(Register(name, tuple(sources)))
        return cls(tuple(registers))


def _wrong_form(text: object, form: str) -> InputError:
    return InputError(
        f"bit string: {str(text)[:80]!r}, expected one of the form {form[:80]!r}, each b 0 or 1"
    )


def _are_sources(value: Any, num_qubits: int) -> bool:
    """Return whether a value is a list of qubits, or None for bits that nothing is written to."""
    return isinstance(value, list) and all(
        qubit is None or (type(qubit) is int and 0 <= qubit < num_qubits) for qubit in value
    )


def measure_all(num_qubits: int) -> Measurements:
    """Return the measurements of a circuit without any: of all qubits, into one register."""
    return Measurements((Register(_ALL, tuple(range(num_qubits))),), are_implied=True)


def measurements_of(circuit: QuantumCircuit) -> Measurements:
    """Return the final measurements of a normalised circuit.

    Raises:
        InputError: If its metadata are damaged, as in a forged file.

    >>> from qiskit import QuantumCircuit
    >>> from hpcq.circuits.normalise import normalise
    >>> circuit = QuantumCircuit(3, 2)
    >>> _ = circuit.h(0), circuit.measure(2, 0)
    >>> measurements_of(normalise(circuit)).registers
    (Register(name='c', qubits=(2, None)),)
    """
    noted = (circuit.metadata or {}).get(_KEY)
    if noted is None:
        return measure_all(circuit.num_qubits)
    return Measurements.from_json(noted, circuit.num_qubits)


def note_measurements(
    circuit: QuantumCircuit, source: QuantumCircuit, qubit_of_bit: Mapping[int, int]
) -> None:
    """Note the final measurements of a circuit in the metadata of the normalised one.

    Args:
        circuit: The normalised circuit.
        source: The circuit with the registers.
        qubit_of_bit: The qubit whose outcome each classical bit holds, by their numbers.
    """
    if not qubit_of_bit:
        return
    numbers = {bit: number for number, bit in enumerate(source.clbits)}
    registers = [(register.name, [numbers[bit] for bit in register]) for register in source.cregs]
    in_registers = {number for _, bits in registers for number in bits}
    if loose := [number for number in numbers.values() if number not in in_registers]:
        registers.append((_LOOSE, loose))
    noted = [[name, [qubit_of_bit.get(bit) for bit in bits]] for name, bits in registers]
    circuit.metadata = {**(circuit.metadata or {}), _KEY: noted}
