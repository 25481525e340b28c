"""Circuits have the same structure where they differ in values only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, UnitaryGate
from qiskit.quantum_info import Operator, SparsePauliOp

from hpcq.core.errors import InputError
from hpcq.primitives.structure import StructureReader, structure_of
from tests.support.parametrised import random_circuit


def rotated(*angles: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.rx(angles[0], 0)
    circuit.cp(angles[1], 0, 1)
    circuit.barrier()
    circuit.u(*angles[2:], 1)
    return circuit


def test_angles_are_values() -> None:
    first = structure_of(rotated(0.1, 0.2, 0.3, 0.4, 0.5))
    for angles in ((0, 0, 0, 0, 0), (np.pi / 2, np.pi, 1, 2, 3), (np.float64(1), 2, 3, 4, 5)):
        other = structure_of(rotated(*angles))
        assert other.key == first.key
        np.testing.assert_array_equal(other.angles, angles)
        circuit = first.at(np.array(angles, dtype=float))
        assert Operator(circuit) == Operator(rotated(*angles))
    general = first.general()
    assert general.num_parameters == 5
    again = general.assign_parameters([0.1, 0.2, 0.3, 0.4, 0.5])
    assert Operator(again) == Operator(first.source)


@pytest.mark.parametrize("seed", range(5))
def test_a_bound_circuit_is_one_of_its_family(seed: int) -> None:
    rng = np.random.default_rng(seed)
    circuit = random_circuit(rng, qubits=3, gates=10)
    rows = rng.uniform(-3, 3, (2, circuit.num_parameters))
    first, second = (structure_of(circuit.assign_parameters(row)) for row in rows)
    assert first.key == second.key
    expected = Operator(circuit.assign_parameters(rows[1]))
    assert Operator(first.at(second.angles)).equiv(expected)
    assert Operator(first.general().assign_parameters(second.angles)).equiv(expected)


def changed() -> list[QuantumCircuit]:
    """Return circuits, no two of which are the same or differ in values only."""
    made = [QuantumCircuit(2) for _ in range(9)]
    made[1].rx(0.1, 0)
    made[2].rx(0.1, 1)
    made[3].ry(0.1, 1)
    made[4].cx(0, 1)
    made[5].cx(1, 0)
    made[6].append(UnitaryGate(np.diag([1, 1j])), [0])
    made[7].append(UnitaryGate(np.diag([1, -1])), [0])
    x, y = Parameter("x"), Parameter("y")
    made[8].rx(x, 0)
    for angle in (2 * x, x + 1e-12, 2, y * y, x + y, x - y, x / (-x * x), x / -x * x):
        circuit = QuantumCircuit(2)
        circuit.rx(x, 0)
        circuit.rz(angle, 1)
        made.append(circuit)
    made.append(QuantumCircuit(3))
    return made


def test_other_gates_qubits_matrices_and_expressions_are_other_structures() -> None:
    keys = [structure_of(circuit).key for circuit in changed()]
    assert len(set(keys)) == len(keys)


def test_names_of_parameters_are_not_mistaken_for_expressions() -> None:
    keys = set()
    a, b, both = Parameter("a"), Parameter("b"), Parameter("2*b")
    for angle in (a + 2 * b, a + both):
        circuit = QuantumCircuit(1)
        for parameter in (a, b, both):
            circuit.rx(parameter, 0)
        circuit.rz(angle, 0)
        keys.add(structure_of(circuit).key)
    assert len(keys) == 2


def test_the_order_of_columns_belongs_to_the_structure() -> None:
    def made(first: str, second: str) -> QuantumCircuit:
        circuit = QuantumCircuit(1)
        circuit.rx(Parameter(first), 0)
        circuit.rz(Parameter(second), 0)
        return circuit

    assert structure_of(made("a", "b")).key == structure_of(made("x", "y")).key
    assert structure_of(made("a", "b")).key != structure_of(made("b", "a")).key


def test_a_rewritten_circuit_has_a_structure() -> None:
    def made(time: float) -> QuantumCircuit:
        circuit = QuantumCircuit(3)
        operator = SparsePauliOp(["ZZI", "IZZ", "IIX"], [1.0, 0.5, 2.0])
        circuit.append(PauliEvolutionGate(operator, time), [0, 1, 2])
        circuit.measure_all()
        return circuit

    first, second = structure_of(made(0.3)), structure_of(made(1.1))
    assert first.key == second.key
    assert len(first.angles) == 3
    bare = made(1.1).remove_final_measurements(inplace=False).decompose()
    assert Operator(first.at(second.angles)).equiv(Operator(bare))


def test_a_gate_of_a_known_name_is_not_that_gate() -> None:
    circuit = QuantumCircuit(1)
    gate = Gate("rx", 1, [0.3])
    gate.definition = QuantumCircuit(1)
    gate.definition.z(0)
    circuit.append(gate, [0])
    structure = structure_of(circuit)
    assert not len(structure.angles)
    assert Operator(structure.source) == Operator(gate.definition)


def as_gate(*gates: tuple[str, Any, list[int]], qubits: int = 2, name: str = "same") -> Gate:
    """Return a gate that is defined by others, which are given by name, angles and qubits."""
    circuit = QuantumCircuit(qubits, name=name)
    for method, angles, places in gates:
        getattr(circuit, method)(*angles, *places)
    return circuit.to_gate()


def nested(angles: Sequence[Any], last: str = "cx") -> QuantumCircuit:
    """Return a circuit of gates in gates, with four angles."""
    inner = as_gate(("ry", angles[:1], [0]), (last, (), [1, 0]))
    outer = QuantumCircuit(3)
    outer.append(inner, [2, 1])
    outer.barrier()
    outer.rz(angles[1], 0)
    outer.append(as_gate(("rx", angles[2:3], [0]), ("h", (), [0]), qubits=1), [0])
    outer.append(UnitaryGate(np.diag([1, 1j])), [1])
    circuit = QuantumCircuit(3)
    circuit.append(outer.to_instruction(), [1, 2, 0])
    circuit.append(as_gate(("rx", angles[3:4], [0]), (last, (), [0, 1])), [0, 2])
    return circuit


@pytest.mark.parametrize("last", ["cx", "cz"])
def test_gates_in_gates_have_angles(last: str) -> None:
    rows = np.random.default_rng(0).uniform(-3, 3, (2, 4))
    first, second = (structure_of(nested(row, last)) for row in rows)
    assert first.key == second.key
    np.testing.assert_array_equal(second.angles, rows[1])
    expected = Operator(nested(rows[1], last))
    assert Operator(first.at(second.angles)).equiv(expected)
    assert Operator(first.general().assign_parameters(second.angles)).equiv(expected)
    free = structure_of(nested(ParameterVector("t", 4), last))
    assert Operator(free.at(rows[1])).equiv(expected)


def test_gates_of_one_name_are_what_their_definitions_say() -> None:
    made = [
        [("rx", (0.1,), [0]), ("cx", (), [0, 1])],
        [("ry", (0.1,), [0]), ("cx", (), [0, 1])],
        [("rx", (0.1,), [1]), ("cx", (), [0, 1])],
        [("rx", (0.1,), [0]), ("cx", (), [1, 0])],
        [("rx", (0.1,), [0])],
        [("rx", (0.1,), [0]), ("cx", (), [0, 1]), ("cx", (), [0, 1])],
    ]
    keys = set()
    for gates in made:
        circuit, flat = QuantumCircuit(2), QuantumCircuit(2)
        circuit.append(as_gate(*gates), [0, 1])
        for method, angles, places in gates:
            getattr(flat, method)(*angles, *places)
        # A plan may cut between gates, but not inside them.
        keys |= {structure_of(circuit).key, structure_of(flat).key}
        assert Operator(structure_of(circuit).at(structure_of(circuit).angles)).equiv(flat)
    assert len(keys) == 2 * len(made)


def test_a_definition_that_changes_is_another_structure() -> None:
    reader, circuit = StructureReader(), QuantumCircuit(2)
    gate = as_gate(("rx", (Parameter("x"),), [0]))
    circuit.append(gate, [0, 1], copy=False)
    first = reader.read(circuit)
    gate.definition.cz(0, 1)
    assert reader.read(circuit).key != first.key


def test_a_gate_on_two_qubits_that_is_made_of_several_stays_one() -> None:
    circuit = QuantumCircuit(2)
    circuit.append(as_gate(("cx", (), [0, 1]), ("rz", (0.3,), [1]), ("cx", (), [0, 1])), [0, 1])
    structure = structure_of(circuit)
    assert [each.name for each in structure.source.data] == ["unitary"]
    assert not len(structure.angles)


def test_definitions_that_grow_exponentially_are_refused() -> None:
    gate = as_gate(("rx", (0.1,), [0]), qubits=1)
    for _ in range(40):
        twice, once = Gate("twice", 1, []), gate
        twice.definition = QuantumCircuit(1)
        for _ in range(2):
            twice.definition.append(once, [0], copy=False)
        gate = twice
    circuit = QuantumCircuit(1)
    circuit.append(gate, [0], copy=False)
    with pytest.raises(InputError, match="grows beyond"):
        structure_of(circuit)


@pytest.mark.parametrize("angle", [float("nan"), float("inf")])
def test_an_angle_that_is_no_number_is_refused(angle: float) -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(angle, 0)
    with pytest.raises(InputError, match="rx"):
        structure_of(circuit)


def test_a_reader_finds_the_structure_of_every_circuit() -> None:
    reader = StructureReader()
    for _ in range(2):
        for circuit in changed():
            found, expected = reader.read(circuit), structure_of(circuit)
            assert found.key == expected.key
            np.testing.assert_array_equal(found.angles, expected.angles)
            assert reader.read(circuit.copy()).key == expected.key


def test_a_reader_reads_a_circuit_once() -> None:
    reader = StructureReader()
    circuit = random_circuit(np.random.default_rng(0), qubits=3, gates=10)
    assert reader.read(circuit.copy()) is reader.read(circuit)


def test_a_reader_notices_that_a_circuit_has_changed() -> None:
    reader = StructureReader()
    circuit = rotated(0.1, Parameter("x"), 0.3, 0.4, 0.5)
    first = reader.read(circuit)
    circuit.rx(1.5, 0)
    second = reader.read(circuit)
    assert second.key != first.key
    assert len(first.source.data) == len(second.source.data) - 1


def test_a_reader_notices_close_angles() -> None:
    reader = StructureReader()
    x, y = Parameter("x"), Parameter("x")
    angles = (0.3, 0.3 + 1e-15, 0.3 + 1e-12, 0.5 * x, (0.5 + 1e-13) * x, x / (-x * x), x / -x * x)
    keys = set()
    for angle in angles:
        circuit = QuantumCircuit(1)
        circuit.rx(x, 0)
        circuit.rz(angle, 0)
        keys.add(reader.read(circuit).key)
    assert len(keys) == len(angles)
    circuit = QuantumCircuit(1)
    circuit.rx(y, 0)
    circuit.rz(0.3, 0)
    assert reader.read(circuit).source.parameters[0] == y


def test_a_reader_notices_the_order_of_columns() -> None:
    reader, m = StructureReader(), Parameter("m")
    keys = set()
    for name in ("a", "z"):
        circuit = QuantumCircuit(1, global_phase=Parameter(name))
        circuit.rx(m, 0)
        keys.add(reader.read(circuit).key)
    assert len(keys) == 2


def test_a_reader_notices_the_order_of_qubits() -> None:
    reader, x = StructureReader(), Parameter("x")
    first, second, third = (QuantumRegister(1, name) for name in "abc")
    keys = set()
    for registers in ((first, second), (second, first), (first, second, third)):
        circuit = QuantumCircuit(*registers)
        circuit.rx(x, first[0])
        keys.add(reader.read(circuit).key)
    assert len(keys) == 3
