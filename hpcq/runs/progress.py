"""The progress monitor: it shows progress, writes checkpoints and stops the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from hpcq.parallel.coordinator import Monitor, Progress, StopRequest
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.progress_lines import ProgressLines
from hpcq.runs.stop_conditions import StopConditions

if TYPE_CHECKING:
    from hpcq.results.result import Result

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
        self._lines = ProgressLines(stream)

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
        self._lines.wait()

    def log(self, line: str) -> None:
        """Print a message on its own line."""
        self._lines.log(line)

    def end_line(self) -> None:
        """End the line of the bar, if it is shown."""
        self._lines.end_line()

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
        if not self._lines.are_due:
            return
        done, total = progress.finished.num_done, progress.total
        failed = f", {progress.failed} failed" if progress.failed else ""
        line = (
            f"{self.phase}: {done}/{total} tasks, {progress.rate:.3g}/s, "
            f"{format_duration(progress.seconds_left)} left, {progress.ranks} ranks, "
            f"{100 * progress.idle:.0f}% idle{failed}"
        )
        filled = _BAR_WIDTH * done // max(1, total)
        self._lines.show(line, f"[{'=' * filled:<{_BAR_WIDTH}}] ")


def format_duration(seconds: float) -> str:
    """Return a duration as text in a unit that suits it, such as ``12 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    if seconds < 1e6:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.3g} days"
