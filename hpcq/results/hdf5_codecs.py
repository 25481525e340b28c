"""Codecs of values in datasets and attributes of HDF5: texts, numbers, JSON, circuits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpcq.circuits import qpy, stored_circuits
from hpcq.circuits.pauli_text import PauliString, parse_string, render
from hpcq.results.hdf5_fields import Codec, Place
from hpcq.results.json_checks import Check, are, is_a, shown

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def _text(entry: Any, at: Place) -> str:
    value = entry[()] if isinstance(entry, h5py.Dataset) else entry
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise ValueError(f"{at.attribute or at.path} is {shown(value)}, expected text")
    return value


TEXT = Codec(decode=_text)


def one_of(*words: str) -> Callable[[str, Place], str]:
    """Return the check that a text is one of some words."""
    return lambda text, at: (
        "" if text in words else f"{at.attribute} is {shown(text)}, expected {' or '.join(words)}"
    )


def as_text(encode: Callable[[Any], str], decode: Callable[[str], Any]) -> Codec:
    """Return the codec of a value that functions turn into a text, such as JSON, and back."""
    return Codec(lambda value, _: encode(value), lambda entry, at: decode(_text(entry, at)))


def json_of(check: Check, expected: str) -> Codec:
    """Return the codec of a JSON object that a check accepts."""

    def read(entry: Any, at: Place) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(_text(entry, at))
        if not check(content):
            raise ValueError(f"{at.attribute} is {shown(content)}, expected {expected}")
        return content

    return Codec(lambda value, _: json.dumps(dict(value)), read)


JSON_OBJECT = json_of(is_a(dict), "an object")
FINGERPRINT = json_of(are(dict, is_a(str)), "texts by name")


class _Attributes(Codec):
    """Values by name as the attributes of a group; lists and objects are JSON."""

    def write(self, value: Mapping[str, Any], at: Place) -> None:
        at.group.create_group(at.path).attrs.update(
            {k: v if isinstance(v, (int, float, str)) else json.dumps(v) for k, v in value.items()}
        )

    def read(self, at: Place) -> dict[str, Any]:
        values = dict(at.entry.attrs)
        for name, value in values.items():
            plain = value.item() if isinstance(value, np.generic) else value
            is_json = isinstance(plain, str) and plain[:1] in ("{", "[")
            values[name] = json.loads(plain) if is_json else plain
        return values


ATTRIBUTES = _Attributes()
FLAG = Codec(decode=lambda entry, _: bool(entry))
INTEGER = Codec(decode=lambda entry, _: int(entry))
NUMBER = Codec(decode=lambda entry, _: float(entry))
INTEGERS = Codec(
    lambda values, _: np.array(values, dtype=np.int64), lambda entry, _: tuple(map(int, entry))
)
INTEGER_OR_NONE = Codec(  # attributes are integers: -1 stands for None
    lambda value, _: -1 if value is None else value,
    lambda entry, _: None if entry == -1 else int(entry),
)


def numbers(
    kind: str,
    shape: Callable[[Place], tuple[int | None, ...]] = lambda _: (None,),
    *,
    write_as: DTypeLike | None = None,
    read_as: DTypeLike | None = None,
) -> Codec:
    """Return the codec of an array.

    Args:
        kind: Accepted characters of NumPy's ``dtype.kind``; ``f`` is written and read as float64.
        shape: Returns the expected shape, with None for any length; by default that of a row.
        write_as: Type in the file; by default that of the array.
        read_as: Type of the array that is read; by default that in the file.
    """
    if kind == "f":
        write_as = read_as = np.float64

    def read(dataset: Any, at: Place) -> NDArray[Any]:
        if not isinstance(dataset, h5py.Dataset):
            raise ValueError(f"{dataset.name} is not a dataset")
        actual, expected = dataset.shape, shape(at)
        fits = actual is not None and len(actual) == len(expected)
        fits = fits and all(size in (None, n) for size, n in zip(expected, actual, strict=True))
        if not fits or dataset.dtype.kind not in kind:
            what = f"{dataset.name} is {dataset.dtype} {actual}"
            sizes = " x ".join("any" if size is None else str(size) for size in expected)
            raise ValueError(f"{what}, expected {sizes} numbers")
        return np.asarray(dataset[()], dtype=read_as)

    return Codec(lambda values, _: np.asarray(values, dtype=write_as), read)


def paulis(num_qubits: Callable[[Place], int]) -> Codec:
    """Return the codec of Pauli strings on a number of qubits, as an array of texts."""

    def write(strings: Iterable[PauliString], at: Place) -> NDArray[Any]:
        texts = [render(string, num_qubits(at)) for string in strings]
        return np.array(texts, dtype=h5py.string_dtype())

    def read(dataset: h5py.Dataset, at: Place) -> tuple[PauliString, ...]:
        width, texts = num_qubits(at), dataset.asstr()[()]
        return tuple(parse_string(text, width, at.path.rpartition("/")[2]) for text in texts)

    return Codec(write, read)


def load_circuits(datasets: Sequence[Any], file_name: str) -> dict[str, QuantumCircuit]:
    """Return the circuits in datasets of QPY by the names of these; one sandbox reads them all."""
    for dataset in datasets:
        if dataset.dtype != np.uint8 or dataset.ndim != 1:
            raise ValueError(f"{dataset.name} is not a row of bytes")
    contents = [(f"{file_name}: {dataset.name}", dataset[()].tobytes()) for dataset in datasets]
    circuits = stored_circuits.load_circuits(contents)
    return {str(dataset.name): it for dataset, it in zip(datasets, circuits, strict=True)}


def _circuit(dataset: Any, at: Place) -> QuantumCircuit:
    known: dict[str, QuantumCircuit] = at.loaded_circuits
    if dataset.name not in known:
        known.update(load_circuits([dataset], at.file_name))
    return known[dataset.name]


CIRCUIT = Codec(lambda circuit, _: np.frombuffer(qpy.dump(circuit), dtype=np.uint8), _circuit)
"""A circuit as QPY; whoever reads a file provides ``loaded_circuits`` and ``file_name``."""
