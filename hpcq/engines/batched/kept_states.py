"""States that are kept from a request for tensors until one for derivatives at the same rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any

Key = tuple[str, bytes]
"""Fingerprint of a piece, and some rows of its angles."""


class KeptStates:
    """The simulations of rows that an engine keeps for all its pieces, in bounded memory.

    Args:
        max_bytes: Maximum number of bytes.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key) -> Any:
        """Return the simulation of some rows; None if it is not kept."""
        return self._entries.get(key, (None, 0))[0]

    def put(self, key: Key, simulation: Any, nbytes: int) -> None:
        """Keep the simulation of some rows; the oldest ones are dropped if memory runs short."""
        self._drop(key)
        self._entries[key] = simulation, nbytes
        self._bytes += nbytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def keep_only(self, fingerprint: str, rows: Collection[bytes]) -> None:
        """Drop all other rows of a piece."""
        stale = [key for key in self._entries if key[0] == fingerprint and key[1] not in rows]
        for key in stale:
            self._drop(key)

    def clear(self) -> None:
        """Drop all simulations."""
        self._entries.clear()
        self._bytes = 0

    def _drop(self, key: Key) -> None:
        _, nbytes = self._entries.pop(key, (None, 0))
        self._bytes -= nbytes
