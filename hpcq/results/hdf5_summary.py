"""What every result file says of its run, checked when it is read.

The seal of a file is no signature: whoever makes a file can seal it. Whatever the rest of hpcq
takes for granted in a result is therefore made sure of here, and only here.
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

_DEEPEST = 20
"""Of objects within objects; a run writes three."""

_MAX_WHOLE = 1 << 63

Check = Callable[[Any], bool]


def read_summary(file: PlainGroup) -> Result:
    """Read a result without circuit and tensors.

    Raises:
        ValueError: Something in it is not what a run writes.
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
    """Return what a run is known by; nothing where the file does not say."""
    return check_fingerprint(json.loads(file.attrs.get("identity", "{}")))


def check_fingerprint(told: Any) -> dict[str, str]:
    """Return what a run is known by, if it is names and texts.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(told, dict) or not all(isinstance(own, str) for own in told.values()):
        raise ValueError(f"identity is {_shown(told)}, expected texts by name")
    return told


def read_numbers(dataset: Any, shape: tuple[int | None, ...], kind: str = "f") -> NDArray[Any]:
    """Return an array of a file.

    Args:
        dataset: Where it is.
        shape: What its shape must be; None for a length that may be any.
        kind: Kinds of numbers that it may hold, as numpy calls them.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{dataset.name} is no dataset")
    found = dataset.shape
    fits = found is not None and len(found) == len(shape)
    fits = fits and all(want in (None, own) for want, own in zip(shape, found, strict=True))
    if not fits or dataset.dtype.kind not in kind:
        wanted = " x ".join("any" if own is None else str(own) for own in shape)
        raise ValueError(f"{dataset.name} is {dataset.dtype} {found}, expected {wanted} numbers")
    values: NDArray[Any] = dataset[()]
    return values.astype(float) if kind == "f" else values


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, expected a text")
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_WHOLE


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_starts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(start, dict)
        and all(_is_number(own) or _are_numbers(own) for own in start.values())
        for start in value
    )


def _from(least: int, most: int = _MAX_WHOLE) -> Check:
    return lambda value: _is_whole(value) and least <= value <= most


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


_CONFIG: Mapping[str, tuple[Check, str]] = {
    "mode": (lambda value: _is_text(value) and value in ("exact", "shots"), "exact or shots"),
    "max_qubits": (_or_none(_from(1)), "a number of qubits"),
    "partition": (_or_none(_are_texts), "a list of labels"),
    "cuts": (_or_none(_is_text), "a text"),
    "objective": (_is_text, "a text"),
    "search_seconds": (_is_number, "a number of seconds"),
    "reuse_qubits": (lambda value: isinstance(value, bool), "true or false"),
    "ranks": (_from(1), "a number of ranks"),
    "seed": (lambda value: isinstance(value, int), "a whole number"),
    "memory_bytes": (_from(MIN_MEMORY, MAX_MEMORY), f"{MIN_MEMORY} to {MAX_MEMORY}"),
    "threads": (_from(1), "a number of threads"),
    "precision": (_is_text, "a text"),
    "speeds": (lambda value: isinstance(value, dict), "numbers by name"),
    "shots": (_or_none(_from(0)), "a number of shots"),
    "standard_error": (_or_none(_is_number), "a number"),
    "max_variants": (_or_none(_from(0)), "a number of variants"),
    "device": (_is_text, "a text"),
    "backend": (_or_none(_is_text), "a text"),
}
"""What a run goes by in its configuration; further names say nothing to it."""

_PROVENANCE: Mapping[str, tuple[Check, str]] = {
    "hosts": (_are_texts, "a list of names"),
    "devices": (_are_texts, "a list of names"),
    "ranks": (_from(1), "a number of ranks"),
    "seconds": (_are_numbers, "seconds by name"),
    "starts": (_are_starts, "numbers of each start"),
    "shots": (_is_whole, "a number of shots"),
    "rounds": (_is_whole, "a number of rounds"),
    "norm_error": (_is_number, "a number"),
}
"""What is shown of how a result came about, or added up by the next run."""


def _config(file: PlainGroup) -> dict[str, Any]:
    config = json.loads(file.attrs["config"])
    if not isinstance(config, dict):
        raise ValueError("config is no object")
    return _checked(config, _CONFIG, "config")


def _provenance(file: PlainGroup) -> dict[str, Any]:
    provenance: dict[str, Any] = {}
    for name, value in file["provenance"].attrs.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, str) and plain[:1] in ("{", "["):
            plain = json.loads(plain)
        provenance[name] = plain
    both = {"shots", "rounds", "devices"}
    if "shots" in provenance and (missing := both - set(provenance)):
        raise ValueError(f"provenance: there is no {min(missing)}")
    return _checked(provenance, _PROVENANCE, "provenance")


def _checked(
    values: dict[str, Any], checks: Mapping[str, tuple[Check, str]], what: str
) -> dict[str, Any]:
    """Return plain values, if those are in order that hpcq works with."""
    for name, value in values.items():
        if not _is_plain(value, _DEEPEST):
            raise ValueError(f"{what}: {name[:40]} is no plain value")
        check, expected = checks.get(name, (_is_anything, ""))
        if not check(value):
            raise ValueError(f"{what}: {name} is {_shown(value)}, expected {expected}")
    return values


def _is_anything(_value: Any) -> bool:
    return True


def _is_plain(value: Any, depth: int) -> bool:
    """Whether JSON can hold a value, and its objects are not nested for harm."""
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(own, depth - 1) for own in inner)
    return value is None or isinstance(value, (bool, int, float, str))


def _shown(value: Any) -> str:
    return repr(value)[:40]
