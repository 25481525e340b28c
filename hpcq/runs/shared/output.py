"""The output of a shared run: parts in a folder while jobs work, one file at the end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcq.core.errors import HpcqError, InputError
from hpcq.core.files import printable, printable_path
from hpcq.core.strict_json import digest
from hpcq.core.system import launched_size
from hpcq.parallel.tasks import Tasks
from hpcq.planning.fingerprint import Fingerprint, RequestSummary, check_same_run
from hpcq.planning.kind import Kind
from hpcq.results import load, load_fingerprint, load_summary
from hpcq.results.result import Result
from hpcq.runs.file_output import DEFAULT_CHECKPOINT_SECONDS, FileOutput
from hpcq.runs.output import FinishedElsewhereError, RunOutput, finished_before
from hpcq.runs.shared.blocks import FLUSH_SECONDS, SharedStage
from hpcq.runs.shared.folder import DEFAULT_CLAIM_SECONDS, SharedFolder
from hpcq.runs.status import STATUS_SECONDS, shared_folder, status_origin

_POLL_SECONDS = 0.2
"""Pause between looks at the folder while another job plans, or writes the result."""

_PLAN, _RUN, _RESULT = "plan", "run", "result"
_INITIAL_STATUS = {
    **{"phase": "plan", "done": 0, "total": 0, "rate": 0.0, "seconds_left": 0.0, "idle": 0.0},
    **{"ranks": launched_size(), "failed": 0},
}


class SharedOutput(RunOutput):
    """The output of a shared run, as one of its jobs sees it.

    Finished tasks go to a folder beside the file. The first job that has all of them writes the
    file and removes the folder.

    Args:
        path: The file, as :func:`hpcq.results.check_output` returned it.
        seconds: Pause between writes for the other jobs, at most ``FLUSH_SECONDS``.
        claim_seconds: Silence after which other jobs take over the tasks of a job.
    """

    may_add_shots = False

    def __init__(
        self,
        path: Path,
        seconds: float = DEFAULT_CHECKPOINT_SECONDS,
        claim_seconds: float = DEFAULT_CLAIM_SECONDS,
    ) -> None:
        self.previous: Result | None = None
        self._file = FileOutput(path)
        self._flush_seconds = min(seconds, FLUSH_SECONDS)
        self.folder = SharedFolder(shared_folder(path), claim_seconds)
        self._plans_first = False
        self._settings: dict[str, Any] = {}
        self._stages: list[SharedStage] = []
        self._fingerprint: Fingerprint = {}
        self._run_values: dict[str, Any] = {}
        self._last_status = -math.inf
        self.folder.update_member({"slurm_job": os.environ.get("SLURM_JOB_ID")})
        self.update(_INITIAL_STATUS, None)

    def load_previous(self, kind: Kind) -> Result | None:
        """Read and return the result in the file; leave the folder if that is refused."""
        try:
            self.previous = self._file.load_previous(kind)
        except HpcqError:
            self.close()
            raise
        return self.previous

    # ------------------------------------------------------------------- one plan for all

    def planned_settings(self) -> Mapping[str, Any] | None:
        """Return the configuration that the first job plans with, waiting for it if necessary.

        None if this job is the first; then it publishes its own, see :meth:`publish_settings`.
        """
        if self.previous is not None:
            return self.previous.config
        while (known := self.folder.read_values(_PLAN)) is None:
            try:
                if self.folder.claim_or_take_over(_PLAN):
                    self._plans_first = True
                    return None
                self.folder.update_member()
            except OSError:
                if self.is_complete():
                    return load_summary(self._file.path).config
                self.folder.join()
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
        """Make sure that all jobs compute the same run: that of the first job to get here."""
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
            self.close()
            raise
        except OSError:
            try:
                self._rejoin()
            except FinishedElsewhereError:
                self.folder.join()  # the run is prepared once more, with that result
                raise

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

    def stage(self, name: str, tasks: Tasks) -> SharedStage:
        """Return the tasks, with the results in the file; the jobs' go through the folder."""
        stage = SharedStage(
            self.folder,
            f"{self._run_digest} {name}",
            tasks,
            finished_before(self.previous, name, tasks),
            self._flush_seconds,
            self._restore_folder,
        )
        self._stages.append(stage)
        return stage

    def _restore_folder(self) -> None:
        """Rejoin, and write settings, run and earlier stages again."""
        self._rejoin()
        self._write_settings()
        if self._run_values:
            with suppress(OSError):
                self._register_run()
        for stage in self._stages[:-1]:
            stage.restore(None)

    def _rejoin(self) -> None:
        """Make the folder again after it was removed.

        Raises:
            FinishedElsewhereError: If another job removed it because all is done.
        """
        if self.is_complete():
            self.previous = load(self._file.path)
            raise FinishedElsewhereError
        self.folder.join()

    @property
    def _run_digest(self) -> str:
        """Digest that names this run in file names.

        It keeps two runs apart if the folder is removed and another run makes it again.
        """
        return digest(sorted(self._fingerprint.items()))[:12]

    # ------------------------------------------------------------------------- the output

    def update(
        self,
        status: Mapping[str, Any],
        partial: Callable[[], Result] | None,  # noqa: ARG002 (the folder has the finished tasks)
    ) -> None:
        """Write this job's status to its member file, if it is time; this is a heartbeat too."""
        if time.monotonic() - self._last_status >= STATUS_SECONDS:
            self._last_status = time.monotonic()
            with suppress(OSError):
                self.folder.update_member({"standing": {**status, **status_origin()}}, now=True)

    def stop(self, partial: Callable[[], Result]) -> str:  # noqa: ARG002 (as in update)
        """Return where the finished tasks are: the stage has saved them when it ended."""
        self.close()
        path = printable_path(self.folder.path)
        return f"are saved in {path}; run the same command again to resume"

    def close(self) -> None:
        """Announce that this job ends; leave no trace of a job that has not begun."""
        if self._stages:
            self.folder.leave()
        else:
            self.folder.withdraw(all_done=False)

    def finish(self, result: Result) -> list[Path]:
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
                try:
                    self._file.finish(joint)
                finally:
                    self.close()
                self.folder.remove()
                break
            time.sleep(_POLL_SECONDS)
        else:
            self.folder.withdraw(all_done=True)
        return [self._file.path]

    def _members(self) -> dict[str, Any]:
        """Return the number and time of the tasks of every job, for the provenance."""
        keys = ("host", "slurm_job", "tasks", "again", "busy_seconds")
        members = self.folder.members().values()
        return {"members": [{key: _plain(member.get(key)) for key in keys} for member in members]}

    def is_complete(self) -> bool:
        """Say whether the file holds a complete result of this run.

        Before :meth:`agree_on_run` any complete result counts.
        """
        if not self._file.path.exists():
            return False
        with suppress(HpcqError):
            held = load_fingerprint(self._file.path)
            same_run = all(
                held[key] == value for key, value in self._fingerprint.items() if key in held
            )
            return same_run and load_summary(self._file.path).status == "complete"
        return False


def _plain(value: object) -> object:
    """Return a number or a short printable text of another job's member file; None if neither."""
    if isinstance(value, str):
        return printable(value[:200])
    return value if isinstance(value, (int, float)) else None
