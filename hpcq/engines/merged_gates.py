"""Merge the gates of a circuit into a product state and two-qubit gates that entangle.

One-qubit gates are multiplied into the gate before, consecutive gates on one pair into each other,
and a gate that is a swap, up to one-qubit gates, only renames its wires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.unitary import nearest_unitary
from hpcq.core.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Matrix = NDArray[np.complex128]

SWAP: Matrix = np.eye(4, dtype=complex)[[0, 2, 1, 3]]

_PRODUCT = 1e-13
"""Second singular value below which a gate, a matrix of norm 2, is taken to be a product of
one-qubit gates; the error is counted. Rounding errors are up to about 1e-15."""


@dataclass(frozen=True, eq=False)
class PairGate:
    """A two-qubit gate; the indices of its matrix are ``2 * bit of a + bit of b``."""

    a: int
    b: int
    matrix: Matrix


@dataclass(frozen=True, eq=False)
class MergedCircuit:
    """A product state and gates that entangle.

    Attributes:
        kets: The states that the wires start in, shape (wires, 2).
        gates: The gates, in order.
        wire_of: The wire of each qubit after the last gate.
        angle: Bound on the angle between the final states of these gates and of the circuit, in
            radians.
    """

    kets: Matrix
    gates: tuple[PairGate, ...]
    wire_of: tuple[int, ...]
    angle: float


_Item = tuple[tuple[int, ...], Matrix]
"""Wires of a gate and its matrix, whose highest bit is the first wire."""


def merge_gates(circuit: QuantumCircuit) -> MergedCircuit:
    """Merge the gates of a circuit, repeatedly while some are products of one-qubit gates.

    Raises:
        InputError: If a gate has more than two qubits.
    """
    items = _items(circuit)
    wire_of = list(range(circuit.num_qubits))
    angle = 0.0
    while True:
        kets, gates = _merged(items, len(wire_of))
        products = _products(gates)
        if not products:
            return MergedCircuit(kets, tuple(gates), tuple(wire_of), angle)
        items = [((wire,), np.outer(ket, [1, 0])) for wire, ket in enumerate(kets)]
        renamed = list(range(len(wire_of)))
        for number, gate in enumerate(gates):
            a, b = renamed[gate.a], renamed[gate.b]
            product = products.get(number)
            if product is None:
                items.append(((a, b), gate.matrix))
                continue
            items += [((a,), product.left), ((b,), product.right)]
            angle += product.error
            if product.swaps:
                renamed[gate.a], renamed[gate.b] = b, a
        wire_of = [renamed[wire] for wire in wire_of]


def _items(circuit: QuantumCircuit) -> list[_Item]:
    index = {qubit: number for number, qubit in enumerate(circuit.qubits)}
    known: dict[Any, Matrix] = {}
    items = []
    for instruction in circuit.data:
        operation = instruction.operation
        if operation.name == "barrier" or not instruction.qubits:
            continue
        if len(instruction.qubits) > 2:
            raise InputError(
                f"circuit: {operation.name} on {len(instruction.qubits)} qubits, expected gates on "
                "one or two"
            )
        key = (operation.name, *operation.params) if instruction.is_standard_gate() else None
        matrix = known.get(key)
        if matrix is None:
            matrix = nearest_unitary(np.asarray(operation.to_matrix(), dtype=complex))
        if key is not None:
            known[key] = matrix
        items.append((tuple([index[q] for q in reversed(instruction.qubits)]), matrix))
    return items


def _merged(items: Sequence[_Item], width: int) -> tuple[Matrix, list[PairGate]]:
    """Merge one-qubit gates into the gate before or the initial state, and gates on one pair."""
    kets = np.zeros((width, 2), dtype=complex)
    kets[:, 0] = 1
    gates: list[PairGate] = []
    last = [-1] * width
    for wires, matrix in items:
        number = last[wires[0]]
        if len(wires) == 1:
            if number < 0:
                kets[wires[0]] = matrix @ kets[wires[0]]
                continue
            gate = gates[number]
            shape = (2, 8) if wires[0] == gate.a else (2, 2, 4)
            product = (matrix @ gate.matrix.reshape(shape)).reshape(4, 4)
            gates[number] = replace(gate, matrix=product)
        elif number >= 0 and number == last[wires[1]]:
            gate = gates[number]
            matrix = matrix if wires[0] == gate.a else turned(matrix)
            gates[number] = replace(gate, matrix=matrix @ gate.matrix)
        else:
            last[wires[0]] = last[wires[1]] = len(gates)
            gates.append(PairGate(wires[0], wires[1], matrix))
    return kets, gates


@dataclass(frozen=True, eq=False)
class _Product:
    """One-qubit gates that are equal to a two-qubit gate, alone or with a swap after them."""

    left: Matrix
    right: Matrix
    swaps: bool
    error: float


def _products(gates: Sequence[PairGate]) -> dict[int, _Product]:
    """Return the gates that are products, by their numbers."""
    if not gates:
        return {}
    found = {}
    plain = np.array([gate.matrix for gate in gates])
    for swaps, matrices in ((False, plain), (True, SWAP @ plain)):
        mixed = operator_matrices(matrices)
        values = np.linalg.svd(mixed, compute_uv=False)
        for number in np.flatnonzero(values[:, 1] <= _PRODUCT).tolist():
            left, (_, *others), right = np.linalg.svd(mixed[number])
            factors: Matrix = np.array([left[:, 0], right[0]], dtype=complex)
            factors = (factors * 2**0.5).reshape(2, 2, 2)
            found[number] = _Product(factors[0], factors[1], swaps, float(sum(others)))
    return found


def operator_matrices(matrices: Matrix) -> Matrix:
    """Return two-qubit matrices as operators from matrices of the second to those of the first.

    The shapes are (gates, 4, 4). The singular values are those of the operator's Schmidt
    decomposition.
    """
    count = len(matrices)
    mixed = matrices.reshape(count, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4)
    return mixed.reshape(count, 4, 4)


def turned(matrix: Matrix) -> Matrix:
    """Return a two-qubit matrix with its qubits exchanged."""
    return matrix.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)
