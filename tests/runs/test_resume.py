"""Runs that are stopped, killed, and go on; the answer is the same bit for bit."""

from __future__ import annotations

import errno
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import InputError, StoppedError
from hpcq.results import load_progress
from tests.kill_and_resume import Job, trials, write_circuit
from tests.support.circuits import two_halves
from tests.support.launch import environment, hpcq_here
from tests.support.launch import hpcq as run_hpcq

SHOTS = ("example:lattices", "--max-qubits", "18", "--memory", "1G", "--threads", "1")
SHOTS += ("--shots", "1000000")
"""Arguments of a run with shots, whose rounds take long enough to be killed within one."""


@pytest.fixture(scope="module")
def shots_result() -> dict:
    """The result of a run with shots that nothing happens to."""
    return json.loads(hpcq_here("run", *SHOTS, "--json").stdout)


SAVES_OFTEN = (
    "import sys; from hpcq.runs import file_output; file_output._MIN_PAUSE_FACTOR = 0; "
    "from hpcq.cli.main import main; sys.exit(main())"
)
"""Runs hpcq without its minimum pause between checkpoints, so that a short run has many."""


def start(*arguments: str | Path, workers: str = "process") -> subprocess.Popen[str]:
    """Start a run whose tasks are computed as long ones are: in a process.

    Python may abort (exit code 134) if a thread is still simulating when it ends; a run that is
    killed, or not stopped at all, does without the process, which takes a second to start.
    """
    return subprocess.Popen(
        [sys.executable, "-c", SAVES_OFTEN, "run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(HPCQ_WORKERS=workers),
    )


def wait_for(condition: object, seconds: float = 30.0) -> None:
    begun = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


def has_saved(output: Path) -> Callable[[], bool]:
    """Return whether a file holds finished tasks by now."""
    return lambda: output.exists() and load_progress(output)[1][0]["done"] > 0


def status(output: Path) -> dict:
    return json.loads(hpcq_here("status", output, "--json").stdout)


@pytest.mark.mpi
@pytest.mark.nightly
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    """A short version of ``python tests/kill_and_resume.py``."""
    short_job = write_circuit(tmp_path, layers=16, qubits=13)
    seen = trials(3, 11, short_job, tmp_path, 3.0)
    assert seen["same answers"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers"),
    [
        ("TERM", "process"),
        pytest.param("USR1", "thread", marks=pytest.mark.nightly),
        pytest.param("INT", "process", marks=pytest.mark.nightly),
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(
    name: str, workers: str, long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    arguments = (*long_job, "-o", output, "--checkpoint-seconds", "0.1")
    running = start(*arguments, workers=workers)
    wait_for(has_saved(output))
    begun = time.monotonic()
    running.send_signal(getattr(signal, f"SIG{name}"))
    _, said = running.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert running.returncode == 75, said
    assert f"SIG{name} was received" in said
    assert "run the same command again to resume" in said
    assert status(output)["state"] == "STOPPED"
    assert main(["show", str(output)]) == 0
    with h5py.File(output) as file:
        assert file.attrs["status"] == "partial"
        assert 0 < file["unfinished/stages/0"].attrs["done"] <= 72
    again = hpcq_here("run", *arguments, "--json")
    assert again.returncode == 0, again.stderr
    assert "going on" in again.stderr
    assert json.loads(again.stdout)["expectation_values"] == long_job_values
    assert status(output)["state"] == "DONE"
    assert len(status(output)["provenance"]["starts"]) == 2
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_status_while_a_run_goes_on(long_job: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    running = start(*long_job, "-o", output, "--checkpoint-seconds", "0.5", workers="thread")
    wait_for((tmp_path / ".out.h5.status").exists)
    told = status(output)
    assert told["state"] == "RUNNING"
    assert told["phase"] == "simulate"
    assert told["total"] == 72
    wait_for(has_saved(output))
    running.kill()
    running.wait()
    assert status(output)["state"] == "STOPPED"


@pytest.mark.slow
def test_a_time_limit_stops_before_it_is_over(long_job: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    done = hpcq_here("run", *long_job, "-o", output, "--time-limit", "00:00:02")
    assert done.returncode == 75, done.stderr
    assert "time" in done.stderr
    assert output.exists()


@pytest.mark.slow
def test_stopped_without_an_output_nothing_is_kept(long_job: list[str]) -> None:
    done = hpcq_here("run", *long_job, "--time-limit", "1.5")
    assert done.returncode == 1
    assert "there is no --output" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "ranks", [pytest.param(0, marks=pytest.mark.nightly), pytest.param(3, marks=pytest.mark.mpi)]
)
def test_shots_go_on_within_a_round(ranks: int, shots_result: dict, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    running = start(*SHOTS, "-o", output, "--checkpoint-seconds", "0.01", workers="thread")
    wait_for(has_saved(output))
    running.kill()
    running.wait()
    again = run_hpcq("run", *SHOTS, "-o", output, "--json", ranks=ranks)
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    for name in ("expectation_values", "standard_errors"):
        assert result[name] == shots_result[name]
    assert result["provenance"]["shots"] == 1_000_000


@pytest.fixture(scope="module")
def stopped_run(long_job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a run that was stopped."""
    output = tmp_path_factory.mktemp("stopped") / "out.h5"
    running = start(*long_job, "-o", output, "--checkpoint-seconds", "0.1")
    wait_for(has_saved(output))
    running.terminate()
    assert running.wait(30) == 75
    return output


@pytest.fixture
def stopped(stopped_run: Path, tmp_path: Path) -> Path:
    """A copy of that file."""
    return Path(shutil.copy(stopped_run, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--observable", "Z3"), "observables"),
        (("--memory", "64M"), "slices"),
        (("--dtype", "complex64"), "precision"),
        (("--shots", "100000"), "holds an exact result"),
    ],
)
def test_another_run_is_refused_and_named(
    change: tuple[str, ...],
    named: str,
    long_job: list[str],
    stopped: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    before = stopped.read_bytes()
    assert main(["run", *long_job, *change, "-o", str(stopped)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert named in line
    assert stopped.read_bytes() == before


@pytest.mark.slow
def test_damaged_and_foreign_files_are_left_alone(long_job: list[str], stopped: Path) -> None:
    whole = stopped.read_bytes()
    rng = random.Random(0)
    places = [rng.randrange(512, len(whole)) for _ in range(3)]
    bad = [whole[:place] for place in (1, 511, 513, *places)]
    bad += [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    for content in (*bad, b"my thesis"):
        stopped.write_bytes(content)
        assert main(["run", *long_job, "-o", str(stopped)]) == 2
        assert stopped.read_bytes() == content


@pytest.mark.mpi
def test_a_rank_that_does_not_answer_does_not_hold_a_stop_up(
    long_job: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    how = [*long_job, "-o", str(output), "--checkpoint-seconds", "0.1"]
    running = Job(how, 2, tmp_path, "process")
    wait_for(output.exists)
    pids = {rank: pid for pid, rank in running.members().items() if rank is not None}
    os.kill(pids[1], signal.SIGSTOP)
    begun = time.monotonic()
    os.kill(pids[0], signal.SIGTERM)
    # MPICH's mpirun sometimes returns the code of a rank that it killed, even if another one has
    # simply exited with 75.
    assert running.process.wait(30) in (75, signal.SIGKILL)
    assert time.monotonic() - begun < 10
    assert "ranks that do not answer: 1" in running.log.read_text()
    running.gone()


@pytest.mark.slow
def test_nobody_needs_to_listen(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    quick = write_circuit(tmp_path, layers=6, qubits=10)
    command = [sys.executable, "-m", "hpcq", "run", *quick, "-o", str(output), "--json"]
    quoted = " ".join(map(shlex.quote, command))
    values = json.loads(hpcq_here("run", *quick, "--json").stdout)["expectation_values"]
    for how in (f"{quoted} 2>&-", f"{quoted} 2> >(head -c 1 >/dev/null)"):
        output.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", how], capture_output=True, text=True, env=environment(), check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["expectation_values"] == values
        assert status(output)["state"] == "DONE"


@pytest.mark.slow
def test_an_output_that_is_gone_is_written_again(
    long_job: list[str], long_job_values: list[float], tmp_path: Path
) -> None:
    output = tmp_path / "out.h5"
    often = ("--checkpoint-seconds", "0.1")
    running = start(*long_job, "-o", output, *often, "--json", workers="thread")
    wait_for(output.exists)
    output.unlink()
    found, _ = running.communicate(timeout=60)
    assert json.loads(found)["expectation_values"] == long_job_values
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.slow
def test_an_output_that_another_run_changed_is_kept(long_job: list[str], tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    running = start(*long_job, "-o", output, "--checkpoint-seconds", "1")
    wait_for(output.exists)
    output.write_text("my thesis")
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 75, said
    assert output.read_text() == "my thesis"
    assert "with --output" in said
    assert hpcq.load(tmp_path / "out.1.h5").status == "partial"


@pytest.mark.slow
def test_a_full_disk_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hpcq.core.files.os.fsync", full)
    output = tmp_path / "out.h5"
    how = ["example:lattices", "--max-qubits", "18", "--observable", "Z0"]
    assert main(["run", *how, "-o", str(output)]) == 1
    told = capfd.readouterr()
    assert "Z0  -0.19" in told.out
    assert "No space left" in told.err
    assert not list(tmp_path.iterdir())


def test_python_keeps_a_file_too(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    plan = hpcq.plan(two_halves(), "Z0 Z5", cut_labels="AAABBB")
    with pytest.raises(StoppedError, match="0 of 2 tasks are saved"):
        hpcq.run(plan, output=output, time_limit=1e-3)
    held = hpcq.load(output)
    assert held.status == "partial"
    assert np.isnan(held.expectation_values).all()
    result = hpcq.run(plan, output=output)
    assert hpcq.load(output).status == "complete"
    again = hpcq.run(plan, output=output)
    assert again.expectation_values == result.expectation_values
    other = hpcq.plan(two_halves(4), "Z0 Z5", cut_labels="AAABBB")
    with pytest.raises(InputError, match="circuit"):
        hpcq.run(other, output=output)


@pytest.mark.slow
def test_an_unfinished_run_of_other_shots_is_finished_first(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    plan = hpcq.plan(two_halves(), "Z0 Z5", cut_labels="AAABBB", shots=10_000)
    with pytest.raises(StoppedError):
        hpcq.run(plan, output=output, time_limit=1e-3)
    more = hpcq.plan(two_halves(), "Z0 Z5", cut_labels="AAABBB", shots=20_000)
    with pytest.raises(InputError, match="shots was 10000"):
        hpcq.run(more, output=output)
    result = hpcq.run(plan, output=output)
    whole = hpcq.run(plan)
    assert result.expectation_values == whole.expectation_values
    assert hpcq.run(more, output=output).provenance["shots"] == 30_000


def test_what_it_cost_is_added_up(tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    plan = hpcq.plan(two_halves(), "Z0 Z5", cut_labels="AAABBB")
    with pytest.raises(StoppedError):
        hpcq.run(plan, output=output, time_limit=1e-3)
    hpcq.run(plan, output=output)
    result = hpcq.load(output)
    account, starts = result.provenance["account"], result.provenance["starts"]
    assert len(starts) == 2
    assert account["core_seconds"] == pytest.approx(sum(s["core_seconds"] for s in starts))
    assert account["gpu_seconds"] == 0
    assert set(account["subcircuit_seconds"]) == {"0", "1"}
    assert result.details is not None
    (timeline,) = result.details.timelines
    rank, begin, end, tasks, _ = timeline.T
    assert (rank == 0).all()
    assert (end >= begin).all()
    assert tasks.sum() == 2
