"""What a farm is given and what comes back: tasks are integers, results flat arrays."""

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
"""Computes one task, whose ticket says what the integer alone does not."""

WorkerFactory = Callable[[bytes], TaskFunction]
"""Makes the work of what rank 0 shares. Where it is done in a process of its own, it is pickled."""

MAX_TASKS = 5_000_000
"""Tasks that rank 0 can keep account of."""

FLUSH_SECONDS = 0.2
"""How often a worker sends results, where workers are few."""

_SMALL_BYTES = 1 << 14
_JOINED = 256
"""How many small batches in a row are joined: an array of its own for each number takes more."""


@dataclass(frozen=True, eq=False)
class Tasks:
    """Tasks to be done.

    Attributes:
        costs: Predicted seconds of each task, in any unit: what matters is which is longer.
        dtype: Type of the numbers that a task gives.
        payload: Returns what goes with a task to whoever computes it; None for nothing.
        affinity: A number for each task, the same for neighbours that are quicker one after the
            other on one worker, and cost the same. None if there are none.
        owner: Returns for many tasks what each belongs to, such as a subcircuit; for the account.
        describe: Returns in words what a task is, for messages.
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
        run: Number of the farm's run; answers to an earlier one are out of date.
        tasks: The tasks.
        dtype: Type of the numbers that they give.
        payloads: What goes with each; empty for nothing.
        flush_seconds: After which results are sent, once there are any.
    """

    run: int
    tasks: Numbers
    dtype: str
    payloads: tuple[bytes, ...] = ()
    flush_seconds: float = FLUSH_SECONDS

    def without(self, tasks: set[int]) -> Lease:
        """Return the lease without some of its tasks."""
        kept = [place for place, task in enumerate(self.tasks.tolist()) if task not in tasks]
        payloads = tuple(self.payloads[place] for place in kept) if self.payloads else ()
        return replace(self, tasks=self.tasks[kept], payloads=payloads)


@dataclass(frozen=True, eq=False)
class TaskResults:
    """Results of some tasks, or why one of them failed.

    Attributes:
        run: Number of the farm's run.
        tasks: The tasks.
        sizes: How many numbers each gave.
        seconds: How long each took.
        data: All their numbers, one task after the other.
        error: Why the only task failed; empty for results.
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
        nothing = np.zeros(1, dtype=np.int64)
        return cls(run, np.array([task]), nothing, np.array([seconds]), np.empty(0), error)

    def only(self, chosen: NDArray[np.bool_]) -> TaskResults:
        """Return the results of some of the tasks."""
        data = self.data[np.repeat(chosen, self.sizes)]
        sizes, seconds = self.sizes[chosen], self.seconds[chosen]
        return TaskResults(self.run, self.tasks[chosen], sizes, seconds, data)

    @classmethod
    def joined(cls, batches: Sequence[TaskResults]) -> TaskResults:
        """Return the results of several batches in one."""
        return cls(
            batches[0].run,
            np.concatenate([own.tasks for own in batches]),
            np.concatenate([own.sizes for own in batches]),
            np.concatenate([own.seconds for own in batches]),
            np.concatenate([own.data for own in batches]),
        )


class FinishedTasks:
    """Results of tasks in the order in which they came, found by task.

    They stay in the batches that they came in, the small ones joined: beside them, no more than 20
    bytes are kept for each task.

    Args:
        total: Number of tasks.
        dtype: Type of the numbers.

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
        """Which of some tasks are finished."""
        return np.asarray(self._batch[start:stop] >= 0)

    @property
    def num_bytes(self) -> int:
        """Bytes of all results."""
        return sum(batch.data.nbytes for batch in self.batches)

    def takes(self, batch: TaskResults) -> bool:
        """Say whether results of unknown origin, from a file say, can be added."""
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
        """Take in results, and return which of them are new; the first answer counts."""
        new = self._batch[batch.tasks] < 0
        if not new.all():
            if not new.any():
                return batch.tasks[new]
            batch = batch.only(new)
        self._place(batch)
        self.num_done += len(batch.tasks)
        self._small = self._small + 1 if batch.data.nbytes < _SMALL_BYTES else 0
        if self._small == _JOINED:
            small, self._small = self.batches[-_JOINED:], 0
            del self.batches[-_JOINED:]
            self._place(TaskResults.joined(small))
        return batch.tasks

    def _place(self, batch: TaskResults) -> None:
        """Note where the results of a batch's tasks are."""
        self._batch[batch.tasks] = len(self.batches)
        self._start[batch.tasks] = np.cumsum(batch.sizes) - batch.sizes
        self._size[batch.tasks] = batch.sizes
        self.batches.append(batch)

    def kept(self) -> Iterator[TaskResults]:
        """Yield the batches without results that came too late."""
        for number, batch in enumerate(self.batches):
            counts = self._batch[batch.tasks] == number
            if counts.all():
                yield batch
                continue
            tasks = batch.tasks[counts]
            arrays = [self[task] for task in tasks.tolist()]
            sizes, seconds = batch.sizes[counts], batch.seconds[counts]
            yield TaskResults(batch.run, tasks, sizes, seconds, np.concatenate(arrays))

    def __getitem__(self, task: int) -> Array:
        """Return the numbers that a finished task gave."""
        number = int(self._batch[task])
        if number < 0:
            raise KeyError(task)
        start = int(self._start[task])
        return self.batches[number].data[start : start + int(self._size[task])]

    def __iter__(self) -> Iterator[Array]:
        """Yield the numbers of every task, in order."""
        return (self[task] for task in range(len(self)))


@dataclass(frozen=True)
class Failure:
    """A task that could not be done.

    Attributes:
        task: The task.
        what: The task in words.
        reasons: Why, for every attempt: rank, host and error.
    """

    task: int
    what: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} failed: {'; then '.join(self.reasons)}"


@dataclass(eq=False)
class Outcome:
    """How a run of the farm ended.

    Attributes:
        finished: The results.
        stopped: Why it was stopped before the end; empty if it was not.
        failures: Tasks that were given up.
        lost: Workers that were lost on the way, and why.
    """

    finished: FinishedTasks
    stopped: str = ""
    failures: Sequence[Failure] = ()
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all tasks are finished."""
        return self.finished.num_done == len(self.finished)
