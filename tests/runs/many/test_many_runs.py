"""Jobs of many circuits: the ways in which a circuit can be computed, and their manifest."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpcq.core.errors import InputError
from hpcq.results.result import Result
from hpcq.runs.many import circuit_tasks, job
from hpcq.runs.many.manifest import Entry, Manifest
from tests.support.launch import hpcq_here

LIMITS = ("--memory", "1G", "--threads", "1", "--json")


@pytest.fixture
def circuits(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"c{number}.qasm" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        path.write_text(
            'OPENQASM 2.0; include "qelib1.inc"; qreg q[3];'
            f"ry(0.{number + 1}) q[0]; cx q[0],q[1]; cx q[1],q[2];"
        )
    return paths


def values(stdout: str) -> dict[str, Any]:
    lines = map(json.loads, stdout.splitlines())
    return {line["circuit"]: line["expectation_values"] for line in lines}


@pytest.mark.parametrize(
    "is_divisible", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["all ranks", "packed"]
)
def test_large_circuits_give_what_small_ones_do(
    is_divisible: bool, circuits: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large circuit is planned first, and then run on all ranks, or by one in a subprocess."""
    small = hpcq_here("run", *circuits, *LIMITS)
    monkeypatch.setattr(circuit_tasks, "_SMALL_SECONDS", 0.0)
    monkeypatch.setattr(job, "is_divisible", lambda *_: is_divisible)
    words = ("run", *circuits, *LIMITS, "-o", tmp_path / "out")
    large = hpcq_here(*words)
    assert large.returncode == 0, large.stderr
    assert values(large.stdout) == values(small.stdout)
    written = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.h5")}
    again = hpcq_here(*words)
    assert again.returncode == 0, again.stderr
    assert values(again.stdout) == values(small.stdout)
    assert "3 of 3 circuits were complete already" in again.stderr
    assert {path: path.read_bytes() for path in written} == written


@pytest.mark.slow
def test_a_circuit_that_kills_its_worker_stops_no_other(
    circuits: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where memory is short; the worker of a long run is a subprocess."""
    monkeypatch.setattr(circuit_tasks, "_SMALL_SECONDS", 0.0)
    monkeypatch.setattr(job, "is_divisible", lambda *_: False)
    take = job.CircuitRuns.task

    def deadly(runs: job.CircuitRuns, index: int) -> Any:
        task = take(runs, index)
        return _Deadly() if task.plan is not None and index == 1 else task

    monkeypatch.setattr(job.CircuitRuns, "task", deadly)
    done = hpcq_here("run", *circuits, *LIMITS, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert values(done.stdout).keys() == {str(circuits[0]), str(circuits[2])}
    assert f"hpcq: error: {circuits[1]} failed" in done.stderr
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text())["circuits"]
    assert [entry["state"] for entry in entries] == ["complete", "failed", "complete"]


class _Deadly:
    """Kills the process that receives it."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def test_a_full_disk_fails_one_circuit(
    circuits: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcq.core.errors import NotWrittenError
    from hpcq.runs import file_output

    rewrite = file_output.rewrite

    def full(result: Result, path: Path) -> bytes:
        if path.stem == "c2":
            raise NotWrittenError("output: cannot write 'c2.h5': No space left on device")
        return rewrite(result, path)

    monkeypatch.setattr(file_output, "rewrite", full)
    done = hpcq_here("run", *circuits, *LIMITS, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert len(values(done.stdout)) == 3  # printed, even if saving failed
    assert "No space left" in done.stderr
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.h5")) == ["c1", "c3"]


@pytest.mark.parametrize(("ranks", "expected"), [(1, True), (2, True), (3, True), (4, False)])
def test_a_run_gets_all_ranks_if_it_keeps_more_than_half_busy(ranks: int, expected: bool) -> None:
    class Cost:
        def for_rows(self, rows: int) -> Cost:
            assert rows == 1, "there are no parameters"
            return self

        def predicted_seconds(self, ranks: int = 1) -> float:
            return max(20.0 / ranks, 10.0)  # two tasks

    class Plan:
        cost = Cost()

    assert circuit_tasks.is_divisible(Plan(), ranks) is expected  # type: ignore[arg-type]


def result(bounds: list[float]) -> Result:
    zeros = np.zeros(len(bounds))
    names = tuple(f"Z{number}" for number in range(len(bounds)))
    return Result(names, zeros, zeros, "complete", {}, {}, np.array(bounds), "mps")


@pytest.mark.parametrize(
    ("bounds", "largest"), [([0.0, 1e-9], 1e-9), ([0.0, math.nan], None), ([math.inf], None)]
)
def test_the_largest_error_bound_is_unknown_if_one_is(
    bounds: list[float], largest: float | None
) -> None:
    entry = Entry("a.qasm", "a.h5").with_result(result(bounds))
    assert entry.max_error_bound == largest
    assert (entry.state, entry.method, entry.taken_seconds) == ("complete", "mps", None)


def test_a_manifest_is_replaced_only_by_another(tmp_path: Path) -> None:
    first = Manifest([Entry("a.qasm", "a.h5"), Entry("b.qasm", "b.h5")], tmp_path)
    first.write()
    first.update(1, Entry("b.qasm", "b.h5", "failed", 'why "quoted"'))
    assert (first.count("pending"), first.count("failed")) == (1, 1)
    first.write()
    second = Manifest([Entry("c.qasm", "c.h5")], tmp_path)
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert [entry["reason"] for entry in content["circuits"]] == ["", 'why "quoted"']
    second.write()
    assert '"c.qasm"' in (tmp_path / "manifest.json").read_text()
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="is left as it is"):
        Manifest([], tmp_path)


def test_a_manifest_without_a_folder_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = Manifest([Entry("a.qasm")], None)
    manifest.write()
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_cannot_be_written_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    manifest = Manifest([Entry("a.qasm", "a.h5")], folder)
    folder.rmdir()
    manifest.write()
    assert "hpcq: warning: output: cannot write" in capfd.readouterr().err
