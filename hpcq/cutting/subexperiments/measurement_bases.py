"""Group Pauli strings that one measurement basis measures together."""

from __future__ import annotations

from collections.abc import Sequence

from hpcq.circuits.pauli_text import AXES, PauliString

Basis = dict[int, str]
"""Wire → the Pauli that is measured on it; other wires are not measured."""


def group_strings(strings: Sequence[PauliString]) -> tuple[Basis, ...]:
    """Find few bases that together measure every string.

    Strings share a basis if they agree on every wire that both act on; a projector agrees with the
    Pauli of its basis. The widest strings come first, each goes to the basis to which it adds the
    fewest wires. There is at least one basis.

    Example:
        >>> group_strings([(), ((0, "Z"),), ((0, "Z"), (1, "Z")), ((1, "X"),)])
        ({0: 'Z', 1: 'Z'}, {1: 'X'})
        >>> group_strings([((0, "Z"),), ((0, "1"), (1, "+"))])
        ({0: 'Z', 1: 'X'},)
    """
    bases: list[Basis] = []
    for string in sorted(strings, key=lambda s: (-len(s), s)):
        fitting = [basis for basis in bases if can_measure(basis, string, widen=True)]
        if fitting:
            best = min(fitting, key=lambda basis: sum(wire not in basis for wire, _ in string))
            best.update((wire, AXES[letter]) for wire, letter in string)
        else:
            bases.append({wire: AXES[letter] for wire, letter in string})
    return tuple(bases) or ({},)


def can_measure(basis: Basis, string: PauliString, *, widen: bool = False) -> bool:
    """Whether a basis measures a string, or with ``widen`` would do so with more wires."""
    if widen:
        return all(basis.get(wire, AXES[letter]) == AXES[letter] for wire, letter in string)
    return all(basis.get(wire) == AXES[letter] for wire, letter in string)
