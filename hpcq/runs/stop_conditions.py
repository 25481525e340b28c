"""When a run has to stop: signals, a time limit, the end of a SLURM allocation."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hpcq.core.errors import InputError
from hpcq.core.limits import as_seconds
from hpcq.core.system import slurm_seconds_left
from hpcq.parallel.coordinator import StopRequest

DEFAULT_SIGNAL = "SIGUSR1"
_HURRY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GRACE_SECONDS = 6.0
"""How long tasks that are out may take to finish after the signal to stop."""

_MARGIN_SECONDS, _MIN_MARGIN = 10.0, 0.5
"""How long before the end to stop, at most and at least."""


def read_signal(name: str) -> signal.Signals:
    """Return a signal by its name, with or without SIG.

    Raises:
        InputError: If it is none, or one that cannot be caught.
    """
    name = str(getattr(name, "name", name))
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    found = getattr(signal, full, None)
    fatal = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGCHLD", "SIGILL", "SIGFPE", "SIGBUS")
    if not isinstance(found, signal.Signals) or full in fatal:
        raise InputError(
            f"stop_signal: {name[:40]!r}, expected a signal that can be caught, such as USR1"
        )
    return found


class StopConditions:
    """Watches for signs that a run has to stop, while its context lasts.

    SIGTERM, SIGINT and SIGHUP mean at once, the stop signal that a few seconds are left for tasks
    that are out; a second SIGINT interrupts. No task begins that is not likely to end before the
    time is over, less what it takes to save.

    Args:
        seconds: Time limit; None for none.
        stop_signal: Name of the signal that asks to stop.
        environment: Where SLURM says when the allocation ends, or which it is.
        since: When the time limit began to count, on the clock of ``time.monotonic``.
        asks: Whether to look for the end of the allocation; only rank 0 needs to know.

    Raises:
        InputError: If the limit is no number above 0, or there is no such signal.
    """

    def __init__(
        self,
        seconds: float | None = None,
        stop_signal: str = DEFAULT_SIGNAL,
        environment: Mapping[str, str] = os.environ,
        *,
        since: float | None = None,
        asks: bool = True,
    ) -> None:
        self._signal = read_signal(stop_signal)
        self._stop: StopRequest | None = None
        self._interrupted = False
        self._before: dict[signal.Signals, Any] = {}
        self._save_seconds = 0.0
        self.give_up: Callable[[str], None] | None = None
        now = time.monotonic()
        ends = []
        if seconds is not None:
            limit = as_seconds(seconds, "time_limit")
            end = (now if since is None else since) + limit
            margin = min(_MARGIN_SECONDS, max(_MIN_MARGIN, limit / 10))
            ends.append((end - margin, f"the time limit of {limit:g} s"))
        left = slurm_seconds_left(environment) if asks else None
        if left is not None:
            ends.append((now + left - _MARGIN_SECONDS, "the end of the SLURM allocation"))
        self._end, self._why = min(ends, default=(float("inf"), ""))

    def __enter__(self) -> StopConditions:
        if threading.current_thread() is threading.main_thread():
            for own in dict.fromkeys((*_HURRY, self._signal)):
                if own != signal.SIGHUP or signal.getsignal(own) != signal.SIG_IGN:
                    self._before[own] = signal.signal(own, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for own, handler in self._before.items():
            signal.signal(own, handler)
        self._before.clear()

    @contextmanager
    def giving_up(self, give_up: Callable[[str], None]) -> Iterator[None]:
        """While the context lasts there is nothing to save: a signal ends the run by a call."""
        self.give_up = give_up
        try:
            yield
        finally:
            self.give_up = None

    @property
    def deadline(self) -> float | None:
        """Until when tasks may run, on the clock of ``time.monotonic``; None for ever."""
        return None if self._end == float("inf") else self._end - 2 * self._save_seconds

    @property
    def stop(self) -> StopRequest | None:
        """The order to stop, if there is a reason to."""
        deadline = self.deadline
        if self._stop is None and deadline is not None and time.monotonic() >= deadline:
            return StopRequest(f"{self._why} is near", deadline)
        return self._stop

    def saving_takes(self, seconds: float) -> None:
        """Note how long it takes to save."""
        self._save_seconds = max(self._save_seconds, seconds)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        own = signal.Signals(number)
        reason = f"{own.name} was received"
        if self.give_up is not None:
            self.give_up(reason)
        if own == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
        until = time.monotonic() + (0.0 if own in _HURRY else _GRACE_SECONDS)
        if self._stop is None or until < self._stop.until:
            self._stop = StopRequest(reason, until)
