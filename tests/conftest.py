"""Settings of all tests, their markers, and the run that tests of stopping and resuming share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from hpcq.circuits import reader
from hpcq.circuits.reader_forks import ReaderForks
from hpcq.runs.stop_conditions import StopConditions
from tests.kill_and_resume import write_circuit
from tests.support.launch import hpcq_here, launcher

# Circuits take a while to draw and to simulate, the first ones longest: no deadlines.
settings.register_profile("hpcq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpcq")

# Nothing may depend on what was measured or set up on this machine; commands that tests start
# inherit it.
os.environ["HPCQ_CALIBRATION"] = "none"
os.environ["HPCQ_SITE"] = "none"
# Hundreds of commands are started; each would compile hpcq again, for a third of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

_WITHOUT_LAUNCHER = "need --with-mpi option to run"
"""Reason with which pytest-mpi skips tests that are not started by a launcher."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark tests of SLURM by their folder; these, nightly ones and those that start MPI are slow.

    A test marked ``mpi(min_size=...)`` runs on the ranks of a launcher, with ``--with-mpi``. One
    marked ``mpi`` starts the launcher itself, so that it runs where there is one: pytest-mpi's mark
    to skip it is removed again.
    """
    starts_launcher = []
    for item in items:
        if item.nodeid.startswith("tests/slurm/"):
            item.add_marker("slurm")
            item.add_marker("slow")
        if item.get_closest_marker("nightly"):
            item.add_marker("slow")
        mark = item.get_closest_marker("mpi")
        if mark is not None and not mark.kwargs:
            starts_launcher.append(item)
            item.add_marker("slow")
            if launcher() is None:
                item.add_marker(pytest.mark.skip(reason="mpirun is not installed"))
    yield
    for item in starts_launcher:
        item.own_markers = [
            mark for mark in item.own_markers if mark.kwargs.get("reason") != _WITHOUT_LAUNCHER
        ]


@pytest.fixture(autouse=True)
def no_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the signals of this process alone: Ctrl-C ends the tests, not the run in one of them.

    Tests of the handlers themselves replace this fixture.
    """
    monkeypatch.setattr(StopConditions, "__enter__", lambda conditions: conditions)


@pytest.fixture(scope="session")
def forks() -> Iterator[ReaderForks]:
    """The process whose forks read the circuits of all tests."""
    started = ReaderForks(reader._module_path(), reader._environment())
    yield started
    started.close()


@pytest.fixture(autouse=True)
def quick_readers(monkeypatch: pytest.MonkeyPatch, forks: ReaderForks) -> None:
    """Read circuits in forks of one process: starting a reader takes half a second.

    Tests of how a reader starts replace this fixture.
    """
    monkeypatch.setattr(reader, "_forks", forks)


@pytest.fixture(scope="session")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run of 72 tasks and about three seconds: long enough to be stopped half way.

    With 14 qubits a half it would be 272 tasks and, as Aer fuses gates from 14 on, 20 seconds.
    """
    return write_circuit(tmp_path_factory.mktemp("long"), layers=40, qubits=13)


@pytest.fixture(scope="session")
def long_job_values(long_job: list[str]) -> list[float]:
    """The values of a run of ``long_job`` that nothing happens to."""
    done = hpcq_here("run", *long_job, "--json")
    assert done.returncode == 0, done.stderr
    values: list[float] = json.loads(done.stdout)["expectation_values"]
    return values
