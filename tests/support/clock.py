"""A clock that tests turn, instead of sleeping until something is over."""

from __future__ import annotations


class Clock:
    """Stands in for the module ``time`` in the module that a test is about.

    Attributes:
        now: Its time in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        """Return its time."""
        return self.now

    def turn(self, seconds: float) -> None:
        """Let seconds pass."""
        self.now += seconds
