"""Placeholder gates that stand for cuts in the circuits of subcircuits."""

from __future__ import annotations

from typing import Literal

PortKind = Literal["input", "output", "gate", "control"]

PORT_MARKERS: dict[PortKind, str] = {
    "input": "input_port",
    "output": "output_port",
    "gate": "gate_port",
    "control": "control_port",
}
"""Name of the one-qubit placeholder gate that stands for a port in a subcircuit's circuit.

Its first parameter is the port's number. A control port has one placeholder for each of its gates;
the second parameter is the angle of an RZZ gate between the absent control and the wire.
"""

MARKER_NAMES = frozenset(PORT_MARKERS.values())
"""Names of all placeholder gates."""
