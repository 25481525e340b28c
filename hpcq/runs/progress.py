"""The progress monitor: it shows progress, writes checkpoints and stops the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from hpcq.core.files import printable_lines
from hpcq.parallel.coordinator import Monitor, Progress, StopRequest
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.results.result import Result

LINE_SECONDS = 5.0
"""Pause between lines of progress in a log; longer: shorter logs."""

BAR_SECONDS = 0.2
"""Pause between updates of the bar on a terminal."""

_BAR_WIDTH = 24
"""Characters of a full bar."""


class ProgressMonitor(Monitor):
    """Shows the progress of a run's stages, saves results and stops the run.

    Args:
        stop_conditions: When to stop.
        output: Keeps the results; by default nowhere.
        stream: Where to show progress; None for nowhere.

    Attributes:
        phase: The current phase of the run.
        partial: Returns the partial result that a checkpoint saves; None while there is none.
    """

    def __init__(
        self,
        stop_conditions: StopConditions,
        output: RunOutput | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.stop_conditions = stop_conditions
        self.output = output or NoOutput()
        self.phase = ""
        self.partial: Callable[[], Result] | None = None
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._last_shown = time.monotonic()
        self._has_open_line = False

    @property
    def deadline(self) -> float | None:
        """Until when tasks may run, on the clock of ``time.monotonic``; None without a limit."""
        return self.stop_conditions.deadline

    def __call__(self, progress: Progress) -> StopRequest | None:
        """Show progress and write a checkpoint, each if it is time; return a request to stop."""
        self._show(progress)
        self.output.update(self.status(progress), self.partial)
        self.stop_conditions.note_save_seconds(self.output.save_seconds)
        return self.stop_conditions.stop_request

    def begin_phase(self, phase: str, partial: Callable[[], Result] | None = None) -> None:
        """Begin a phase, named by one word, with the partial result to save while it lasts."""
        self.end_line()
        self.phase, self.partial = phase, partial
        self._last_shown = time.monotonic()

    def log(self, line: str) -> None:
        """Print a message on its own line."""
        self.end_line()
        self._write(f"hpcq: {printable_lines(line)}\n")

    def end_line(self) -> None:
        """End the line of the bar, if it is shown."""
        if self._has_open_line:
            self._write("\n")
        self._has_open_line = False

    def _write(self, text: str) -> None:
        """Write to the stream; after an error, such as a closed pipe, never again."""
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def status(self, progress: Progress) -> dict[str, Any]:
        """Return the progress as JSON values, for a status file."""
        done = progress.finished.num_done
        return {
            "phase": self.phase,
            "done": done,
            "total": progress.total,
            "rate": round(progress.rate, 3),
            "seconds": round(progress.seconds, 3),
            "seconds_left": round(progress.seconds_left, 3),
            "idle": round(progress.idle, 4),
            "ranks": progress.ranks,
            "failed": progress.failed,
        }

    def _show(self, progress: Progress) -> None:
        now = time.monotonic()
        pause = BAR_SECONDS if self._is_terminal else LINE_SECONDS
        if self._stream is None or now - self._last_shown < pause:
            return
        self._last_shown = now
        done, total = progress.finished.num_done, progress.total
        failed = f", {progress.failed} failed" if progress.failed else ""
        line = (
            f"{self.phase}: {done}/{total} tasks, {progress.rate:.3g}/s, "
            f"{format_duration(progress.seconds_left)} left, {progress.ranks} ranks, "
            f"{100 * progress.idle:.0f}% idle{failed}"
        )
        if self._is_terminal:
            filled = _BAR_WIDTH * done // max(1, total)
            self._write(f"\r\x1b[K[{'=' * filled:<{_BAR_WIDTH}}] {line}")
            self._has_open_line = True
        else:
            self._write(f"hpcq: {printable_lines(line)}\n")


def format_duration(seconds: float) -> str:
    """Return a duration as text in a unit that suits it, such as ``12 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 1e6:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.3g} days"
