"""Numbers as text for people."""

from __future__ import annotations

from collections.abc import Iterable


def number_ranges(numbers: Iterable[int], separator: str = ", ") -> str:
    """Return ascending numbers as text, those in a row as a range.

    >>> number_ranges((0, 1, 2, 5, 5, 7, 8))
    '0-2, 5, 5, 7-8'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return separator.join("-".join(map(str, ends)) for ends in ranges)
