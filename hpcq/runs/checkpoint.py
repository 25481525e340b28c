"""The output of a run: written now and then while it goes on, and never over another run's."""

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
from hpcq.parallel.worker import here
from hpcq.planning.fingerprint import RequestSummary

if TYPE_CHECKING:
    from hpcq.results.result import Result

DEFAULT_SECONDS = 60.0
_SHARE = 50.0
"""How many times longer than it took to write a file, it is until the next time, at least."""

STATUS_SECONDS = 2.0
"""How often a run says how it stands."""

_NUMBER = (int, float)
_STATUS: dict[str, Any] = {
    **{"phase": str, "done": int, "total": int, "rate": _NUMBER, "seconds_left": _NUMBER},
    **{"ranks": int, "idle": _NUMBER, "failed": int, "time": float, "host": str, "pid": int},
}
"""What every status says, and of what type."""

_MAX_TEXT, _MAX_NUMBER = 200, 10**15


class Checkpoint:
    """Keeps one run's output file up to date.

    The file is what the run found, or what it wrote last. If it is neither, another run has been
    at work on it meanwhile: it is left alone, and this one goes on beside it.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: How often to write it while the run goes on.
    """

    shared = False
    """Whether other jobs are at work on the same result."""

    def __init__(self, path: Path, seconds: float = DEFAULT_SECONDS) -> None:
        from hpcq.results import seal_of

        self.path = self.begun = path
        self.took = 0.0
        self._seconds = seconds
        self._last, self._told = time.monotonic(), -math.inf
        self._seal = seal_of(path)

    @classmethod
    def of(cls, path: str | Path, seconds: float = DEFAULT_SECONDS) -> Checkpoint:
        """Return the checkpoint of a file.

        Raises:
            InputError: If it cannot be written, or something is there that hpcq did not write.
        """
        from hpcq.results import check_output

        place = check_output(Path(path))
        if shared_folder(place).is_dir():
            raise InputError(
                f"output: {printable_path(place)!r} is shared by several jobs, which keep "
                f"{shared_folder(place).name!r}; expected --shared, or another file"
            )
        return cls(place, seconds)

    def found(self, mode: str) -> Result | None:
        """Return what the file holds already, if a run may go on from it.

        Args:
            mode: ``exact`` or ``shots``.

        Raises:
            InputError: If it holds what must not be lost.
        """
        from hpcq.results import load

        self.check(mode)
        return load(self.path) if self.path.exists() else None

    def check(self, mode: str) -> None:
        """Make sure that the file may be replaced by a run that goes on from it.

        Args:
            mode: ``exact`` or ``shots``.

        Raises:
            InputError: If it holds what must not be lost.
        """
        from hpcq.results import load_summary

        if not self.path.exists():
            return
        held = load_summary(self.path).config.get("mode", "exact")
        if held != mode:
            words = {"exact": "an exact result", "shots": "shots"}
            wish = {"exact": "an exact run", "shots": "shots"}
            raise InputError(
                f"output: {printable_path(self.path)!r} holds {words[held]}, which {wish[mode]} "
                "would replace; expected another file"
            )

    def settings(self, previous: Result | None) -> Mapping[str, Any] | None:
        """Return what an earlier start, or another job, planned with; None if there was none."""
        return None if previous is None else previous.config

    def settle(self, config: Mapping[str, Any]) -> None:
        """Hear what is planned with."""

    def agree(self, fingerprint: Mapping[str, str], asked: RequestSummary | None = None) -> None:
        """Hear which run it is."""

    def withdraw(self) -> None:
        """Leave nothing of a run that does not begin."""

    @property
    def due(self) -> bool:
        """Whether it is time to write: then, or when that has taken 2 percent of the time."""
        wait = max(self._seconds, _SHARE * self.took)
        return time.monotonic() - self._last >= wait

    def save(self, result: Result) -> Path:
        """Write the file, and return where to."""
        from hpcq.results import rewrite, seal_of

        begun = time.monotonic()
        if os.path.lexists(self.path) and seal_of(self.path) != self._seal:
            beside = (
                self.path.with_name(f"{self.path.stem}.{n}{self.path.suffix}")
                for n in range(1, 10**6)
            )
            other = next(own for own in beside if not os.path.lexists(own))
            write_stderr(
                f"hpcq: {printable_path(self.path)} was changed by another run meanwhile and is "
                f"kept; this one goes on with --output {printable_path(other)}"
            )
            self.path = other
        rewrite(result, self.path)
        self._seal = seal_of(self.path)
        self._last = time.monotonic()
        self.took = self._last - begun
        return self.path

    def finish(self, result: Result) -> None:
        """Write the whole result; see :meth:`save`."""
        try:
            self.save(result)
        finally:
            self.forget_status()

    def try_to_save(self, make: Callable[[], Result]) -> None:
        """Write the file while the run goes on; if that fails, say so and go on."""
        try:
            self.save(make())
        except HpcqError as error:
            self._last = time.monotonic()
            write_stderr(f"hpcq: warning: not saved: {' '.join(str(error).split())}")

    # -------------------------------------------------------------- the status beside it

    def tell(self, status: Mapping[str, Any], *, now: bool = False) -> None:
        """Write beside the file how the run stands, every few seconds."""
        if not now and time.monotonic() - self._told < STATUS_SECONDS:
            return
        self._told = time.monotonic()
        place = status_file(self.path)
        content = {**status, **self.origin()}
        with suppress(OSError):
            write_sidecar(place, json.dumps(content).encode())

    @staticmethod
    def origin() -> dict[str, Any]:
        """Return who says so, and when."""
        return {
            "time": time.time(),
            "host": here(),
            "pid": os.getpid(),
            "ranks_started": launched_size(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
        }

    def forget_status(self) -> None:
        """Remove what was written beside the file."""
        with suppress(OSError):
            status_file(self.path).unlink()


def shared_folder(path: Path) -> Path:
    """Return the folder beside an output in which several jobs keep what they have done."""
    return path.with_name(f"{path.name}.parts")


def status_file(path: Path) -> Path:
    """Return the file beside an output that says how the run stands."""
    return path.with_name(f".{path.name}.status")


def read_status(path: Path) -> dict[str, Any] | None:
    """Read how the run that writes a file stands; None if nothing says so."""
    try:
        return checked_status(json.loads(read_sidecar(status_file(path))))
    except (OSError, ValueError, RecursionError):
        return None


def checked_status(told: object) -> dict[str, Any] | None:
    """Return what a run said of itself, whoever it was; None if that is no status.

    What is not known of a run is left out, and no text does anything to a terminal.
    """
    if not isinstance(told, dict):
        return None
    plain: dict[str, Any] = {}
    for name, value in told.items():
        if isinstance(value, str):
            plain[printable(name)] = printable(value[:_MAX_TEXT])
        elif value is None or isinstance(value, float) or _is_number(value):
            plain[printable(name)] = value
    good = all(isinstance(plain.get(name), kind) for name, kind in _STATUS.items())
    return plain if good and plain["pid"] > 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _MAX_NUMBER


def summary_of_request(result: Result | None) -> RequestSummary | None:
    """Return what a result was asked for."""
    return None if result is None else RequestSummary(result.names, result.config)
