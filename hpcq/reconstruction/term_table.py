"""The terms of all observables, each a product of Pauli strings on the subcircuits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.cutting.subcircuits import CutCircuit

if TYPE_CHECKING:
    from hpcq.circuits.observables import Observable
    from hpcq.circuits.pauli_text import PauliString


Pick = tuple[tuple[int, int], ...]
"""The (subcircuit, string) pairs where a term is not the identity."""


@dataclass(frozen=True, eq=False)
class TermTable:
    """The distinct terms of all observables, as products over the subcircuits.

    Attributes:
        observables: For each observable, its (term, coefficient) pairs.
        picks: For each term, its pick. Term 0 is the identity, and so is string 0 of every
            subcircuit.
        strings: For each subcircuit, the distinct Pauli strings on its wires.
    """

    observables: tuple[tuple[tuple[int, float], ...], ...]
    picks: tuple[Pick, ...]
    strings: tuple[tuple[PauliString, ...], ...]

    def sum_up(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value of every observable, the correctly rounded sum over its terms."""
        return np.array(
            [
                math.fsum(coefficient * values[term] for term, coefficient in terms)
                for terms in self.observables
            ]
        )

    def sum_up_bounds(self, bounds: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return bounds on the errors of the observables' values, from those of the terms."""
        return np.array(
            [
                math.fsum(abs(coefficient) * bounds[term] for term, coefficient in terms)
                for terms in self.observables
            ]
        )


def choice_table(picks: Sequence[Pick], subcircuits: int) -> NDArray[np.intp]:
    """Return the string of every subcircuit in some terms, shape (terms, subcircuits)."""
    table = np.zeros((len(picks), subcircuits), dtype=np.intp)
    for row, pick in enumerate(picks):
        for subcircuit, string in pick:
            table[row, subcircuit] = string
    return table


def tabulate(
    observables: Sequence[Observable], cut: CutCircuit, cone_of: Mapping[PauliString, int]
) -> TermTable:
    """Return the terms of observables as products over the subcircuits of a cut circuit.

    ``cone_of`` has the light cone on which each term is computed, 0 for terms that are missing.
    """
    location = {
        (subcircuit.cone, qubit): (number, wire)
        for number, subcircuit in enumerate(cut.subcircuits)
        for qubit, wire in subcircuit.open_wires.items()
    }
    strings: list[dict[PauliString, int]] = [{(): 0} for _ in cut.subcircuits]
    term_numbers: dict[PauliString, int] = {(): 0}
    picks: list[Pick] = [()]
    rows = []
    for observable in observables:
        numbered = []
        for pauli, coefficient in observable.terms:
            if pauli not in term_numbers:
                term_numbers[pauli] = len(term_numbers)
                cone = cone_of.get(pauli, 0)
                local: dict[int, list[tuple[int, str]]] = {}
                for qubit, letter in pauli:
                    number, wire = location[cone, qubit]
                    local.setdefault(number, []).append((wire, letter))
                pick = []
                for number, letters in sorted(local.items()):
                    known = strings[number]
                    pick.append((number, known.setdefault(tuple(sorted(letters)), len(known))))
                picks.append(tuple(pick))
            numbered.append((term_numbers[pauli], coefficient))
        rows.append(tuple(numbered))
    return TermTable(tuple(rows), tuple(picks), tuple(tuple(distinct) for distinct in strings))
