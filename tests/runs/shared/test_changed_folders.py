"""Folders that others changed: removed meanwhile, taken by another run, full, or links."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from os import mkfifo
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.core.errors import InputError, NotWrittenError
from hpcq.parallel.scheduler import Scheduler
from hpcq.parallel.tasks import TaskResults, Tasks
from hpcq.runs.shared.output import SharedOutput

TASKS = Tasks(np.full(4, 60.0), float)
"""Tasks that the jobs share: four, predicted to take a minute each."""


class Member:
    """A job that has begun to share a run, in this process."""

    def __init__(self, output: Path, circuit: str) -> None:
        self.path, self.output = output, SharedOutput(output)
        self.output.agree_on_run({"circuit": circuit})
        self.scheduler = Scheduler(TASKS.costs, [0], admitted=False)
        self.stage = self.output.stage("simulate", TASKS)
        self.finished = self.stage.finished

    def find(self, task: int) -> None:
        tasks = np.array([task])
        self.stage.note(TaskResults(0, tasks, np.ones(1, int), np.ones(1), np.ones(1)), tasks)
        self.stage.flush()

    def compute(self, task: int) -> None:
        """Find a task as the farm does: it is kept here, and noted for the others."""
        tasks = np.array([task])
        batch = TaskResults(0, tasks, np.ones(1, int), np.ones(1), np.full(1, float(task)))
        self.stage.note(batch, self.finished.add(batch))

    def found_by_others(self) -> dict[int, float]:
        """Return what a job that comes now finds in the folder."""
        other = Member(self.path, "same")
        other.stage.exchange(other.scheduler, stopping=False)
        done = np.flatnonzero(other.finished.done).tolist()
        return {task: float(other.finished[task][0]) for task in done}

    def all_handed_out(self) -> list[int]:
        """Claim as long as anything can be claimed; return the tasks."""
        found: list[int] = []
        for _ in range(8):
            self.stage._next_sync, self.stage._has_more = -float("inf"), True
            scheduler = Scheduler(TASKS.costs, [0], admitted=False)
            self.stage.exchange(scheduler, stopping=False)
            found += scheduler.lease(0, 0.0).tolist()
        return found

    def looked(self) -> tuple[list[int], list[int]]:
        """Return which tasks it knows to be done, and which it is handed out."""
        self.stage.exchange(self.scheduler, stopping=False)
        return np.flatnonzero(self.finished.done).tolist(), self.scheduler.lease(0, 0.0).tolist()


def test_parts_and_claims_are_those_of_one_run(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    old = Member(output, "old")
    old.find(0)
    assert old.looked() == ([], [0])  # what it found itself the farm has noted
    shutil.rmtree(tmp_path / "out.h5.parts")
    new = Member(output, "new")
    old.find(1)
    new.find(2)
    assert new.looked() == ([], [0])
    friend = SharedOutput(output)
    friend._fingerprint = {"circuit": "new"}
    seen = friend.stage("simulate", TASKS)
    seen.begin(Scheduler(TASKS.costs, [0], admitted=False))
    assert np.flatnonzero(seen.finished.done).tolist() == [2]


def test_tasks_of_a_damaged_part_are_done_again(tmp_path: Path) -> None:
    """Although the job that did them lives, and takes them for done."""
    one, two = Member(tmp_path / "out.h5", "same"), Member(tmp_path / "out.h5", "same")
    assert sorted(one.all_handed_out()) == [0, 1, 2, 3]
    assert two.all_handed_out() == []
    one.find(0)
    (part,) = (tmp_path / "out.h5.parts").glob("part.*")
    part.write_bytes(b"damaged")
    mkfifo(part.with_name(part.name + "7"))
    assert 0 in two.all_handed_out()


def test_what_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    member = Member(tmp_path / "out.h5", "one")
    folder = tmp_path / "out.h5.parts"
    tasks = np.array([0])
    member.stage.note(TaskResults(0, tasks, np.ones(1, int), np.ones(1), np.ones(1)), tasks)
    member.stage._folder.path = folder / "member.nobody" / "nowhere"
    (folder / "member.nobody").touch()
    with pytest.raises(NotWrittenError, match="shared: not all that is done is saved: "):
        member.stage.end(complete=False)
    member.stage._folder.path = folder
    member.stage.end(complete=False)
    assert len(list(folder.glob("part.*"))) == 1


def test_a_link_to_a_folder_goes_too(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out.h5.parts").symlink_to("scratch")
    member = Member(tmp_path / "out.h5", "one")
    member.find(0)
    member.output.folder.remove()
    assert not list(tmp_path.iterdir())


def test_the_result_of_another_run_is_not_waited_for(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    first = tmp_path / "first.h5"
    result = hpcq.run(hpcq.plan(circuit, "Z0", cut_labels="AB"), output=first)
    assert result.details is not None
    mine, other = SharedOutput(output), SharedOutput(tmp_path / "other.h5")
    mine.agree_on_run(result.details.fingerprint)
    other.agree_on_run({**result.details.fingerprint, "observables": "others"})
    assert not mine.is_complete()
    shutil.copy(first, output)
    shutil.copy(first, tmp_path / "other.h5")
    assert mine.is_complete()
    assert not other.is_complete()
    other.finish(result)
    assert hpcq.load(tmp_path / "other.1.h5").status == "complete"
    assert (tmp_path / "other.h5").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("attempt", range(20))
def test_of_two_runs_that_begin_at_once_one_is_refused(attempt: int, tmp_path: Path) -> None:
    """And not both, each by what the other is about to take back."""
    outputs = [SharedOutput(tmp_path / "out.h5") for _ in range(2)]
    together = threading.Barrier(2)

    def refused(number: int) -> str:
        together.wait()
        try:
            outputs[number].agree_on_run({"circuit": f"{attempt}, {number}"})
        except InputError as refusal:
            return str(refusal)
        return ""

    with ThreadPoolExecutor(2) as threads:
        none, one = sorted(threads.map(refused, range(2)))
    assert not none
    assert "circuit differs" in one


@pytest.mark.parametrize("how", ["folder", "files", "made anew"])
@pytest.mark.parametrize("stops", [True, False])
def test_what_is_removed_is_written_again(how: str, stops: bool, tmp_path: Path) -> None:
    """By those who found it, or who have read it."""
    output, folder = tmp_path / "out.h5", tmp_path / "out.h5.parts"
    gone, member = Member(output, "same"), Member(output, "same")
    member.output.publish_settings({"memory_bytes": 1 << 30})
    gone.compute(0)
    gone.stage.flush()
    member.stage.exchange(member.scheduler, stopping=False)  # which reads it, and claims the others
    member.compute(1)
    member.stage.flush()
    member.compute(2)
    if how == "files":
        for file in folder.iterdir():
            file.unlink()
    else:
        shutil.rmtree(folder)
    if how == "made anew":
        Member(output, "same")
    if stops:
        member.stage.end(complete=False)
    else:
        member.stage._next_sync = -float("inf")
        member.stage.exchange(member.scheduler, stopping=False)
        member.stage.flush()
    assert member.found_by_others() == {0: 0.0, 1: 1.0, 2: 2.0}
    if how == "folder":
        assert member.output.folder.read_values("plan") is not None


def test_the_parts_of_earlier_stages_are_written_again(tmp_path: Path) -> None:
    member = Member(tmp_path / "out.h5", "same")
    for task in range(4):
        member.compute(task)
    member.stage.end(complete=True)
    later = member.output.stage("contract", TASKS)
    shutil.rmtree(tmp_path / "out.h5.parts")
    later.begin(Scheduler(TASKS.costs, [0], admitted=False))
    assert member.found_by_others() == {task: float(task) for task in range(4)}


def test_claims_are_made_again_with_the_folder(tmp_path: Path) -> None:
    one = Member(tmp_path / "out.h5", "same")
    one.stage._next_sync = -float("inf")
    one.stage.exchange(one.scheduler, stopping=False)
    claimed = len(one.stage._claimed_blocks)
    assert claimed
    shutil.rmtree(tmp_path / "out.h5.parts")
    one.stage._next_sync = -float("inf")
    one.stage.exchange(one.scheduler, stopping=False)
    claims = one.output.folder.claims(one.stage._claim_prefix)
    assert len(claims) == len(one.stage._claimed_blocks) >= claimed
