"""What is done of a run that is not finished, in its HDF5 file: results of tasks as they came."""

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
    """Write what is done, batch by batch, so that nothing is held twice."""
    group = file.create_group("unfinished")
    group.attrs["rounds_before"] = unfinished.rounds_before
    stages = group.create_group("stages")
    for number, stage in enumerate(unfinished.stages):
        own, finished = stages.create_group(str(number)), stage.finished
        own.attrs["name"] = stage.name
        own.attrs["total"] = len(finished)
        own.attrs["done"] = finished.num_done
        own.attrs["dtype"] = finished.dtype.str
        batches = list(finished.kept())
        whole = [np.empty(0, dtype=np.int64)]
        own["tasks"] = np.concatenate([*whole, *(batch.tasks for batch in batches)])
        own["sizes"] = np.concatenate([*whole, *(batch.sizes for batch in batches)])
        entries = sum(len(batch.data) for batch in batches)
        data = own.create_dataset("data", (entries,), finished.dtype)
        start = 0
        for batch in batches:
            data[start : start + len(batch.data)] = batch.data
            start += len(batch.data)


def load_stages(path: Path) -> list[dict[str, Any]]:
    """Return the name, the total and the number done of each stage of an unfinished run."""
    with open_sealed(path) as file:
        return read_stages(file)


def read_stages(file: PlainGroup) -> list[dict[str, Any]]:
    """Return what :func:`load_stages` does, of an open file."""
    if "unfinished" not in file:
        return []
    return [
        {
            "name": str(own.attrs["name"]),
            "total": _number_of_tasks(own, "total"),
            "done": _number_of_tasks(own, "done"),
        }
        for own in numbered_groups(file["unfinished/stages"])
    ]


def read_unfinished(file: PlainGroup) -> PartialProgress:
    """Read what is done."""
    group = file["unfinished"]
    stages = []
    for own in numbered_groups(group["stages"]):
        finished = FinishedTasks(_number_of_tasks(own, "total"), str(own.attrs["dtype"]))
        tasks, sizes, data = own["tasks"][()], own["sizes"][()], own["data"][()]
        batch = TaskResults(0, tasks, sizes, np.zeros(len(tasks)), data)
        if not finished.takes(batch):
            raise ValueError(f"{own.name} holds results of tasks that there are not")
        if len(tasks):
            finished.add(batch)
        stages.append(Stage(str(own.attrs["name"]), finished))
    return PartialProgress(tuple(stages), int(group.attrs["rounds_before"]))


def _number_of_tasks(group: PlainGroup, name: str) -> int:
    """Return a number of tasks, of which nobody has more than rank 0 can keep account of."""
    number = int(group.attrs[name])
    if not 0 <= number <= MAX_TASKS:
        raise ValueError(f"{group.name} has {number} tasks, expected 0 to {MAX_TASKS}")
    return number
