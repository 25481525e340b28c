"""Runs for outcomes that fail or are killed, and go on with the same bits."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpcq
from hpcq.core.errors import EngineError, InputError, TasksFailedError
from hpcq.kinds.outcomes.sample_tasks import SampleTasks
from hpcq.kinds.outcomes.state_tasks import StateTasks
from hpcq.planning.outcome_plan import KnownSites
from hpcq.results import load_progress
from tests.support.circuits import two_halves
from tests.support.launch import environment, run


def test_a_run_that_fails_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.h5"
    plan = hpcq.plan_outcomes(
        two_halves(), cut_labels="AAABBB", shots=200_000, probabilities=["000000"], threads=1
    )
    expected = hpcq.run(plan, device="cpu").outcomes
    computed: list[tuple[type, int]] = []
    failing: set[tuple[type, int]] = {(StateTasks, 1), (SampleTasks, 2)}
    for owner in (StateTasks, SampleTasks):
        make = owner.task_function

        def task_function(tasks: Any, open_engine: Any, make: Any = make) -> Any:
            compute = make(tasks, open_engine)

            def watched(task: int, payload: bytes = b"") -> np.ndarray:
                if (type(tasks), task) in failing:
                    raise EngineError("the dog ate my amplitudes")
                computed.append((type(tasks), task))
                return compute(task, payload)

            return watched

        monkeypatch.setattr(owner, "task_function", task_function)
    stages = []
    for owner in (StateTasks, SampleTasks):
        with pytest.raises(TasksFailedError, match="ate my amplitudes"):
            # Each start is a new process elsewhere, and knows nothing of an earlier one.
            hpcq.run(replace(plan, known=KnownSites()), output=output, device="cpu")
        stages.append([(stage["done"], stage["total"]) for stage in load_progress(output)[1]])
        failing -= {each for each in failing if each[0] is owner}
    assert stages == [[(1, 2)], [(2, 2), (3, 4)]]
    found = hpcq.run(replace(plan, known=KnownSites()), output=output, device="cpu").outcomes
    assert sorted(computed, key=str) == sorted(
        [(StateTasks, n) for n in range(2)] + [(SampleTasks, n) for n in range(4)], key=str
    )
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.packed, expected.packed)
    np.testing.assert_array_equal(found.sample_probabilities, expected.sample_probabilities)
    assert hpcq.load(output).status == "complete"
    with pytest.raises(InputError, match="output: a result of another run"):
        hpcq.run(plan.asking({"seed": 9}, shots=200_000), output=output, device="cpu")


KILLED = """
import sys, hpcq
from hpcq.runs import file_output
from tests.kinds.outcomes.test_outcomes import rotated
file_output._MIN_PAUSE_FACTOR = 0
plan = hpcq.plan_outcomes(
    rotated(24), cut_labels="A" * 12 + "B" * 12, shots=600_000, threads=1, memory=1 << 30
)
hpcq.run(plan, output=sys.argv[1], checkpoint_seconds=0.02, device="cpu")
"""


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.mpi
def test_a_killed_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """On one rank until it is killed, and then on three."""
    whole, output = tmp_path / "whole.h5", tmp_path / "out.h5"
    assert run(sys.executable, "-c", KILLED, whole).returncode == 0
    started = subprocess.Popen([sys.executable, "-c", KILLED, output], env=environment())
    deadline = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < deadline:
        stages = load_progress(output)[1] if output.exists() else []
        if len(stages) == 2 and stages[1]["done"] > 1:
            break
        time.sleep(0.005)
    started.kill()
    started.wait()
    assert load_progress(output)[0].status == "partial"
    again = run(sys.executable, "-c", KILLED, output, ranks=3)
    assert again.returncode == 0, again.stderr
    found, expected = hpcq.load(output).outcomes, hpcq.load(whole).outcomes
    assert found is not None
    assert expected is not None
    np.testing.assert_array_equal(found.packed, expected.packed)
