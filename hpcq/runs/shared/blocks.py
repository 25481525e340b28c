"""Which of a stage's tasks this job computes, while others compute the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcq.core.errors import HpcqError, NotWrittenError
from hpcq.core.files import printable_path
from hpcq.core.strict_json import digest
from hpcq.core.system import write_stderr
from hpcq.parallel.tasks import FinishedTasks, Numbers, Seconds, TaskResults, Tasks
from hpcq.runs.shared.folder import FolderGoneError, SharedFolder
from hpcq.runs.shared.result_files import read_part, write_part

if TYPE_CHECKING:
    from hpcq.parallel.scheduler import Scheduler

FLUSH_SECONDS = 30.0
"""How often results are written for the others."""

_BLOCK_SECONDS = 5.0
_MAX_BLOCKS, _MIN_BLOCKS = 4096, 64
_AHEAD_SECONDS = 1.0
"""Work that a job has claimed and not begun, at least, as long as there is any."""

_LOOK_SECONDS = 1.0
"""How often to look for what others have done."""

_ESTIMATE_SECONDS = 5.0
_WARN_SECONDS = 30.0
_PART_BYTES = 1 << 26
"""Results that are written again go into parts of about this size."""

_LOOK_SHARE = 20.0
"""How many times longer than it took to look, it is until the next time, at least."""


class SharedStage:
    """One stage of a run, such as its simulations, shared with other jobs.

    The tasks are divided into blocks, in the same way by every job. A job claims the next block
    that nobody has, so that it always has some work ahead; when none is left, those whose owner is
    gone.

    Args:
        folder: What is shared.
        stage: The stage's name, the same for every job.
        tasks: All its tasks.
        finished: Results; those of others are added.
        flush_seconds: How often to write what this job has found.
        renew: Makes the folder anew after somebody removed it; raises FolderGoneError if the
            others did, because all is done.
    """

    def __init__(
        self,
        folder: SharedFolder,
        stage: str,
        tasks: Tasks,
        finished: FinishedTasks,
        flush_seconds: float = FLUSH_SECONDS,
        renew: Callable[[], None] | None = None,
    ) -> None:
        self._folder, self._finished = folder, finished
        self._renew = renew or folder.join
        self._flush_seconds = flush_seconds
        self._costs = tasks.costs
        starts = block_starts(tasks.costs, tasks.affinity)
        self._blocks = list(
            zip(starts.tolist(), [*starts[1:].tolist(), len(tasks.costs)], strict=True)
        )
        self._parts = f"part.{digest([stage, len(tasks.costs)])[:12]}."
        self._claims = f"{digest([stage, starts.tolist()])[:12]}."
        self._open = self._by_size()
        self._read: set[str] = set()
        self._saved = np.zeros(len(tasks.costs), dtype=bool)
        self._doubtful: set[str] = set()
        self._mine: list[TaskResults] = []
        self._own: set[int] = set()
        self._written = 0
        self._next_look, self._more = -float("inf"), True
        self._estimated, self._missing_cost = -float("inf"), 0.0
        self._flushed = time.monotonic()
        self._warned = -float("inf")

    def note(self, batch: TaskResults, new: Numbers) -> None:
        """Note what this job has found, and which of its tasks nobody had found before."""
        again = len(batch.tasks) - len(new)
        self._folder.count(len(new), again, float(batch.seconds.sum()))
        if len(new):
            self._mine.append(batch.only(np.isin(batch.tasks, new)) if again else batch)

    def meet(self, scheduler: Scheduler, *, stopping: bool = False) -> bool:
        """Look at what others do, and claim more for this job where it runs short.

        Args:
            scheduler: This job's.
            stopping: Whether the job is about to stop, and claims nothing more.

        Returns:
            Whether there is more to do.

        Raises:
            FolderGoneError: If the folder is gone: others are done.
        """
        short = scheduler.waiting_seconds < _AHEAD_SECONDS
        now = time.monotonic()
        if now < self._next_look and not (short and self._more):
            return False
        try:
            self._folder.tell()
            if self._mine and (short or now - self._flushed >= self._flush_seconds):
                self.flush()
            self._take_in(scheduler)
            self._more = not stopping and self._claim(scheduler)
        except (OSError, NotWrittenError) as error:
            self._excuse(error, scheduler)
        took = time.monotonic() - now
        self._next_look = now + max(_LOOK_SECONDS, _LOOK_SHARE * took)
        return self._more

    def seconds_left(self, scheduler: Scheduler) -> float:
        """Estimate how long all tasks that are missing take all jobs."""
        now = time.monotonic()
        if now - self._estimated > _ESTIMATE_SECONDS:
            self._estimated = now
            names = self._folder.members()
            jobs = max(1, sum(self._folder.lives(name) for name in names))
            self._missing_cost = float(self._costs[~self._finished.done].sum()) / jobs
        return scheduler.pace * self._missing_cost / max(1, len(scheduler.workers))

    def end(self, *, complete: bool) -> None:
        """End: write what the others still need.

        Raises:
            FolderGoneError: If the others are done.
            NotWrittenError: If this job stops and what it has found cannot be written.
        """
        try:
            try:
                self.flush()
                if not complete:
                    self._take_in(None)
            except OSError:
                if self._folder.path.is_dir():
                    raise
                self._make_anew(None)
        except FolderGoneError:
            raise
        except (OSError, HpcqError) as error:
            words = " ".join(str(error).split())
            if not complete:
                raise NotWrittenError(f"shared: not all that is done is saved: {words}") from None
            self._warn(words)

    def _excuse(self, error: Exception, scheduler: Scheduler) -> None:
        """Go on without the others for a while; if the folder is gone, make it anew."""
        if not self._folder.path.is_dir():
            try:
                self._make_anew(scheduler)
                return
            except FolderGoneError:
                raise
            except (OSError, HpcqError) as another:
                error = another
        self._warn(" ".join(str(error).split()))

    def _warn(self, words: str) -> None:
        if time.monotonic() - self._warned >= _WARN_SECONDS:
            self._warned = time.monotonic()
            write_stderr(f"hpcq: warning: shared: {words.removeprefix('shared: ')}; tried again")

    # ------------------------------------------------------------- what others removed

    def _make_anew(self, scheduler: Scheduler | None) -> None:
        """Make the folder anew, with all that this job has and had claimed.

        Raises:
            FolderGoneError: If it is gone because the others are done.
        """
        self._renew()
        name = printable_path(self._folder.path)
        write_stderr(f"hpcq: {name} was removed; it is made anew with all that this job has")
        for block in self._own:
            if len(self._missing(block)):
                self._folder.claim(f"{self._claims}{block}")
        self.restore(scheduler)

    def restore(self, scheduler: Scheduler | None) -> None:
        """Write again what this job has and what is in no part any more, whoever found it.

        Args:
            scheduler: This job's; None where it is done with this stage.
        """
        self._read.clear()
        self._saved[:] = False
        self._take_in(scheduler)
        batches: list[TaskResults] = []
        for batch in self._finished.kept():
            lost = ~self._saved[batch.tasks]
            if lost.any():
                batches.append(batch.only(lost))
            if sum(own.data.nbytes for own in batches) > _PART_BYTES:
                self._write(batches)
        self._write(batches)
        self._mine = [own for own in self._mine if not self._saved[own.tasks].all()]

    def flush(self) -> None:
        """Write what this job has found for the others."""
        if self._mine:
            self._folder.tell(now=True)
            self._write(self._mine)
        self._flushed = time.monotonic()

    def _write(self, batches: list[TaskResults]) -> None:
        """Write a part, and forget the batches that are in it now."""
        if not batches:
            return
        self._written += 1
        place = self._folder.path / f"{self._parts}{self._folder.name}.{self._written}"
        joined = TaskResults.joined(batches)
        write_part(place, joined)
        self._read.add(place.name)
        self._saved[joined.tasks] = True
        batches.clear()

    def _take_in(self, scheduler: Scheduler | None) -> None:
        """Read what others have found."""
        names = self._folder.names(self._parts)
        if not self._read.issubset(names):
            write_stderr("hpcq: parts were removed; what this job has of them is written again")
            self.restore(scheduler)
            return
        for name in names:
            if name in self._read:
                continue
            self._read.add(name)
            batch = read_part(self._folder.path / name)
            if batch is None or not self._finished.takes(batch):
                write_stderr(
                    f"hpcq: warning: {printable_path(name)} is damaged; its tasks are done again"
                )
                self._doubtful.add(name.removeprefix(self._parts).rpartition(".")[0])
                continue
            self._saved[batch.tasks] = True
            new = self._finished.add(batch)
            if scheduler is not None:
                scheduler.elsewhere(new)

    def _claim(self, scheduler: Scheduler) -> bool:
        """Claim blocks until there is work ahead; return whether any was."""
        if scheduler.waiting_seconds >= _AHEAD_SECONDS:
            return False
        self._open = [block for block in self._open if len(self._missing(block))]
        claimed = self._folder.claims(self._claims)
        places = {block: f"{self._claims}{block}" for block in self._open}
        free = [block for block, name in places.items() if name not in claimed]
        left = [block for block, name in places.items() if name in claimed]
        more = False
        for block in [*free, *left]:
            name, generation = places[block], claimed.get(places[block], -1) + 1
            if block in self._own:
                if not generation:  # somebody has removed the claim
                    self._folder.claim(name)
                continue
            if generation and self._is_held(name, generation - 1):
                continue
            if self._folder.claim(name, generation):
                if generation:
                    self._take_in(scheduler)  # what its owner wrote before it left
                self._own.add(block)
                scheduler.admit(self._missing(block))
                more = True
                if scheduler.waiting_seconds >= _AHEAD_SECONDS:
                    break
        return more

    def _is_held(self, name: str, generation: int) -> bool:
        """Say whether a block is that of a job that lives, and whose parts can be read."""
        if self._doubtful and self._folder.owner(name, generation) in self._doubtful:
            return False
        return self._folder.is_held(name, generation)

    def _missing(self, block: int) -> Numbers:
        start, stop = self._blocks[block]
        missing: Numbers = start + np.flatnonzero(~self._finished.done_between(start, stop))
        return missing

    def _by_size(self) -> list[int]:
        """Return the blocks, those of the longest tasks first."""
        means = [float(self._costs[start:stop].mean()) for start, stop in self._blocks]
        return [int(block) for block in np.argsort(-np.array(means), kind="stable")]


def block_starts(costs: Seconds, affinity: Numbers | None) -> Numbers:
    """Divide tasks into blocks of a few predicted seconds; kin stay together where they fit.

    Returns:
        The first task of every block.

    Example:
        >>> block_starts(np.full(6, 5.0), None)
        array([0, 1, 2, 3, 4, 5])
    """
    if not len(costs):
        return np.zeros(0, dtype=np.int64)
    sums: NDArray[np.float64] = np.cumsum(np.maximum(costs, 1e-9))
    each = max(sums[-1] / _MAX_BLOCKS, min(_BLOCK_SECONDS, sums[-1] / _MIN_BLOCKS))
    whole = np.concatenate([[0.0], sums[:-1]])
    number = (whole / each * (1 + 1e-12)).astype(np.int64)
    first = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    if affinity is not None:
        # A block that begins in the middle of a row begins at its first task, if that is near.
        row = np.flatnonzero(np.append(True, affinity[1:] != affinity[:-1]))
        begins = row[np.searchsorted(row, first, "right") - 1]
        first = np.where(whole[first] - whole[begins] < each, begins, first)
    return np.unique(first)
