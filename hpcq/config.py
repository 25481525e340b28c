"""What one rank may use, and in which precision it computes."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal, get_args

from hpcq.errors import InputError

Device = Literal["cpu", "gpu"]
Precision = Literal["single", "double"]

LEAST_MEMORY = 1 << 20
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
        whole_number(self.memory_bytes, "memory", LEAST_MEMORY, "bytes (at least 1M)")
        whole_number(self.threads, "threads", 1)
        if self.precision not in get_args(Precision):
            raise InputError(f"precision: {self.precision!r}, expected single or double")

    @property
    def amplitude_bytes(self) -> int:
        """Bytes of one amplitude of a state."""
        return 8 if self.precision == "single" else 16


def rounded_memory(size: int) -> int:
    """Round an amount of memory down to a power of two, or one and a half of one.

    What is free changes from run to run, and what is planned for it should not.
    """
    power = 1 << (max(size, LEAST_MEMORY).bit_length() - 1)
    return power + power // 2 if power + power // 2 <= size else power


def whole_number(value: object, name: str, least: int, unit: str = "") -> int:
    """Return a whole number of any type, or say what was expected.

    Raises:
        InputError: If it is none, or less than ``least``.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
        if number < least:
            raise TypeError
    except TypeError:
        expected = f"a whole number of {unit}" if unit else f"a whole number of at least {least}"
        raise InputError(f"{name}: {str(value)[:40]!r}, expected {expected}") from None
    return number
