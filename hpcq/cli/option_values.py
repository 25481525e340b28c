"""What the values of options may be; every complaint says what was expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from hpcq.core.system import parse_duration


def some_text(text: str) -> str:
    """Return a text that is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty (an unset shell variable?)")
    return text


def whole(least: int, most: int, shown: str) -> Callable[[str], int]:
    """Return the reader of a whole number between two limits."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from {shown}")
        return value

    return read


positive = whole(1, 1_000_000, "1 to 1000000")
shots = whole(1, 10**13, "1 to 10^13")
seed = whole(0, (1 << 63) - 1, "0 to 2^63 - 1")


def seconds(text: str) -> float:
    """Return a number of seconds greater than 0."""
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no number of seconds between 0 and a million"
        )
    return value


def duration(text: str) -> float:
    """Return the seconds of a time as SLURM writes it, or of a number."""
    value = parse_duration(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no time, expected seconds or [D-]HH:MM:SS"
        )
    return value


def target_error(text: str) -> float:
    """Return a standard error greater than 0."""
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}, expected a standard error between 0 and a million"
        )
    return value


def precision(text: str) -> str | float:
    """Return what ``--precision`` may be: ``single``, ``double``, or a standard error."""
    if text in ("single", "double"):
        return text
    value = _number(text)
    if value is None:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}, expected single, double, or a standard error between 0 and a million"
        )
    return value


def _number(text: str) -> float | None:
    """Return a number greater than 0 and less than a million; None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None
