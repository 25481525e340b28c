"""What one rank may use, and in which precision it computes."""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from hpcq.core.errors import InputError

Device = Literal["cpu", "gpu"]
Precision = Literal["single", "double"]

MIN_MEMORY, MAX_MEMORY = 1 << 20, 1 << 60
SHARE_OF_MEMORY = 0.8
"""Share of the free memory that a rank takes where no limit is given."""

_MAX_THREADS = 4096
"""Threads that can be planned with: more than the cores of the largest nodes of today."""

_MAX_SECONDS = 1e9
"""Seconds that anything may be said to take, 30 years; what is larger is a mistake."""

_MAX_THREADS_PER_CORE = 4
"""Most threads of a run for each core: a few too many slow it down, thousands cannot be started."""


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
        as_integer(self.memory_bytes, "memory", MIN_MEMORY, "bytes (at least 1M)")
        if as_integer(self.threads, "threads", 1) > _MAX_THREADS:
            raise InputError(
                f"threads: {str(self.threads)[:40]}, expected at most {_MAX_THREADS}, and no more "
                "than a rank has cores"
            )
        if self.precision not in get_args(Precision):
            raise InputError(f"precision: {self.precision!r}, expected single or double")

    @property
    def amplitude_bytes(self) -> int:
        """Bytes of one amplitude of a state."""
        return 8 if self.precision == "single" else 16


def checked_memory(value: object) -> int:
    """Return the memory that a caller grants a rank.

    Raises:
        InputError: If it is no number of bytes, or more than any machine has.
    """
    memory = as_integer(value, "memory", MIN_MEMORY, "bytes (at least 1M)")
    if memory > MAX_MEMORY:
        raise InputError(
            f"memory: 2**{memory.bit_length() - 1} or more, expected at most {MAX_MEMORY} bytes"
        )
    return memory


def check_threads(threads: int, cores: int) -> None:
    """Make sure that a rank can run its threads.

    Args:
        threads: Threads of one simulation.
        cores: The cores that the rank may run on.

    Raises:
        InputError: If they are far too many.
    """
    if threads > _MAX_THREADS_PER_CORE * cores:
        words = "core" if cores == 1 else "cores"
        raise InputError(
            f"threads: {threads}, expected at most {_MAX_THREADS_PER_CORE * cores}: a rank may run "
            f"on {cores} {words}, and more threads than cores make nothing faster"
        )


def round_memory_down(size: int) -> int:
    """Round an amount of memory down to a power of two, or one and a half of one.

    What is free changes from run to run, and what is planned for it should not.
    """
    power = 1 << (max(size, MIN_MEMORY).bit_length() - 1)
    return power + power // 2 if power + power // 2 <= size else power


def as_integer(value: object, name: str, least: int, unit: str = "") -> int:
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


def as_seconds(value: object, name: str, most: float = _MAX_SECONDS) -> float:
    """Return a number of seconds of any real type, or say what was expected.

    Raises:
        InputError: If it is none, is not above 0, or not below ``most``.
    """
    seconds = math.nan
    if not isinstance(value, bool) and isinstance(value, Real):
        with suppress(OverflowError):
            seconds = float(value)
    if 0 < seconds < most:
        return seconds
    raise InputError(f"{name}: {str(value)[:40]!r}, expected a number of seconds above 0")
