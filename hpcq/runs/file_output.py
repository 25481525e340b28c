"""The output file of a run: saved from time to time, and never in place of another run's file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable_path
from hpcq.core.system import write_stderr
from hpcq.parallel.task_source import TaskSource
from hpcq.parallel.tasks import Tasks
from hpcq.planning.kind import Kind
from hpcq.planning.kind_registry import find_kind
from hpcq.results import load, load_summary, read_seal, rewrite
from hpcq.results.result import Result
from hpcq.runs.output import RunOutput
from hpcq.runs.status import STATUS_SECONDS, status_file, write_status

DEFAULT_CHECKPOINT_SECONDS = 60.0
"""Pause between checkpoints; longer: less time spent saving, but more lost if a run is killed."""

_MIN_PAUSE_FACTOR = 50.0
"""Minimum pause between checkpoints, in multiples of the last write time: at most 2 % overhead."""


class FileOutput(RunOutput):
    """The output file of one run, which the run resumes from and saves to.

    If another run has changed the file in the meantime, its file is kept, and this run continues
    with a new file beside it.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: Pause between checkpoints.

    Attributes:
        path: The file that is written; a new one after another run has changed it.
    """

    def __init__(self, path: Path, seconds: float = DEFAULT_CHECKPOINT_SECONDS) -> None:
        self.path = self._requested_path = path
        self.previous: Result | None = None
        self.save_seconds = 0.0
        self._seconds = seconds
        self._last_save, self._last_status = time.monotonic(), -math.inf
        self._progress = (0, 0)  # stages so far, and finished tasks of the last one
        self._saved_progress: tuple[int, int] | None = self._progress
        self._must_save = False
        self._seal = read_seal(path)

    def load_previous(self, kind: Kind) -> Result | None:
        """Read and return the result in the file, which the run resumes; None without a file."""
        self.check_kind(kind)
        self.previous = load(self.path) if self.path.exists() else None
        return self.previous

    def check_kind(self, kind: Kind) -> None:
        """Make sure that the file holds nothing, or a result of the same kind of run.

        Raises:
            InputError: If it holds a result of another kind, which the run would replace.
        """
        if not self.path.exists():
            return
        held = load_summary(self.path).config.get("mode", "exact")
        if held != kind.name:
            held_kind = find_kind(held)
            contents = f"a result of kind {held}" if held_kind is None else held_kind.contents
            raise InputError(
                f"output: {printable_path(self.path)!r} holds {contents}, which {kind.title} "
                "would replace; expected another file"
            )

    def planned_settings(self) -> Mapping[str, Any] | None:
        """Return the configuration of the earlier start."""
        return None if self.previous is None else self.previous.config

    def stage(self, name: str, tasks: Tasks) -> TaskSource:
        """Return a set of tasks, with the results that the file already holds."""
        source = super().stage(name, tasks)
        is_first = self._progress[0] == 0
        self._progress = (self._progress[0] + 1, source.finished.num_done)
        if is_first:  # the file holds these tasks; with none of them, there is nothing to save
            self._saved_progress = self._progress
        return source

    def update(self, status: Mapping[str, Any], partial: Callable[[], Result] | None) -> None:
        """Write the status file and the partial result, each if it is time.

        The partial result is written only if it would hold tasks that the file does not, or after
        :meth:`save_soon`. A write without news on a slow disk would put off the next one, which has
        some, by many times its duration.
        """
        self._progress = (self._progress[0], status["done"])
        now = time.monotonic()
        if now - self._last_status >= STATUS_SECONDS:
            self._last_status = now
            write_status(self.path, status)
        pause = max(self._seconds, _MIN_PAUSE_FACTOR * self.save_seconds)
        is_due = self._progress != self._saved_progress and now - self._last_save >= pause
        if partial is not None and (is_due or self._must_save):
            self._must_save = False  # before the content is made, as any thread may ask again
            self.save(partial)

    def save(self, partial: Callable[[], Result]) -> None:
        """Write a partial result; if that fails, print a warning and continue."""
        try:
            self._write(partial())
        except HpcqError as error:
            self._last_save, self._saved_progress = time.monotonic(), None
            write_stderr(f"hpcq: warning: not saved: {' '.join(str(error).split())}")

    def save_soon(self) -> None:
        """Have the next update save, whenever the last one was and whatever is finished."""
        self._must_save = True

    def stop(self, partial: Callable[[], Result]) -> str:
        """Write the partial result; return where it is, and how to resume the run."""
        self._write(partial())
        self._remove_status()
        path = printable_path(self.path)
        option = "" if self.path == self._requested_path else f" with --output {path}"
        return f"are saved in {path}; run the same command again{option} to resume"

    def finish(self, result: Result) -> list[Path]:
        """Write the complete result, unless it was there before."""
        if result is not self.previous:
            try:
                self._write(result)
            finally:
                self._remove_status()
        return [self.path]

    def close(self) -> None:
        """Remove the status file, if this run has written it."""
        if self._last_status > -math.inf:
            self._remove_status()

    def _remove_status(self) -> None:
        with suppress(OSError):
            status_file(self.path).unlink()

    def _write(self, result: Result) -> None:
        """Write the file, or a new one if another run has changed it.

        Raises:
            NotWrittenError: If it cannot be written; the old file is kept.
        """
        start = time.monotonic()
        if os.path.lexists(self.path) and read_seal(self.path) != self._seal:
            candidates = (
                self.path.with_name(f"{self.path.stem}.{n}{self.path.suffix}")
                for n in range(1, 10**6)
            )
            other = next(path for path in candidates if not os.path.lexists(path))
            write_stderr(
                f"hpcq: another run has changed {printable_path(self.path)}, which is kept; this "
                f"run continues with --output {printable_path(other)}"
            )
            self.path = other
        # Not read back from the file, which another run may have changed in the meantime.
        self._seal = rewrite(result, self.path)
        self._last_save, self._saved_progress = time.monotonic(), self._progress
        self.save_seconds = self._last_save - start
