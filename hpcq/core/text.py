"""Numbers and names as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


_MAX_NAMES = 5
"""Maximum number of names that a message lists; others are counted, so that it stays one line."""


def some_names(names: Sequence[str]) -> str:
    """Return the first names of a list in quotes, and how many more there are.

    >>> some_names(["a", "b"])
    "'a', 'b'"
    """
    shown = ", ".join(repr(name)[:60] for name in names[:_MAX_NAMES])
    more = len(names) - _MAX_NAMES
    return shown + (f" and {more} more" if more > 0 else "")
