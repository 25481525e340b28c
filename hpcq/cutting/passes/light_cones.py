"""Drop the gates that an observable cannot see, for all terms together or in separate light cones.

Walking backwards from a term, a gate on none of the qubits reached so far cancels with its own
inverse, and so does a gate that commutes with the term, such as an RZZ gate before Z on both its
qubits. A term on few qubits after few layers sees few gates, so terms may be computed on separate
light cones, each a small circuit, where one circuit for all terms would be wide.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcq.circuits.pauli_text import AXES, PauliString
from hpcq.cutting.gate_decompositions import Vector, axis, conjugated, pauli_sum, relative_sign
from hpcq.cutting.passes.gate_steps import GateStep, local_steps

_VECTORS: dict[str, Vector] = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}

_ANY_OPERATOR: Vector = (0.0, 0.0, 0.0)
"""Marks a qubit on which the evolved term may be any operator. Any other vector means that the term
is a sum of products of I or that Pauli with operators on the other qubits."""

_SECONDS_PER_CIRCUIT = 1e-3
_SECONDS_PER_GATE = 1.5e-5
_SECONDS_PER_AMPLITUDE = 1.3e-9
"""Estimated seconds of a simulation per circuit, per gate, and per gate and amplitude. Only their
ratios matter: they decide whether two light cones are joined."""

_MAX_ESTIMATED_QUBITS = 60
"""Width in qubits at which estimates stop growing, so that powers of two do not overflow."""

_MAX_STEPS = 400_000
"""Steps of all terms' light cones together above which the terms get one cone for all. A larger
value finds separate cones for larger problems, but takes longer to plan."""


@dataclass(frozen=True)
class Cone:
    """Terms, the steps that they see, in order, and the qubits that either act on, ascending."""

    terms: tuple[PauliString, ...]
    steps: tuple[GateStep, ...]
    qubits: tuple[int, ...]


class ConeFinder:
    """Finds the light cones of terms by walking backwards through a circuit's steps."""

    def __init__(self, steps: Sequence[GateStep], num_qubits: int) -> None:
        self.steps = steps
        self._before: list[tuple[int, ...]] = []
        self._last = [-1] * num_qubits
        for number, step in enumerate(steps):
            self._before.append(tuple([self._last[q] for q in step.qubits]))
            for qubit in step.qubits:
                self._last[qubit] = number

    def cone(self, terms: Iterable[PauliString]) -> Cone:
        """Return the light cone of some terms together."""
        terms = tuple(terms)
        kept = self.visible_steps(terms)
        steps = tuple([step for number in sorted(kept) for step in kept[number]])
        qubits = {qubit for term in terms for qubit, _ in term}
        qubits.update(q for step in steps for q in step.qubits)
        return Cone(terms, steps, tuple(sorted(qubits)))

    def visible_steps(self, terms: Iterable[PauliString]) -> dict[int, list[GateStep]]:
        """Return the numbers of the steps that the terms see, each with what remains of it."""
        reached: dict[int, Vector] = {}
        for term in terms:
            for qubit, letter in term:
                vector = _VECTORS[AXES[letter]]  # a projector is a sum of I and its Pauli
                if reached.setdefault(qubit, vector) != vector:
                    reached[qubit] = _ANY_OPERATOR
        kept: dict[int, list[GateStep]] = {}
        todo = [-self._last[qubit] for qubit in reached if self._last[qubit] >= 0]
        heapq.heapify(todo)
        while todo:
            number = -heapq.heappop(todo)
            while todo and todo[0] == -number:
                heapq.heappop(todo)
            step = self.steps[number]
            kept[number] = self._keep(step, reached)
            for qubit, before in zip(step.qubits, self._before[number], strict=True):
                if before >= 0 and qubit in reached:
                    heapq.heappush(todo, -before)
        return kept

    def _keep(self, step: GateStep, reached: dict[int, Vector]) -> list[GateStep]:
        """Return what remains of a step on a reached qubit, and update ``reached`` to before it."""
        if not step.is_pair:
            (qubit,) = step.qubits
            reached[qubit] = _conjugated_back(reached[qubit], [step])
            return [step]
        terms = pauli_sum(step.operation)
        if terms.dimension == 4:
            reached.update(dict.fromkeys(step.qubits, _ANY_OPERATOR))
            return [step]
        # The gate commutes on a side where the term consists of I and the gate's Pauli.
        commutes = [
            terms.dimension == 1
            or qubit not in reached
            or relative_sign(reached[qubit], axis(terms.after[side], False)) != 0
            for side, qubit in enumerate(step.qubits)
        ]
        if all(commutes):
            local = [s for s in local_steps(step, terms) if s.qubits[0] in reached]
            for qubit in step.qubits:
                if qubit in reached:
                    on_qubit = [s for s in local if s.qubits[0] == qubit]
                    reached[qubit] = _conjugated_back(reached[qubit], on_qubit)
            return local
        for side, qubit in enumerate(step.qubits):
            gate_axis = axis(terms.before[side], True)
            reached[qubit] = gate_axis if commutes[side] else _ANY_OPERATOR
        return [step]


def cones_of_terms(
    finder: ConeFinder, terms: Sequence[PauliString], max_qubits: float = math.inf
) -> list[Cone]:
    """Return the light cones of single terms, joined where one simulation is cheaper than two.

    The list is sorted by qubits; it is empty if one cone for all terms is better, or if that of a
    term is wider than ``max_qubits``.
    """
    cones: list[tuple[frozenset[int], frozenset[int], list[PauliString]]] = []
    steps_left = _MAX_STEPS
    ordered = sorted(set(terms))
    # Terms in the middle of a circuit often have the widest cones.
    middle = len(ordered) // 2
    for term in ordered[middle:] + ordered[:middle]:
        kept = finder.visible_steps([term])
        steps_left -= len(kept)
        if steps_left < 0:
            return []
        qubits = {q for q, _ in term}
        qubits.update(q for steps in kept.values() for step in steps for q in step.qubits)
        if len(qubits) > max_qubits:
            return []
        cones.append((frozenset(kept), frozenset(qubits), [term]))
    joined = _join(cones)
    if len(joined) < 2:
        return []
    joint = [finder.cone(group) for group in joined]
    return sorted(joint, key=lambda cone: (cone.qubits, cone.terms))


def _join(
    cones: Sequence[tuple[frozenset[int], frozenset[int], list[PauliString]]],
) -> list[list[PauliString]]:
    """Join each cone, the largest first, to the group with which it saves most time, if any."""
    groups: list[tuple[frozenset[int], frozenset[int], list[PauliString]]] = []
    groups_on: dict[int, set[int]] = {}
    for steps, qubits, terms in sorted(cones, key=lambda c: (-len(c[1]), -len(c[0]), c[2])):
        alone = _seconds(len(steps), len(qubits))
        best, saved = None, 0.0
        for number in sorted({group for qubit in qubits for group in groups_on.get(qubit, ())}):
            other = groups[number]
            if qubits <= other[1] and steps <= other[0]:
                best, saved = number, math.inf
                break
            together = _seconds(len(steps | other[0]), len(qubits | other[1]))
            gain = alone + _seconds(len(other[0]), len(other[1])) - together
            if gain > saved:
                best, saved = number, gain
        if best is None:
            best = len(groups)
            groups.append((frozenset(), frozenset(), []))
        old = groups[best]
        groups[best] = (old[0] | steps, old[1] | qubits, [*old[2], *terms])
        for qubit in qubits:
            groups_on.setdefault(qubit, set()).add(best)
    return [terms for _, _, terms in groups]


def _seconds(steps: int, qubits: int) -> float:
    """Estimate the seconds of a simulation, well enough to compare two of them."""
    amplitudes = 2.0 ** min(qubits, _MAX_ESTIMATED_QUBITS)
    gates = steps * _SECONDS_PER_GATE
    return _SECONDS_PER_CIRCUIT + gates + steps * amplitudes * _SECONDS_PER_AMPLITUDE


def _conjugated_back(vector: Vector, steps: Sequence[GateStep]) -> Vector:
    """Return U^dagger P U for a Pauli vector P and one-qubit gates U, the last gate first."""
    if vector == _ANY_OPERATOR:
        return vector
    for step in reversed(steps):
        vector = conjugated(vector, step.operation.inverse())
    return vector
