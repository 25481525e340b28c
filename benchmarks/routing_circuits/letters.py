"""Strings of Paulis and projectors, as hpcq's observables hold them."""

from __future__ import annotations

String = tuple[tuple[int, str], ...]
"""Pairs of a qubit and a letter, as in hpcq's observables."""

MATRICES: dict[str, list[list[complex]]] = {
    "X": [[0, 1], [1, 0]],
    "Y": [[0, -1j], [1j, 0]],
    "Z": [[1, 0], [0, -1]],
    "0": [[1, 0], [0, 0]],
    "1": [[0, 0], [0, 1]],
    "+": [[0.5, 0.5], [0.5, 0.5]],
    "-": [[0.5, -0.5], [-0.5, 0.5]],
    "r": [[0.5, -0.5j], [0.5j, 0.5]],
    "l": [[0.5, 0.5j], [-0.5j, 0.5]],
}
"""Matrices of the letters."""
