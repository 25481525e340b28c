"""Compiled circuits made ready for a simulator: no idle qubits, no measurements in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpcq.cutting.subexperiments.device_circuits import DEFERRED

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def compact(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, int]]:
    """Return a circuit without its idle qubits, and the new number of each of the others."""
    from qiskit import QuantumCircuit

    used = {q for i in circuit.data if i.operation.name != "barrier" for q in i.qubits}
    places = [place for place, qubit in enumerate(circuit.qubits) if qubit in used]
    compact = QuantumCircuit(len(places), circuit.num_clbits)
    new = {circuit.qubits[old]: qubit for old, qubit in zip(places, compact.qubits, strict=True)}
    bits = dict(zip(circuit.clbits, compact.clbits, strict=True))
    for instruction in circuit.data:
        if instruction.operation.name != "barrier":
            compact._append(
                instruction.replace(
                    qubits=[new[q] for q in instruction.qubits],
                    clbits=[bits[c] for c in instruction.clbits],
                )
            )
    return compact, {old: place for place, old in enumerate(places)}


def defer(circuit: QuantumCircuit) -> tuple[QuantumCircuit, dict[int, int]]:
    """Return a circuit whose measurements are final, and each ancilla with the qubit it stands for.

    The gates to the ancillas have a label, so the noise of no gate applies to them.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import CXGate

    last = {q: place for place, i in enumerate(circuit.data) for q in i.qubits}
    early = [
        place
        for place, i in enumerate(circuit.data)
        if i.operation.name == "measure" and last[i.qubits[0]] != place
    ]
    width = circuit.num_qubits
    deferred = QuantumCircuit(width + len(early), circuit.num_clbits)
    number = {qubit: place for place, qubit in enumerate(circuit.qubits)}
    bits = dict(zip(circuit.clbits, deferred.clbits, strict=True))
    ancillas = {place: width + own for own, place in enumerate(early)}
    matrix = np.array(CXGate().to_matrix(), dtype=complex, order="F")
    finals = []
    for place, instruction in enumerate(circuit.data):
        qubits = [number[q] for q in instruction.qubits]
        if instruction.operation.name != "measure":
            own = [deferred.qubits[q] for q in qubits]
            deferred._append(instruction.replace(qubits=own))
            continue
        if place in ancillas:
            deferred.unitary(matrix.copy(order="F"), [qubits[0], ancillas[place]], label=DEFERRED)
        finals.append((ancillas.get(place, qubits[0]), bits[instruction.clbits[0]]))
    for qubit, bit in finals:
        deferred.measure(qubit, bit)
    return deferred, {a: number[circuit.data[place].qubits[0]] for place, a in ancillas.items()}
