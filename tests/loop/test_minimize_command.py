"""The command ``hpcq minimize``, its file, and loops that are killed or told to stop."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpcq
from hpcq.circuits import qpy
from hpcq.kinds.parameters.program import Program
from tests.loop.problems import ansatz, energy
from tests.support.launch import hpcq_here, run

WORDS = ("--observables", "e.json", "--cut-labels", "AABB", "--threads", "1", "--memory", "1G")


@pytest.fixture
def no_signal_handlers() -> None:
    """Loops handle signals here."""


@pytest.fixture
def circuit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("c.qpy").write_bytes(qpy.dump(ansatz()))
    terms = [["Z0 Z1", 1.0], ["Z1 Z2", 0.7], ["Z2 Z3", 1.0], ["X1", 0.6], ["X3", 0.4]]
    Path("e.json").write_text(json.dumps([{"name": "energy", "terms": terms}]))
    Path("x0.json").write_text(json.dumps({"theta": [0.3] * 10}))
    return "c.qpy"


@pytest.mark.slow
def test_the_minimum_is_printed_and_stored(circuit: str) -> None:
    words = ("minimize", circuit, *WORDS, "-o", "o.h5", "--max-evaluations", "12")
    told = json.loads(hpcq_here(*words, "--initial", "x0.json", "--json").stdout)
    row = told["parameters"]["values"][0]
    assert told["expectation_values"][0][0] == pytest.approx(energy(np.array(row)), abs=1e-10)
    assert told["status"] == "complete"
    loop = told["loop"]
    assert (loop["evaluations"], loop["starts"], loop["optimizer"]) == (12, 1, "L-BFGS-B")
    assert "maximum number of evaluations, 12" in loop["message"]
    again = hpcq_here(*words, "--initial", "0.3")  # the same starting point
    assert again.returncode == 0, again.stderr
    assert "already complete" in again.stderr
    assert f"{told['expectation_values'][0][0]:+.12f}" in again.stdout
    assert again.stdout.count("theta[") == 10
    assert f"gradient norm {loop['gradient_norm']:.3g}" in again.stdout
    shown = hpcq_here("show", "o.h5").stdout
    assert shown.startswith(again.stdout)
    assert "status      complete" in shown
    refused = hpcq_here(*words, "--initial", "0.3", "--optimizer", "COBYLA")
    assert refused.returncode == 2
    assert "optimizer was L-BFGS-B and is COBYLA" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cut-labels", "AABB"), "observable: not given"),
        ((*WORDS, "--initial", "missing.json"), "missing.json"),
        ((*WORDS, "--optimizer", "ADAM"), "optimizer: 'ADAM', expected one of L-BFGS-B"),
        ((*WORDS, "--observable", "Z0"), "observable: 2 observables, expected one"),
        ((*WORDS, "--tolerance", "-1"), "tolerance"),
        ((*WORDS, "--parameters", "rows.json"), "--initial takes starting points"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    words: tuple[str, ...], message: str, circuit: str
) -> None:
    Path("rows.json").write_text(json.dumps([{"theta": [0.3] * 10}]))
    done = hpcq_here("minimize", circuit, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_job_runs_the_command(circuit: str) -> None:
    words = ("minimize", circuit, *WORDS, "--starts", "3", "-o", "o.h5")
    done = hpcq_here("submit", "--local", "--dry-run", "--", *words)
    assert done.returncode == 0, done.stderr
    assert "minimize" in done.stdout
    assert "--starts=3" in done.stdout
    refused = hpcq_here("submit", "--local", "--", "minimize", circuit, "-o", "o.h5")
    assert refused.returncode == 2
    assert "observable: not given" in refused.stderr


@pytest.mark.slow
def test_a_signal_stops_the_loop_and_the_same_command_goes_on(
    circuit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("minimize", circuit, *WORDS, "--initial", "0.3", "--optimizer", "Nelder-Mead")
    words = (*words, "--max-evaluations", "60", "--json")
    whole = json.loads(hpcq_here(*words).stdout)
    values, left = Program.values, 20

    def with_signal(program: Program, rows: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGUSR1)
        return values(program, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Program, "values", with_signal)
        stopped = hpcq_here(*words, "-o", "o.h5")
    assert stopped.returncode == 75
    assert "SIGUSR1 was received: 20 evaluations are saved in" in stopped.stderr
    shown = hpcq_here("show", "o.h5").stdout
    assert "20 evaluations by Nelder-Mead" in shown
    assert "status      partial" in shown
    resumed = hpcq_here(*words, "-o", "o.h5")
    assert json.loads(resumed.stdout)["expectation_values"] == whole["expectation_values"]
    assert hpcq.load("o.h5").status == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("loops", [1, pytest.param(50, marks=pytest.mark.nightly)])
def test_killed_loops_have_the_trajectory_of_one_that_nothing_happened_to(loops: int) -> None:
    seconds = 180 if loops == 1 else 1800
    done = run(sys.executable, "-m", "tests.loop.killed_loops", str(loops), seconds=seconds)
    assert done.returncode == 0, done.stderr
    kills, _, trajectories, *_ = done.stdout.split()
    assert int(trajectories) == loops
    assert int(kills) >= 2 * loops
