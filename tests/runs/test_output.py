"""Runs without an output, with a file, and with a file that jobs share, through one protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.core.errors import HpcqError, NotWrittenError, StoppedError
from hpcq.cutting.cuts import Cuts
from hpcq.parallel.serial import SerialFarm
from hpcq.parallel.tasks import FinishedTasks, TaskResults, Tasks
from hpcq.planning.kind import kind_of
from hpcq.results.details import ResultDetails
from hpcq.results.progress import PartialProgress, Stage
from hpcq.runs.file_output import FileOutput
from hpcq.runs.output import NoOutput, RunOutput
from hpcq.runs.shared.output import SharedOutput
from hpcq.runs.status import status_file, write_status
from tests.parallel.task_functions import by_name, plain

STATUS = {"phase": "x", "done": 1, "total": 2, "rate": 1.0, "seconds_left": 1.0, "ranks": 1}


def partial() -> hpcq.Result:
    return hpcq.Result(("Z0",), np.full(1, np.nan), np.full(1, np.nan), "partial", {}, {})


@pytest.fixture(params=[NoOutput, FileOutput, SharedOutput])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> RunOutput:
    if request.param is NoOutput:
        return NoOutput()
    kept: RunOutput = request.param(tmp_path / "out.h5")
    return kept


def test_the_same_tasks_wherever_they_are_kept(output: RunOutput) -> None:
    output.agree_on_run({"circuit": "one"})
    stage = output.stage("simulate", Tasks(np.ones(9), float))
    with SerialFarm().coordinator(by_name) as coordinator:
        coordinator.prepare(b"plain", in_subprocess=False)
        outcome = coordinator.run(stage)
    assert outcome.complete
    for task, numbers in enumerate(outcome.finished):
        np.testing.assert_array_equal(numbers, plain(task, b""))


def test_what_becomes_of_finished_tasks(
    output: RunOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileOutput, "_write", lambda *_: None)
    output.stage("simulate", Tasks(np.ones(9), float))
    place = {FileOutput: tmp_path / "out.h5", SharedOutput: tmp_path / "out.h5.parts"}
    if type(output) is NoOutput:
        assert output.stopped_error is HpcqError
        assert output.stop(partial) == "were done and are lost, because there is no --output"
    else:
        assert output.stopped_error is StoppedError
        saved = f"are saved in {place[type(output)]}; run the same command again to resume"
        assert output.stop(partial) == saved


def test_a_run_that_does_not_begin_leaves_no_traces(output: RunOutput, tmp_path: Path) -> None:
    output.agree_on_run({"circuit": "one"})
    output.close()
    assert list(tmp_path.iterdir()) == []


def test_the_status_of_another_run_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    write_status(path, STATUS)
    refused = FileOutput(path)
    refused.close()
    assert status_file(path).is_file()
    failed = FileOutput(path)
    failed.update(STATUS, None)
    failed.close()
    assert not status_file(path).exists()


def test_a_result_that_was_there_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    plan = hpcq.plan(circuit, "Z0", cut_labels="AB")
    hpcq.run(plan, output=path, device="cpu")
    before = path.stat().st_ino  # a file that is written again is another one
    output = FileOutput(path)
    previous = output.load_previous(kind_of(plan))
    assert previous is not None
    assert output.finish(previous) == [path]
    assert path.stat().st_ino == before


def test_a_result_that_a_user_saved_is_that_of_its_run(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    plan = hpcq.plan(circuit, "Z0", cut_labels="AB")
    hpcq.run(plan, device="cpu").save(path)
    before = path.stat().st_ino  # a file that is written again is another one
    assert hpcq.run(plan, output=path, device="cpu").expectation_values == pytest.approx(1.0)
    assert path.stat().st_ino == before


class Checkpoints:
    """A file output that is always due, and how often it has saved.

    Args:
        path: The file.
        monkeypatch: Stands in for the writes.
    """

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output = FileOutput(path, 0.0)
        self.count = 0
        self.fails = False
        monkeypatch.setattr("hpcq.runs.file_output.rewrite", self._rewrite)
        monkeypatch.setattr("hpcq.runs.file_output._MIN_PAUSE_FACTOR", 0.0)

    def _rewrite(self, result: hpcq.Result, path: Path) -> bytes:
        if self.fails:
            raise NotWrittenError(f"{path}: the disk is full")
        assert result.status == "partial"
        self.count += 1
        return b""

    def update(self, done: int) -> int:
        """Report progress; return the number of saves that followed."""
        before = self.count
        self.output.update({**STATUS, "done": done}, partial)
        return self.count - before


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    return Checkpoints(tmp_path / "out.h5", monkeypatch)


def test_a_checkpoint_has_tasks_that_the_file_has_not(checkpoints: Checkpoints) -> None:
    """A write without news takes time, and the pause after it puts off those with some."""
    checkpoints.output.stage("simulate", Tasks(np.ones(9), float))
    saves = [checkpoints.update(done) for done in (0, 0, 1, 1, 1, 4, 4)]
    assert saves == [0, 0, 1, 0, 0, 1, 0]


def test_a_finished_round_is_saved_with_the_next_one(checkpoints: Checkpoints) -> None:
    """Rounds of shots count their tasks from 0, so equal numbers may be of different rounds."""
    checkpoints.output.stage("round 1", Tasks(np.ones(2), float))
    assert [checkpoints.update(done) for done in (0, 1)] == [0, 1]
    checkpoints.output.stage("round 2", Tasks(np.ones(2), float))
    assert [checkpoints.update(done) for done in (1, 1)] == [1, 0]


def test_what_a_run_resumes_is_not_news(checkpoints: Checkpoints) -> None:
    tasks = Tasks(np.ones(9), float)
    known = FinishedTasks(9, float)
    known.add(TaskResults(0, np.arange(3), np.ones(3, np.int64), np.ones(3), np.ones(3)))
    unfinished = PartialProgress((Stage("simulate", known),))
    details = ResultDetails(QuantumCircuit(1), Cuts(), (), {}, unfinished=unfinished)
    checkpoints.output.previous = replace(partial(), details=details)
    assert checkpoints.output.stage("simulate", tasks).finished.num_done == 3
    assert [checkpoints.update(done) for done in (3, 3, 4)] == [0, 0, 1]


def test_a_save_is_made_when_asked_for_whatever_is_finished(checkpoints: Checkpoints) -> None:
    """Names of a device's jobs are worth saving before the first of them has ended."""
    checkpoints.output.stage("round 1", Tasks(np.ones(2), float))
    checkpoints.output.save_soon()
    assert [checkpoints.update(done) for done in (0, 0)] == [1, 0]


def test_a_save_that_failed_is_made_again(
    checkpoints: Checkpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints.output.stage("simulate", Tasks(np.ones(9), float))
    checkpoints.fails = True
    assert checkpoints.update(1) == 0
    assert "not saved" in capfd.readouterr().err
    checkpoints.fails = False
    assert [checkpoints.update(done) for done in (1, 1)] == [1, 0]
