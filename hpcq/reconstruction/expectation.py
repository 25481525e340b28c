"""Expectation values from subcircuit tensors: one contraction for all terms together.

A term of an observable picks one Pauli string on every subcircuit. Along the contraction, terms
that agree on all subcircuits met so far share one row, so that hundreds of terms with local
support cost little more than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit
from hpcq.reconstruction.network import Network, Step

if TYPE_CHECKING:
    from hpcq.inputs.observables import Observable
    from hpcq.inputs.pauli_text import PauliString

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TermTable:
    """The distinct terms of all observables, taken apart over the subcircuits.

    Attributes:
        observables: For each observable its (term, coefficient) pairs.
        picks: For each term the (subcircuit, string) pairs where it is not the identity;
            term 0 is the identity, and so is string 0 of every subcircuit.
        strings: For each subcircuit the distinct Pauli strings on its wires.
    """

    observables: tuple[tuple[tuple[int, float], ...], ...]
    picks: tuple[tuple[tuple[int, int], ...], ...]
    strings: tuple[tuple[PauliString, ...], ...]

    def choices(self, start: int, stop: int) -> Rows:
        """Return the string of every subcircuit, shape (stop - start, subcircuits)."""
        table = np.zeros((stop - start, len(self.strings)), dtype=np.intp)
        for row, pick in enumerate(self.picks[start:stop]):
            for subcircuit, string in pick:
                table[row, subcircuit] = string
        return table

    def sum_up(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the terms' values up to the observables', exactly rounded."""
        return np.array(
            [
                math.fsum(coefficient * values[term] for term, coefficient in terms)
                for terms in self.observables
            ]
        )


def tabulate(observables: Sequence[Observable], cut: CutCircuit) -> TermTable:
    """Take the terms of observables apart over the subcircuits of a cut circuit."""
    home = {
        qubit: (number, wire)
        for number, subcircuit in enumerate(cut.subcircuits)
        for qubit, wire in subcircuit.open_wires.items()
    }
    strings: list[dict[PauliString, int]] = [{(): 0} for _ in cut.subcircuits]
    terms: dict[PauliString, int] = {(): 0}
    picks: list[tuple[tuple[int, int], ...]] = [()]
    table = []
    for observable in observables:
        numbered = []
        for pauli, coefficient in observable.terms:
            if pauli not in terms:
                terms[pauli] = len(terms)
                local: dict[int, list[tuple[int, str]]] = {}
                for qubit, letter in pauli:
                    number, wire = home[qubit]
                    local.setdefault(number, []).append((wire, letter))
                picks.append(
                    tuple(
                        (
                            number,
                            strings[number].setdefault(tuple(sorted(part)), len(strings[number])),
                        )
                        for number, part in sorted(local.items())
                    )
                )
            numbered.append((terms[pauli], coefficient))
        table.append(tuple(numbered))
    return TermTable(tuple(table), tuple(picks), tuple(tuple(own) for own in strings))


def contract(
    tensors: Sequence[NDArray[np.complex128]],
    network: Network,
    terms: TermTable,
    memory_bytes: int,
) -> NDArray[np.complex128]:
    """Contract the network for every term.

    Args:
        tensors: For each subcircuit its bond tensor, shape (strings, bond sizes).
        network: The order of contraction.
        terms: Which string of each tensor a term takes.
        memory_bytes: Terms are taken in batches whose largest intermediate fits in about this.

    Returns:
        The expectation value of every term, shape (terms,); the imaginary parts are rounding
        errors.
    """
    total = len(terms.picks)
    batch = int(np.clip(memory_bytes // (4 * network.largest_bytes), 1, 4096))
    values = np.empty(total, dtype=complex)
    for start in range(0, total, batch):
        stop = min(total, start + batch)
        choices = terms.choices(start, stop)
        part = np.ones(stop - start, dtype=complex)
        for number, tensor in enumerate(tensors):
            if not network.legs[number]:
                part *= tensor[choices[:, number]]
        if network.linked:
            part *= sum(
                _contract_slice(tensors, network, choices, fixed) for fixed in network.slices()
            )
        values[start:stop] = part
    return values


def predicted_flops(network: Network, terms: TermTable) -> float:
    """Real floating-point operations of :func:`contract`, from a sample of the terms."""
    sample = min(len(terms.picks), 512)
    choices = terms.choices(0, sample)
    rows = [np.unique(choices[:, k], return_inverse=True)[1] for k in network.linked]
    flops = 0.0
    for step, cost in zip(network.steps, network.flops, strict=True):
        pairs, index = _pairs(rows[step.left], rows[step.right])
        rows.append(index)
        flops += len(pairs) * cost
    return flops * len(terms.picks) / sample


def _contract_slice(
    tensors: Sequence[NDArray[np.complex128]],
    network: Network,
    choices: Rows,
    fixed: dict[int, int],
) -> NDArray[np.complex128]:
    nodes: list[NDArray[np.complex128] | None] = []
    axes: list[tuple[int, ...]] = []
    rows: list[Rows] = []
    for number in network.linked:
        legs = network.legs[number]
        used, index = np.unique(choices[:, number], return_inverse=True)
        pick = tuple(fixed.get(bond, slice(None)) for bond in legs)
        nodes.append(tensors[number][used][(slice(None), *pick)])
        axes.append(tuple(bond for bond in legs if bond not in fixed))
        rows.append(index)
    for step in network.steps:
        left, right = nodes[step.left], nodes[step.right]
        assert left is not None
        assert right is not None
        nodes[step.left] = nodes[step.right] = None
        pairs, index = _pairs(rows[step.left], rows[step.right])
        nodes.append(_merge(left, axes[step.left], right, axes[step.right], step, pairs))
        kept = step.left_only + step.right_only
        axes.append(tuple(bond for bond in kept if bond not in fixed))
        rows.append(index)
    last = nodes[-1]
    assert last is not None
    values: NDArray[np.complex128] = last.reshape(-1)[rows[-1]]
    return values


def _pairs(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Return the distinct (left row, right row) pairs and each term's place among them."""
    codes, index = np.unique(left * (int(right.max()) + 1) + right, return_inverse=True)
    return np.stack(np.divmod(codes, int(right.max()) + 1), axis=1), index


def _merge(
    left: NDArray[np.complex128],
    left_axes: tuple[int, ...],
    right: NDArray[np.complex128],
    right_axes: tuple[int, ...],
    step: Step,
    pairs: Rows,
) -> NDArray[np.complex128]:
    """Contract two nodes for every pair of rows, as few and as large products as possible."""
    a, a_kept = _matrices(left, left_axes, step.left_only, step.shared)
    b, b_kept = _matrices(right, right_axes, step.right_only, step.shared)
    rows_a, m, k = a.shape
    rows_b, n, _ = b.shape
    b = b.transpose(0, 2, 1)
    if rows_b == 1:
        merged = a.reshape(rows_a * m, k) @ b[0]
        result = merged.reshape(rows_a, m, n)[pairs[:, 0]]
    elif rows_a == 1:
        result = (a[0] @ b)[pairs[:, 1]]
    else:
        result = np.empty((len(pairs), m, n), dtype=complex)
        side = 0 if len(np.unique(pairs[:, 0])) <= len(np.unique(pairs[:, 1])) else 1
        for row in np.unique(pairs[:, side]):
            where = np.flatnonzero(pairs[:, side] == row)
            others = pairs[where, 1 - side]
            if side == 0:
                result[where] = a[row] @ b[others]
            else:
                result[where] = (a[others].reshape(-1, k) @ b[row]).reshape(-1, m, n)
    shaped: NDArray[np.complex128] = result.reshape(len(pairs), *a_kept, *b_kept)
    return shaped


def _matrices(
    node: NDArray[np.complex128],
    axes: tuple[int, ...],
    kept: tuple[int, ...],
    summed: tuple[int, ...],
) -> tuple[NDArray[np.complex128], tuple[int, ...]]:
    """Lay a node out as (rows, kept, summed); return it and the sizes of the kept axes."""
    kept_at = [1 + axes.index(bond) for bond in kept if bond in axes]
    summed_at = [1 + axes.index(bond) for bond in summed if bond in axes]
    kept_sizes = tuple(node.shape[axis] for axis in kept_at)
    summed_size = math.prod(node.shape[axis] for axis in summed_at)
    laid = node.transpose(0, *kept_at, *summed_at)
    shape = (node.shape[0], math.prod(kept_sizes), summed_size)
    return laid.reshape(shape), kept_sizes
