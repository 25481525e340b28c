"""JSON as its standard has it: no key twice in one object, and only numbers that are numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """Return the value that a JSON text stands for.

    Raises:
        ValueError: If the text is no JSON, an object has a key twice (of which ``json.loads``
            keeps the last), or a number is NaN or infinite.
        RecursionError: If it is nested too deeply.

    >>> loads('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' comes twice in one object
    """
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:40]!r} comes twice in one object")
        found[key] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def json_type(value: object) -> str:
    """Say in JSON's words what a value is.

    >>> json_type({}), json_type([1]), json_type(None)
    ('an empty object', 'a list', 'null')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kinds: dict[str, tuple[type, ...]] = {
        "object": (Mapping,),
        "list": (list, tuple),
        "text": (str,),
    }
    for kind, types in kinds.items():
        if isinstance(value, types):
            return f"an empty {kind}" if not value else f"{'an' if kind[0] == 'o' else 'a'} {kind}"
    return "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def digest(value: object) -> str:
    """Return the SHA-256 of plain JSON values."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
