"""The output of a shared run: parts in a folder while jobs work, one file at the end."""

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
from hpcq.planning.kind import Kind
from hpcq.results import check_output, load_fingerprint, load_summary
from hpcq.runs.checkpoint import (
    DEFAULT_CHECKPOINT_SECONDS,
    STATUS_SECONDS,
    Checkpoint,
    shared_folder,
)
from hpcq.runs.shared.blocks import FLUSH_SECONDS, SharedStage
from hpcq.runs.shared.folder import CLAIM_SECONDS, FolderGoneError, SharedFolder

if TYPE_CHECKING:
    from hpcq.results.result import Result

_POLL_SECONDS = 0.2
"""Pause between looks at the folder while another job plans, or writes the result."""

_PLAN, _RUN, _RESULT = "plan", "run", "result"
_INITIAL_STATUS = {
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
    """The output of a shared run, as one of its jobs keeps it.

    Finished tasks go to a folder beside the file. The first job that has all of them writes the
    file and removes the folder.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: Pause between writes for the other jobs, at most ``FLUSH_SECONDS``.
        claim_seconds: Silence after which other jobs take over the tasks of a job.
    """

    is_shared = True

    def __init__(
        self,
        path: Path,
        seconds: float = DEFAULT_CHECKPOINT_SECONDS,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        super().__init__(path, seconds)
        self._flush_seconds = min(seconds, FLUSH_SECONDS)
        self.folder = SharedFolder(shared_folder(path), claim_seconds)
        self._plans_first = False
        self._settings: dict[str, Any] = {}
        self._stages: list[SharedStage] = []
        self._fingerprint: Fingerprint = {}
        self._run_values: dict[str, Any] = {}
        self._last_status = -math.inf
        self.folder.update_member({"slurm_job": os.environ.get("SLURM_JOB_ID")})
        self.write_status(_INITIAL_STATUS, now=True)

    @classmethod
    def open(
        cls,
        path: str | Path,
        seconds: float = DEFAULT_CHECKPOINT_SECONDS,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> SharedCheckpoint:
        """Return the checkpoint of an output file, and join the jobs that share it.

        Raises:
            InputError: If it cannot be written, or exists but hpcq did not write it.
        """
        return cls(check_output(Path(path)), seconds, claim_seconds)

    def load_previous(self, kind: Kind) -> Result | None:
        """Return the result in the file; leave the folder if that is refused."""
        try:
            return super().load_previous(kind)
        except HpcqError:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Leave the folder without a trace."""
        self.folder.withdraw()

    # ------------------------------------------------------------------- one plan for all

    def planned_settings(self, previous: Result | None) -> Mapping[str, Any] | None:
        """Return the configuration that the first job plans with, waiting for it if necessary.

        None if this job is the first; then it publishes its own, see :meth:`publish_settings`.
        """
        if previous is not None:
            return previous.config
        while (known := self.folder.read_values(_PLAN)) is None:
            try:
                if self.folder.claim_or_take_over(_PLAN):
                    self._plans_first = True
                    return None
                self.folder.update_member()
            except OSError:
                if self._is_complete_or_rejoin():
                    return load_summary(self.path).config
            time.sleep(_POLL_SECONDS)
        return known

    def publish_settings(self, config: Mapping[str, Any]) -> None:
        """Tell the other jobs which limits and speeds to plan with, if this job is the first."""
        self._settings = {name: config.get(name) for name in ("memory_bytes", "threads", "speeds")}
        if self._plans_first:
            self._write_settings()

    def _write_settings(self) -> None:
        """Write the settings to the folder, unless they are there."""
        with suppress(OSError):
            if self._settings and self.folder.read_values(_PLAN) is None:
                self.folder.write_values(_PLAN, self._settings)

    def agree_on_run(self, fingerprint: Fingerprint, request: RequestSummary | None = None) -> None:
        """Make sure that all jobs compute the same run: that of the first job to get here.

        Args:
            fingerprint: The fingerprint of this job's run.
            request: What was asked for, so that other jobs can be told how theirs differs.

        Raises:
            InputError: If the first job computes another run.
            FolderGoneError: If the other jobs are done.
        """
        self._fingerprint = dict(fingerprint)
        self._run_values = {"identity": self._fingerprint}
        if request is not None:
            self._run_values["asked"] = request.to_json()
        try:
            first = self._register_run()
            known = first.get("identity")
            if isinstance(known, dict):
                check_same_run(
                    known,
                    fingerprint,
                    "a shared result",
                    RequestSummary.from_json(first.get("asked")),
                    request,
                )
        except InputError:
            self.withdraw()
            raise
        except OSError:
            if self._is_complete_or_rejoin():
                raise FolderGoneError(self.folder.path) from None

    def _register_run(self) -> Mapping[str, Any]:
        """Write this job's run to the folder if it is the first; return the first job's run.

        A claim decides who is the first, because two jobs that begin at once might otherwise
        refuse each other.
        """
        while (known := self.folder.read_values(_RUN)) is None:
            if self.folder.claim_or_take_over(_RUN):
                self.folder.write_values(_RUN, self._run_values)
                return self._run_values
            self.folder.update_member()
            time.sleep(_POLL_SECONDS)
        return known

    def share_stage(self, name: str, tasks: Tasks, finished: FinishedTasks) -> SharedStage:
        """Return a stage of the run, through which its tasks are shared with the other jobs.

        Args:
            name: Name of the stage, the same for every job.
            tasks: All its tasks.
            finished: Results; those of other jobs are added.
        """
        stage = SharedStage(
            self.folder,
            f"{self._run_digest} {name}",
            tasks,
            finished,
            self._flush_seconds,
            self.restore_folder,
        )
        self._stages.append(stage)
        return stage

    def restore_folder(self) -> None:
        """Make the folder again after it was removed, with settings, run and earlier stages.

        Raises:
            FolderGoneError: If another job removed it because all is done.
        """
        if self.is_complete():
            raise FolderGoneError(self.folder.path)
        self.folder.join()
        self._write_settings()
        if self._run_values:
            with suppress(OSError):
                self._register_run()
        for stage in self._stages[:-1]:
            stage.restore(None)

    @property
    def _run_digest(self) -> str:
        """Digest that names this run in file names.

        It keeps two runs apart if the folder is removed and another run makes it again.
        """
        return digest(sorted(self._fingerprint.items()))[:12]

    # ------------------------------------------------------------------------- the output

    @property
    def is_due(self) -> bool:
        """Always False: finished tasks go to the folder, not into the file."""
        return False

    def save(self, result: Result) -> Path:
        """Write the file if the result is complete; return its path."""
        return super().save(result) if result.status == "complete" else self.path

    def finish(self, result: Result) -> None:
        """Write the complete result, or wait until another job has written it."""
        while not self.is_complete():
            try:
                writes = self.folder.claim_or_take_over(f"{_RESULT}.{self._run_digest}")
                self.folder.update_member()
            except FileNotFoundError:
                self.folder.join()  # somebody removed it, and the file too
                continue
            if writes:
                joint = replace(result, provenance={**result.provenance, **self._members()})
                super().finish(joint)
                self.folder.remove()
                return
            time.sleep(_POLL_SECONDS)
        self.folder.close()

    def _members(self) -> dict[str, Any]:
        """Return what every job has computed, for the provenance."""
        keys = ("host", "slurm_job", "tasks", "again", "busy_seconds")
        members = self.folder.members().values()
        return {"members": [{key: _plain(member.get(key)) for key in keys} for member in members]}

    def _is_complete_or_rejoin(self) -> bool:
        """Make the folder again after it was removed; say whether the result is complete."""
        complete = self.is_complete()
        self.folder.join()
        return complete

    def is_complete(self) -> bool:
        """Say whether the file holds a complete result of this run.

        Before :meth:`agree_on_run` any complete result counts.
        """
        if not self.path.exists():
            return False
        with suppress(HpcqError):
            held = load_fingerprint(self.path)
            same_run = all(
                held[key] == value for key, value in self._fingerprint.items() if key in held
            )
            return same_run and load_summary(self.path).status == "complete"
        return False

    def write_status(self, status: Mapping[str, Any], *, now: bool = False) -> None:
        """Write this job's status to its member file, if it is time; this is a heartbeat too."""
        if now or time.monotonic() - self._last_status >= STATUS_SECONDS:
            self._last_status = time.monotonic()
            with suppress(OSError):
                self.folder.update_member({"standing": {**status, **self.origin()}}, now=True)

    def remove_status(self) -> None:
        """Announce that this job ends; its claims are void."""
        self.folder.leave()


def _plain(value: object) -> object:
    """Return a number or a short printable text of another job's member file; None if neither."""
    if isinstance(value, str):
        return printable(value[:200])
    return value if isinstance(value, (int, float)) else None
