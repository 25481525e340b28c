"""The cost of a partition's parts, whose sum the search minimises.

This is a quick estimate from a few counts; the cost of a plan is that of :mod:`hpcq.planning.cost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hpcq.core.limits import Limits
from hpcq.planning import cost as costs
from hpcq.planning.machine_speeds import Speeds

ObjectiveName = Literal["seconds", "overhead"]
"""What plans are compared by: predicted seconds of the exact run, or the sampling overhead (gamma
squared) of a run with shots."""


_FUSED_FRACTION = 0.4
"""Passes over the state after Aer's fusion, as a typical fraction of the number of gates. A plan's
cost counts the passes of its circuit instead."""

_BYTES_PER_ENTRY = 64
"""Bytes for each entry of a tensor: 16 for each of four copies, up to two as blocks, one assembled
and one over its bonds."""


_FLOPS_FACTOR = 3.0
"""Operations of a contraction for many terms, relative to one sweep up the tree: it goes up and
down, and repeats some steps."""


@dataclass(frozen=True)
class Objective:
    """What the search minimises.

    Attributes:
        kind: What plans are compared by.
        width: Maximum number of qubits of a subcircuit.
        limits: Memory and threads of a rank.
        speeds: Speeds of a rank.
        ranks: Number of ranks.
        excess_penalty: Bits of energy for each qubit beyond the width.
    """

    kind: ObjectiveName
    width: int
    limits: Limits
    speeds: Speeds
    ranks: int = 1
    excess_penalty: float = 1.0

    def part_seconds(
        self, qubits: int, ancillas: int, ports: int, gates: float, strings: float
    ) -> float:
        """Predict the seconds that one subcircuit takes.

        Args:
            qubits: Number of wires.
            ancillas: Number of ancillas of its input, gate and control ports.
            ports: Bits of the dimension of its tensor.
            gates: Number of gates.
            strings: Number of Pauli strings requested on it, besides the identity.
        """
        speeds, width = self.speeds, qubits + ancillas
        memory_bits = math.log2(self.limits.memory_bytes)
        amplitude_bits = math.log2(2 * self.limits.amplitude_bytes)
        missing_bits = max(0.0, width + amplitude_bits - memory_bits)
        power = costs.power_of_two
        unfused = power(min(width, costs.MAX_UNFUSED_QUBITS)) * gates * speeds.amplitude_gate
        fused = 0.0
        if width > costs.MAX_UNFUSED_QUBITS:
            fused = power(width) * _FUSED_FRACTION * gates * speeds.amplitude_pass
        simulation = (
            speeds.simulation
            + gates * speeds.gate
            + max(unfused, fused)
            + power(width) * 2 * self.limits.amplitude_bytes * speeds.byte
        )
        gram = 8.0 * power(width + ports) * speeds.flop
        string_seconds = speeds.string + power(width) * speeds.amplitude_string + gram / 2
        threads = speeds.threads if width > costs.MAX_UNFUSED_QUBITS else 1.0
        products = gram + strings * string_seconds / threads
        # Each bit that is missing takes slices: twice the branches, four times their pairs.
        return (simulation + products) * power(2 * missing_bits)

    def tensor_bytes(self, ports: int, strings: float) -> float:
        """Return about how many bytes rank 0 stores for one subcircuit's tensor."""
        return (1 + strings) * costs.power_of_two(2 * ports) * _BYTES_PER_ENTRY

    def contraction_seconds(self, flops: float, parts: int) -> float:
        """Predict the seconds of the contraction."""
        threads = self.speeds.threads if flops > costs.LARGE_CONTRACTION else 1.0
        return flops * _FLOPS_FACTOR * self.speeds.flop / threads + parts * self.speeds.step
