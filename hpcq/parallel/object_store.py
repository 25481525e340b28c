"""Objects that rank 0 sends to the other ranks once, and then names by their key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

MAX_STORED_BYTES = 64 << 20
"""Bytes of messages whose objects a rank keeps: subcircuits of about a million gates in all.

Larger: fewer objects travel again, but ranks have less memory for everything else.
"""


class ObjectStore:
    """Objects by key, of which those used least recently are dropped.

    Every rank has one. The content of a store follows from the messages alone, so rank 0 knows from
    its own store what the others hold.

    Args:
        max_bytes: Bytes of the objects in messages that are kept between two messages.
    """

    def __init__(self, max_bytes: int = MAX_STORED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._objects: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._objects

    def use(self, key: Hashable) -> Any:
        """Return the object with a key, which is now the one used most recently."""
        self._objects.move_to_end(key)
        return self._objects[key][0]

    def add(self, key: Hashable, value: Any, size: int) -> None:
        """Add an object that is not in the store; ``size`` is its bytes in messages."""
        self._objects[key] = value, size
        self._bytes += size

    def trim(self) -> None:
        """Drop objects until the rest fits; call it after each message, on all ranks."""
        while self._bytes > self._max_bytes:
            _, (_, size) = self._objects.popitem(last=False)
            self._bytes -= size
