"""Truth for blocks that few diagonal gates link: a sum over the states of one end of each link.

A link is diag(d) on qubits a and b, so it is the sum over s of the projector onto s of a, times a
diagonal matrix on b. Each block is a statevector with one more axis for each of its links; the
overlaps of these vectors, with the block's part of the string between them, are contracted over
all links, once for the ket and once for the bra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .letters import MATRICES, String

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_SIZE = 1 << 23
"""Most amplitudes of a block, all states of its links together: 128 MiB."""

Vectors = NDArray[np.complex128]


def link_sums(circuit: QuantumCircuit, width: int, strings: Sequence[String]) -> list[float] | None:
    """Return the values of strings; None if a block has too many links, or one is not diagonal.

    Args:
        circuit: A circuit of gates on one and two qubits.
        width: Qubits of a block; blocks are consecutive.
        strings: Products of Paulis and projectors.
    """
    count = circuit.num_qubits // width
    gates = [
        (
            np.asarray(instruction.operation.to_matrix()),
            [circuit.find_bit(qubit).index for qubit in instruction.qubits],
        )
        for instruction in circuit.data
    ]
    links = [
        index for index, (_, qubits) in enumerate(gates) if len({q // width for q in qubits}) > 1
    ]
    if any(np.any(gates[link][0] - np.diag(np.diag(gates[link][0]))) for link in links):
        return None
    states, names = [], []
    for block in range(count):
        found = [link for link in links if block in {q // width for q in gates[link][1]}]
        if 1 << (width + len(found)) > MAX_SIZE:
            return None
        states.append(_vectors(gates, block, width))
        names.append(found)
    overlaps = [_overlaps(vectors, ()) for vectors in states]
    values = []
    for string in strings:
        changed = list(overlaps)
        for block in {qubit // width for qubit, _ in string}:
            inside = tuple((q - block * width, x) for q, x in string if q // width == block)
            changed[block] = _overlaps(states[block], inside)
        values.append(_contracted(changed, names))
    return values


def _vectors(gates: list[tuple[Any, list[int]]], block: int, width: int) -> Vectors:
    """Return the block's vectors, of the shape (states of its links, 2**width).

    The first link is the slowest index.
    """
    state = np.zeros((1, 1 << width), complex)
    state[0, 0] = 1
    for matrix, qubits in gates:
        places = [qubit - block * width for qubit in qubits]
        inside = [0 <= place < width for place in places]
        if all(inside):
            state = _applied(state, matrix, places)
        elif any(inside):
            phases = np.diag(matrix).reshape(2, 2)  # indices: second qubit, first qubit
            branches = np.eye(2) if inside[0] else phases.T
            place = places[0] if inside[0] else places[1]
            state = np.stack(
                [_applied(state, np.diag(branch), [place]) for branch in branches], axis=1
            ).reshape(-1, 1 << width)
    return state


def _applied(state: Vectors, matrix: Any, places: list[int]) -> Vectors:
    """Apply a matrix in Qiskit's order: the first place is its lowest bit."""
    width = state.shape[1].bit_length() - 1
    cube = state.reshape(state.shape[0], *(2,) * width)
    axes = [width - place for place in reversed(places)]
    size = len(places)
    turned = np.tensordot(
        np.reshape(matrix, (2,) * (2 * size)), cube, (range(size, 2 * size), axes)
    )
    return np.moveaxis(turned, range(size), axes).reshape(state.shape)


def _overlaps(vectors: Vectors, string: String) -> Vectors:
    turned = vectors
    for qubit, letter in string:
        turned = _applied(turned, np.array(MATRICES[letter]), [qubit])
    return np.asarray(turned @ vectors.conj().T)


def _contracted(overlaps: list[Vectors], names: list[list[int]]) -> float:
    from cotengra import array_contract

    arrays = [
        matrix.reshape((2,) * (2 * len(links)))
        for matrix, links in zip(overlaps, names, strict=True)
    ]
    inputs = [
        [*(f"ket{link}" for link in links), *(f"bra{link}" for link in links)] for links in names
    ]
    return float(np.real(array_contract(arrays, inputs, [], optimize="greedy")))
