"""The finished tasks of a run that was stopped, in the order in which they were finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hpcq.parallel.tasks import MAX_TASKS, FinishedTasks, TaskResults
from hpcq.results.hdf5_codecs import INTEGER, TEXT, json_of
from hpcq.results.hdf5_fields import Codec, Layout, Place, stored, stored_class
from hpcq.results.json_checks import are, is_a


def _check_number(number: int, at: Place) -> str:
    fits = 0 <= number <= MAX_TASKS
    return "" if fits else f"{at.group.name} has {number} tasks, expected 0 to {MAX_TASKS}"


_JOB_IDS = json_of(are(dict, are(list, is_a(str))), "lists of texts by seed")
STAGE_SUMMARY = Layout(
    dict,
    name=stored("@name", TEXT),
    total=stored("@total", INTEGER, check=_check_number),
    done=stored("@done", INTEGER, check=_check_number),
)
"""A stage without the results of its tasks, of which there may be millions."""


class _FinishedTasks(Codec):
    """Finished tasks in the group of their stage."""

    def write(self, value: FinishedTasks, at: Place) -> None:
        at.group.attrs.update(total=len(value), done=value.num_done, dtype=value.dtype.str)
        for name, dtype in (("tasks", np.int64), ("sizes", np.int64), ("data", value.dtype)):
            arrays = [getattr(batch, name) for batch in value.batches]
            dataset = at.group.create_dataset(name, (sum(map(len, arrays)),), dtype)
            start = 0
            for array in arrays:  # one by one, so that memory holds no second copy of them
                dataset[start : start + len(array)] = array
                start += len(array)

    def read(self, at: Place) -> FinishedTasks:
        finished = FinishedTasks(STAGE_SUMMARY.read(at)["total"], str(at.group.attrs["dtype"]))
        tasks, sizes, data = (at.group[name][()] for name in ("tasks", "sizes", "data"))
        batch = TaskResults(0, tasks, sizes, np.zeros(len(tasks)), data)
        if not finished.accepts(batch):
            raise ValueError(f"{at.group.name} holds results of tasks that do not exist")
        if len(tasks):
            finished.add(batch)
        return finished


@stored_class
class Stage:
    """One set of tasks of a run, such as its simulations.

    Attributes:
        name: Name of the stage.
        finished: Results of the finished tasks.
    """

    name: str = stored("@name", TEXT)
    finished: FinishedTasks = stored("", _FinishedTasks())


@stored_class
class PartialProgress:
    """The finished tasks of a run that was stopped.

    Attributes:
        stages: Stages that have begun.
        rounds_before: For a run with shots, number of rounds in the result that it continues.
        job_ids: Names of the jobs that a device has not finished, by the seed of their shots.
    """

    stages: tuple[Stage, ...] = stored("stages/*", Layout(Stage))
    rounds_before: int = stored("@rounds_before", INTEGER, default=0)
    job_ids: Mapping[str, Sequence[str]] = stored("@job_ids", _JOB_IDS, default_factory=dict)

    def stage(self, name: str, total: int) -> FinishedTasks | None:
        """Return the results of the stage with a name and a number of tasks; None without one."""
        finished = next((stage.finished for stage in self.stages if stage.name == name), None)
        return finished if finished is not None and len(finished) == total else None
