"""Subcircuits as bytes that go to every rank once: a JSON line, then QPY."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpcq.cutting.subcircuits import Port, Subcircuit


def pack(header: Mapping[str, Any], subcircuits: Sequence[Subcircuit]) -> bytes:
    """Pack subcircuits, and plain JSON values that go with them."""
    from qiskit import qpy

    pieces = [
        {
            "qubits": own.qubits,
            "ports": [[port.kind, port.wire, port.dimension, port.twin] for port in own.ports],
        }
        for own in subcircuits
    ]
    buffer = io.BytesIO()
    buffer.write(json.dumps({"header": header, "pieces": pieces}).encode() + b"\n")
    if subcircuits:
        qpy.dump([own.circuit for own in subcircuits], buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> tuple[dict[str, Any], list[Subcircuit]]:
    """Return what :func:`pack` packed."""
    from qiskit import qpy

    head, _, body = data.partition(b"\n")
    values = json.loads(head)
    circuits = qpy.load(io.BytesIO(body)) if values["pieces"] else []
    subcircuits = [
        Subcircuit(circuit, tuple(own["qubits"]), tuple(Port(*port) for port in own["ports"]))
        for circuit, own in zip(circuits, values["pieces"], strict=True)
    ]
    return values["header"], subcircuits
