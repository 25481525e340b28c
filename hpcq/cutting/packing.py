"""Subcircuits as bytes that go to every rank once: a JSON line, then QPY."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpcq.circuits import qpy
from hpcq.cutting.subcircuits import Port, Subcircuit


def pack(header: Mapping[str, Any], subcircuits: Sequence[Subcircuit]) -> bytes:
    """Pack subcircuits, and plain JSON values that go with them."""
    pieces = [
        {
            "qubits": own.qubits,
            "ports": [
                [port.kind, port.wire, port.dimension, port.shared_with] for port in own.ports
            ],
        }
        for own in subcircuits
    ]
    head = json.dumps({"header": header, "pieces": pieces}).encode() + b"\n"
    return head + (qpy.dump([own.circuit for own in subcircuits]) if subcircuits else b"")


def unpack(data: bytes) -> tuple[dict[str, Any], list[Subcircuit]]:
    """Return what :func:`pack` packed."""
    head, _, body = data.partition(b"\n")
    values = json.loads(head)
    circuits = qpy.load(body, "subcircuits") if values["pieces"] else []
    subcircuits = [
        Subcircuit(circuit, tuple(own["qubits"]), tuple(Port(*port) for port in own["ports"]))
        for circuit, own in zip(circuits, values["pieces"], strict=True)
    ]
    return values["header"], subcircuits
