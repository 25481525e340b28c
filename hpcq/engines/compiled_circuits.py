"""Prepare compiled circuits for a simulator: no idle qubits, no mid-circuit measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcq.cutting.subexperiments.device_circuits import DEFERRED

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def without_idle_qubits(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, int]]:
    """Return a circuit without its idle qubits, and each other qubit's new number by its old."""
    from qiskit import QuantumCircuit

    used = {q for i in circuit.data if i.operation.name != "barrier" for q in i.qubits}
    numbers = [number for number, qubit in enumerate(circuit.qubits) if qubit in used]
    compact = QuantumCircuit(len(numbers), circuit.num_clbits)
    new = {circuit.qubits[old]: qubit for old, qubit in zip(numbers, compact.qubits, strict=True)}
    bits = dict(zip(circuit.clbits, compact.clbits, strict=True))
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            compact._append(
                instruction.replace(
                    qubits=[new[q] for q in instruction.qubits],
                    clbits=[bits[c] for c in instruction.clbits],
                )
            )
    return compact, {old: new for new, old in enumerate(numbers)}


def early_measurements(circuit: QuantumCircuit) -> list[int]:
    """Return the positions of the measurements after which their qubit is used again."""
    last = {q: index for index, i in enumerate(circuit.data) for q in i.qubits}
    return [
        index
        for index, i in enumerate(circuit.data)
        if i.operation.name == "measure" and last[i.qubits[0]] != index
    ]


def defer_measurements(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, int]]:
    """Return a circuit with final measurements only, and the measured qubit of each ancilla.

    The gates to the ancillas have a label, so that no gate's noise applies to them.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import CXGate

    early = early_measurements(circuit)
    width = circuit.num_qubits
    deferred = QuantumCircuit(width + len(early), circuit.num_clbits)
    number = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    bits = dict(zip(circuit.clbits, deferred.clbits, strict=True))
    ancillas = {index: width + ancilla for ancilla, index in enumerate(early)}
    matrix = np.array(CXGate().to_matrix(), dtype=complex, order="F")
    finals = []
    for index, instruction in enumerate(circuit.data):
        qubits = [number[q] for q in instruction.qubits]
        if instruction.operation.name != "measure":
            kept = [deferred.qubits[q] for q in qubits]
            deferred._append(instruction.replace(qubits=kept))
            continue
        if index in ancillas:
            deferred.unitary(matrix.copy(order="F"), [qubits[0], ancillas[index]], label=DEFERRED)
        finals.append((ancillas.get(index, qubits[0]), bits[instruction.clbits[0]]))
    for qubit, bit in finals:
        deferred.measure(qubit, bit)
    return deferred, {a: number[circuit.data[index].qubits[0]] for index, a in ancillas.items()}
