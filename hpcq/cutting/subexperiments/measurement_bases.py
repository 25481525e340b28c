"""Measurement bases: Pauli strings that one setting of the measuring devices reads together."""

from __future__ import annotations

from collections.abc import Sequence

from hpcq.circuits.pauli_text import AXES, PauliString

Basis = dict[int, str]
"""The Pauli that is measured on each wire; wires that are not named are not measured."""


def group(strings: Sequence[PauliString]) -> tuple[Basis, ...]:
    """Find few bases in which every string can be read.

    Strings go together where they agree on every wire that both act on; a projector agrees with
    the Pauli in whose basis it is read. The widest strings are placed first, each where it adds
    the fewest wires.

    Args:
        strings: Pauli strings; the identity needs no basis.

    Returns:
        The bases, at least one.

    Example:
        >>> group([(), ((0, "Z"),), ((0, "Z"), (1, "Z")), ((1, "X"),)])
        ({0: 'Z', 1: 'Z'}, {1: 'X'})
        >>> group([((0, "Z"),), ((0, "1"), (1, "+"))])
        ({0: 'Z', 1: 'X'},)
    """
    bases: list[Basis] = []
    for string in sorted(strings, key=lambda own: (-len(own), own)):
        fitting = [basis for basis in bases if reads(basis, string, widen=True)]
        if fitting:
            best = min(fitting, key=lambda basis: sum(wire not in basis for wire, _ in string))
            best.update((wire, AXES[letter]) for wire, letter in string)
        else:
            bases.append({wire: AXES[letter] for wire, letter in string})
    return tuple(bases) or ({},)


def reads(basis: Basis, string: PauliString, *, widen: bool = False) -> bool:
    """Say whether a basis reads a string, or with ``widen`` one with more wires would."""
    if widen:
        return all(basis.get(wire, AXES[letter]) == AXES[letter] for wire, letter in string)
    return all(basis.get(wire) == AXES[letter] for wire, letter in string)
