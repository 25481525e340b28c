"""Plans of matrix-product-state simulations: which steps act on which bonds of a chain of sites.

The wires are put in an order that keeps interacting ones close. A gate on distant sites is preceded
by swaps, which stay: wires move along the chain. Bond i is between the sites i and i + 1.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.chain_work import qr_work, step_work
from hpcq.engines.merged_gates import (
    SWAP,
    Matrix,
    MergedCircuit,
    merge_gates,
    operator_matrices,
    turned,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_NEGLIGIBLE = 1e-13
"""Singular value below which a term of a step, a matrix of norm 2, does not count as one. Rounding
makes up to about 1e-15."""

_LOOKAHEAD = 3
"""Later gates of a wire that are looked at where swaps have a choice of which wire to move."""

_DECAY = 0.5
"""Weight of each later gate relative to the one before."""

_MAX_SPECTRAL = 300
"""Wires up to which the spectral order is tried, which takes about 10 ms there."""

_MAX_TRIED = 5000
"""Gates up to which every order is tried, at about 10 µs for each gate and swap; with more, the
order in which the gates are shortest is taken."""

_MAX_BITS = 60.0
"""log2 of the bond dimension above which the predicted work no longer grows."""


@dataclass(frozen=True, eq=False)
class ChainPlan:
    """Steps on neighbouring sites.

    Attributes:
        kets: The states that the sites start in, shape (sites, 2).
        bonds: The bond that each step acts on.
        matrices: The steps' matrices, shape (steps, 4, 4); their indices are
            ``2 * bit of site i + bit of site i + 1``.
        site_of: The site of each qubit after the last step.
        angle: Bound on the angle between the final states of these steps and of the circuit, in
            radians.
    """

    kets: Matrix
    bonds: tuple[int, ...]
    matrices: Matrix
    site_of: tuple[int, ...]
    angle: float

    @cached_property
    def terms(self) -> list[int]:
        """Number of products of one-site matrices that each step is a sum of."""
        counts: list[int] = np.count_nonzero(self._schmidt[1] > _NEGLIGIBLE, axis=1).tolist()
        return counts

    def factors(self, step: int) -> tuple[Matrix, Matrix, float]:
        """Return a step as a sum of products of one-site matrices, and the norm of what is dropped.

        The matrices of the left site have the shape (2 rows and terms, 2 columns), those of the
        right one (terms and 2 rows, 2 columns).
        """
        left, values, right = (array[step] for array in self._schmidt)
        count = self.terms[step]
        first = (left[:, :count] * values[:count]).reshape(2, 2, count).swapaxes(1, 2)
        return first.reshape(-1, 2), right[:count].reshape(-1, 2), float(values[count:].sum())

    @cached_property
    def _schmidt(self) -> tuple[Matrix, NDArray[np.float64], Matrix]:
        """The singular value decompositions of the steps' operators."""
        left, values, right = np.linalg.svd(operator_matrices(self.matrices))
        return left, values, right

    @cached_property
    def sweeps(self) -> list[int]:
        """Numbers of consecutive steps whose bonds strictly ascend, or strictly descend."""
        lengths: list[int] = []
        last = direction = 0
        for bond in self.bonds:
            turn = (bond > last) - (bond < last)
            if lengths and turn and (lengths[-1] == 1 or direction == turn):
                lengths[-1] += 1
                direction = turn
            else:
                lengths.append(1)
            last = bond
        return lengths

    def predict(self, cap: float = float("inf")) -> tuple[float, float]:
        """Return log2 of a bound on the bond dimension without a cap, and the work with a cap.

        A step multiplies the dimension of its bond by at most its number of terms, and leaves at
        most twice that of the bonds on either side.
        """
        bits = [0.0] * (len(self.kets) + 1)
        largest = work = 0.0
        limit = min(float(np.log2(cap)), _MAX_BITS)
        bits_of = (0.0, 0.0, 1.0, 2.0, 2.0)
        centre = 0
        for bond, terms in zip(self.bonds, self.terms, strict=True):
            for site in (*range(centre, bond), *range(bond + 2, centre + 1)):
                low, high = sorted((min(bits[site], limit), min(bits[site + 1], limit)))
                work += qr_work(2 * 2.0**high, 2.0**low)
            centre = bond + (centre <= bond)
            left, middle, right = (2.0 ** min(b, limit) for b in bits[bond : bond + 3])
            work += step_work(left, middle, right, terms)
            grown = min(bits[bond + 1] + bits_of[terms], bits[bond] + 1, bits[bond + 2] + 1)
            bits[bond + 1] = grown
            largest = max(largest, grown)
        return largest, work


def plan_chain(circuit: QuantumCircuit) -> ChainPlan:
    """Return the plan of a circuit, of some orders of the wires that with the smallest bonds."""
    merged = merge_gates(circuit)
    orders = [list(range(len(merged.kets)))]
    if any(abs(gate.a - gate.b) > 1 for gate in merged.gates):
        orders += _close_orders(merged)
    if len(merged.gates) > _MAX_TRIED:
        orders = [min(orders, key=lambda order: _length(merged, order))]
    plans = [_Router(merged, order).plan() for order in orders]
    return min(plans, key=ChainPlan.predict) if len(plans) > 1 else plans[0]


def bond_bits(circuit: QuantumCircuit, cap: float = float("inf")) -> tuple[float, float]:
    """Predict a simulation from the circuit's gates alone.

    Returns:
        log2 of a bound on the bond dimension, and the work with bonds up to a cap, in units of
        :func:`hpcq.engines.matrix_product_state.simulate`.
    """
    return plan_chain(circuit).predict(cap)


def _length(merged: MergedCircuit, order: Sequence[int]) -> int:
    """Return the sum of the gates' distances in an order of the wires."""
    site = np.argsort(order)
    return sum(abs(int(site[gate.a]) - int(site[gate.b])) for gate in merged.gates)


def _close_orders(merged: MergedCircuit) -> list[list[int]]:
    """Return orders of the wires in which interacting ones are close.

    They are the reverse Cuthill-McKee order, and that of the Laplacian's second eigenvector.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee

    width = len(merged.kets)
    pairs = np.array([(gate.a, gate.b) for gate in merged.gates])
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(width, width)).tocsr()
    orders = [reverse_cuthill_mckee(graph, symmetric_mode=True).tolist()]
    if width > _MAX_SPECTRAL:
        return orders
    weights = graph.toarray()
    count, labels = connected_components(graph, directed=False)
    spectral: list[int] = []
    for label in range(count):
        wires = np.flatnonzero(labels == label)
        part = weights[np.ix_(wires, wires)]
        _, vectors = np.linalg.eigh(np.diag(part.sum(axis=0)) - part)
        spectral += wires[np.argsort(vectors[:, min(1, len(wires) - 1)], kind="stable")].tolist()
    return [*orders, spectral]


class _Router:
    """Turns gates into steps: sweeps along the chain, to and fro, and swaps where none is left.

    Args:
        merged: The gates.
        order: The wire of each site before the first step.
    """

    def __init__(self, merged: MergedCircuit, order: Sequence[int]) -> None:
        self._merged = merged
        self._order = order
        self._wire_at = list(order)
        self._site = [0] * len(order)
        for site, wire in enumerate(order):
            self._site[wire] = site
        self._queues: list[deque[int]] = [deque() for _ in order]
        for number, gate in enumerate(merged.gates):
            self._queues[gate.a].append(number)
            self._queues[gate.b].append(number)
        self._bonds: list[int] = []
        self._matrices: list[Matrix] = []
        self._last = [-1] * len(order)

    def plan(self) -> ChainPlan:
        """Return the steps of all gates."""
        merged, direction = self._merged, 1
        ready = {queue[0] for queue in self._queues if queue and self._is_ready(queue[0])}
        while ready:
            if not self._sweep(ready, direction):
                self._bring_together(min(ready, key=lambda n: (abs(self._distance(n)), n)))
            direction = -direction
        return ChainPlan(
            merged.kets[list(self._order)],
            tuple(self._bonds),
            np.array(self._matrices, dtype=complex).reshape(-1, 4, 4),
            tuple([self._site[wire] for wire in merged.wire_of]),
            merged.angle,
        )

    def _sweep(self, ready: set[int], direction: int) -> bool:
        """Add the steps of gates on neighbouring sites, as long as they follow each other."""
        heap = [(direction * self._bond(n), n) for n in ready if abs(self._distance(n)) == 1]
        found = bool(heap)
        heapq.heapify(heap)
        while heap:
            at, number = heapq.heappop(heap)
            ready.remove(number)
            gate = self._merged.gates[number]
            ascends = self._site[gate.a] < self._site[gate.b]
            self._add(direction * at, gate.matrix if ascends else turned(gate.matrix))
            for wire in (gate.a, gate.b):
                self._queues[wire].popleft()
            for wire in (gate.a, gate.b):
                queue = self._queues[wire]
                if queue and queue[0] not in ready and self._is_ready(queue[0]):
                    ready.add(queue[0])
                    behind = direction * self._bond(queue[0])
                    if abs(self._distance(queue[0])) == 1 and behind > at:
                        heapq.heappush(heap, (behind, queue[0]))
        return found

    def _bring_together(self, number: int) -> None:
        """Swap the wires of a gate to where their later gates are closest."""
        gate = self._merged.gates[number]
        low, high = sorted((gate.a, gate.b), key=self._site.__getitem__)
        first, last = self._site[low], self._site[high] - 1
        meeting = min(
            (first, last, (first + last) // 2),
            key=lambda bond: self._later(low, bond) + self._later(high, bond + 1),
        )
        for bond in range(first, meeting):
            self._swap(bond)
        for bond in range(last, meeting, -1):
            self._swap(bond)

    def _later(self, wire: int, site: int) -> float:
        """Return the distances of a wire's later gates, if it is at a site, weighted by order."""
        total, weight = 0.0, 1.0
        for number in islice(self._queues[wire], 1, 1 + _LOOKAHEAD):
            gate = self._merged.gates[number]
            total += weight * abs(site - self._site[gate.b if gate.a == wire else gate.a])
            weight *= _DECAY
        return total

    def _swap(self, bond: int) -> None:
        self._add(bond, SWAP)
        left, right = self._wire_at[bond], self._wire_at[bond + 1]
        self._wire_at[bond : bond + 2] = right, left
        self._site[left], self._site[right] = bond + 1, bond

    def _add(self, bond: int, matrix: Matrix) -> None:
        """Add a step; if the step before on both sites is on this bond, they become one."""
        number = self._last[bond]
        if number >= 0 and number == self._last[bond + 1]:
            self._matrices[number] = matrix @ self._matrices[number]
            return
        self._last[bond] = self._last[bond + 1] = len(self._bonds)
        self._bonds.append(bond)
        self._matrices.append(matrix)

    def _is_ready(self, number: int) -> bool:
        gate = self._merged.gates[number]
        return self._queues[gate.a][0] == number == self._queues[gate.b][0]

    def _distance(self, number: int) -> int:
        gate = self._merged.gates[number]
        return self._site[gate.b] - self._site[gate.a]

    def _bond(self, number: int) -> int:
        gate = self._merged.gates[number]
        return min(self._site[gate.a], self._site[gate.b])
