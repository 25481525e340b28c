"""Files that somebody made to do harm."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import h5py

from hpcq.results.hdf5_files import _USER_BLOCK, _seal


def resealed(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Change a result, and seal it as hpcq would."""
    with h5py.File(path, "r+") as file:
        change(file)
    content = path.read_bytes()[_USER_BLOCK:]
    path.write_bytes(_seal(hashlib.sha256(content).hexdigest()) + content)


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def symengine_pickle(path: Path, minor: int) -> bytes:
    """Return a symbol as symengine 0.`minor` writes one; reading it makes a folder."""
    content = pickle.dumps(Touch(path), 4)
    name = struct.pack("<Q", 1) + b"x"
    head = bytes([1, 0, 0, minor]) + bytes([0, *range(1, 9), 1, 13, 1])
    return head + name + struct.pack("<Q", len(content)) + content + b"\x01"


def qpy_of(
    angle: bytes,
    kind: bytes = b"e",
    *,
    version: int = 12,
    encoding: bytes = b"e",
    gate: bytes = b"RZGate",
) -> bytes:
    """Return the QPY of a gate with a parameter, in the layout of version 12.

    Args:
        angle: Its parameter: eight bytes of a number, or an expression.
        kind: ``f``, ``i`` or ``e``.
        version: What the header says.
        encoding: How expressions are written, as the header says.
        gate: Name of its class.
    """
    if kind == b"e":
        angle = struct.pack("!QQ", 0, len(angle)) + angle
    parts = [
        struct.pack("!6s4BQc", b"QISKIT", version, 1, 1, 0, 1, encoding) + b"q",
        struct.pack("!H1cHIIQIQI", 1, b"f", 8, 1, 0, 2, 0, 1, 0) + b"c" + bytes(8) + b"{}",
        struct.pack("!QHHHIIBHqII", 0, len(gate), 0, 1, 1, 0, 0, 0, 0, 0, 0) + gate,
        struct.pack("!1cI1cQ", b"q", 0, kind, len(angle)) + angle,
        struct.pack("!H?iiiIi", 0, False, -1, -1, -1, 0, 0),
    ]
    return b"".join(parts)
