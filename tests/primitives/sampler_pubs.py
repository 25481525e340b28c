"""Pubs of every form that Qiskit's samplers accept, each as a function of nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter
from qiskit.circuit.library import PauliEvolutionGate, UnitaryGate, real_amplitudes
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import Operator, SparsePauliOp

ROWS = np.random.default_rng(3).uniform(-3, 3, (4, 6))


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return a circuit with measurements of all qubits."""
    circuit.measure_all()
    return circuit


def ansatz() -> QuantumCircuit:
    return measured(real_amplitudes(3, reps=1))


def bell(*registers: int) -> QuantumCircuit:
    """Return a Bell pair on qubits 0 and 2 of three, with registers of these sizes."""
    circuit = QuantumCircuit(
        QuantumRegister(3, "q"),
        *(ClassicalRegister(size, f"c{k}") for k, size in enumerate(registers)),
        metadata={"name": "bell"},
    )
    circuit.ry(1.0, 1)
    circuit.h(0)
    circuit.cx(0, 2)
    return circuit


def _with(circuit: QuantumCircuit, qubits: Any, bits: Any) -> QuantumCircuit:
    circuit.measure(qubits, bits)
    return circuit


def _after_measurements() -> QuantumCircuit:
    circuit = bell(2)
    circuit.measure(0, 0)
    circuit.x(2)
    circuit.measure(2, 1)
    return circuit


def _overwritten() -> QuantumCircuit:
    circuit = bell(1)
    circuit.measure(0, 0)
    circuit.measure(1, 0)
    return circuit


def _measured_twice() -> QuantumCircuit:
    circuit = bell(3)
    circuit.measure([0, 0, 1], [0, 2, 1])
    return circuit


def _loose_bits() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2), [Clbit(), Clbit()], ClassicalRegister(1, "c"))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 2])
    return circuit


def _in_two_registers() -> QuantumCircuit:
    bits = [Clbit(), Clbit(), Clbit()]
    circuit = QuantumCircuit(QuantumRegister(2), bits)
    circuit.add_register(ClassicalRegister(bits=bits[:2], name="a"))
    circuit.add_register(ClassicalRegister(bits=bits[1:], name="b"))
    circuit.h(0)
    circuit.cx(0, 1)
    return circuit


def _composite() -> QuantumCircuit:
    inner = real_amplitudes(2, reps=1, parameter_prefix="inner")
    circuit = QuantumCircuit(QuantumRegister(2, "a"), QuantumRegister(1, "b"))
    circuit.h(0)
    circuit.append(inner.to_gate(), [0, 2])
    circuit.ccx(0, 1, 2)
    circuit.append(UnitaryGate(Operator(QuantumCircuit(2)).data), [1, 2])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["ZZI", "IXX"], [1.0, 0.5]), 0.4), [0, 1, 2])
    return measured(circuit)


def _wide() -> QuantumCircuit:
    circuit = QuantumCircuit(10)
    circuit.x([0, 3, 9])
    return measured(circuit)


def _two_angles() -> tuple[QuantumCircuit, Parameter, Parameter]:
    b, a = Parameter("b"), Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(b, 0)
    circuit.cx(0, 1)
    circuit.rx(2 * a - b, 1)
    return measured(circuit), a, b


def _table() -> dict[str, Callable[[], Any]]:
    angles, a, b = _two_angles()
    one = QuantumCircuit(1)
    one.rx(Parameter("x"), 0)
    one.measure_all()
    return {
        "circuit": lambda: measured(bell()),
        "tuple of one": lambda: (measured(bell()),),
        "no values": lambda: (measured(bell()), None),
        "empty values": lambda: (measured(bell()), []),
        "shots": lambda: (measured(bell()), None, 77),
        "SamplerPub": lambda: SamplerPub.coerce(measured(bell())),
        "SamplerPub with shots": lambda: SamplerPub.coerce((measured(bell()), None, 50)),
        "rows of nothing": lambda: (measured(bell()), np.empty((3, 0)), 100),
        "one qubit measured": lambda: _with(bell(1), 2, 0),
        "other order": lambda: _with(bell(3), [0, 1, 2], [2, 0, 1]),
        "unwritten bits": lambda: _with(bell(5), [0, 1], [4, 2]),
        "unwritten register": lambda: _with(bell(2, 3, 1), [1, 2], [0, 5]),
        "two registers": lambda: _with(bell(2, 1), [0, 1, 2], [0, 1, 2]),
        "more than a byte": lambda: _with(bell(12), [0, 1, 2], [11, 3, 8]),
        "two registers of bytes": lambda: _with(bell(9, 17), [0, 1, 2], [8, 9, 25]),
        "register without bits": lambda: _with(bell(0, 1), 0, 0),
        "measured between gates": _after_measurements,
        "overwritten bit": _overwritten,
        "measured twice": _measured_twice,
        "loose bits": _loose_bits,
        "measure_active": lambda: bell().measure_active(inplace=False),
        "measure_all beside a register": lambda: bell(2).measure_all(inplace=False),
        "measure_all into bits": lambda: bell(3).measure_all(inplace=False, add_bits=False),
        "registers without measurements": lambda: bell(2, 1),
        "overlapping registers": _in_two_registers,
        "no gates": lambda: measured(QuantumCircuit(2)),
        "wide": _wide,
        "one row": lambda: (ansatz(), ROWS[0]),
        "list of numbers": lambda: (ansatz(), ROWS[0].tolist()),
        "a row in two axes": lambda: (ansatz(), ROWS[:1]),
        "rows": lambda: (ansatz(), ROWS),
        "rows in two axes": lambda: (ansatz(), ROWS.reshape(2, 2, -1)),
        "rows and shots": lambda: (ansatz(), ROWS, 333),
        "no rows": lambda: (ansatz(), ROWS[:0]),
        "scalar values": lambda: (one, 0.7),
        "values of one parameter": lambda: (one, [0.1, 0.2, 0.3]),
        "values of one in a column": lambda: (one, [[0.1], [0.2], [0.3]]),
        "mapping": lambda: (angles, {b: 0.2, a: -0.9}),
        "mapping of rows": lambda: (angles, {("b", "a"): [[0.2, -0.9], [1.0, 2.0]]}),
        "BindingsArray": lambda: (angles, BindingsArray({"b": [0.2, 0.5], "a": [1.0, 2.0]})),
        "bound": lambda: angles.assign_parameters([0.3, -1.1]),
        "angles of pi/2": lambda: (ansatz(), np.full(6, np.pi / 2)),
        "angles of 0": lambda: (ansatz(), np.zeros(6)),
        "composite gates": lambda: (_composite(), [0.1, 0.2, 0.3, 0.4]),
        "bound composite": lambda: _composite().assign_parameters([0.1, 0.2, 0.3, 0.4]),
    }


PUBS = _table()
