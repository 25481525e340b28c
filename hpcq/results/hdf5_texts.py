"""Encoding of texts and of numbered groups in HDF5 files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np

from hpcq.circuits.pauli_text import PauliString, render
from hpcq.results.hdf5_plain import PlainGroup


def numbered_groups(group: PlainGroup | Mapping[str, PlainGroup]) -> list[Any]:
    """Return the members of a group whose names are 0, 1, 2, ..., in this order."""
    return [group[str(number)] for number in range(len(group))]


def pauli_texts(strings: Iterable[PauliString], num_qubits: int) -> Any:
    """Return Pauli strings as an array of texts, shape (strings,)."""
    return np.array([render(string, num_qubits) for string in strings], dtype=h5py.string_dtype())


def decode_text(value: bytes | str) -> str:
    """Return a text that h5py read, as str."""
    return value.decode() if isinstance(value, bytes) else str(value)
