"""Read JSON strictly: no repeated keys and no NaN or infinity; name its types; digest values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not valid JSON, an object has a key twice (``json.loads`` would keep
            the last value), or a number is NaN or infinite.
        RecursionError: The text is nested too deeply.

    >>> loads('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the key 'a' occurs twice in one object
    """
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"the key {key[:40]!r} occurs twice in one object")
        unique[key] = value
    return unique


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def without_nan(value: Any) -> Any:
    """Return JSON values with None for NaN and infinite numbers, which JSON does not have.

    >>> without_nan({"a": [1.0, float("nan")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(entry) for key, entry in value.items()}
    return [without_nan(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def json_type(value: object) -> str:
    """Return the name of a value's type in JSON, with its article.

    >>> json_type({}), json_type([1]), json_type(None)
    ('an empty object', 'a list', 'null')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    for types, name in (Mapping, "an object"), ((list, tuple), "a list"), (str, "a text"):
        if isinstance(value, types):
            return name if value else f"an empty {name.partition(' ')[2]}"
    return "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON value as hexadecimal digits; the order of keys counts."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
