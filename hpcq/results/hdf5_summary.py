"""The values, configuration and provenance in a result file, checked as they are read.

The seal of a file is not a signature: anybody can make a file and seal it. All that the rest of
hpcq assumes about these parts of a result is therefore checked here, and only here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcq.core.limits import MAX_MEMORY, MIN_MEMORY
from hpcq.results.hdf5_plain import PlainGroup
from hpcq.results.hdf5_texts import numbered_groups
from hpcq.results.result import Result

_MAX_DEPTH = 20
"""Levels of nested JSON objects and lists; a run writes three."""

_MAX_INTEGER = 1 << 63
"""Integers below this, in absolute value, are accepted: those of 64 bits."""

Check = Callable[[Any], bool]


def read_summary(file: PlainGroup) -> Result:
    """Return the result in a file, without its details.

    Raises:
        ValueError: If anything in it is not what a run writes.
    """
    names = tuple(
        _text(group.attrs["name"], "name") for group in numbered_groups(file["observables"])
    )
    status = _text(file.attrs["status"], "status")
    if status not in ("complete", "partial"):
        raise ValueError(f"status is {status[:40]!r}, expected complete or partial")
    values = read_numbers(file["results/expectation_values"], (len(names),))
    errors = read_numbers(file["results/standard_errors"], (len(names),))
    if (errors < 0).any():
        raise ValueError("a standard error is negative")
    return Result(names, values, errors, status, _config(file), _provenance(file))


def read_fingerprint(file: PlainGroup) -> dict[str, str]:
    """Return the fingerprint of the run; empty if the file has none."""
    return check_fingerprint(json.loads(file.attrs.get("identity", "{}")))


def check_fingerprint(content: Any) -> dict[str, str]:
    """Return a fingerprint that was read from JSON.

    Raises:
        ValueError: If it is not an object, or not all its values are texts.
    """
    if not isinstance(content, dict) or not all(
        isinstance(value, str) for value in content.values()
    ):
        raise ValueError(f"identity is {_shown(content)}, expected texts by name")
    return content


def read_numbers(dataset: Any, shape: tuple[int | None, ...], kind: str = "f") -> NDArray[Any]:
    """Return a dataset as an array; floating-point numbers as float64.

    Args:
        dataset: The dataset.
        shape: Expected shape; None for a dimension of any length.
        kind: Accepted characters of NumPy's ``dtype.kind``.

    Raises:
        ValueError: If it is not a dataset, or has another shape or kind.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{dataset.name} is not a dataset")
    actual = dataset.shape
    fits = actual is not None and len(actual) == len(shape)
    fits = fits and all(
        expected in (None, length) for expected, length in zip(shape, actual, strict=True)
    )
    if not fits or dataset.dtype.kind not in kind:
        sizes = " x ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{dataset.name} is {dataset.dtype} {actual}, expected {sizes} numbers")
    values: NDArray[Any] = dataset[()]
    return values.astype(float) if kind == "f" else values


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, expected text")
    return value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER


def _is_number(value: Any) -> bool:
    return _is_integer(value) or isinstance(value, float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_starts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(start, dict)
        and all(_is_number(value) or _are_numbers(value) for value in start.values())
        for start in value
    )


def _in_range(minimum: int, maximum: int = _MAX_INTEGER) -> Check:
    return lambda value: _is_integer(value) and minimum <= value <= maximum


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


_CONFIG: Mapping[str, tuple[Check, str]] = {
    "mode": (lambda value: _is_text(value) and value in ("exact", "shots"), "exact or shots"),
    "max_qubits": (_or_none(_in_range(1)), "a number of qubits"),
    "partition": (_or_none(_are_texts), "a list of labels"),
    "cuts": (_or_none(_is_text), "text"),
    "objective": (_is_text, "text"),
    "search_seconds": (_is_number, "a number of seconds"),
    "reuse_qubits": (lambda value: isinstance(value, bool), "true or false"),
    "ranks": (_in_range(1), "a number of ranks"),
    "seed": (lambda value: isinstance(value, int), "a whole number"),
    "memory_bytes": (_in_range(MIN_MEMORY, MAX_MEMORY), f"{MIN_MEMORY} to {MAX_MEMORY}"),
    "threads": (_in_range(1), "a number of threads"),
    "precision": (_is_text, "text"),
    "speeds": (lambda value: isinstance(value, dict), "numbers by name"),
    "shots": (_or_none(_in_range(0)), "a number of shots"),
    "standard_error": (_or_none(_is_number), "a number"),
    "max_variants": (_or_none(_in_range(0)), "a number of variants"),
    "device": (_is_text, "text"),
    "backend": (_or_none(_is_text), "text"),
}
"""For each entry of the configuration that a run uses its check, and what the check expects."""

_PROVENANCE: Mapping[str, tuple[Check, str]] = {
    "hosts": (_are_texts, "a list of names"),
    "devices": (_are_texts, "a list of names"),
    "ranks": (_in_range(1), "a number of ranks"),
    "seconds": (_are_numbers, "seconds by name"),
    "starts": (_are_starts, "numbers of each start"),
    "shots": (_is_integer, "a number of shots"),
    "rounds": (_is_integer, "a number of rounds"),
    "norm_error": (_is_number, "a number"),
}
"""The same for entries of the provenance that are shown, or that the next start adds to."""


def _config(file: PlainGroup) -> dict[str, Any]:
    config = json.loads(file.attrs["config"])
    if not isinstance(config, dict):
        raise ValueError("config is not an object")
    return _check_values(config, _CONFIG, "config")


def _provenance(file: PlainGroup) -> dict[str, Any]:
    provenance: dict[str, Any] = {}
    for name, value in file["provenance"].attrs.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, str) and plain[:1] in ("{", "["):
            plain = json.loads(plain)
        provenance[name] = plain
    with_shots = {"shots", "rounds", "devices"}
    if "shots" in provenance and (missing := with_shots - set(provenance)):
        raise ValueError(f"provenance: there is no {min(missing)}")
    return _check_values(provenance, _PROVENANCE, "provenance")


def _check_values(
    values: dict[str, Any], checks: Mapping[str, tuple[Check, str]], what: str
) -> dict[str, Any]:
    """Return JSON values, having checked them.

    Args:
        values: The values; those without a check only have to be JSON.
        checks: Checks by name.
        what: Name of the whole, for messages.

    Raises:
        ValueError: If one is not as expected.
    """
    for name, value in values.items():
        if not _is_plain(value, _MAX_DEPTH):
            raise ValueError(f"{what}: {name[:40]} is not a plain value")
        check, expected = checks.get(name, (_is_anything, ""))
        if not check(value):
            raise ValueError(f"{what}: {name} is {_shown(value)}, expected {expected}")
    return values


def _is_anything(_value: Any) -> bool:
    return True


def _is_plain(value: Any, depth: int) -> bool:
    """Say whether a value is JSON with at most this many levels: deeper ones exhaust the stack."""
    if isinstance(value, (dict, list)):
        entries = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(entry, depth - 1) for entry in entries)
    return value is None or isinstance(value, (bool, int, float, str))


def _shown(value: Any) -> str:
    return repr(value)[:40]
