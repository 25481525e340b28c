"""Circuits as QPY bytes; this process loads QPY only here.

A gate's name in QPY calls any class of Qiskit's circuit library with numbers that the file chooses,
which can exhaust the memory and abort the process. QPY of unknown origin is therefore read by the
sandboxed reader, whatever its version. This process loads only what it, another rank or the reader
wrote.

QPY of version 10 to 12 may hold its expressions as symengine pickles them, and a pickle runs code
when it is loaded. All versions before 13 are therefore read by the sandboxed reader, where
symengine cannot be imported; so are bytes whose header announces symengine. From version 13 on,
expressions are instructions for a small stack machine of Qiskit.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcq.circuits.loader_errors import reason_of
from hpcq.core.errors import HpcqError, InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_SHORT_HEADER, _HEADER = struct.Struct("!6s4BQ"), struct.Struct("!6s4BQc")
_MIN_PICKLE_FREE_VERSION, _PICKLE_FREE_ENCODING = 13, b"p"
"""Version from which, and encoding of expressions with which, QPY holds no pickle."""

_MAX_TRUSTED = 100_000
"""Digests to remember: 32 bytes each; beyond, all are forgotten and circuits are read anew."""

_trusted_digests: set[bytes] = set()
"""SHA-256 of QPY bytes that this process wrote or that the reader has read."""


def dump(circuits: QuantumCircuit | Sequence[QuantumCircuit]) -> bytes:
    """Return circuits as QPY bytes."""
    from qiskit import qpy

    buffer = io.BytesIO()
    qpy.dump(circuits, buffer)
    data = buffer.getvalue()
    mark_trusted(hashlib.sha256(data).digest())
    return data


def is_pickle_free(data: bytes) -> bool:
    """Return whether QPY bytes hold no pickle, so that this process may load them."""
    if len(data) < _HEADER.size:
        return False
    magic, version, *_, encoding = _HEADER.unpack_from(data)
    is_new = magic == b"QISKIT" and version >= _MIN_PICKLE_FREE_VERSION
    return bool(is_new and encoding == _PICKLE_FREE_ENCODING)


def check_header(data: bytes, name: str) -> None:
    """Raise an InputError unless the header announces one circuit, in a version of Qiskit's."""
    import qiskit
    from qiskit.qpy.common import QPY_VERSION

    version = data[6] if len(data) > 6 else 0
    header = _SHORT_HEADER if version < 10 else _HEADER
    if not data.startswith(b"QISKIT"):
        raise InputError(f"{name}: does not start like QPY, expected a circuit as QPY")
    if len(data) < header.size:
        raise InputError(f"{name}: the QPY file ends after {len(data)} bytes, inside its header")
    if not 1 <= version <= QPY_VERSION:
        raise InputError(
            f"{name}: is QPY version {version}, "
            f"but Qiskit {qiskit.__version__} reads versions 1 to {QPY_VERSION}"
        )
    num_programs = header.unpack_from(data)[5]
    if num_programs != 1:
        raise InputError(f"{name}: holds {num_programs} circuits, expected one")


def load(data: bytes, name: str) -> list[QuantumCircuit]:
    """Return the circuits from QPY bytes without pickles.

    Raises:
        InputError: The bytes may hold a pickle, or they are damaged.
    """
    from qiskit import qpy

    if not is_pickle_free(data):
        raise InputError(
            f"{name}: its QPY may hold a pickle, which is never loaded; expected QPY version "
            f"{_MIN_PICKLE_FREE_VERSION} or later without symengine"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            circuits: list[QuantumCircuit] = qpy.load(io.BytesIO(data))
        except (HpcqError, MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:  # PyO3 reports a panic in Rust as a BaseException
            raise InputError(f"{name}: not valid QPY: {reason_of(error)}") from None
    return circuits


def is_trusted(digest: bytes) -> bool:
    """Return whether this process wrote or has read the bytes with a SHA-256 digest."""
    return digest in _trusted_digests


def mark_trusted(digest: bytes) -> None:
    """Remember that the bytes with a SHA-256 digest are safe to load."""
    if len(_trusted_digests) >= _MAX_TRUSTED:
        _trusted_digests.clear()
    _trusted_digests.add(digest)
