"""The kinds of run that are known, by name.

Kinds register themselves when their module is imported. Those of hpcq itself are in a layer above,
whose package is therefore imported by its name when a kind is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

_BUILT_IN = "hpcq.kinds"

_kinds: dict[str, Any] = {}


def register(kind: Any) -> None:
    """Make a kind of run known; see :class:`hpcq.planning.kind.Kind`."""
    _kinds[kind.name] = kind


def find_kind(name: str) -> Any:
    """Return the kind with a name; None if there is none, as for a file of another version."""
    import_module(_BUILT_IN)
    return _kinds.get(name)


def all_kinds() -> Iterator[Any]:
    """Yield all kinds, in the order in which they were registered."""
    import_module(_BUILT_IN)
    yield from _kinds.values()
