"""Limits of one rank (memory, threads, precision), and checks of numbers that users give."""

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

DTYPES: dict[str, Precision] = {"complex128": "double", "complex64": "single"}
"""What NumPy calls an amplitude of each precision."""

MIN_MEMORY, MAX_MEMORY = 1 << 20, 1 << 60
"""Range of a memory limit in bytes: 1 MiB, a few small states, to 1 EiB, beyond any machine."""

COMPLEX_BYTES = 16
"""Bytes of one complex128 number."""

SHARE_OF_MEMORY = 0.8
"""Share of the free memory that a rank takes where no limit is given; the rest is for the
libraries and for other processes."""

_MAX_THREADS = 4096
"""Largest number of threads in a plan: more than the cores of any node today."""

_MAX_SECONDS = 1e9
"""Upper bound on times that users give, in seconds (30 years); anything larger is a mistake."""

_MAX_THREADS_PER_CORE = 4
"""Largest number of threads per core in a run: a few too many slow it down, thousands cannot be
started."""


@dataclass(frozen=True)
class Limits:
    """Limits on the resources of one rank.

    Attributes:
        memory_bytes: Memory of the rank, without that of the libraries.
        threads: Threads of one simulation.
        precision: ``double`` (16 bytes per amplitude) or ``single`` (8 bytes).
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
        """Bytes per amplitude of a statevector."""
        return 8 if self.precision == "single" else 16


def precision_of(dtype: object) -> Precision:
    """Return the precision of complex128 or complex64; an InputError names any other dtype."""
    if str(dtype) not in DTYPES:
        raise InputError(f"dtype: {str(dtype)[:40]!r}, expected complex128 or complex64")
    return DTYPES[str(dtype)]


def checked_memory(value: object) -> int:
    """Return the memory limit of a rank in bytes, checked.

    Raises:
        InputError: It is not a number of bytes, less than 1 MiB or more than any machine has.
    """
    memory = as_integer(value, "memory", MIN_MEMORY, "bytes (at least 1M)")
    if memory > MAX_MEMORY:
        raise InputError(
            f"memory: 2**{memory.bit_length() - 1} or more, expected at most {MAX_MEMORY} bytes"
        )
    return memory


def check_threads(threads: int, cores: int) -> None:
    """Raise an InputError if a simulation has far more threads than a rank has cores."""
    if threads > _MAX_THREADS_PER_CORE * cores:
        noun = "core" if cores == 1 else "cores"
        raise InputError(
            f"threads: {threads}, expected at most {_MAX_THREADS_PER_CORE * cores}: a rank may run "
            f"on {cores} {noun}, and more threads than cores do not speed it up"
        )


def round_memory_down(size: int) -> int:
    """Round a number of bytes down to a power of two, or to one and a half times a power of two.

    The free memory changes from run to run, and plans should not change with it.
    """
    power = 1 << (max(size, MIN_MEMORY).bit_length() - 1)
    return power + power // 2 if power + power // 2 <= size else power


def as_integer(value: object, name: str, minimum: int, unit: str = "") -> int:
    """Return a whole number of any type as an int.

    Raises:
        InputError: The value is not a whole number, or less than ``minimum``.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
        if number < minimum:
            raise TypeError
    except TypeError:
        expected = f"a whole number of {unit}" if unit else f"a whole number of at least {minimum}"
        raise InputError(f"{name}: {str(value)[:40]!r}, expected {expected}") from None
    return number


def as_seconds(value: object, name: str, maximum: float = _MAX_SECONDS) -> float:
    """Return a number of seconds of any real type as a float.

    Raises:
        InputError: The value is not a number, not above 0, or not below ``maximum``.
    """
    seconds = math.nan
    if not isinstance(value, bool) and isinstance(value, Real):
        with suppress(OverflowError):
            seconds = float(value)
    if 0 < seconds < maximum:
        return seconds
    raise InputError(f"{name}: {str(value)[:40]!r}, expected a number of seconds above 0")
