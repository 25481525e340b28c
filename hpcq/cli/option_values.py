"""Parsers of options' values; every error says what was expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hpcq.core.system import parse_duration


def nonempty_text(text: str) -> str:
    """Return the text, which must not be empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty, expected text (is a shell variable unset?)")
    return text


def integer(min_value: int, max_value: int, shown: str) -> Callable[[str], int]:
    """Return a parser of integers between two limits, both included."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = min_value - 1
        if not min_value <= value <= max_value:
            raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected a whole number from {shown}")
        return value

    return read


positive = integer(1, 1_000_000, "1 to 1000000")
shots = integer(1, 10**13, "1 to 10^13")
seed = integer(0, (1 << 63) - 1, "0 to 2^63 - 1")


def seconds(text: str) -> float:
    """Return a number of seconds between 0 and a million."""
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}, expected a number of seconds between 0 and a million"
        )
    return value


def duration(text: str) -> float:
    """Return the seconds of a number, or of a time in SLURM's format."""
    value = parse_duration(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected seconds or [D-]HH:MM:SS")
    return value


def target_error(text: str) -> float:
    """Return a standard error between 0 and a million."""
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}, expected a standard error between 0 and a million"
        )
    return value


def precision(text: str) -> str | float:
    """Return a value of the old ``--precision``: ``single``, ``double``, or a standard error."""
    if text in ("single", "double"):
        return text
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}, expected single, double, or a standard error between 0 and a million"
        )
    return value


def _number(text: str) -> float | None:
    """Return a number between 0 and a million, both excluded; None if the text is not one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
