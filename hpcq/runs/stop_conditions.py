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
from hpcq.runs import stop_signals
from hpcq.runs.stop_signals import STOP_AT_ONCE

DEFAULT_SIGNAL = "SIGUSR1"

_MARGIN_SECONDS, _MIN_MARGIN = 10.0, 0.5
"""Seconds before the end of the time at which to stop, at most and at least; a tenth of a time
limit between these. Larger: a save that takes long is more likely to end in time."""


def read_signal(name: str) -> signal.Signals:
    """Return a signal by its name, with or without SIG.

    Raises:
        InputError: If there is no such signal, or it cannot be caught.
    """
    name = str(getattr(name, "name", name))
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    number = getattr(signal, full, None)
    fatal = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGCHLD", "SIGILL", "SIGFPE", "SIGBUS")
    if not isinstance(number, signal.Signals) or full in fatal:
        raise InputError(
            f"stop_signal: {name[:40]!r}, expected a signal that can be caught, such as USR1"
        )
    return number


class StopConditions:
    """Context manager that catches signals and watches the time for a reason to stop a run.

    SIGTERM, SIGINT and SIGHUP stop the run at once; the stop signal leaves a few seconds to leased
    tasks; a second SIGINT raises KeyboardInterrupt. The deadline leaves time to save: no task
    begins that is predicted to end after it.

    Args:
        seconds: Time limit; None without one.
        stop_signal: Name of the signal that stops the run.
        environment: Variables in which SLURM gives the end of the allocation, or its job ID.
        since: When the time limit began to count, on the clock of ``time.monotonic``.
        check_allocation: Whether to look for the end of the allocation; only rank 0 has to.

    Attributes:
        abort: Called with the reason when a signal arrives; see :meth:`before_start`.

    Raises:
        InputError: If the limit is not a number above 0, or there is no such signal.
    """

    def __init__(
        self,
        seconds: float | None = None,
        stop_signal: str = DEFAULT_SIGNAL,
        environment: Mapping[str, str] = os.environ,
        *,
        since: float | None = None,
        check_allocation: bool = True,
    ) -> None:
        self._signal = read_signal(stop_signal)
        self._request: StopRequest | None = None
        self._earlier = stop_signals.last_request()
        self._interrupted = False
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._save_seconds = 0.0
        self.abort: Callable[[str], None] | None = None
        now = time.monotonic()
        ends = []
        if seconds is not None:
            limit = as_seconds(seconds, "time_limit")
            end = (now if since is None else since) + limit
            margin = min(_MARGIN_SECONDS, max(_MIN_MARGIN, limit / 10))
            ends.append((end - margin, f"the time limit of {limit:g} s"))
        remaining = slurm_seconds_left(environment) if check_allocation else None
        if remaining is not None:
            ends.append((now + remaining - _MARGIN_SECONDS, "the end of the SLURM allocation"))
        self._end, self._end_reason = min(ends, default=(float("inf"), ""))

    def __enter__(self) -> StopConditions:
        # Python allows signal handlers only in the main thread.
        if threading.current_thread() is threading.main_thread():
            for number in dict.fromkeys((*STOP_AT_ONCE, self._signal)):
                # nohup sets SIGHUP to be ignored, and that stays so.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._previous_handlers.clear()

    @contextmanager
    def before_start(self, abort: Callable[[str], None]) -> Iterator[None]:
        """Call a function when a signal arrives within the context: there is nothing to save yet.

        Its argument is the reason.
        """
        self.abort = abort
        try:
            yield
        finally:
            self.abort = None

    @property
    def deadline(self) -> float | None:
        """Until when tasks may run, on the clock of ``time.monotonic``; None without a limit."""
        return None if self._end == float("inf") else self._end - 2 * self._save_seconds

    @property
    def stop_request(self) -> StopRequest | None:
        """The request to stop, with its reason and time; None while there is none."""
        deadline = self.deadline
        if self._request is None and deadline is not None and time.monotonic() >= deadline:
            return StopRequest(f"{self._end_reason} is near", deadline)
        of_script = stop_signals.last_request()
        if self._request is None and of_script is not self._earlier:
            return of_script  # the run is not in the main thread, which receives the signals
        return self._request

    def note_save_seconds(self, seconds: float) -> None:
        """Note how long a save took, so that the deadline leaves time for another."""
        self._save_seconds = max(self._save_seconds, seconds)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        request = stop_signals.request_by(number)
        if self.abort is not None:
            self.abort(request.reason)
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
        if self._request is None or request.until < self._request.until:
            self._request = request
        outer = self._previous_handlers.get(signal.Signals(number))
        if callable(outer) and getattr(outer, "__func__", None) is StopConditions._on_signal:
            outer(number, frame)  # a run within a loop, which has to stop too
        stop_signals.stop_script(request)  # if the run has ended before it can stop
