"""Checks of JSON values in a result file, such as its configuration and its provenance.

The seal of a file is not a signature: anybody can make a file and seal it. All that the rest of
hpcq assumes about these parts of a result is therefore checked here, and only here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hpcq.core.limits import MAX_MEMORY, MIN_MEMORY
from hpcq.results.hdf5_fields import Place

_MAX_DEPTH = 20
"""Levels of nested JSON objects and lists; a run writes three."""

_MAX_INTEGER = (1 << 63) - 1
"""Largest absolute value of an integer: it has 64 bits."""

_KIND = re.compile("[a-z][a-z0-9_]{0,31}")
"""The name of a kind of run, which may be one that this version does not know."""

Check = Callable[[Any], bool]


def shown(value: Any) -> str:
    """Return the first characters of a value of unknown origin, for a message."""
    return repr(value)[:40]


def is_a(*types: type, minimum: int = -_MAX_INTEGER, maximum: int = _MAX_INTEGER) -> Check:
    """Return the check that a value has one of some types, and a range if it is an integer."""
    return lambda value: (
        type(value) in types and (type(value) is not int or minimum <= value <= maximum)
    )


def are(container: type, check: Check) -> Check:
    """Return the check of all values in a list, or in an object."""
    return lambda value: type(value) is container and all(map(check, _entries(value)))


def _entries(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


_NONE = type(None)
_is_number, _is_memory = is_a(int, float), is_a(int, minimum=MIN_MEMORY, maximum=MAX_MEMORY)
_are_texts, _are_numbers = are(list, is_a(str)), are(dict, _is_number)
_are_starts = are(list, are(dict, lambda value: _is_number(value) or _are_numbers(value)))

_LOOP = {
    "optimizer": is_a(str),
    "message": is_a(str),
    "evaluations": is_a(int, minimum=0),
    "starts": is_a(int, minimum=1),
    "gradient_norm": _is_number,
}


def _is_loop(value: Any) -> bool:
    """Whether a value says what a loop has done; only one with gradients has their norm."""
    if type(value) is not dict or not {*_LOOP} - {"gradient_norm"} <= {*value} <= {*_LOOP}:
        return False
    return all(_LOOP[name](entry) for name, entry in value.items())


_CONFIG: Mapping[str, tuple[Check, str]] = {
    "mode": (lambda value: type(value) is str and bool(_KIND.fullmatch(value)), "a kind of run"),
    "max_qubits": (is_a(int, _NONE, minimum=1), "a number of qubits"),
    "partition": (lambda value: value is None or _are_texts(value), "a list of labels"),
    "cuts": (is_a(str, _NONE), "text"),
    "objective": (is_a(str), "text"),
    "search_seconds": (_is_number, "a number of seconds"),
    "reuse_qubits": (is_a(bool), "true or false"),
    "ranks": (is_a(int, minimum=1), "a number of ranks"),
    "seed": (lambda value: isinstance(value, int), "a whole number"),
    "memory_bytes": (_is_memory, f"{MIN_MEMORY} to {MAX_MEMORY}"),
    "threads": (is_a(int, minimum=1), "a number of threads"),
    "precision": (is_a(str), "text"),
    "speeds": (is_a(dict), "numbers by name"),
    "shots": (is_a(int, _NONE, minimum=0), "a number of shots"),
    "standard_error": (is_a(int, float, _NONE), "a number"),
    "max_variants": (is_a(int, _NONE, minimum=0), "a number of variants"),
    "device": (is_a(str), "text"),
    "backend": (is_a(str, _NONE), "text"),
}
"""The check of each entry of the configuration that a run uses, and the text of what it expects."""

_PROVENANCE: Mapping[str, tuple[Check, str]] = {
    "hosts": (_are_texts, "a list of names"),
    "devices": (_are_texts, "a list of names"),
    "ranks": (is_a(int, minimum=1), "a number of ranks"),
    "seconds": (_are_numbers, "seconds by name"),
    "starts": (_are_starts, "numbers of each start"),
    "shots": (is_a(int), "a number of shots"),
    "rounds": (is_a(int), "a number of rounds"),
    "norm_error": (_is_number, "a number"),
    "loop": (_is_loop, "an account of a loop"),
}
"""The same for entries of the provenance that are shown, or that the next start adds to."""


def check_config(config: dict[str, Any], _: Place) -> str:
    """Return the fault of a configuration, for a message; empty if there is none."""
    return _check(config, _CONFIG, "config")


def check_provenance(provenance: dict[str, Any], _: Place) -> str:
    """Return the fault of a provenance, for a message; empty if there is none."""
    missing = {"shots", "rounds", "devices"} - set(provenance)
    if "shots" in provenance and missing:
        return f"provenance: there is no {min(missing)}"
    return _check(provenance, _PROVENANCE, "provenance")


def _check(values: dict[str, Any], checks: Mapping[str, tuple[Check, str]], what: str) -> str:
    for name, value in values.items():
        if not _is_plain(value, _MAX_DEPTH):
            return f"{what}: {name[:40]} is not a plain value"
        check, expected = checks.get(name, (lambda _: True, ""))
        if not check(value):
            return f"{what}: {name} is {shown(value)}, expected {expected}"
    return ""


def _is_plain(value: Any, depth: int) -> bool:
    """Return whether a value is JSON of at most this many levels: deeper ones exhaust the stack."""
    if isinstance(value, (dict, list)):
        return depth > 0 and all(_is_plain(entry, depth - 1) for entry in _entries(value))
    return value is None or isinstance(value, (bool, int, float, str))
