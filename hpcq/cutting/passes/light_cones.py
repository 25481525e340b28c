"""Light cones: what an observable cannot see is dropped, for all terms together or one by one.

Walking backwards from a term, a gate that touches none of the qubits reached so far is undone by
its own inverse, and so is one that commutes with the term, such as an RZZ gate before Z on both
its qubits. A term of few qubits after few layers sees few gates, so terms may be computed on
light cones of their own, each a small circuit, where one circuit for all would be wide.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpcq.circuits.pauli_text import AXES, PauliString
from hpcq.cutting.gate_decompositions import Vector, axis, pauli_sum, turned
from hpcq.cutting.passes.gate_steps import GateStep, local_steps

_VECTORS: dict[str, Vector] = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
_SAME_AXIS = 1e-12
_ANYTHING: Vector = (0.0, 0.0, 0.0)
"""Stands for a qubit on which the evolved term may be any operator; where another vector stands,
it is a sum of products of I or that Pauli with whatever is on the other qubits."""

_SECONDS_PER_CIRCUIT = 1e-3
_SECONDS_PER_GATE = 1.5e-5
_SECONDS_PER_AMPLITUDE = 1.3e-9
_WIDEST = 60
_MAX_STEPS = 400_000


@dataclass(frozen=True)
class Cone:
    """A light cone.

    Attributes:
        terms: The terms that are computed on it.
        steps: What they see, in order.
        qubits: The qubits that steps or terms act on, ascending.
    """

    terms: tuple[PauliString, ...]
    steps: tuple[GateStep, ...]
    qubits: tuple[int, ...]


class ConeFinder:
    """A circuit's steps, to be walked backwards from any term.

    Args:
        steps: The steps.
        num_qubits: Number of qubits.
    """

    def __init__(self, steps: Sequence[GateStep], num_qubits: int) -> None:
        self.steps = steps
        self._before: list[tuple[int, ...]] = []
        self._last = [-1] * num_qubits
        for number, step in enumerate(steps):
            self._before.append(tuple([self._last[q] for q in step.qubits]))
            for qubit in step.qubits:
                self._last[qubit] = number

    def cone(self, terms: Iterable[PauliString]) -> Cone:
        """Return what the terms see together."""
        terms = tuple(terms)
        kept = self.seen(terms)
        steps = tuple([step for number in sorted(kept) for step in kept[number]])
        qubits = {qubit for term in terms for qubit, _ in term}
        qubits.update(q for step in steps for q in step.qubits)
        return Cone(terms, steps, tuple(sorted(qubits)))

    def seen(self, terms: Iterable[PauliString]) -> dict[int, list[GateStep]]:
        """Return the numbers of the steps that the terms see, and what remains of each."""
        reached: dict[int, Vector] = {}
        for term in terms:
            for qubit, letter in term:
                own = _VECTORS[AXES[letter]]  # a projector is made of I and its Pauli
                if reached.setdefault(qubit, own) != own:
                    reached[qubit] = _ANYTHING
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
        """Return what remains of a step that touches a reached qubit, and reach through it."""
        if not step.is_pair:
            (qubit,) = step.qubits
            reached[qubit] = _back(reached[qubit], [step])
            return [step]
        terms = pauli_sum(step.operation)
        if terms.dimension == 4:
            reached.update(dict.fromkeys(step.qubits, _ANYTHING))
            return [step]
        # A side commutes if the term there is made of I and the gate's own Pauli.
        commutes = [
            terms.dimension == 1
            or qubit not in reached
            or _parallel(reached[qubit], axis(terms.after[side], False))
            for side, qubit in enumerate(step.qubits)
        ]
        if all(commutes):
            local = [s for s in local_steps(step, terms) if s.qubits[0] in reached]
            for qubit in step.qubits:
                if qubit in reached:
                    own = [s for s in local if s.qubits[0] == qubit]
                    reached[qubit] = _back(reached[qubit], own)
            return local
        for side, qubit in enumerate(step.qubits):
            own_axis = axis(terms.before[side], True)
            reached[qubit] = own_axis if commutes[side] else _ANYTHING
        return [step]


def cone_for_each(circuit: ConeFinder, terms: Sequence[PauliString]) -> list[Cone]:
    """Return light cones of single terms, joined wherever one simulation is cheaper than two.

    Returns:
        The cones, by their first qubit; an empty list where the cones overlap so much that one
        for all terms is better.
    """
    cones: list[tuple[frozenset[int], frozenset[int], list[PauliString]]] = []
    room = _MAX_STEPS
    for term in sorted(set(terms)):
        kept = circuit.seen([term])
        room -= len(kept)
        if room < 0:
            return []
        qubits = {q for q, _ in term}.union(
            q for number in kept for step in kept[number] for q in step.qubits
        )
        cones.append((frozenset(kept), frozenset(qubits), [term]))
    joined = _join(cones)
    if len(joined) < 2:
        return []
    found = [circuit.cone(own) for own in joined]
    return sorted(found, key=lambda cone: (cone.qubits, cone.terms))


def _join(
    cones: Sequence[tuple[frozenset[int], frozenset[int], list[PauliString]]],
) -> list[list[PauliString]]:
    """Join cones, the largest first, with the one that saves most, if any does."""
    groups: list[tuple[frozenset[int], frozenset[int], list[PauliString]]] = []
    at: dict[int, set[int]] = {}
    for steps, qubits, terms in sorted(cones, key=lambda c: (-len(c[1]), -len(c[0]), c[2])):
        own = _seconds(len(steps), len(qubits))
        best, saved = None, 0.0
        for number in sorted({group for qubit in qubits for group in at.get(qubit, ())}):
            other = groups[number]
            if qubits <= other[1] and steps <= other[0]:
                best, saved = number, math.inf
                break
            together = _seconds(len(steps | other[0]), len(qubits | other[1]))
            gain = own + _seconds(len(other[0]), len(other[1])) - together
            if gain > saved:
                best, saved = number, gain
        if best is None:
            best = len(groups)
            groups.append((frozenset(), frozenset(), []))
        old = groups[best]
        groups[best] = (old[0] | steps, old[1] | qubits, [*old[2], *terms])
        for qubit in qubits:
            at.setdefault(qubit, set()).add(best)
    return [terms for _, _, terms in groups]


def _seconds(steps: int, qubits: int) -> float:
    """Estimate a simulation, well enough to compare."""
    amplitudes = 2.0 ** min(qubits, _WIDEST)
    return (
        _SECONDS_PER_CIRCUIT
        + steps * _SECONDS_PER_GATE
        + steps * amplitudes * _SECONDS_PER_AMPLITUDE
    )


def _back(vector: Vector, steps: Sequence[GateStep]) -> Vector:
    """Return U^dagger P U for the one-qubit gates U of some steps, the last one first."""
    if vector == _ANYTHING:
        return vector
    for step in reversed(steps):
        vector = turned(vector, step.operation.inverse())
    return vector


def _parallel(a: Vector, b: Vector) -> bool:
    return min(math.dist(a, b), math.dist(a, (-b[0], -b[1], -b[2]))) < _SAME_AXIS
