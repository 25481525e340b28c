"""The tasks of a stage, divided into blocks, of which each job claims some."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError, NotWrittenError
from hpcq.core.files import printable_path
from hpcq.core.strict_json import digest
from hpcq.core.system import write_stderr
from hpcq.parallel.task_source import TaskSource
from hpcq.parallel.tasks import FinishedTasks, Numbers, Seconds, TaskResults, Tasks
from hpcq.runs.shared.folder import SharedFolder
from hpcq.runs.shared.result_files import read_part, write_part

if TYPE_CHECKING:
    from hpcq.parallel.scheduler import Scheduler

FLUSH_SECONDS = 30.0
"""Pause between writes of results for the other jobs; longer: more work lost with a killed job."""

_BLOCK_SECONDS = 5.0
"""Predicted duration of a block; longer: fewer claims, shorter: less work lost with a job."""

_MAX_BLOCKS, _MIN_BLOCKS = 4096, 64
"""Bounds of the number of blocks; more: more claim files, fewer: less to share among many jobs."""

_AHEAD_SECONDS = 1.0
"""Predicted seconds of tasks that a job has claimed and not begun, at least, so that its ranks do
not wait for a claim. More: less to share with the other jobs."""

_SYNC_SECONDS = 1.0
"""Minimum pause between reads of the other jobs' results and claims."""

_MIN_PAUSE_FACTOR = 20.0
"""Minimum pause between such reads, in multiples of the last one's duration: at most 5 % of the
time."""

_ESTIMATE_SECONDS = 5.0
"""Age in seconds at which the estimate of the remaining cost is computed again."""

_WARN_SECONDS = 30.0
"""Pause between warnings, so that a file system that fails does not flood the log."""

_PART_BYTES = 1 << 26
"""Bytes of results in each part that is written again; larger: fewer files, more memory."""


class SharedStage(TaskSource):
    """One stage of a run, such as its simulations, shared with other jobs.

    Every job divides the tasks into the same blocks. A job claims the next free block whenever it
    is about to run out of work; when none is free, blocks of jobs that are dead or have left.

    Args:
        folder: The shared folder.
        stage: The stage's name, the same for every job.
        tasks: All its tasks.
        finished: Results; those of other jobs are added.
        flush_seconds: Pause between writes of this job's results.
        restore_folder: Makes the folder again after it was removed; raises FinishedElsewhereError
            if another job removed it because all is done.
    """

    def __init__(
        self,
        folder: SharedFolder,
        stage: str,
        tasks: Tasks,
        finished: FinishedTasks,
        flush_seconds: float,
        restore_folder: Callable[[], None],
    ) -> None:
        self.tasks, self.finished = tasks, finished
        self._folder = folder
        self._restore_folder = restore_folder
        self._flush_seconds = flush_seconds
        starts = block_starts(tasks.costs, tasks.affinity)
        self._blocks = list(
            zip(starts.tolist(), [*starts[1:].tolist(), len(tasks.costs)], strict=True)
        )
        self._part_prefix = f"part.{digest([stage, len(tasks.costs)])[:12]}."
        self._claim_prefix = f"{digest([stage, starts.tolist()])[:12]}."
        means = np.array([float(tasks.costs[slice(*block)].mean()) for block in self._blocks])
        self._unfinished_blocks = np.argsort(-means, kind="stable").tolist()  # longest tasks first
        self._read_parts: set[str] = set()
        self._is_saved = np.zeros(len(tasks.costs), dtype=bool)
        self._jobs_with_damaged_parts: set[str] = set()
        self._unsaved: list[TaskResults] = []
        self._claimed_blocks: set[int] = set()
        self._parts_written = 0
        self._next_sync, self._has_more = -float("inf"), True
        self._estimated, self._missing_cost = -float("inf"), 0.0
        self._flushed = time.monotonic()
        self._warned = -float("inf")

    def begin(self, scheduler: Scheduler) -> None:
        """Read what there is, and claim the first blocks."""
        self.exchange(scheduler, stopping=False)

    def note(self, batch: TaskResults, new: Numbers) -> None:
        """Keep results of this job for the next write."""
        repeated = len(batch.tasks) - len(new)
        self._folder.count_tasks(len(new), repeated, float(batch.seconds.sum()))
        if len(new):
            self._unsaved.append(batch.select(np.isin(batch.tasks, new)) if repeated else batch)

    def exchange(self, scheduler: Scheduler, *, stopping: bool) -> bool:
        """Exchange results with the other jobs, and claim blocks if this job runs short of tasks.

        Raises:
            FinishedElsewhereError: If the other jobs are done.
        """
        runs_short = scheduler.waiting_seconds < _AHEAD_SECONDS
        now = time.monotonic()
        if now < self._next_sync and not (runs_short and self._has_more):
            return False
        try:
            with self._restored(scheduler):
                self._folder.update_member()
                if self._unsaved and (runs_short or now - self._flushed >= self._flush_seconds):
                    self.flush()
                self._read_new_parts(scheduler)
                self._has_more = not stopping and self._claim_blocks(scheduler)
        except (OSError, HpcqError) as error:
            self._warn(error)  # and continue alone for now
        seconds = time.monotonic() - now
        self._next_sync = now + max(_SYNC_SECONDS, _MIN_PAUSE_FACTOR * seconds)
        return self._has_more

    def seconds_left(self, scheduler: Scheduler) -> float:
        """Estimate how many seconds the jobs together need for the unfinished tasks."""
        now = time.monotonic()
        if now - self._estimated > _ESTIMATE_SECONDS:
            self._estimated = now
            names = self._folder.members()
            jobs = max(1, sum(self._folder.is_alive(name) for name in names))
            self._missing_cost = float(self.tasks.costs[~self.finished.done].sum()) / jobs
        return scheduler.pace * self._missing_cost / max(1, len(scheduler.workers))

    def end(self, *, complete: bool) -> None:
        """Write the results that the others do not have; only a warning if that fails at the end.

        Raises:
            FinishedElsewhereError: If the other jobs are done.
            NotWrittenError: If this job stops and its results cannot be written.
        """
        try:
            with self._restored(None):
                self.flush()
                if not complete:
                    self._read_new_parts(None)
        except (OSError, HpcqError) as error:
            if not complete:
                reason = " ".join(str(error).split())
                raise NotWrittenError(f"shared: not all that is done is saved: {reason}") from None
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned >= _WARN_SECONDS:
            self._warned = time.monotonic()
            reason = " ".join(str(error).split()).removeprefix("shared: ")
            write_stderr(f"hpcq: warning: shared: {reason}; tried again")

    # ------------------------------------------------------ folders and parts that vanished

    @contextmanager
    def _restored(self, scheduler: Scheduler | None) -> Iterator[None]:
        """If the folder is gone, make it again, with this job's claims and all that it has.

        Raises:
            FinishedElsewhereError: If it is gone because the other jobs are done.
        """
        try:
            yield
            return
        except (OSError, NotWrittenError):
            if self._folder.path.is_dir():
                raise
        self._restore_folder()
        name = printable_path(self._folder.path)
        write_stderr(f"hpcq: {name} was removed; it is made again with all that this job has")
        for block in self._claimed_blocks:
            if len(self._unfinished_tasks(block)):
                self._folder.claim(f"{self._claim_prefix}{block}")
        self.restore(scheduler)

    def restore(self, scheduler: Scheduler | None) -> None:
        """Write all results that this job has and no part holds any more, whoever computed them.

        Without a scheduler this job is done with the stage.
        """
        self._read_parts.clear()
        self._is_saved[:] = False
        self._read_new_parts(scheduler)
        batches: list[TaskResults] = []
        for batch in self.finished.batches:
            lost = ~self._is_saved[batch.tasks]
            if lost.any():
                batches.append(batch.select(lost))
            if sum(lost_batch.data.nbytes for lost_batch in batches) > _PART_BYTES:
                self._write(batches)
        self._write(batches)
        self._unsaved = [batch for batch in self._unsaved if not self._is_saved[batch.tasks].all()]

    def flush(self) -> None:
        """Write this job's results for the other jobs."""
        if self._unsaved:
            self._folder.update_member(now=True)
            self._write(self._unsaved)
        self._flushed = time.monotonic()

    def _write(self, batches: list[TaskResults]) -> None:
        """Write batches to a part, and remove them from the list."""
        if not batches:
            return
        self._parts_written += 1
        name = f"{self._part_prefix}{self._folder.name}.{self._parts_written}"
        joined = TaskResults.concatenate(batches)
        write_part(self._folder.path / name, joined)
        self._read_parts.add(name)
        self._is_saved[joined.tasks] = True
        batches.clear()

    def _read_new_parts(self, scheduler: Scheduler | None) -> None:
        """Add the results of the other jobs' new parts."""
        names = self._folder.file_names(self._part_prefix)
        if not self._read_parts.issubset(names):
            write_stderr("hpcq: parts were removed; what this job has of them is written again")
            self.restore(scheduler)
            return
        for name in names:
            if name in self._read_parts:
                continue
            self._read_parts.add(name)
            batch = read_part(self._folder.path / name)
            if batch is None or not self.finished.accepts(batch):
                write_stderr(
                    f"hpcq: warning: {printable_path(name)} is damaged; its tasks are done again"
                )
                job = name.removeprefix(self._part_prefix).rpartition(".")[0]
                self._jobs_with_damaged_parts.add(job)
                continue
            self._is_saved[batch.tasks] = True
            new = self.finished.add(batch)
            if scheduler is not None:
                scheduler.finish_elsewhere(new)

    def _claim_blocks(self, scheduler: Scheduler) -> bool:
        """Claim blocks until this job has enough work ahead; return whether it got any."""
        if scheduler.waiting_seconds >= _AHEAD_SECONDS:
            return False
        self._unfinished_blocks = [
            block for block in self._unfinished_blocks if len(self._unfinished_tasks(block))
        ]
        generations = self._folder.claims(self._claim_prefix)
        names = {block: f"{self._claim_prefix}{block}" for block in self._unfinished_blocks}
        free = [block for block, name in names.items() if name not in generations]
        claimed = [block for block, name in names.items() if name in generations]
        got_any = False
        for block in [*free, *claimed]:
            name = names[block]
            generation = generations.get(name, -1) + 1
            if block in self._claimed_blocks:
                if not generation:  # somebody has removed this job's claim
                    self._folder.claim(name)
                continue
            if generation and self._is_held(name, generation - 1):
                continue
            if self._folder.claim(name, generation):
                if generation:
                    self._read_new_parts(scheduler)  # the owner may have written before it left
                self._claimed_blocks.add(block)
                scheduler.admit(self._unfinished_tasks(block))
                got_any = True
                if scheduler.waiting_seconds >= _AHEAD_SECONDS:
                    break
        return got_any

    def _is_held(self, name: str, generation: int) -> bool:
        """Say whether the owner of a claim is alive and all its parts could be read."""
        damaged = self._jobs_with_damaged_parts
        if damaged and self._folder.owner(name, generation) in damaged:
            return False
        return self._folder.is_held(name, generation)

    def _unfinished_tasks(self, block: int) -> Numbers:
        """Return the unfinished tasks of a block."""
        start, stop = self._blocks[block]
        tasks: Numbers = start + np.flatnonzero(~self.finished.done_between(start, stop))
        return tasks


def block_starts(costs: Seconds, affinity: Numbers | None) -> Numbers:
    """Divide tasks into blocks of a few predicted seconds.

    Args:
        costs: Predicted seconds of each task, shape (tasks,).
        affinity: Number of each task's group, shape (tasks,); a group of neighbours stays in one
            block if it fits. None without groups.

    Returns:
        The first task of every block, ascending.

    Example:
        >>> block_starts(np.full(6, 5.0), None)
        array([0, 1, 2, 3, 4, 5])
    """
    if not len(costs):
        return np.zeros(0, dtype=np.int64)
    sums: NDArray[np.float64] = np.cumsum(np.maximum(costs, 1e-9))
    block_cost = max(sums[-1] / _MAX_BLOCKS, min(_BLOCK_SECONDS, sums[-1] / _MIN_BLOCKS))
    cost_before = np.concatenate([[0.0], sums[:-1]])
    # Rounding errors of the sums must not move a task into the block before.
    block = (cost_before / block_cost * (1 + 1e-12)).astype(np.int64)
    starts = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
    if affinity is not None:
        # A block that begins within a group begins at the group's first task, if that is near.
        group_starts = np.flatnonzero(np.append(True, affinity[1:] != affinity[:-1]))
        group_start = group_starts[np.searchsorted(group_starts, starts, "right") - 1]
        is_near = cost_before[starts] - cost_before[group_start] < block_cost
        starts = np.where(is_near, group_start, starts)
    return np.unique(starts)
