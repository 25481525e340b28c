"""Matrices of the letters of strings: Paulis and projectors."""

from __future__ import annotations

LETTERS = {
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
