"""Showing the progress of a loop, saving its evaluations, and stopping it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

import numpy as np

from hpcq.loop.file import Trajectories, lowest_evaluation
from hpcq.loop.trajectory import Evaluation
from hpcq.parallel.coordinator import Monitor, Progress, StopRequest
from hpcq.parallel.ledger import Ledger
from hpcq.results.result import Result
from hpcq.runs.output import RunOutput
from hpcq.runs.progress import format_duration
from hpcq.runs.progress_lines import ProgressLines
from hpcq.runs.stop_conditions import StopConditions


class LoopMonitor(Monitor):
    """Shows the progress of a loop, saves its evaluations, and stops it.

    Args:
        output: Keeps the evaluations.
        stop_conditions: When to stop.
        trajectories: The evaluations of each start, which the loop adds to.
        partial: Returns the partial result that is saved.
        ledger: Account of the work of the ranks; rank 0 waits for what they evaluate together.
        ranks: Number of ranks.
        stream: Where to show progress; None for nowhere.

    Attributes:
        is_saved: Whether everything was saved, because the loop stops or has failed.
    """

    def __init__(
        self,
        output: RunOutput,
        stop_conditions: StopConditions,
        trajectories: Trajectories,
        partial: Callable[[], Result],
        ledger: Ledger,
        ranks: int,
        stream: TextIO | None,
    ) -> None:
        self.output, self.stop_conditions, self.ledger = output, stop_conditions, ledger
        self._trajectories, self._partial, self._ranks = trajectories, partial, ranks
        self._lines, self.is_saved = ProgressLines(stream), False
        self._began = time.monotonic()
        self._known = self._num_evaluations
        self._evaluation_began, self._last_seconds = self._began, 0.0

    @property
    def deadline(self) -> float | None:
        """None: tasks last a few seconds, so none is held back before the end of the time."""
        return None

    def __call__(self, progress: Progress) -> StopRequest | None:  # noqa: ARG002 (base class)
        """Return a request to stop; called while other ranks evaluate."""
        return self.stop_conditions.stop_request

    def before_evaluation(self) -> None:
        """Stop the loop if it has to, or if there is no time left for another evaluation.

        Raises:
            HpcqError: The loop is stopped; StoppedError if the same command resumes it.
        """
        request, deadline = self.stop_conditions.stop_request, self.stop_conditions.deadline
        if request is not None:
            self.stop(request.reason)
        if deadline is not None and time.monotonic() + self._last_seconds >= deadline:
            self.stop("no evaluation fits into the time that is left")
        self._evaluation_began = time.monotonic()

    def after_evaluation(self, start: int, evaluation: Evaluation) -> None:
        """Show an evaluation, and save all of them, if either is due."""
        self._last_seconds = time.monotonic() - self._evaluation_began
        busy = self.ledger.busy_seconds
        busy[0] = busy.get(0, 0.0) + self._last_seconds
        where = f"start {start}, " if len(self._trajectories) > 1 else ""
        error = f" ± {evaluation.error:.2g}" if evaluation.error else ""
        norm = ""
        if evaluation.gradient is not None:
            norm = f", gradient norm {np.linalg.norm(evaluation.gradient):.3g}"
        count = len(self._trajectories[start])
        self._note(f"{where}evaluation {count}, value {evaluation.value:.9g}{error}{norm}")

    def after_turn(self) -> None:
        """Show the lowest value of all starts, and save all evaluations, if either is due."""
        if self._num_evaluations:
            lowest = lowest_evaluation(self._trajectories).value
            done, starts = self._num_evaluations, len(self._trajectories)
            self._note(f"{done} evaluations of {starts} starts, lowest value {lowest:.9g}")

    def stop(self, reason: str) -> None:
        """Save everything and raise the error that ends the loop.

        Raises:
            HpcqError: Always; StoppedError if the same command resumes the loop.
        """
        self.end_line()
        self.is_saved = True
        count = self._num_evaluations
        saved = self.output.stop(self._partial) if count else "were done, nothing is lost"
        raise self.output.stopped_error(
            f"stopped, because {reason}: {count} evaluation{'s' * (count != 1)} {saved}"
        )

    def save(self) -> None:
        """Save everything after an error; if that fails too, only warn."""
        self.is_saved = True
        self.output.save(self._partial)

    def end_line(self) -> None:
        """End the line of the progress, if it is shown."""
        self._lines.end_line()

    def log(self, line: str) -> None:
        """Print a message on its own line."""
        self._lines.log(line)

    @property
    def _num_evaluations(self) -> int:
        return sum(map(len, self._trajectories))

    def _note(self, line: str) -> None:
        done, seconds = self._num_evaluations, time.monotonic() - self._began
        if self._lines.are_due:
            self._lines.show(f"minimize: {line}, {format_duration(seconds)}")
        status = {
            "phase": "minimize",
            **{"done": done, "total": done, "ranks": self._ranks},
            "rate": round((done - self._known) / max(seconds, 1e-9), 3),
            **{"seconds": round(seconds, 3), "seconds_left": 0.0, "idle": 0.0, "failed": 0},
        }
        self.output.update(status, self._partial)
        self.stop_conditions.note_save_seconds(self.output.save_seconds)
