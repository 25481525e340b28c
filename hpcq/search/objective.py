"""What a part of a partition costs: the sum that the search makes small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hpcq import cost as costs
from hpcq.config import Limits

Aim = Literal["seconds", "overhead"]
"""What plans are chosen by: predicted seconds of the exact run, or the factor gamma squared by
which a run with shots needs more of them."""

_STEEP = 900
_SECONDS_PER_ENTRY = 4e-8
_SWEEPS = 3.0
"""A contraction for many terms goes up once and down once, and takes some steps twice."""


@dataclass(frozen=True)
class Objective:
    """What to look for.

    Attributes:
        aim: What counts.
        width: The most qubits a subcircuit may have.
        limits: What a rank may use.
        excess: Bits that a qubit beyond the width costs during the search.
    """

    aim: Aim
    width: int
    limits: Limits
    excess: float = 1.0

    def part_seconds(
        self, qubits: int, ancillas: int, ports: int, gates: float, strings: float
    ) -> float:
        """Predict the seconds that one subcircuit takes.

        Args:
            qubits: Its wires.
            ancillas: Qubits of its input, gate and control ports.
            ports: Bits of the dimension of its tensor.
            gates: Number of its gates.
            strings: Number of Pauli strings asked for on it, besides the identity.
        """
        width = qubits + ancillas
        entries = (1 + strings) * power(2 * ports)
        room = self.limits.memory_bytes
        beyond = max(0.0, width + 4 - math.log2(room)) + max(
            0.0, math.log2(entries) + 5 - math.log2(room)
        )
        speed = self.limits.threads if width >= 14 else 1
        simulation = (
            costs.SECONDS_PER_SIMULATION
            + gates * costs.SECONDS_PER_GATE
            + power(width) * gates * costs.SECONDS_PER_AMPLITUDE_GATE / speed
        )
        products = (
            (1 + strings)
            * (
                power(width + ports) * 4.0 / costs.FLOPS_PER_SECOND
                + power(width) * costs.SECONDS_PER_AMPLITUDE_STRING
            )
            / speed
        )
        return (simulation + products) * power(2 * beyond) + entries * _SECONDS_PER_ENTRY

    def contraction_seconds(self, flops: float, parts: int) -> float:
        """Predict the seconds of the contraction."""
        return flops * _SWEEPS / costs.FLOPS_PER_SECOND + parts * costs.SECONDS_PER_STEP


def power(bits: float) -> float:
    """Two to a power, and ever larger, though no longer so fast, where that would overflow."""
    if bits < _STEEP:
        return float(2.0**bits)
    return float(2.0**_STEEP * (1 + bits - _STEEP))
