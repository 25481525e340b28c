"""Tasks, leases and results of a farm: tasks are integers, results are flat arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Numbers = NDArray[np.int64]
Seconds = NDArray[np.float64]

TaskFunction = Callable[[int, bytes], Array]
"""Returns the result of a task, given its number and its payload."""

WorkerFactory = Callable[[Any], TaskFunction]
"""Makes the task function from the set-up that rank 0 sends; must be picklable, for workers in
subprocesses."""

MAX_TASKS = 5_000_000
"""Maximum number of tasks of a run; rank 0 takes 89 bytes for each (benchmarks/farm.py memory)."""

FLUSH_SECONDS = 0.2
"""How often a worker sends results, if workers are few; longer: fewer messages, later results."""

_SMALL_BYTES = 1 << 14
"""Size below which a batch is merged with its neighbours; larger: more copying, fewer objects."""

_MERGE_COUNT = 256
"""Number of small batches in a row that are merged into one: an array object takes some 100 bytes,
more than the few numbers in it."""


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks to compute.

    Attributes:
        costs: Predicted seconds of each task; measurements correct a common factor.
        dtype: Type of the numbers that a task returns.
        payload: Returns the bytes that are sent to the worker along with a task; None for none.
        affinity: A number for each task, the same for consecutive tasks that are quicker one after
            the other on one worker, and cost the same. None if there are no such tasks.
        owner: Returns the owner of each of some tasks, such as its subcircuit, for the ledger.
        describe: Returns a name of a task for messages.
    """

    costs: Seconds
    dtype: DTypeLike
    payload: Callable[[int], bytes] | None = None
    affinity: Numbers | None = None
    owner: Callable[[Numbers], Numbers] = np.zeros_like
    describe: Callable[[int], str] = "task {}".format


@dataclass(frozen=True, eq=False)
class Lease:
    """Tasks that one worker is to compute, in this order.

    Attributes:
        run: Number of the run; results of an earlier run are out of date.
        tasks: The tasks.
        dtype: Type of the numbers that they return.
        payloads: Payload of each task; empty if tasks have none.
        flush_seconds: How often the worker sends results.
    """

    run: int
    tasks: Numbers
    dtype: str
    payloads: tuple[bytes, ...] = ()
    flush_seconds: float = FLUSH_SECONDS

    def without(self, tasks: set[int]) -> Lease:
        """Return the lease without some of its tasks."""
        kept = [index for index, task in enumerate(self.tasks.tolist()) if task not in tasks]
        payloads = tuple(self.payloads[index] for index in kept) if self.payloads else ()
        return replace(self, tasks=self.tasks[kept], payloads=payloads)


@dataclass(frozen=True, eq=False)
class TaskResults:
    """Results of some tasks, or the failure of one.

    Attributes:
        run: Number of the run.
        tasks: The tasks.
        sizes: How many numbers each returned.
        seconds: How long each took.
        data: All their numbers, one task after the other.
        error: Error of the only task, with its traceback; empty for results.
    """

    run: int
    tasks: Numbers
    sizes: Numbers
    seconds: Seconds
    data: Array
    error: str = ""

    @classmethod
    def failed(cls, run: int, task: int, seconds: float, error: str) -> TaskResults:
        """Return the failure of a task."""
        sizes = np.zeros(1, dtype=np.int64)
        return cls(run, np.array([task]), sizes, np.array([seconds]), np.empty(0), error)

    def select(self, mask: NDArray[np.bool_]) -> TaskResults:
        """Return the results of the tasks where the mask is true."""
        data = self.data[np.repeat(mask, self.sizes)]
        sizes, seconds = self.sizes[mask], self.seconds[mask]
        return TaskResults(self.run, self.tasks[mask], sizes, seconds, data)

    @classmethod
    def concatenate(cls, batches: Sequence[TaskResults]) -> TaskResults:
        """Return the results of several batches as one."""
        return cls(
            batches[0].run,
            np.concatenate([batch.tasks for batch in batches]),
            np.concatenate([batch.sizes for batch in batches]),
            np.concatenate([batch.seconds for batch in batches]),
            np.concatenate([batch.data for batch in batches]),
        )


class FinishedTasks:
    """Results of tasks in the order of arrival, indexed by task.

    The results stay in the batches in which they arrived, small ones merged; the index takes 20
    bytes a task.

    Args:
        total: Number of tasks.
        dtype: Type of the numbers that tasks return.

    Attributes:
        batches: The results; each task occurs once, because :meth:`add` drops repeated results.
        num_done: Number of finished tasks.

    Example:
        >>> finished = FinishedTasks(3, float)
        >>> tasks, sizes, data = np.array([2, 0]), np.array([1, 2]), np.array([5.0, 6, 7])
        >>> one = TaskResults(0, tasks, sizes, np.zeros(2), data)
        >>> finished.add(one).tolist()
        [2, 0]
        >>> finished[0], finished.num_done, finished.add(one).tolist()
        (array([6., 7.]), 2, [])
    """

    def __init__(self, total: int, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.batches: list[TaskResults] = []
        self.num_done = 0
        self._small = 0
        self._batch = np.full(total, -1, dtype=np.int32)
        self._start = np.zeros(total, dtype=np.int64)
        self._size = np.zeros(total, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of tasks, finished or not."""
        return len(self._batch)

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which tasks are finished, shape (tasks,)."""
        return np.asarray(self._batch >= 0)

    def done_between(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which tasks of a range are finished, shape (stop - start,)."""
        return np.asarray(self._batch[start:stop] >= 0)

    def accepts(self, batch: TaskResults) -> bool:
        """Return whether results of unknown origin, such as a file, are valid and can be added."""
        tasks, sizes, data = batch.tasks, batch.sizes, batch.data
        return bool(
            tasks.shape == sizes.shape == (len(tasks),)
            and tasks.dtype.kind == sizes.dtype.kind == "i"
            and data.dtype == self.dtype
            and data.dtype.kind in "iufc"
            and len(np.unique(tasks)) == len(tasks)
            and ((tasks >= 0) & (tasks < len(self)) & (sizes >= 0)).all()
            and data.shape == (sizes.sum(),)
        )

    def add(self, batch: TaskResults) -> Numbers:
        """Add results; return the tasks that had none yet. The first result of a task counts."""
        new = self._batch[batch.tasks] < 0
        if not new.all():
            if not new.any():
                return batch.tasks[new]
            batch = batch.select(new)
        self._index(batch)
        self.num_done += len(batch.tasks)
        self._small = self._small + 1 if batch.data.nbytes < _SMALL_BYTES else 0
        if self._small == _MERGE_COUNT:
            small, self._small = self.batches[-_MERGE_COUNT:], 0
            del self.batches[-_MERGE_COUNT:]
            self._index(TaskResults.concatenate(small))
        return batch.tasks

    def _index(self, batch: TaskResults) -> None:
        """Append a batch and index its tasks."""
        self._batch[batch.tasks] = len(self.batches)
        self._start[batch.tasks] = np.cumsum(batch.sizes) - batch.sizes
        self._size[batch.tasks] = batch.sizes
        self.batches.append(batch)

    def __getitem__(self, task: int) -> Array:
        """Return the numbers of a finished task; raise KeyError for another."""
        number = int(self._batch[task])
        if number < 0:
            raise KeyError(task)
        start = int(self._start[task])
        return self.batches[number].data[start : start + int(self._size[task])]

    def __iter__(self) -> Iterator[Array]:
        """Yield the numbers of all tasks, in order; all must be finished."""
        return (self[task] for task in range(len(self)))


@dataclass(frozen=True)
class Failure:
    """A task that was given up.

    Attributes:
        task: The task.
        name: Its name in messages.
        reasons: Rank, host and error of each attempt.
    """

    task: int
    name: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} failed: {'; then '.join(self.reasons)}"


@dataclass(eq=False)
class Outcome:
    """How a run of a farm ended.

    Attributes:
        finished: The results.
        stopped: Why it was stopped before all tasks were finished; empty if it was not.
        failures: Tasks that were given up.
        lost: Workers that were lost during the run, and why.
    """

    finished: FinishedTasks
    stopped: str = ""
    failures: Sequence[Failure] = ()
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all tasks are finished."""
        return self.finished.num_done == len(self.finished)
