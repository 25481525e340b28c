from __future__ import annotations

import os
import signal
import time

import pytest

from hpcq.core.errors import InputError
from hpcq.runs.stop_conditions import StopConditions, read_signal


@pytest.fixture(autouse=True)
def no_signal_handlers() -> None:
    """Leave the handlers as they are: these are their tests."""


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1"])
def test_a_signal_is_known_by_its_name(name: str) -> None:
    assert read_signal(name) == signal.SIGUSR1


@pytest.mark.parametrize("name", ["KILL", "STOP", "FOO", "", "SIG", "_DFL"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="stop_signal"):
        read_signal(name)


@pytest.mark.parametrize(
    ("name", "least", "most"), [("USR1", 4, 9), ("TERM", -1, 0.1), ("HUP", -1, 0.1)]
)
def test_a_signal_asks_to_stop_soon_or_at_once(name: str, least: float, most: float) -> None:
    nohup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
    before = signal.getsignal(read_signal(name))
    with StopConditions(environment={}) as conditions:
        assert conditions.stop_request is None
        assert conditions.deadline is None
        os.kill(os.getpid(), read_signal(name))
        assert conditions.stop_request is not None
        assert name in conditions.stop_request.reason
        assert least < conditions.stop_request.until - time.monotonic() < most
    assert signal.getsignal(read_signal(name)) == before
    signal.signal(signal.SIGHUP, nohup)


def test_a_second_interrupt_interrupts() -> None:
    with StopConditions(environment={}):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_stops_a_loop_too_in_whose_evaluation_it_arrives() -> None:
    with StopConditions(environment={}) as of_loop:
        with StopConditions(environment={}) as of_run:
            os.kill(os.getpid(), signal.SIGTERM)
            assert of_run.stop_request is not None
        assert of_loop.stop_request is not None
        assert "SIGTERM" in of_loop.stop_request.reason


def test_another_stop_signal_may_be_named() -> None:
    with StopConditions(stop_signal="USR2", environment={}) as conditions:
        os.kill(os.getpid(), signal.SIGUSR2)
        assert conditions.stop_request is not None


def test_the_earlier_of_limit_and_allocation_counts() -> None:
    end = {"SLURM_JOB_END_TIME": str(int(time.time()) + 500)}
    both = StopConditions(1000.0, environment=end).deadline
    assert both is not None
    assert 460 < both - time.monotonic() < 500, "there must be time left to save"
    limit = StopConditions(100.0, environment=end)
    assert limit.deadline is not None
    early = limit.deadline
    limit.note_save_seconds(20.0)
    assert limit.deadline < early - 30
    over = StopConditions(0.3, environment={})
    assert over.stop_request is not None
    assert "time limit" in over.stop_request.reason
    assert StopConditions(environment={"SLURM_JOB_END_TIME": "soon"}).deadline is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "00:10", True])
def test_what_is_no_time_limit_is_refused(seconds: object) -> None:
    with pytest.raises(InputError, match="time_limit"):
        StopConditions(seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["²", "9" * 400, "-5", ""])
def test_what_slurm_does_not_say_is_not_heard(end: str) -> None:
    assert StopConditions(environment={"SLURM_JOB_END_TIME": end}).deadline is None


def test_before_the_work_begins_a_signal_ends_the_run() -> None:
    reasons: list[str] = []
    with StopConditions(environment={}) as conditions:
        with conditions.before_start(reasons.append):
            os.kill(os.getpid(), signal.SIGTERM)
        assert reasons == ["SIGTERM was received"]
