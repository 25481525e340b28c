from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import hpcq
from hpcq.core.errors import HpcqError, StoppedError
from hpcq.parallel.coordinator import Coordinator
from hpcq.runs.output import NoOutput
from hpcq.runs.stop_conditions import StopConditions
from hpcq.runs.stop_signals import stopping_script, uninterrupted
from tests.support.circuits import two_halves


def stop() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_call_of_hpcq_ends_before_the_exception() -> None:
    steps = []

    def script() -> None:
        with uninterrupted():
            with uninterrupted():
                stop()
                steps.append("inner")
            steps.append("outer")
        steps.append("script")

    with stopping_script(), pytest.raises(StoppedError, match="SIGUSR1 was received"):
        script()
    assert steps == ["inner", "outer"]


def test_one_signal_is_one_exception() -> None:
    def fail(error: HpcqError) -> None:
        stop()
        raise error

    with stopping_script():
        for _ in range(2):
            with pytest.raises(StoppedError), uninterrupted():
                stop()
        with pytest.raises(StoppedError, match="saved"), uninterrupted():
            fail(StoppedError("stopped, saved"))
        with pytest.raises(StoppedError) as caught, uninterrupted():
            fail(HpcqError("fails"))
        assert str(caught.value.__context__) == "fails"
        with uninterrupted():
            pass


def test_evaluations_are_complete_before_a_script_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit, angle = QuantumCircuit(2), Parameter("a")
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    program = hpcq.plan(circuit, "Z0", cut_labels="AB").compile()
    evaluate, calls = program.evaluator.values, []

    def stopped_within(angles: np.ndarray) -> np.ndarray:
        stop()
        calls.append(evaluate(angles))
        return calls[-1]

    monkeypatch.setattr(program.evaluator, "values", stopped_within)
    with stopping_script(), pytest.raises(StoppedError):
        program.values([[0.3]])
    assert len(calls) == 1


def test_a_run_that_ends_before_it_can_stop_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = hpcq.plan(two_halves(), "Z0 Z5", cut_labels="AAABBB")
    output, run = tmp_path / "out.h5", Coordinator.run

    def finish_then_stop(coordinator: Coordinator, source: Any, monitor: Any) -> Any:
        outcome = run(coordinator, source, monitor)
        stop()
        return outcome

    with stopping_script(), hpcq.Session():
        monkeypatch.setattr(Coordinator, "run", finish_then_stop)
        with pytest.raises(StoppedError, match="SIGUSR1 was received"):
            hpcq.run(plan, device="cpu", output=output)
        monkeypatch.undo()
        assert hpcq.load(output).status == "complete"
        assert NoOutput().stopped_error is StoppedError


def test_a_run_in_another_thread_is_told() -> None:
    seen = []
    with stopping_script():
        earlier, conditions = [], []

        def begin() -> None:
            conditions.append(StopConditions(environment={}))
            earlier.append(conditions[0].stop_request)

        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        with pytest.raises(StoppedError):
            stop()
        seen.append(conditions[0].stop_request)
        assert StopConditions(environment={}).stop_request is None, "it is over"
    assert earlier == [None]
    assert seen[0].reason == "SIGUSR1 was received"


@pytest.mark.usefixtures("short_margin")
def test_the_end_of_the_time_is_told_once() -> None:
    with stopping_script(seconds_left=0.2):
        with pytest.raises(StoppedError, match="the end of the allocation is near"):
            time.sleep(5)
        time.sleep(0.05)
    with stopping_script(seconds_left=0.2):
        with pytest.raises(StoppedError, match="SIGUSR1 was received"):
            stop()
        time.sleep(0.2)  # in which the script saves


@pytest.fixture
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcq.runs.stop_signals._SCRIPT_MARGIN", 0.1)


def test_signals_outside_of_a_script_are_not_caught() -> None:
    with stopping_script():
        pass
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    with uninterrupted():
        pass
