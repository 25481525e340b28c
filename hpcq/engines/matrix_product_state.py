"""Matrix-product-state simulation with a bound on the error of every value.

The state is kept in canonical form: left of the *centre* the tensors are isometries from the left,
right of it from the right, so the singular values at a step are the Schmidt coefficients of the
whole, normalised state, and the dropped part of the norm is known exactly.

**The bound.** Let the truncations of a sweep, whose steps act on ever higher (or ever lower) bonds,
drop fractions d_1, d_2, ... of the state's squared norm at that time. A truncation at bond b is a
projection that acts on the sites up to b; the later steps and truncations of the sweep act on other
sites, and commute with it. So the errors of a sweep, each carried on by the gates, are orthogonal
to each other and to what is left, and the angle between the sweep's exact state and the truncated
one has ``sin(angle)**2 = 1 - prod_k (1 - d_k)``. Gates preserve angles, and angles between rays
obey the triangle inequality (they are the Fubini-Study metric). Thus the final state is at most
``theta``, the sum of the sweeps' angles, from the exact one. The trace distance of two pure states
is ``sin(theta)``, so the error of a value <O> is at most ``(highest - lowest eigenvalue of O) *
sin(theta)``: 2 sin(theta) for a string with a Pauli, sin(theta) for one of projectors alone. Where
every sweep has one truncation this is, to lowest order, the known 2 ||O|| sum_k sqrt(d_k) (compare
Verstraete and Cirac, Phys. Rev. B 73, 094423 (2006), lemma 1, and Zhou, Stoudenmire and Waintal,
Phys. Rev. X 10, 041038 (2020), who multiply fidelities instead, which is an estimate).

The bound counts all dropped singular values, however small, of the state and of gates. It does not
count rounding errors, which are about 1e-16 a step, as in a statevector. The norm is restored at
every step, so it does not drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.circuits.pauli_text import PROJECTED_BITS, PauliString
from hpcq.core.errors import InputError
from hpcq.engines.chain_plan import ChainPlan, plan_chain
from hpcq.engines.chain_values import Tensor, expectation_values
from hpcq.engines.chain_work import qr_work, step_work
from hpcq.engines.merged_gates import Matrix

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_ROUNDING = 3e-14
"""Norm, relative to the state's, that every step may drop if there is no tolerance. Larger: bounds
grow, by up to twice this for every step; smaller: bonds fill with rounding errors. Measured on
random circuits of 10 to 40 qubits and their inverses, 180 to 1,100 steps: final bonds of 2 to 26
with 1e-15, of 1 to 3 with 1e-14; bounds of up to 8e-13 with 1e-14, 8e-12 with 1e-13."""

_SPLIT = 1.5
"""Factor by which a QR decomposition must shorten a side before the singular value decomposition to
be worth it."""


@dataclass(frozen=True, eq=False)
class MpsValues:
    """Values of strings, with bounds on their errors.

    Attributes:
        values: The values, shape (strings,); NaN if the simulation was given up.
        bounds: Bounds on their absolute errors, at most 2, shape (strings,); infinite with NaN.
        work: Work that was done, in units of :mod:`hpcq.engines.chain_work`.
        bond: The largest bond dimension.
    """

    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    work: float
    bond: int


class GivenUp(Exception):  # noqa: N818, it is not an error
    """The tolerance or the work does not suffice."""


def simulate(
    circuit: QuantumCircuit,
    strings: Sequence[PauliString],
    *,
    cap: int,
    tolerance: float | None = None,
    max_work: float = math.inf,
) -> MpsValues:
    """Compute the values of some strings in the final state of a circuit.

    Args:
        circuit: A circuit of unitary gates on one or two qubits.
        strings: Letters on the circuit's qubits.
        cap: Maximum bond dimension, at least 1.
        tolerance: Maximum error of each value; with one, bonds are kept as small as it allows, and
            the simulation is given up as soon as it is exceeded. Without, bonds are truncated at
            the cap alone.
        max_work: Work above which the simulation is given up, in about nanoseconds. The count
            depends on the arguments alone.
    """
    return simulate_plan(
        plan_chain(circuit), strings, cap=cap, tolerance=tolerance, max_work=max_work
    )


def simulate_plan(
    plan: ChainPlan,
    strings: Sequence[PauliString],
    *,
    cap: int,
    tolerance: float | None = None,
    max_work: float = math.inf,
) -> MpsValues:
    """Compute values as :func:`simulate` does, from the plan of a circuit."""
    if cap < 1:
        raise InputError(f"cap: {cap}, expected at least 1")
    ranges = np.array([_spectral_range(string) for string in strings])
    budget = None
    if tolerance is not None:
        ratio = tolerance / max(1.0, ranges.max(initial=0.0))
        budget = math.asin(min(1.0, max(0.0, ratio)))
    state = ChainState(plan, cap, budget, max_work)
    try:
        state.run()
        on_sites = [tuple((plan.site_of[q], letter) for q, letter in s) for s in strings]
        values = expectation_values(state.tensors, state.centre, on_sites, state.spend)
        bounds = ranges * math.sin(min(state.angle, math.pi / 2))
    except GivenUp:
        values = np.full(len(strings), math.nan)
        bounds = np.full(len(strings), math.inf)
    return MpsValues(values, bounds, state.work, state.bond)


def _spectral_range(string: PauliString) -> float:
    """Return the difference of the highest and the lowest eigenvalue of a string."""
    letters = {letter for _, letter in string if letter != "I"}
    if letters <= PROJECTED_BITS.keys():
        return 1.0 if letters else 0.0
    return 2.0


class ChainState:
    """A state in canonical form, and what its truncations have dropped.

    Args:
        plan: The steps.
        cap: Maximum bond dimension.
        budget: Maximum angle from the exact state, in radians; None for no limit.
        max_work: Maximum work.
    """

    def __init__(self, plan: ChainPlan, cap: int, budget: float | None, max_work: float) -> None:
        self.tensors: list[Tensor] = [ket.reshape(1, 2, 1) for ket in plan.kets]
        self.centre = 0
        self.work = 0.0
        self.bond = 1
        self._plan = plan
        self._cap = cap
        self._budget = budget
        self._max_work = max_work
        self._angle = plan.angle
        self._lost = 0.0

    @property
    def angle(self) -> float:
        """Bound on the angle between this state and the exact one, in radians."""
        return self._angle + math.asin(math.sqrt(min(self._lost, 1.0)))

    def spend(self, work: float) -> None:
        """Count work that is about to be done."""
        if self.work + work > self._max_work:
            raise GivenUp
        self.work += work

    def run(self) -> None:
        """Apply all steps."""
        sweeps, number = self._plan.sweeps, 0
        self._check_angle()
        for sweep, length in enumerate(sweeps):
            for steps_left in range(length, 0, -1):
                self._step(number, self._droppable(len(sweeps) - sweep, steps_left))
                number += 1
            self._angle, self._lost = self.angle, 0.0

    def _droppable(self, sweeps_left: int, steps_left: int) -> float:
        """Return the fraction of the squared norm that the next step may drop.

        What is left of the budget is shared equally by the sweeps, and in a sweep by its steps.
        """
        if self._budget is None:
            return _ROUNDING**2
        share = math.sin((self._budget - self._angle) / sweeps_left) ** 2
        return max(0.0, (share - self._lost) / steps_left)

    def _step(self, number: int, droppable: float) -> None:
        bonds = self._plan.bonds
        bond = bonds[number]
        self.move_centre(bond, bond + 1)
        left, right = self.tensors[bond], self.tensors[bond + 1]
        terms = self._plan.terms[number]
        self.spend(step_work(len(left), len(right), right.shape[2], terms))
        rows, values, columns = self._decomposed(number, left, right)
        kept, dropped = _truncation(values, droppable, self._cap)
        self._lost += (1 - self._lost) * dropped
        self._check_angle()
        self.bond = max(self.bond, kept)
        values = values[:kept] / np.linalg.norm(values[:kept])
        rows, columns = rows[:, :kept], columns[:kept]
        ascends = number + 1 == len(bonds) or bonds[number + 1] > bond
        if ascends:
            columns = values[:, np.newaxis] * columns
        else:
            rows = rows * values
        self.centre = bond + ascends
        self.tensors[bond] = rows.reshape(len(left), 2, kept)
        self.tensors[bond + 1] = columns.reshape(kept, 2, right.shape[2])

    def _check_angle(self) -> None:
        if self._budget is not None and self.angle > self._budget:
            raise GivenUp

    def _decomposed(
        self, number: int, left: Tensor, right: Tensor
    ) -> tuple[Matrix, NDArray[np.float64], Matrix]:
        """Apply a step to the tensors of two sites and decompose the result."""
        (outer, _, inner), (_, _, end) = left.shape, right.shape
        width = self._plan.terms[number] * inner
        if max(2 * outer, 2 * end) < _SPLIT * width:
            pair = left.reshape(2 * outer, inner) @ right.reshape(inner, 2 * end)
            pair = self._plan.matrices[number] @ pair.reshape(outer, 4, end)
            return _svd(pair.reshape(2 * outer, 2 * end))
        # The step is a sum of products: its terms extend the bond.
        first, second, dropped = self._plan.factors(number)
        self._angle += dropped
        x = (first @ left).reshape(2 * outer, width)
        y = (second @ right).reshape(inner, -1, 2 * end).swapaxes(0, 1).reshape(width, 2 * end)
        q_left = q_right = None
        if 2 * outer >= _SPLIT * width:
            q_left, x = np.linalg.qr(x)
        if 2 * end >= _SPLIT * width:
            q_right, y = _lq(y)
        rows, values, columns = _svd(x @ y)
        rows = rows if q_left is None else q_left @ rows
        columns = columns if q_right is None else columns @ q_right
        return rows, values, columns

    def move_centre(self, first: int, last: int) -> None:
        """Move the centre to the nearest of some neighbouring sites."""
        tensors = self.tensors
        while self.centre < first:
            left, _, right = tensors[self.centre].shape
            if right > 1:  # else the tensor is an isometry as it is
                self.spend(qr_work(2 * left, right))
                q, r = np.linalg.qr(tensors[self.centre].reshape(2 * left, right))
                following = tensors[self.centre + 1]
                tensors[self.centre] = q.reshape(left, 2, -1)
                tensors[self.centre + 1] = (r @ following.reshape(right, -1)).reshape(len(r), 2, -1)
            self.centre += 1
        while self.centre > last:
            left, _, right = tensors[self.centre].shape
            if left > 1:
                self.spend(qr_work(2 * right, left))
                q, r = _lq(tensors[self.centre].reshape(left, 2 * right))
                before = tensors[self.centre - 1]
                tensors[self.centre] = q.reshape(-1, 2, right)
                tensors[self.centre - 1] = (before.reshape(-1, left) @ r).reshape(
                    len(before), 2, -1
                )
            self.centre -= 1


def _truncation(values: NDArray[np.float64], droppable: float, cap: int) -> tuple[int, float]:
    """Return how many singular values to keep, and the fraction of the squared norm in the others.

    At most as many as the cap are kept, and fewer if the fraction of the others may be dropped.
    """
    tails = np.cumsum(values[::-1] ** 2)
    total = float(tails[-1])
    can_go = int(np.searchsorted(tails, droppable * total, side="right"))
    gone = min(max(can_go, len(values) - cap), len(values) - 1)
    return len(values) - gone, float(tails[gone - 1]) / total if gone else 0.0


def _lq(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Return Q with orthonormal rows and L with matrix = L Q."""
    q, r = np.linalg.qr(matrix.conj().T)
    return q.conj().T, r.conj().T


def _svd(matrix: Matrix) -> tuple[Matrix, NDArray[np.float64], Matrix]:
    """Return a singular value decomposition, by the slower routine if the quick one fails."""
    try:
        rows, values, columns = np.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        from scipy.linalg import svd

        rows, values, columns = svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return rows, values, columns
