"""Merge consecutive gates on one pair of qubits where that makes their cut cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.slots import slot_of
from hpcq.cutting.gate_decompositions import pauli_sum
from hpcq.cutting.passes.gate_steps import GateStep, local_steps, matrix_of, unitary


def merge_blocks(steps: Sequence[GateStep]) -> tuple[list[GateStep], int]:
    """Merge blocks of consecutive gates on one pair of qubits, as long as that helps.

    Without merging, a block is cut as one edge for each of its gates; merged, as a single edge of
    dimension 4 at most. Three CX gates with rotations in between have dimension 8 or, merged, 4;
    CX RZ CX has 4 or 2. Gates whose angles are slots are not merged.

    Returns:
        The new steps, and the number of two-qubit gates that went.
    """
    current = list(steps)
    while True:
        merged = _merge_once(current)
        if _pairs(merged) == _pairs(current):
            return merged, _pairs(steps) - _pairs(merged)
        current = merged


def _merge_once(steps: list[GateStep]) -> list[GateStep]:
    block_of: dict[int, list[int]] = {}
    blocks: list[list[int]] = []
    for number, step in enumerate(steps):
        if slot_of(step.operation) is not None:
            for qubit in step.qubits:
                block_of.pop(qubit, None)
            continue
        if not step.is_pair:
            if step.qubits[0] in block_of:
                block_of[step.qubits[0]].append(number)
            continue
        a, b = step.qubits
        block = block_of.get(a)
        if block is None or block is not block_of.get(b):
            block = []
            blocks.append(block)
        block.append(number)
        block_of[a] = block_of[b] = block
    replaced: dict[int, list[GateStep]] = {}
    for block in blocks:
        members = [steps[number] for number in block]
        while not members[-1].is_pair:
            members.pop()
        new = _merged(members)
        if new is not None:
            replaced.update({number: [] for number in block[: len(members)]})
            replaced[block[0]] = new
    return [s for number, step in enumerate(steps) for s in replaced.get(number, [step])]


def _merged(block: Sequence[GateStep]) -> list[GateStep] | None:
    """Return the steps that replace a block, or None if merging it does not help."""
    pairs = [step for step in block if step.is_pair]
    bits = sum(math.log2(pauli_sum(step.operation).dimension) for step in pairs)
    if len(pairs) == 1 and bits:
        return None
    qubits = block[0].qubits
    matrix: NDArray[np.complex128] = np.eye(4, dtype=complex)
    for step in block:
        matrix = _on_pair(step, qubits) @ matrix
    operation = unitary(matrix)
    terms = pauli_sum(operation)
    if bits and math.log2(terms.dimension) >= bits:
        return None
    ends = dict(zip(pairs[-1].qubits, pairs[-1].ends, strict=True))
    origin = tuple(sorted(gate for step in pairs for gate in step.origin))
    merged = GateStep(operation, qubits, origin, tuple(ends[qubit] for qubit in qubits))
    return local_steps(merged, terms) if terms.dimension == 1 else [merged]


def _on_pair(step: GateStep, qubits: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return a step's matrix on an ordered pair of qubits; the first qubit is the lowest bit."""
    matrix = matrix_of(step.operation)
    if not step.is_pair:
        factors = (np.eye(2), matrix) if step.qubits[0] == qubits[0] else (matrix, np.eye(2))
        return np.kron(*factors).astype(complex)
    if step.qubits == qubits:
        return matrix
    order = [0, 2, 1, 3]
    return matrix[np.ix_(order, order)]


def _pairs(steps: Iterable[GateStep]) -> int:
    return sum(step.is_pair for step in steps)
