"""Pack several named byte strings into one for the reader: a JSON line, then the contents."""

from __future__ import annotations

import json
from collections.abc import Sequence


def pack_contents(contents: Sequence[tuple[str, bytes]]) -> bytes:
    """Return names and byte strings as one byte string; see :func:`unpack_contents`."""
    head = json.dumps([[name, len(data)] for name, data in contents])
    return b"\n".join([head.encode(), b"".join(data for _, data in contents)])


def unpack_contents(data: bytes) -> list[tuple[str, bytes]]:
    """Return the names and byte strings that :func:`pack_contents` packed."""
    head, _, _ = data.partition(b"\n")
    contents, start = [], len(head) + 1
    for name, size in json.loads(head):
        contents.append((name, data[start : start + size]))
        start += size
    return contents
