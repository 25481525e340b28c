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
"""Name of the one-qubit placeholder that stands in a subcircuit's circuit for a port.

Its first parameter is the port's number. A control port has one for each of its gates, whose second
parameter is the angle of an RZZ gate between the absent control and the wire.
"""
