"""Gates in a row on one pair of qubits become one, where that makes their cut cheaper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.gate_decompositions import pauli_sum
from hpcq.cutting.passes.gate_steps import GateStep, local_steps, matrix_of, unitary


def merge_rows(steps: Sequence[GateStep]) -> tuple[list[GateStep], int]:
    """Merge rows of gates on one pair, as long as that helps.

    A row is cut as an edge for each of its gates, or merged as a single one of dimension 4 at
    most; three CX gates with rotations in between are 8 against 4, and CX RZ CX is 4 against 2.

    Returns:
        The new steps, and by how many two-qubit gates they are fewer.
    """
    now = list(steps)
    while True:
        merged = _merge_once(now)
        if _pairs(merged) == _pairs(now):
            return merged, _pairs(steps) - _pairs(merged)
        now = merged


def _merge_once(steps: list[GateStep]) -> list[GateStep]:
    row_of: dict[int, list[int]] = {}
    rows: list[list[int]] = []
    for number, step in enumerate(steps):
        if not step.is_pair:
            if step.qubits[0] in row_of:
                row_of[step.qubits[0]].append(number)
            continue
        a, b = step.qubits
        row = row_of.get(a)
        if row is None or row is not row_of.get(b):
            row = []
            rows.append(row)
        row.append(number)
        row_of[a] = row_of[b] = row
    replaced: dict[int, list[GateStep]] = {}
    for row in rows:
        own = [steps[number] for number in row]
        while not own[-1].is_pair:
            own.pop()
        new = _merged(own)
        if new is not None:
            replaced.update({number: [] for number in row[: len(own)]})
            replaced[row[0]] = new
    return [s for number, step in enumerate(steps) for s in replaced.get(number, [step])]


def _merged(row: Sequence[GateStep]) -> list[GateStep] | None:
    """Return what a row of gates is merged to; None where it is better left alone."""
    pairs = [step for step in row if step.is_pair]
    bits = sum(_bits(step.operation) for step in pairs)
    if len(pairs) == 1 and bits:
        return None
    qubits = row[0].qubits
    matrix: NDArray[np.complex128] = np.eye(4, dtype=complex)
    for step in row:
        matrix = _on_pair(step, qubits) @ matrix
    operation = unitary(matrix)
    terms = pauli_sum(operation)
    if bits and math.log2(terms.dimension) >= bits:
        return None
    ends = dict(zip(pairs[-1].qubits, pairs[-1].ends, strict=True))
    origin = tuple(sorted(gate for step in pairs for gate in step.origin))
    whole = GateStep(operation, qubits, origin, tuple(ends[qubit] for qubit in qubits))
    return local_steps(whole, terms) if terms.dimension == 1 else [whole]


def _on_pair(step: GateStep, qubits: tuple[int, ...]) -> NDArray[np.complex128]:
    """Return a step's matrix on an ordered pair of qubits, the first the lowest bit."""
    matrix = matrix_of(step.operation)
    if not step.is_pair:
        factors = (np.eye(2), matrix) if step.qubits[0] == qubits[0] else (matrix, np.eye(2))
        return np.kron(*factors).astype(complex)
    if step.qubits == qubits:
        return matrix
    order = [0, 2, 1, 3]
    return matrix[np.ix_(order, order)]


def _bits(operation: Any) -> float:
    return math.log2(pauli_sum(operation).dimension)


def _pairs(steps: Iterable[GateStep]) -> int:
    return sum(step.is_pair for step in steps)
