"""What a part of a partition costs: the sum that the search makes small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hpcq.core.limits import Limits
from hpcq.planning import cost as costs
from hpcq.planning.machine_speeds import Speeds

ObjectiveName = Literal["seconds", "overhead"]
"""What plans are chosen by: predicted seconds of the exact run, or the factor gamma squared by
which a run with shots needs more of them."""

_UNFUSED = 14
_FUSED = 0.4
"""Of Aer's gates, about so many are left as passes over the state once they are fused."""

_BYTES = 64
"""An entry of a tensor is kept as a block, joined, and over its bonds."""

_STORING = 4.0
"""Bits for each bit that the tensors are larger than the memory."""

_SWEEPS = 3.0
"""A contraction for many terms goes up once and down once, and takes some steps twice."""


@dataclass(frozen=True)
class Objective:
    """What to look for.

    Attributes:
        kind: What counts.
        width: The most qubits a subcircuit may have.
        limits: What a rank may use.
        speeds: How fast it is.
        ranks: How many there are.
        excess: Bits that a qubit beyond the width costs during the search.
    """

    kind: ObjectiveName
    width: int
    limits: Limits
    speeds: Speeds
    ranks: int = 1
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
        speeds, width = self.speeds, qubits + ancillas
        room = math.log2(self.limits.memory_bytes)
        state = math.log2(2 * self.limits.amplitude_bytes)
        beyond = max(0.0, width + state - room)
        unfused = costs.power(min(width, _UNFUSED)) * gates * speeds.amplitude_gate
        fused = (
            costs.power(width) * _FUSED * gates * speeds.amplitude_pass if width > _UNFUSED else 0.0
        )
        simulation = (
            speeds.simulation
            + gates * speeds.gate
            + max(unfused, fused)
            + costs.power(width) * 2 * self.limits.amplitude_bytes * speeds.byte
        )
        whole = 8.0 * costs.power(width + ports) * speeds.flop
        string = speeds.string + costs.power(width) * speeds.amplitude_string + whole / 2
        threads = speeds.threads if width > _UNFUSED else 1.0
        products = whole + strings * string / threads
        return (simulation + products) * costs.power(2 * beyond)

    def stored(self, ports: int, strings: float) -> float:
        """Return about how many bytes rank 0 keeps of one subcircuit's tensor."""
        return (1 + strings) * costs.power(2 * ports) * _BYTES

    def storing_bits(self, stored: float) -> float:
        """Return what keeping all tensors costs beyond the seconds: nothing while they fit."""
        return _STORING * max(0.0, math.log2(stored / self.limits.memory_bytes))

    def contraction_seconds(self, flops: float, parts: int) -> float:
        """Predict the seconds of the contraction."""
        threads = self.speeds.threads if flops > costs.LARGE_CONTRACTION else 1.0
        return flops * _SWEEPS * self.speeds.flop / threads + parts * self.speeds.step
