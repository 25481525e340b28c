"""What one rank may use, and in which precision it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hpcq.errors import InputError

Device = Literal["cpu", "gpu"]
Precision = Literal["single", "double"]

SHARE_OF_MEMORY = 0.8
"""Share of the free memory that a rank takes where no limit is given."""


@dataclass(frozen=True)
class Limits:
    """What one rank may use.

    Attributes:
        memory_bytes: Memory of the rank, beside the libraries'.
        threads: Threads of one simulation.
        precision: ``double`` (16 bytes an amplitude) or ``single`` (8).
    """

    memory_bytes: int
    threads: int = 1
    precision: Precision = "double"

    def __post_init__(self) -> None:
        if self.memory_bytes < 1 << 20:
            raise InputError(f"memory: {self.memory_bytes} bytes, expected at least 1M")
        if self.threads < 1:
            raise InputError(f"threads: {self.threads}, expected at least 1")
        if self.precision not in get_args(Precision):
            raise InputError(f"precision: {self.precision!r}, expected single or double")

    @property
    def amplitude_bytes(self) -> int:
        """Bytes of one amplitude of a state."""
        return 8 if self.precision == "single" else 16
