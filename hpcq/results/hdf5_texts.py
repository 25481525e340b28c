"""Small things that all parts of a file are written with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from hpcq.circuits.pauli_text import PauliString, render
from hpcq.results.hdf5_plain import PlainGroup


def numbered_groups(group: PlainGroup | Mapping[str, PlainGroup]) -> list[Any]:
    """Return the groups 0, 1, 2, ... of a group."""
    return [group[str(number)] for number in range(len(group))]


def pauli_texts(strings: Iterable[PauliString], num_qubits: int) -> Any:
    """Return strings on so many qubits as an array of texts."""
    return np.array([render(own, num_qubits) for own in strings], dtype=h5py.string_dtype())


def decode_text(value: bytes | str) -> str:
    """Return a text that was read."""
    return value.decode() if isinstance(value, bytes) else str(value)
