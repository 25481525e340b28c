"""Signals that stop a script by an exception in its main thread, outside the calls of hpcq.

A script that runs under ``hpcq exec`` is told to stop by :class:`hpcq.core.errors.StoppedError`. It
is raised at the next instruction of the script, or at the end of the call of hpcq that is being
made, so that no message between ranks is left half sent. A run stops early and saves; see
:class:`hpcq.runs.stop_conditions.StopConditions`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hpcq.core.errors import StoppedError
from hpcq.parallel.coordinator import StopRequest

STOP_AT_ONCE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals after which tasks get no time to finish."""

_SCRIPT_SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop a script; SIGINT raises KeyboardInterrupt there, as in any script."""

_GRACE_SECONDS = 6.0
"""How long leased tasks may still take after the stop signal.

Larger: fewer tasks have to be computed again. Smaller: more of the time left is for saving.
"""


_SCRIPT_MARGIN = 20.0
"""Seconds before the end of the time at which a script is told to stop, unless a signal did before.
Larger: more time to save; smaller: less of the allocation goes unused."""


class _Script:
    """What is known of the script of this process.

    Attributes:
        is_running: Whether there is one.
        process: Its process.
        is_at_end: Whether its time is nearly over.
        last: The last request to stop it; None before the first.
        is_pending: Whether that is yet to be raised.
        depth: Number of calls of hpcq, one within the other, that the main thread is making.
    """

    is_running = False
    process = 0
    is_at_end = False
    last: StopRequest | None = None
    is_pending = False
    depth = 0


_script = _Script()


def request_by(number: int) -> StopRequest:
    """Return the request of a signal that was received now."""
    received = signal.Signals(number)
    grace = 0.0 if received in STOP_AT_ONCE else _GRACE_SECONDS
    reason = f"{received.name} was received"
    if _script.is_running and _script.is_at_end:
        reason = "the end of the allocation is near"
    return StopRequest(reason, time.monotonic() + grace)


@contextmanager
def stopping_script(seconds_left: float | None = None) -> Iterator[None]:
    """Run a script within the context, on the main thread: signals raise StoppedError in it.

    So does the end of its time, if the seconds that are left are known.
    """
    previous = {}
    for number in _SCRIPT_SIGNALS:
        # nohup sets SIGHUP to be ignored, and that stays so.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, _on_signal)
    _script.is_running, _script.process, _script.is_at_end = True, os.getpid(), False
    _script.last, _script.is_pending, _script.depth = None, False, 0
    timer = None
    if seconds_left is not None:
        timer = threading.Timer(max(0.0, seconds_left - _SCRIPT_MARGIN), _end_script)
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        _script.is_running = False
        if timer is not None:
            timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def is_script_running() -> bool:
    """Whether this process runs a script that is stopped by an exception."""
    return _script.is_running


def last_request() -> StopRequest | None:
    """Return the last request to stop the script; None if there was none."""
    return _script.last if _script.is_running else None


def stop_script(request: StopRequest) -> None:
    """Have the script stop when the call of hpcq that is being made has ended."""
    if _script.is_running:
        _script.last, _script.is_pending = request, True


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep the exception that stops the script until the end of the context.

    Only the main thread is interrupted by signals, so that others need not be protected.

    Raises:
        StoppedError: At the end, if the script is to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _script.depth += 1
    try:
        yield
    except StoppedError:
        _script.is_pending = False  # this tells the script
        raise
    finally:
        _script.depth -= 1
        if not _script.depth:
            _raise_pending()


def _on_signal(number: int, _frame: FrameType | None) -> None:
    if os.getpid() != _script.process:  # one that the script has forked ends as any other does
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    stop_script(request_by(number))
    if not _script.depth:
        _raise_pending()


def _end_script() -> None:
    """Tell a script that has not been told otherwise that its time is nearly over."""
    if _script.is_running and _script.last is None:
        _script.is_at_end = True
        main = threading.main_thread().ident
        assert main is not None, "it runs"
        signal.pthread_kill(main, signal.SIGUSR1)  # which also ends a system call that waits


def _raise_pending() -> None:
    if _script.is_pending and _script.is_running and _script.last is not None:
        _script.is_pending = False
        raise StoppedError(f"stopped, because {_script.last.reason}")
