"""The output of a run that several jobs share: parts while they work, one file at the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable
from hpcq.core.strict_json import digest
from hpcq.core.system import launched_size
from hpcq.parallel.tasks import FinishedTasks, Tasks
from hpcq.planning.fingerprint import Fingerprint, RequestSummary, check_same_run
from hpcq.results import check_output, fingerprint_in, load_summary
from hpcq.runs.checkpoint import DEFAULT_SECONDS, STATUS_SECONDS, Checkpoint, shared_folder
from hpcq.runs.shared.blocks import FLUSH_SECONDS, SharedStage
from hpcq.runs.shared.folder import CLAIM_SECONDS, FolderGoneError, SharedFolder

if TYPE_CHECKING:
    from hpcq.results.result import Result

_POLL_SECONDS = 0.2
_PLAN, _RUN, _RESULT = "plan", "run", "result"
_BEGINNING = {
    "phase": "plan",
    "done": 0,
    "total": 0,
    "rate": 0.0,
    "seconds_left": 0.0,
    "idle": 0.0,
    "ranks": launched_size(),
    "failed": 0,
}


class SharedCheckpoint(Checkpoint):
    """Keeps the output of one of several jobs that share a run.

    What is done goes to a folder beside the file. The first that has all of it writes the file,
    and removes the folder.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: How often to write for the others.
        claim_seconds: How long a job may be silent before others take over its tasks.
    """

    shared = True

    def __init__(
        self, path: Path, seconds: float = DEFAULT_SECONDS, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        super().__init__(path, seconds)
        self._flush_seconds = min(seconds, FLUSH_SECONDS)
        self.folder = SharedFolder(shared_folder(path), claim_seconds)
        self._plans = False
        self._planned: dict[str, Any] = {}
        self._stages: list[SharedStage] = []
        self._identity: Fingerprint = {}
        self._told_run: dict[str, Any] = {}
        self._told = -math.inf
        self.folder.tell({"slurm_job": os.environ.get("SLURM_JOB_ID")})
        self.tell(_BEGINNING, now=True)

    @classmethod
    def of(
        cls,
        path: str | Path,
        seconds: float = DEFAULT_SECONDS,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> SharedCheckpoint:
        """Return the checkpoint of a file; see :meth:`hpcq.runs.checkpoint.Checkpoint.of`."""
        return cls(check_output(Path(path)), seconds, claim_seconds)

    def found(self, mode: str) -> Result | None:
        """Return what the file holds already."""
        try:
            return super().found(mode)
        except HpcqError:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Leave as if this job had never been there."""
        self.folder.withdraw()

    # ------------------------------------------------------------------- one plan for all

    def settings(self, previous: Result | None) -> Mapping[str, Any] | None:
        """Return what the others plan with, also if they are about to begin; None if none do."""
        if previous is not None:
            return previous.config
        while (known := self.folder.recall(_PLAN)) is None:
            try:
                if self.folder.take(_PLAN):
                    self._plans = True
                    return None
                self.folder.tell()
            except OSError:
                if self._is_over():
                    return load_summary(self.path).config
            time.sleep(_POLL_SECONDS)
        return known

    def settle(self, config: Mapping[str, Any]) -> None:
        """Say what to plan with, if this job is the first."""
        self._planned = {name: config.get(name) for name in ("memory_bytes", "threads", "speeds")}
        if self._plans:
            self._tell_plan()

    def _tell_plan(self) -> None:
        """Say to jobs that come later what to plan with, unless somebody has."""
        with suppress(OSError):
            if self._planned and self.folder.recall(_PLAN) is None:
                self.folder.remember(_PLAN, self._planned)

    def agree(self, fingerprint: Fingerprint, asked: RequestSummary | None = None) -> None:
        """Make sure that all jobs are at work on the same run: that of the first to say so.

        Args:
            fingerprint: What it is known by.
            asked: What it was asked for, to say how others differ.

        Raises:
            InputError: If the first was at work on another.
            FolderGoneError: If the others are done.
        """
        self._identity = dict(fingerprint)
        self._told_run = {"identity": self._identity}
        if asked is not None:
            self._told_run["asked"] = asked.to_json()
        try:
            first = self._tell_run()
            known = first.get("identity")
            if isinstance(known, dict):
                check_same_run(
                    known,
                    fingerprint,
                    "a shared result",
                    RequestSummary.from_json(first.get("asked")),
                    asked,
                )
        except InputError:
            self.withdraw()
            raise
        except OSError:
            if self._is_over():
                raise FolderGoneError(self.folder.path) from None

    def _tell_run(self) -> Mapping[str, Any]:
        """Say what this job is at work on, unless somebody has; return what the first said.

        Only one job can be the first, or two that begin at once might refuse each other.
        """
        while (known := self.folder.recall(_RUN)) is None:
            if self.folder.take(_RUN):
                self.folder.remember(_RUN, self._told_run)
                return self._told_run
            self.folder.tell()
            time.sleep(_POLL_SECONDS)
        return known

    def partner(self, stage: str, tasks: Tasks, finished: FinishedTasks) -> SharedStage:
        """Return who shares the tasks of a stage with the others."""
        name = f"{self._run} {stage}"
        own = SharedStage(self.folder, name, tasks, finished, self._flush_seconds, self.renew)
        self._stages.append(own)
        return own

    def renew(self) -> None:
        """Make the folder anew after somebody removed it, with the plan and the earlier stages.

        Raises:
            FolderGoneError: If the others removed it, because all is done.
        """
        if self.is_complete():
            raise FolderGoneError(self.folder.path)
        self.folder.join()
        self._tell_plan()
        if self._told_run:
            with suppress(OSError):
                self._tell_run()
        for stage in self._stages[:-1]:
            stage.restore(None)

    @property
    def _run(self) -> str:
        """What all names in the folder hold that are for this run alone.

        If somebody removes the folder and another run makes it anew, nothing of the two mixes.
        """
        return digest(sorted(self._identity.items()))[:12]

    # ------------------------------------------------------------------------- the output

    @property
    def due(self) -> bool:
        """Never: what is done is written for the others, not into the file."""
        return False

    def save(self, result: Result) -> Path:
        """Write the file, if it is whole."""
        return super().save(result) if result.status == "complete" else self.path

    def finish(self, result: Result) -> None:
        """Write the whole result, or wait until another job has."""
        while not self.is_complete():
            try:
                mine = self.folder.take(f"{_RESULT}.{self._run}")
                self.folder.tell()
            except FileNotFoundError:
                self.folder.join()  # it is gone, and the file too
                continue
            if mine:
                whole = replace(result, provenance={**result.provenance, **self._members()})
                super().finish(whole)
                self.folder.remove()
                return
            time.sleep(_POLL_SECONDS)
        self.folder.close()

    def _members(self) -> dict[str, Any]:
        """Return what every job has done."""
        kept = ("host", "slurm_job", "tasks", "again", "busy_seconds")
        members = self.folder.members().values()
        return {"members": [{name: _plain(own.get(name)) for name in kept} for own in members]}

    def _is_over(self) -> bool:
        """After the folder was found gone: say whether the others are done; if not, begin anew."""
        over = self.is_complete()
        self.folder.join()
        return over

    def is_complete(self) -> bool:
        """Say whether the file holds a whole result, as far as is known yet that of this run."""
        if not self.path.exists():
            return False
        with suppress(HpcqError):
            held = fingerprint_in(self.path)
            same = all(held[key] == own for key, own in self._identity.items() if key in held)
            return same and load_summary(self.path).status == "complete"
        return False

    def tell(self, status: Mapping[str, Any], *, now: bool = False) -> None:
        """Say how this job stands, which is a sign of life too."""
        if now or time.monotonic() - self._told >= STATUS_SECONDS:
            self._told = time.monotonic()
            with suppress(OSError):
                self.folder.tell({"standing": {**status, **self.origin()}}, now=True)

    def forget_status(self) -> None:
        """Give up what is claimed and not done."""
        self.folder.leave()


def _plain(value: object) -> object:
    """Return what another job said of itself, if it is a number or a short text."""
    if isinstance(value, str):
        return printable(value[:200])
    return value if isinstance(value, (int, float)) else None
