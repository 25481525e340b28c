"""Plans of matrix-product-state simulations: which steps act on which bonds of a chain of sites.

The wires are put in an order that keeps interacting ones close. A gate on distant sites is preceded
by swaps; afterwards the wires stay where they are or go back. Bond i is between the sites i and
i + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.engines.chain_router import SwapRouter
from hpcq.engines.chain_work import qr_work, step_work
from hpcq.engines.merged_gates import (
    Matrix,
    MergedCircuit,
    merge_gates,
    operator_matrices,
)

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_NEGLIGIBLE = 1e-13
"""Singular value below which a term of a step, a matrix of norm 2, does not count as one. Rounding
errors are up to about 1e-15."""

_MAX_SPECTRAL = 300
"""Wires up to which the spectral order is tried, which takes about 10 ms there."""

_MAX_TRIED = 5000
"""Gates up to which every order is tried, at about 10 µs for each gate and swap; with more, the
order in which the gates are shortest is taken."""

_COMPARISON_CAP = 256
"""Cap on the bond dimension at which plans are compared."""

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
        """Lengths of the sweeps: consecutive steps whose bonds strictly ascend or descend."""
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
    """Return the plan of a circuit that takes the least work among a few orders of the wires."""
    merged = merge_gates(circuit)
    orders = [list(range(len(merged.kets)))]
    if any(abs(gate.a - gate.b) > 1 for gate in merged.gates):
        orders += _close_orders(merged)
    if len(merged.gates) > _MAX_TRIED:
        orders = [min(orders, key=lambda order: _length(merged, order))]
    plans = [_routed(merged, order, False) for order in orders]
    if len(plans) == 1:
        return plans[0]
    works = [plan.predict(_COMPARISON_CAP)[1] for plan in plans]
    best = int(np.argmin(works))
    if len(plans[best].bonds) <= 2 * len(merged.gates):
        return plans[best]  # it has few swaps
    returning = _routed(merged, orders[best], True)
    return returning if returning.predict(_COMPARISON_CAP)[1] < works[best] else plans[best]


def _routed(merged: MergedCircuit, order: Sequence[int], returns: bool) -> ChainPlan:
    router = SwapRouter(merged, order, returns)
    bonds, matrices = router.run()
    return ChainPlan(
        merged.kets[list(order)],
        bonds,
        matrices,
        tuple([router.site[wire] for wire in merged.wire_of]),
        merged.angle,
    )


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
