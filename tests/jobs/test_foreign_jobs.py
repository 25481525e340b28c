"""Records that somebody else wrote: nothing is canceled that this user did not submit."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.jobs import local_backend as local
from hpcq.jobs.slurm_backend import FIELDS
from hpcq.jobs.submissions import Submission, record_file, save_submission
from tests.doctor.test_srun_mpi import executable
from tests.jobs.stand_ins import squeue

FORGED = "".join(
    str(value).ljust(width)
    for value, width in zip(
        ("7", "N/A", os.geteuid(), "RUNNING", "0", "0", "c1", "None"), FIELDS.values(), strict=True
    )
)
"""A row of squeue's that says what one's own job would; its owner put it into the job's name."""

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def commands(commands: Path, tmp_path: Path) -> Path:
    executable(commands / "scancel", f'echo "$@" >> {tmp_path}/canceled')
    return commands


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def plant(record: Submission) -> Path:
    """Write a record as hpcq would, without a note of it in the user's own folder."""
    place = record_file(Path(record.output))
    place.write_text(json.dumps({"format": "hpcq job 1", "jobs": [asdict(record)]}))
    place.chmod(0o644)
    return place


def says(commands: Path, *, name: str, uid: int, state: str = "RUNNING") -> None:
    executable(commands / "squeue", squeue(name=name, uid=uid, state=state))


def of_slurm(output: Path) -> Submission:
    return Submission("7", str(output), str(output.with_name("out-%j.log")), (), name="out")


@pytest.mark.parametrize("pid", [0, 1])
@pytest.mark.parametrize("command", ["cancel", "status", "logs", "result"])
def test_the_first_processes_are_no_jobs(
    pid: int,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.h5"
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("it was killed"))
    plant(
        Submission(
            f"local-{pid}",
            str(output),
            "%j.log",
            (),
            born=local.process_start_time(1),
            host=HOST,
        )
    )
    assert main([command, str(output)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "not a record of hpcq" in told
    record = Submission(
        f"local-{pid}",
        str(output),
        "%j.log",
        (),
        born=local.process_start_time(1),
        host=HOST,
    )
    assert not local.is_alive(record)
    hpcq.Job(record).end()


def test_a_process_that_hpcq_did_not_start_is_left_alone(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, born = tmp_path / "out.h5", local.process_start_time(sleeper.pid)
    record = Submission(f"local-{sleeper.pid}", str(output), "%j.log", (), born=born, host=HOST)
    for script in ("", "sleep 60", "'", "x\0y"):
        plant(replace(record, script=script))
        assert main(["cancel", str(output)]) == 0
        assert "was over already" in capsys.readouterr().out
    assert sleeper.poll() is None


def test_the_job_of_another_output_is_left_alone(tmp_path: Path) -> None:
    command = ["sleep", "60"]
    job, born = local.start(command, tmp_path / "mine-%j.log", tmp_path / "mine.h5")
    script = shlex.join(command)
    mine = Submission(
        job,
        str(tmp_path / "mine.h5"),
        "mine-%j.log",
        (),
        script,
        born=born,
        host=HOST,
    )
    try:
        assert local.is_alive(mine)
        for other in (
            replace(mine, output=str(tmp_path / "other.h5")),
            replace(mine, script="sleep 61"),
            replace(mine, born="1"),
        ):
            assert not local.is_alive(other)
            plant(other)
            hpcq.Job(other).cancel()
            assert local.is_alive(mine)
    finally:
        end = time.monotonic() + 20
        while local.is_alive(mine):  # the shell outlives a signal that comes before its command
            assert time.monotonic() < end
            hpcq.Job(mine).end()
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "uid", "expected"),
    [
        ("out", os.geteuid() + 1, f"of user {os.geteuid() + 1}"),
        (f"out\n{FORGED}\nout", os.geteuid() + 1, f"of user {os.geteuid() + 1}"),
        (f"x UserId=root({os.geteuid()}) JobName=out", os.geteuid(), "'x UserId=root("),
        ("thesis", os.geteuid(), "'thesis' of user"),
    ],
)
def test_another_job_of_slurms_is_not_canceled(
    name: str,
    uid: int,
    expected: str,
    tmp_path: Path,
    commands: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.h5"
    plant(of_slurm(output))
    says(commands, name=name, uid=uid)
    assert main(["cancel", str(output)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"job 7 is {expected}" in told.replace("job: ", "job ")
    assert not (tmp_path / "canceled").exists()
    status = hpcq.Job.of(output).status().state
    assert (status == "RUNNING") == (uid == os.geteuid())


def test_a_job_that_does_not_say_whose_it_is_is_not_canceled(
    tmp_path: Path, commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executable(commands / "squeue", squeue(uid="nobody"))
    output = tmp_path / "out.h5"
    save_submission(of_slurm(output))
    assert main(["cancel", "7"]) == 2
    assert "of an unknown user" in capsys.readouterr().err
    assert not (tmp_path / "canceled").exists()


@pytest.mark.parametrize(
    "name", ["out", "my job", " two\nlines", "x UserId=bob(7) JobState=FAILED"]
)
def test_ones_own_job_is_canceled(name: str, tmp_path: Path, commands: Path) -> None:
    """Whatever its name is, which sbatch may have had from ``SBATCH_JOB_NAME``."""
    output = tmp_path / "out.h5"
    save_submission(replace(of_slurm(output), name=name))
    says(commands, name=name, uid=os.geteuid())
    assert main(["cancel", str(output)]) == 0
    assert (tmp_path / "canceled").read_text() == "7\n"


@pytest.mark.parametrize("number", ["0", "000"])
def test_number_0_is_no_job(
    number: str, tmp_path: Path, commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.h5"
    plant(replace(of_slurm(output), job=number))
    says(commands, name="out", uid=os.geteuid())
    assert main(["cancel", str(output)]) == 2
    assert "not a record of hpcq" in capsys.readouterr().err
    assert not (tmp_path / "canceled").exists()


def test_a_record_of_an_older_hpcq_is_known(tmp_path: Path, commands: Path) -> None:
    output = tmp_path / "out.h5"
    record = asdict(of_slurm(output))
    del record["name"], record["uid"]
    place = record_file(output)
    place.write_text(json.dumps({"format": "hpcq job 1", "jobs": [record]}))
    place.chmod(0o644)
    says(commands, name="out", uid=os.geteuid())
    assert main(["cancel", str(output)]) == 0
    assert (tmp_path / "canceled").exists()


@pytest.mark.parametrize("how", ["of another user", "others can write it"])
def test_a_record_that_others_can_write_is_believed_only_with_a_note(
    how: str, tmp_path: Path, commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.h5"
    says(commands, name="out", uid=os.geteuid())
    for noted in (False, True):
        (save_submission if noted else plant)(of_slurm(output))
        place = record_file(output)
        if how.startswith("others"):
            place.chmod(0o664)
        elif os.geteuid():
            pytest.skip("only root can give files to others")
        else:
            os.chown(place, 12345, -1)
        assert main(["cancel", str(output)]) == (0 if noted else 2)
        assert ("is not known to be yours" in capsys.readouterr().err) == (not noted)
        assert (tmp_path / "canceled").exists() == noted


def test_planted_records_do_not_become_ones_own(tmp_path: Path) -> None:
    """Although this user's next submission rewrites the file."""
    output = tmp_path / "out.h5"
    plant(of_slurm(output)).chmod(0o666)
    save_submission(replace(of_slurm(output), job="8"))
    planted, mine = hpcq.jobs.submissions.submissions_of(output)
    assert (planted.job, planted.is_ours) == ("7", False)
    assert (mine.job, mine.is_ours) == ("8", True)


def test_only_what_is_beside_the_output_is_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "key").write_text("secret")
    for log in (str(tmp_path / "away" / "key"), "away/key", "../key", str(tmp_path / "..")):
        plant(replace(of_slurm(tmp_path / "out.h5"), log=log))
        main(["logs", str(tmp_path / "out.h5")])
        assert "secret" not in capsys.readouterr().out


EVIL = "error: \x1b]0;evil\x07\x9b2J no\tsuch file\r\n"


def test_the_error_line_of_a_job_do_nothing_to_a_terminal(
    tmp_path: Path,
    commands: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.h5"
    save_submission(of_slurm(output))
    (tmp_path / "out-7.log").write_text(EVIL)
    says(commands, name="out", uid=os.geteuid(), state="FAILED")
    for words in (["status", "7"], ["status", "7", "--json"], ["cancel", "7"]):
        assert main(words) == 0
        told = capsys.readouterr().out
        assert "such file" in told
        assert not set(told) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize("terminal", [False, True])
def test_only_a_terminal_is_spared_what_a_log_holds(
    terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_submission(of_slurm(tmp_path / "out.h5"))
    (tmp_path / "out-7.log").write_bytes(EVIL.encode())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert main(["logs", "7"]) == 0
    shown = "error: ?]0;evil??2J no\tsuch file\r\n" if terminal else EVIL
    assert capsys.readouterr().out == shown
