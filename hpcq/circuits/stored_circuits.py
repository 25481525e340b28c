"""Load circuits from QPY bytes of unknown origin, such as those of a result file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcq.circuits import qpy
from hpcq.circuits.reader import read_qpys

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def load_circuits(contents: Sequence[tuple[str, bytes]]) -> list[QuantumCircuit]:
    """Return circuits from QPY bytes of unknown origin, as they were written.

    One sandboxed reader reads all bytes that this process has neither written nor read before. Each
    circuit has a name for messages.

    Raises:
        InputError: The bytes are not one circuit each, or not safe to read.
    """
    digests = [hashlib.sha256(data).digest() for _, data in contents]
    unknown: dict[bytes, tuple[str, bytes]] = {}
    for digest, (name, data) in zip(digests, contents, strict=True):
        qpy.check_header(data, name)
        if not qpy.is_trusted(digest):
            unknown.setdefault(digest, (name, data))
    loaded = dict(zip(unknown, read_qpys(list(unknown.values())), strict=True)) if unknown else {}
    for digest in (d for d, (_, data) in unknown.items() if qpy.is_pickle_free(data)):
        qpy.mark_trusted(digest)
    return [
        loaded[digest].copy() if digest in loaded else qpy.load(data, name)[0]
        for digest, (name, data) in zip(digests, contents, strict=True)
    ]
