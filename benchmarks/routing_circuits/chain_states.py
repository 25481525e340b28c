"""Truth for weakly entangled circuits: a matrix product state that is hardly ever truncated.

Only singular values of the size of rounding are dropped, always beside the centre of
orthogonality, so that what is dropped bounds the error. A bond that would grow too large ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .letters import MATRICES, String

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

MAX_BOND = 128
"""Largest bond: a gate there takes about 0.1 s."""

MAX_ERROR = 1e-9
"""Largest bound on the error of a string that is still called true."""

_DROPPED = 1e-26
"""Sum of squared singular values that one decomposition may drop; the state's norm is 1."""

_SWAP = np.eye(4)[[0, 2, 1, 3]]


def chain_values(circuit: QuantumCircuit, strings: Sequence[String]) -> list[float] | None:
    """Return the values of strings; None if a bond or the error grows too large."""
    from qiskit import transpile

    plain = transpile(circuit, basis_gates=["u", "cx"], optimization_level=0)
    state = _Chain(circuit.num_qubits)
    for instruction in plain.data:
        places = [plain.find_bit(qubit).index for qubit in instruction.qubits]
        if not state.apply(np.asarray(instruction.operation.to_matrix()), places):
            return None
    if 2 * sqrt(2) * state.dropped > MAX_ERROR:
        return None
    return [state.value(dict(string)) for string in strings]


class _Chain:
    """A matrix product state; its tensors have the axes left bond, qubit, right bond.

    Attributes:
        dropped: Sum of the norms of all that was dropped.
    """

    def __init__(self, num_qubits: int) -> None:
        zero = np.array([1, 0], complex).reshape(1, 2, 1)
        self.sites: list[NDArray[np.complex128]] = [zero] * num_qubits
        self.centre = 0
        self.dropped = 0.0

    def apply(self, matrix: Any, places: list[int]) -> bool:
        """Apply a gate in Qiskit's order of qubits; return whether the bonds stay small."""
        if len(places) == 1:
            site = self.sites[places[0]]
            self.sites[places[0]] = np.einsum("ij,ajb->aib", matrix, site)
            return True
        low, high = sorted(places)
        if places[0] == high:
            matrix = _SWAP @ matrix @ _SWAP
        path = range(high - 1, low, -1)  # bring the higher qubit next to the lower one, and back
        return (
            all(self._join(_SWAP, place) for place in path)
            and self._join(matrix, low)
            and all(self._join(_SWAP, place) for place in reversed(path))
        )

    def _join(self, matrix: Any, place: int) -> bool:
        """Apply a gate to a qubit, the lowest bit, and the next one."""
        self._move(place)
        pair = np.einsum("aib,bjc->aijc", self.sites[place], self.sites[place + 1])
        cube = np.reshape(matrix, (2, 2, 2, 2))  # next, this, from next, from this
        turned = np.einsum("jilk,aklc->aijc", cube, pair)
        left, _, _, right = turned.shape
        u, s, v = np.linalg.svd(turned.reshape(2 * left, 2 * right), full_matrices=False)
        tails = np.cumsum((s**2)[::-1])[::-1]  # what is dropped from each place on
        kept = max(1, int(np.count_nonzero(tails > _DROPPED)))
        if kept < len(s):
            self.dropped += sqrt(tails[kept])
        self.sites[place] = u[:, :kept].reshape(left, 2, kept)
        self.sites[place + 1] = (s[:kept, None] * v[:kept]).reshape(kept, 2, right)
        self.centre = place + 1
        return kept <= MAX_BOND

    def _move(self, place: int) -> None:
        """Move the centre to a place or to the one after it."""
        while self.centre < place:
            site = self.sites[self.centre]
            left, _, right = site.shape
            q, r = np.linalg.qr(site.reshape(2 * left, right))
            self.sites[self.centre] = q.reshape(left, 2, -1)
            self.centre += 1
            self.sites[self.centre] = np.tensordot(r, self.sites[self.centre], 1)
        while self.centre > place + 1:
            site = self.sites[self.centre]
            left, _, right = site.shape
            q, r = np.linalg.qr(site.reshape(left, 2 * right).T)
            self.sites[self.centre] = q.T.reshape(-1, 2, right)
            self.centre -= 1
            self.sites[self.centre] = np.tensordot(self.sites[self.centre], r.T, 1)

    def value(self, letters: dict[int, str]) -> float:
        """Return the expectation value of a string."""
        edge = np.ones((1, 1), complex)
        for place, site in enumerate(self.sites):
            ket = np.tensordot(edge, site, 1)
            if place in letters:
                ket = np.einsum("ij,ajb->aib", np.array(MATRICES[letters[place]]), ket)
            edge = np.tensordot(site.conj(), ket, ((0, 1), (0, 1)))
        return float(edge[0, 0].real)
