"""Finished tasks of a partial run in its HDF5 file, in the order in which they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hpcq.parallel.tasks import MAX_TASKS, FinishedTasks, TaskResults
from hpcq.results.hdf5_files import open_sealed
from hpcq.results.hdf5_plain import PlainGroup
from hpcq.results.hdf5_texts import numbered_groups
from hpcq.results.result import PartialProgress, Stage


def write_unfinished(unfinished: PartialProgress, file: h5py.File) -> None:
    """Write the finished tasks, batch by batch, so that memory holds no second copy of them."""
    group = file.create_group("unfinished")
    group.attrs["rounds_before"] = unfinished.rounds_before
    stages = group.create_group("stages")
    for number, stage in enumerate(unfinished.stages):
        stage_group, finished = stages.create_group(str(number)), stage.finished
        stage_group.attrs["name"] = stage.name
        stage_group.attrs["total"] = len(finished)
        stage_group.attrs["done"] = finished.num_done
        stage_group.attrs["dtype"] = finished.dtype.str
        batches = list(finished.unique_batches())
        none = [np.empty(0, dtype=np.int64)]  # there may be no batches to concatenate
        stage_group["tasks"] = np.concatenate([*none, *(batch.tasks for batch in batches)])
        stage_group["sizes"] = np.concatenate([*none, *(batch.sizes for batch in batches)])
        entries = sum(len(batch.data) for batch in batches)
        data = stage_group.create_dataset("data", (entries,), finished.dtype)
        start = 0
        for batch in batches:
            data[start : start + len(batch.data)] = batch.data
            start += len(batch.data)


def load_stages(path: Path) -> list[dict[str, Any]]:
    """Return the keys ``name``, ``total`` and ``done`` (tasks) for each stage of a partial run.

    Empty if the run is complete.
    """
    with open_sealed(path) as file:
        return read_stages(file)


def read_stages(file: PlainGroup) -> list[dict[str, Any]]:
    """Return the stages in an open file; see :func:`load_stages`."""
    if "unfinished" not in file:
        return []
    return [
        {
            "name": str(stage.attrs["name"]),
            "total": _number_of_tasks(stage, "total"),
            "done": _number_of_tasks(stage, "done"),
        }
        for stage in numbered_groups(file["unfinished/stages"])
    ]


def read_unfinished(file: PlainGroup) -> PartialProgress:
    """Return the finished tasks of a partial run.

    Raises:
        ValueError: If they are not results of the run's tasks.
    """
    group = file["unfinished"]
    stages = []
    for stage in numbered_groups(group["stages"]):
        finished = FinishedTasks(_number_of_tasks(stage, "total"), str(stage.attrs["dtype"]))
        tasks, sizes, data = stage["tasks"][()], stage["sizes"][()], stage["data"][()]
        batch = TaskResults(0, tasks, sizes, np.zeros(len(tasks)), data)
        if not finished.accepts(batch):
            raise ValueError(f"{stage.name} holds results of tasks that do not exist")
        if len(tasks):
            finished.add(batch)
        stages.append(Stage(str(stage.attrs["name"]), finished))
    return PartialProgress(tuple(stages), int(group.attrs["rounds_before"]))


def _number_of_tasks(group: PlainGroup, name: str) -> int:
    """Return a number of tasks from a group's attributes.

    Raises:
        ValueError: If no run has that many.
    """
    number = int(group.attrs[name])
    if not 0 <= number <= MAX_TASKS:
        raise ValueError(f"{group.name} has {number} tasks, expected 0 to {MAX_TASKS}")
    return number
