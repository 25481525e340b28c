"""Devices with queues: a run that stops leaves its jobs there, and the next start collects them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BackendSamplerV2, BaseSamplerV2
from qiskit.providers.fake_provider import GenericBackendV2

import hpcq
from hpcq.core.errors import StoppedError, TasksFailedError
from hpcq.results import load

pytestmark = pytest.mark.filterwarnings("ignore:Qiskit backend:UserWarning")


@pytest.fixture(autouse=True)
def no_signal_handlers() -> None:
    """Replace the fixture of that name: signals stop the runs here."""


class Job:
    """A job of a machine; it ends when the machine is told to."""

    def __init__(self, machine: Machine, name: str, results: Any) -> None:
        self.machine, self.name, self.results = machine, name, results

    def job_id(self) -> str:
        return self.name

    def in_final_state(self) -> bool:
        if self.machine.lost_polls:
            self.machine.lost_polls -= 1
            raise ConnectionError("network")
        if self.machine.is_busy and self.machine.is_watched:
            self.machine.watch()
        elif self.machine.is_busy:  # the batch system ends the run while it waits
            os.kill(os.getpid(), signal.SIGTERM)
        return not self.machine.is_busy

    def status(self) -> str:
        return "QUEUED" if self.machine.is_busy else "DONE"

    def result(self) -> Any:
        assert not self.machine.is_busy, "nobody waits inside the device's library"
        if self.machine.failures:
            raise RuntimeError(self.machine.failures.pop())
        return self.machine.garbage.pop() if self.machine.garbage else self.results.result()


class Machine(BaseSamplerV2):
    """A machine that keeps its jobs between runs, and may be busy."""

    def __init__(self) -> None:
        self._backend = GenericBackendV2(4, seed=1, noise_info=False)
        self._backend.retrieve_job = self.retrieve_job
        self.jobs: dict[str, Job] = {}
        self.is_busy = False
        self.forgets = False
        self.failures: list[str] = []
        self.garbage: list[Any] = []
        self.lost_polls = 0
        self.watched: Path | None = None
        self.seen: list[dict[str, Any]] = []

    def run(self, pubs: Any, *, shots: int | None = None) -> Job:  # noqa: ARG002 - each has its own
        name = f"job {len(self.jobs)}"
        self.jobs[name] = Job(self, name, BackendSamplerV2(backend=self._backend).run(pubs))
        return self.jobs[name]

    @property
    def is_watched(self) -> bool:
        return self.watched is not None

    def watch(self) -> None:
        """Note what is saved of the jobs, and be done once anything is."""
        assert self.watched is not None
        if self.watched.exists():
            self.seen.append(dict(load(self.watched).details.unfinished.job_ids))
            self.is_busy = False

    def retrieve_job(self, name: str) -> Job:
        if self.forgets:
            raise ValueError(f"no job {name}")
        return self.jobs[name]


def plan() -> hpcq.Plan:
    circuit = QuantumCircuit(4)
    for qubit in range(4):
        circuit.ry(0.4 + qubit, qubit)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    return hpcq.plan(circuit, ["Z0 Z3", "Z1"], cut_labels="AABB", shots=4000, threads=1)


def check(result: hpcq.Result) -> None:
    exact = hpcq.plan(result.details.circuit, ["Z0 Z3", "Z1"], cut_labels="AABB", threads=1)
    truth = hpcq.run(exact, device="cpu").expectation_values
    assert np.all(np.abs(result.expectation_values - truth) < 5 * result.standard_errors + 0.02)
    assert result.provenance["shots"] == 4000


def test_a_run_that_stops_leaves_its_job_and_the_next_start_collects_it(tmp_path: Path) -> None:
    machine, output = Machine(), tmp_path / "out.h5"
    machine.is_busy = True
    with pytest.raises(StoppedError, match="run the same command again"):
        hpcq.run(plan(), backend=machine, output=output)
    assert list(machine.jobs) == ["job 0"]
    unfinished = load(output).details.unfinished
    assert list(unfinished.job_ids.values()) == [["job 0"]]
    machine.is_busy = False
    result = hpcq.run(plan(), backend=machine, output=output)
    check(result)
    rounds = result.provenance["rounds"]
    assert len(machine.jobs) == rounds, "no round was submitted twice"


def test_a_job_that_the_device_forgot_is_submitted_again(tmp_path: Path) -> None:
    machine, output = Machine(), tmp_path / "out.h5"
    machine.is_busy = True
    with pytest.raises(StoppedError):
        hpcq.run(plan(), backend=machine, output=output)
    machine.is_busy, machine.forgets = False, True
    result = hpcq.run(plan(), backend=machine, output=output)
    check(result)
    assert len(machine.jobs) == result.provenance["rounds"] + 1


def test_a_job_that_fails_is_another_job_once() -> None:
    machine = Machine()
    machine.failures = ["calibration"]
    result = hpcq.run(plan(), backend=machine)
    check(result)
    assert len(machine.jobs) == result.provenance["rounds"] + 1
    machine.failures = ["fire"] * 9
    with pytest.raises(TasksFailedError, match=r"round 1, .*fire"):
        hpcq.run(plan(), backend=machine)


@pytest.mark.parametrize("garbage", [None, [], [3], "results of another job"])
def test_results_that_are_not_those_of_the_job_are_asked_for_again(
    garbage: Any, tmp_path: Path
) -> None:
    machine, output = Machine(), tmp_path / "out.h5"
    machine.garbage = [garbage] * 2
    with pytest.raises(TasksFailedError, match="Machine returned results for job 0 that are not"):
        hpcq.run(plan(), backend=machine, output=output)
    assert not load(output).details.unfinished.job_ids
    result = hpcq.run(plan(), backend=machine, output=output)
    check(result)
    assert len(machine.jobs) == result.provenance["rounds"] + 2


def test_a_short_loss_of_the_network_costs_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcq.runs.resumable_device._MAX_POLL_SECONDS", 0.01)
    machine = Machine()
    machine.lost_polls = 5
    result = hpcq.run(plan(), backend=machine)
    assert len(machine.jobs) == result.provenance["rounds"]
    machine.lost_polls = 1000
    with pytest.raises(TasksFailedError, match="network"):
        hpcq.run(plan(), backend=machine)


def test_the_names_of_jobs_are_saved_at_once_for_a_run_that_is_killed(tmp_path: Path) -> None:
    machine = Machine()
    machine.is_busy, machine.watched = True, tmp_path / "out.h5"
    result = hpcq.run(plan(), backend=machine, output=machine.watched, checkpoint_seconds=1e6)
    check(result)
    assert [list(jobs.values()) for jobs in machine.seen] == [[["job 0"]]]
