"""When a run has to stop: signals, a time limit, the end of a SLURM allocation."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from hpcq.errors import InputError
from hpcq.farm.conduct import Stop
from hpcq.machine import slurm_seconds_left

USUAL_SIGNAL = "SIGUSR1"
_HURRY = (signal.SIGTERM, signal.SIGINT)
_GRACE_SECONDS = 6.0
"""How long tasks that are out may take to finish after the signal to stop."""

_HURRY_SECONDS = 2.0
_MARGIN_SECONDS = 10.0


def read_signal(name: str) -> signal.Signals:
    """Return a signal by its name, with or without SIG.

    Raises:
        InputError: If it is none, or one that cannot be caught.
    """
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    found = getattr(signal, full, None)
    fatal = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGCHLD", "SIGILL", "SIGFPE", "SIGBUS")
    if not isinstance(found, signal.Signals) or full in fatal:
        raise InputError(
            f"stop_signal: {name[:40]!r}, expected a signal that can be caught, such as USR1"
        )
    return found


class StopSigns:
    """Watches for signs that a run has to stop, while its context lasts.

    SIGTERM and SIGINT mean at once, the stop signal that a few seconds are left for tasks that are
    out; a second SIGINT interrupts. No task begins that is not likely to end before the time is
    over, less what it takes to save.

    Args:
        seconds: Time limit from now on; None for none.
        stop_signal: Name of the signal that asks to stop.
        environment: Where SLURM says when the allocation ends, or which it is.
        asks: Whether to look for that end; only rank 0 needs to know.
    """

    def __init__(
        self,
        seconds: float | None = None,
        stop_signal: str = USUAL_SIGNAL,
        environment: Mapping[str, str] = os.environ,
        *,
        asks: bool = True,
    ) -> None:
        self._signal = read_signal(stop_signal)
        self._stop: Stop | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._save_seconds = 0.0
        now = time.monotonic()
        ends = [] if seconds is None else [(now + seconds, f"the time limit of {seconds:g} s")]
        left = slurm_seconds_left(environment) if asks else None
        if left is not None:
            ends.append((now + left, "the end of the SLURM allocation"))
        self._end, self._why = min(ends, default=(float("inf"), ""))

    def __enter__(self) -> StopSigns:
        if threading.current_thread() is threading.main_thread():
            for own in dict.fromkeys((*_HURRY, self._signal)):
                self._before[own] = signal.signal(own, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for own, handler in self._before.items():
            signal.signal(own, handler)
        self._before.clear()

    @property
    def deadline(self) -> float | None:
        """Until when tasks may run, on the clock of ``time.monotonic``; None for ever."""
        if self._end == float("inf"):
            return None
        return self._end - _MARGIN_SECONDS - 2 * self._save_seconds

    @property
    def stop(self) -> Stop | None:
        """The order to stop, if there is a reason to."""
        deadline = self.deadline
        if self._stop is None and deadline is not None and time.monotonic() >= deadline:
            return Stop(f"{self._why} is near", deadline)
        return self._stop

    def saving_takes(self, seconds: float) -> None:
        """Note how long it takes to save."""
        self._save_seconds = max(self._save_seconds, seconds)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        own = signal.Signals(number)
        if own == signal.SIGINT and self._stop is not None:
            raise KeyboardInterrupt
        seconds = _HURRY_SECONDS if own in _HURRY else _GRACE_SECONDS
        until = time.monotonic() + seconds
        if self._stop is None or until < self._stop.until:
            self._stop = Stop(f"{own.name} was received", until)
