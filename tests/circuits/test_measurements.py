"""Classical registers: which qubit each bit holds the outcome of, and bit strings as in Qiskit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qasm2
from qiskit.circuit import Clbit
from qiskit.providers.basic_provider import BasicSimulator

from hpcq.circuits.measurements import Measurements, Register, measurements_of
from hpcq.circuits.normalise import normalise
from hpcq.circuits.reader import read_circuit
from hpcq.core.errors import InputError


def two_registers() -> QuantumCircuit:
    """A basis state on 4 qubits; bits that are written twice, by one qubit, and not at all."""
    first, second = ClassicalRegister(2, "first"), ClassicalRegister(3, "second")
    circuit = QuantumCircuit(QuantumRegister(4, "q"), first, second)
    circuit.x([0, 2])
    circuit.measure(1, first[0])
    circuit.measure(2, first[0])
    circuit.measure(3, second[2])
    circuit.measure(0, second[1])
    circuit.measure(0, first[1])
    return circuit


def test_bits_and_strings_are_those_of_qiskit() -> None:
    circuit = two_registers()
    measurements = measurements_of(normalise(circuit))
    assert measurements.registers == (
        Register("first", (2, 0)),
        Register("second", (None, 0, 3)),
    )
    assert measurements.qubits == (0, 2, 3)
    (text,) = BasicSimulator().run(circuit, shots=1).result().get_counts()
    outcome = np.array([[1, 1, 0]], dtype=np.uint8)
    assert measurements.texts(outcome) == [text]
    bits, possible = measurements.columns([text, text.replace(" ", ""), "011 11", "010 01"])
    assert bits[:2].tolist() == [[1, 1, 0]] * 2
    assert possible.tolist() == [True, True, False, False]  # bit 0 is never written; q0 differs


def test_packed_bits_are_those_of_a_bit_array() -> None:
    wide = Measurements((Register("a", tuple(range(9))), Register("b", (9, None, 10))))
    outcomes = np.random.default_rng(5).integers(0, 2, (40, 11)).astype(np.uint8)
    packed = wide.packed(outcomes)
    from qiskit.primitives import BitArray

    array = BitArray(packed, wide.num_bits)
    texts = [text.replace(" ", "") for text in wide.texts(outcomes)]
    assert array.get_bitstrings() == texts
    again, possible = wide.columns(wide.texts(outcomes))
    assert possible.all()
    assert (again == outcomes).all()


def test_circuits_without_measurements_measure_all() -> None:
    measurements = measurements_of(normalise(QuantumCircuit(3, 2)))
    assert measurements.are_implied
    assert measurements.registers == (Register("meas", (0, 1, 2)),)


def test_measurements_within_instructions_and_loose_bits() -> None:
    inner = QuantumCircuit(2, 2)
    inner.measure([0, 1], [1, 0])
    outer = QuantumCircuit(3)
    outer.add_bits([Clbit(), Clbit()])
    outer.append(inner.to_instruction(), [2, 0], [0, 1])
    assert measurements_of(normalise(outer)).registers == (Register("bits", (0, 2)),)


@pytest.mark.slow
def test_measurements_pass_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "circuit.qasm"
    path.write_text(qasm2.dumps(two_registers()))
    read = measurements_of(read_circuit(path))
    assert read == measurements_of(normalise(two_registers()))


@pytest.mark.parametrize("text", ["0101", "01 1", "01 11 0", "2", 5, "011  11"])
def test_wrong_bit_strings_are_refused(text: object) -> None:
    measurements = measurements_of(normalise(two_registers()))
    with pytest.raises(InputError, match=r"bit string: .*of the form 'bbb bb'"):
        measurements.columns([text])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "noted", [5, [["c"]], [["c", [7]]], [["c", [True]]], [[1, [0]]], [["c", 0]]]
)
def test_forged_metadata_are_refused(noted: object) -> None:
    circuit = normalise(QuantumCircuit(2))
    circuit.metadata = {"measurements": noted}
    with pytest.raises(InputError, match="measurements"):
        measurements_of(circuit)
