"""Parsers of options' values; every error says what was expected."""

from __future__ import annotations

import argparse
import math
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


def number(expected: str) -> Callable[[str], float]:
    """Return a parser of numbers between 0 and a million, both excluded."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 1e6:
            raise argparse.ArgumentTypeError(
                f"{text[:40]!r}, expected {expected} between 0 and a million"
            )
        return value

    return read


seconds = number("a number of seconds")
target_error = number("a standard error")
error_tolerance = number("a relative error")
tolerance = number("a tolerance")
_target_error_or_word = number("single, double, or a standard error")


def duration(text: str) -> float:
    """Return the seconds of a number, or of a time in SLURM's format."""
    value = parse_duration(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected seconds or [D-]HH:MM:SS")
    return value


def parameter(text: str) -> str:
    """Return the text of a parameter and its value, such as ``theta=0.3``, checked."""
    name, equals, value = text.rpartition("=")
    try:
        is_finite = math.isfinite(float(value))
    except ValueError:
        is_finite = False
    if not (equals and name.strip() and is_finite):
        raise argparse.ArgumentTypeError(f"{text[:60]!r}, expected NAME=VALUE with a finite number")
    return text


def qubits(text: str) -> str:
    """Return the text of numbers of qubits, such as ``3`` or ``0,3``, checked."""
    if not all(word.isascii() and word.isdigit() and len(word) < 7 for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected numbers of qubits")
    return text


def precision(text: str) -> str | float:
    """Return a value of the old ``--precision``: ``single``, ``double``, or a standard error."""
    return text if text in ("single", "double") else _target_error_or_word(text)
