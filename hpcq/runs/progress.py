"""Looking on while a farm works: lines of progress, checkpoints, and orders to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from hpcq.core.files import printable_lines
from hpcq.parallel.coordinator import Progress, StopRequest
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.results.result import Result
    from hpcq.runs.checkpoint import Checkpoint

_LINE_SECONDS = 5.0
_BAR_SECONDS = 0.2
_BAR = 24


class ProgressMonitor:
    """Watches the runs of a farm for one command.

    Args:
        signs: Signs that it has to stop.
        checkpoint: Keeps the output; None if there is none.
        stream: Where progress is shown; None for nowhere.
    """

    def __init__(
        self,
        signs: StopConditions,
        checkpoint: Checkpoint | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.signs = signs
        self.checkpoint = checkpoint
        self.phase = ""
        self.partial: Callable[[], Result] | None = None
        self._stream = stream
        self._terminal = stream is not None and stream.isatty()
        self._last = time.monotonic()
        self._shown = False

    @property
    def deadline(self) -> float | None:
        """Until when tasks may run."""
        return self.signs.deadline

    def __call__(self, standing: Progress) -> StopRequest | None:
        """Look."""
        self._show(standing)
        if self.checkpoint is not None:
            self.checkpoint.tell(self.status(standing))
            if self.partial is not None and self.checkpoint.due:
                self.checkpoint.try_to_save(self.partial)
                self.signs.saving_takes(self.checkpoint.took)
        return self.signs.stop

    def begin(self, phase: str, partial: Callable[[], Result] | None = None) -> None:
        """Begin a phase of the run.

        Args:
            phase: What is being done, in a word.
            partial: Makes the result that is saved while it goes on.
        """
        self.end_line()
        self.phase, self.partial = phase, partial
        self._last = time.monotonic()

    def say(self, line: str) -> None:
        """Say something in a line of its own."""
        self.end_line()
        self._write(f"hpcq: {printable_lines(line)}\n")

    def end_line(self) -> None:
        """End the line of a bar."""
        if self._shown:
            self._write("\n")
        self._shown = False

    def _write(self, text: str) -> None:
        """Write, as long as anybody listens."""
        try:
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def status(self, standing: Progress) -> dict[str, Any]:
        """Return how a run stands, as plain values."""
        done = standing.finished.num_done
        return {
            "phase": self.phase,
            "done": done,
            "total": standing.total,
            "rate": round(standing.rate, 3),
            "seconds": round(standing.seconds, 3),
            "seconds_left": round(standing.seconds_left, 3),
            "idle": round(standing.idle, 4),
            "ranks": standing.ranks,
            "failed": standing.failed,
        }

    def _show(self, standing: Progress) -> None:
        now = time.monotonic()
        wait = _BAR_SECONDS if self._terminal else _LINE_SECONDS
        if self._stream is None or now - self._last < wait:
            return
        self._last = now
        done, total = standing.finished.num_done, standing.total
        failed = f", {standing.failed} failed" if standing.failed else ""
        line = (
            f"{self.phase}: {done}/{total} tasks, {standing.rate:.3g}/s, "
            f"{duration(standing.seconds_left)} left, {standing.ranks} ranks, "
            f"{100 * standing.idle:.0f}% idle{failed}"
        )
        if self._terminal:
            filled = _BAR * done // max(1, total)
            self._write(f"\r\x1b[K[{'=' * filled:<{_BAR}}] {line}")
            self._shown = True
        else:
            self._write(f"hpcq: {printable_lines(line)}\n")


def duration(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 1e6:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.3g} days"
