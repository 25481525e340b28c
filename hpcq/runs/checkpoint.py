"""The output file of a run: saved from time to time, and never over the file of another run."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable, printable_path, read_sidecar, write_sidecar
from hpcq.core.system import launched_size, write_stderr
from hpcq.parallel.worker import hostname
from hpcq.planning.fingerprint import RequestSummary
from hpcq.planning.kind import Kind
from hpcq.planning.kind_registry import find_kind

if TYPE_CHECKING:
    from hpcq.results.result import Result

DEFAULT_CHECKPOINT_SECONDS = 60.0
"""Pause between checkpoints; longer: less time spent saving, but more lost if a run is killed."""

_MIN_PAUSE_FACTOR = 50.0
"""Minimum pause between checkpoints, in multiples of the last write time: at most 2 % overhead."""

STATUS_SECONDS = 2.0
"""Pause between writes of the status file; shorter: more load on the file system."""

_NUMBER = (int, float)
_STATUS_TYPES: dict[str, Any] = {
    **{"phase": str, "done": int, "total": int, "rate": _NUMBER, "seconds_left": _NUMBER},
    **{"ranks": int, "idle": _NUMBER, "failed": int, "time": float, "host": str, "pid": int},
}
"""Keys of every status, and the types of their values."""

_MAX_TEXT, _MAX_NUMBER = 200, 10**15
"""Longest text and largest integer that are accepted from a status, which anybody may write."""


class Checkpoint:
    """The output file of one run, which the run resumes from and saves to.

    If another run has changed the file in the meantime, its file is kept, and this run continues
    with a new file beside it.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: Pause between saves.

    Attributes:
        path: The file that is written.
        requested_path: The file that was asked for; differs once another run has changed it.
        save_seconds: Duration of the last save.
    """

    is_shared = False
    """Whether other jobs compute the same result."""

    def __init__(self, path: Path, seconds: float = DEFAULT_CHECKPOINT_SECONDS) -> None:
        from hpcq.results import read_seal

        self.path = self.requested_path = path
        self.save_seconds = 0.0
        self._seconds = seconds
        self._last_save, self._last_status = time.monotonic(), -math.inf
        self._seal = read_seal(path)

    @classmethod
    def open(cls, path: str | Path, seconds: float = DEFAULT_CHECKPOINT_SECONDS) -> Checkpoint:
        """Return the checkpoint of an output file, which need not exist yet.

        Raises:
            InputError: If it cannot be written, exists but hpcq did not write it, or is shared.
        """
        from hpcq.results import check_output

        output = check_output(Path(path))
        if shared_folder(output).is_dir():
            raise InputError(
                f"output: {printable_path(output)!r} is shared by several jobs, which keep "
                f"{shared_folder(output).name!r}; expected --shared, or another file"
            )
        return cls(output, seconds)

    def load_previous(self, kind: Kind) -> Result | None:
        """Return the result in the file, which the run resumes; None if there is no file.

        Args:
            kind: The kind of the run.

        Raises:
            InputError: If the result is of another kind.
        """
        from hpcq.results import load

        self.check_kind(kind)
        return load(self.path) if self.path.exists() else None

    def check_kind(self, kind: Kind) -> None:
        """Make sure that the file holds nothing, or a result of the same kind of run.

        Raises:
            InputError: If it holds a result of another kind, which the run would replace.
        """
        from hpcq.results import load_summary

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

    def planned_settings(self, previous: Result | None) -> Mapping[str, Any] | None:
        """Return the configuration of an earlier start or another job, to plan with; or None.

        Args:
            previous: Result of the earlier starts, as :meth:`load_previous` returned it.
        """
        return None if previous is None else previous.config

    def publish_settings(self, config: Mapping[str, Any]) -> None:
        """Tell the jobs that share the output which configuration to plan with."""

    def agree_on_run(
        self, fingerprint: Mapping[str, str], request: RequestSummary | None = None
    ) -> None:
        """Make sure that all jobs that share the output compute the same run."""

    def withdraw(self) -> None:
        """Remove what a run that does not begin has left for the jobs that share the output."""

    @property
    def is_due(self) -> bool:
        """Whether it is time to save."""
        pause = max(self._seconds, _MIN_PAUSE_FACTOR * self.save_seconds)
        return time.monotonic() - self._last_save >= pause

    def save(self, result: Result) -> Path:
        """Write the file, or a new one if another run has changed it; return its path.

        Raises:
            NotWrittenError: If it cannot be written; the old file is kept.
        """
        from hpcq.results import read_seal, rewrite

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
        self._last_save = time.monotonic()
        self.save_seconds = self._last_save - start
        return self.path

    def finish(self, result: Result) -> None:
        """Save the complete result and remove the status file; see :meth:`save`."""
        try:
            self.save(result)
        finally:
            self.remove_status()

    def try_to_save(self, partial: Callable[[], Result]) -> None:
        """Save a partial result; if that fails, print a warning and continue."""
        try:
            self.save(partial())
        except HpcqError as error:
            self._last_save = time.monotonic()
            write_stderr(f"hpcq: warning: not saved: {' '.join(str(error).split())}")

    # ----------------------------------------------------------------- the status file

    def write_status(self, status: Mapping[str, Any], *, now: bool = False) -> None:
        """Write the status file, if it is time; errors are ignored.

        Args:
            status: The status, as JSON values.
            now: Whether to write even if the last status is recent.
        """
        if not now and time.monotonic() - self._last_status < STATUS_SECONDS:
            return
        self._last_status = time.monotonic()
        content = {**status, **self.origin()}
        with suppress(OSError):
            write_sidecar(status_file(self.path), json.dumps(content).encode())

    @staticmethod
    def origin() -> dict[str, Any]:
        """Return the time and the process that a status comes from."""
        return {
            "time": time.time(),
            "host": hostname(),
            "pid": os.getpid(),
            "ranks_started": launched_size(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
        }

    def remove_status(self) -> None:
        """Remove the status file."""
        with suppress(OSError):
            status_file(self.path).unlink()


def shared_folder(path: Path) -> Path:
    """Return the folder beside an output in which jobs that share it keep their results."""
    return path.with_name(f"{path.name}.parts")


def status_file(path: Path) -> Path:
    """Return the status file beside an output."""
    return path.with_name(f".{path.name}.status")


def read_status(path: Path) -> dict[str, Any] | None:
    """Return the status of the run that writes an output; None if there is no valid one."""
    try:
        return check_status(json.loads(read_sidecar(status_file(path))))
    except (OSError, ValueError, RecursionError):
        return None


def check_status(content: object) -> dict[str, Any] | None:
    """Return the content of a status file, which anybody may write; None if it is not a status.

    Values of other types than text and number are left out, long texts are cut off, and characters
    that a terminal would act on are replaced.
    """
    if not isinstance(content, dict):
        return None
    plain: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, str):
            plain[printable(name)] = printable(value[:_MAX_TEXT])
        elif value is None or isinstance(value, float) or _is_number(value):
            plain[printable(name)] = value
    is_valid = all(isinstance(plain.get(name), kind) for name, kind in _STATUS_TYPES.items())
    return plain if is_valid and plain["pid"] > 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _MAX_NUMBER


def request_summary(result: Result | None) -> RequestSummary | None:
    """Return a summary of the request that a result answers; None without a result."""
    return None if result is None else RequestSummary(result.names, result.config)
