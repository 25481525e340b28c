"""What program.py compares, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ROWS = 32
"""Rows of parameters in one call or PUB, where several are evaluated together."""

VALUE, VALUES = "energy", "energies"
GRADIENT, GRADIENTS = "gradient", "gradients"
"""hpcq's own numbers: energies alone, or with gradients, of one row or of ``ROWS``."""

COMPARISONS: tuple[tuple[str, str], ...] = (
    (VALUE, "mps"),
    (VALUES, "mps-rows"),
    (VALUE, "statevector"),
    (VALUES, "statevector-rows"),
    (VALUE, "anew"),
    (VALUE, "pieces"),
    (VALUE, "simulations"),
    (GRADIENT, VALUE),
    (GRADIENTS, VALUES),
    (GRADIENT, "lightning"),
    (GRADIENT, "shifts"),
)
"""The rows of each workload: hpcq's number, and the method that it is compared with."""


@dataclass(frozen=True)
class Target:
    """A bound on a ratio.

    Attributes:
        bound: The number.
        at_least: Whether it is how many times faster than the other hpcq must be; otherwise it is
            how many times the other's seconds hpcq may take.
    """

    bound: float
    at_least: bool = True

    @property
    def text(self) -> str:
        """The target in words."""
        if self.at_least and self.bound <= 1:
            return f"at most {1 / self.bound:g} times slower"
        if self.at_least:
            return f"at least {self.bound:g} times faster"
        return f"at most {self.bound:g} times as long"

    def met(self, ours: float, other: float) -> bool:
        """Whether hpcq's seconds and the other's meet the target."""
        return other >= self.bound * ours if self.at_least else ours <= self.bound * other


TARGETS: Mapping[tuple[str, str, str], Target] = {
    ("vqe-24-3x8", VALUE, "mps"): Target(6),
    ("vqe-24-3x8", VALUES, "mps-rows"): Target(8),
    ("vqe-24-3x8", GRADIENT, VALUE): Target(3.5, at_least=False),
    ("vqe-24-3x8", GRADIENT, "shifts"): Target(500),
    ("vqe-24-2x12", VALUE, "mps"): Target(4),
    ("vqe-24-2x12", VALUES, "mps-rows"): Target(0.8),
    ("vqe-60-6x10", VALUE, "mps"): Target(4),
    ("vqe-60-6x10", GRADIENT, VALUE): Target(4.5, at_least=False),
    ("qaoa-20", VALUE, "mps"): Target(40),
    ("qaoa-20", GRADIENT, "lightning"): Target(250),
    ("su4-2x12", VALUE, "pieces"): Target(1),
}
"""Targets by workload, hpcq's number and the other method."""
