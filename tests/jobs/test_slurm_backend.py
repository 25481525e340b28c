"""What SLURM may answer, and what becomes of a job then, by stand-ins for its commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import HpcqError, InputError
from hpcq.jobs import job
from hpcq.jobs import slurm_backend as slurm
from hpcq.jobs.job_command import JobCommand
from hpcq.jobs.resource_request import ResourceRequest, parse_sbatch_option, parse_time
from hpcq.jobs.submissions import Submission, locked, record_file, save_submission
from hpcq.jobs.submit import PreparedJob, submit_to_slurm
from tests.doctor.test_srun_mpi import executable
from tests.jobs.stand_ins import squeue
from tests.support.circuits import joined_pair

pytestmark = pytest.mark.usefixtures("commands")


@pytest.mark.parametrize("said", ["42", "42;cluster", "Welcome to the 7 seas\n42", "42\nthank you"])
def test_the_number_is_found(said: str, commands: Path) -> None:
    executable(commands / "sbatch", f"echo '{said}'")
    assert slurm.submit("#!/bin/sh") == "42"


@pytest.mark.parametrize("said", ["", "no", "42 jobs", "-1"])
def test_what_is_no_number_is_said(said: str, commands: Path) -> None:
    executable(commands / "sbatch", f"echo '{said}'")
    with pytest.raises(slurm.SlurmError, match=r"sbatch said '.*', expected the number"):
        slurm.submit("#!/bin/sh")


def test_nodes_are_read_between_other_lines(commands: Path) -> None:
    lines = "Welcome\nmain*|8+|16000|1-00:00:00|2\nmain*|4|32000+|1-00:00:00|1\nbig|64|1|infinite|1"
    executable(commands / "sinfo", f"echo '{lines}'")
    assert slurm.nodes_of(None) == slurm.Node("main", 4, 16000 << 20, 86400.0, 3)
    executable(commands / "sinfo", "echo nothing")
    assert slurm.nodes_of(None) is None


def test_a_forgotten_job_is_looked_up(commands: Path) -> None:
    executable(commands / "squeue", "echo 'Invalid job id specified' >&2; exit 1")
    executable(commands / "sacct", "echo greeting; echo '7_0|CANCELLED by 0|0:15'")
    (task,) = slurm.tasks_of("7")
    assert (task.name, task.state, task.code) == ("7_0", "CANCELLED", 143)


def test_who_waits_for_a_result_outlasts_a_silence(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(
        commands / "squeue",
        f"cd {tmp_path}; echo >> asked; n=$(wc -l < asked); state=RUNNING; "
        '[ "$n" -lt 5 ] || state=CANCELLED; if [ "$n" = 2 ] || [ "$n" = 3 ]; then '
        "echo 'Unable to contact slurm controller' >&2; exit 1; fi; " + squeue(state="$state"),
    )
    monkeypatch.setattr(job, "_FIRST_POLL", 0.01)
    submitted = hpcq.Job(Submission("7", str(tmp_path / "out.h5"), str(tmp_path / "%j.log"), ()))
    with pytest.raises(HpcqError, match="CANCELED"):
        submitted.result(wait=True)
    assert len((tmp_path / "asked").read_text()) == 5
    (tmp_path / "asked").unlink()
    monkeypatch.setattr(job, "_MAX_SILENCE", 0.0)
    with pytest.raises(slurm.SlurmError, match="Unable to contact"):
        submitted.result(wait=True)


def test_a_job_without_a_record_is_canceled_again(commands: Path, tmp_path: Path) -> None:
    executable(commands / "sbatch", "echo 42")
    executable(commands / "scancel", f'echo "$@" > {tmp_path}/canceled')
    nowhere = tmp_path / "gone" / "out.h5"
    command = JobCommand("run", "c.qasm", (), frozenset({"--output"}))
    order = PreparedJob(command, nowhere, (), ResourceRequest(), "#!/bin/sh", "%j.log", ())
    with pytest.raises(HpcqError, match=r"job 42 was canceled again: .*gone"):
        submit_to_slurm(order)
    assert (tmp_path / "canceled").read_text() == "42\n"


RECORD = Submission("7", "out.h5", "%j.log", ())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "out.h5"
    hpcq.run(hpcq.plan(joined_pair(), "Z0", cut_labels="AB"), output=output)
    return output


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    """A result that was there before the job."""
    (tmp_path / "finished").mkdir()
    return Path(shutil.copy(whole, tmp_path / "finished" / "out.h5"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "expected", "words"),
    [
        ({"state": "PENDING", "reason": "JobHeldUser"}, "QUEUED", "JobHeldUser"),
        ({"state": "RUNNING"}, "RUNNING", ""),
        ({"state": "COMPLETED"}, "DONE", ""),
        ({"state": "FAILED", "code": "2"}, "ERROR", "exit code 2"),
        ({"state": "CANCELLED"}, "CANCELED", "nothing was saved"),
        ({"state": "TIMEOUT"}, "ERROR", "timeout"),
    ],
)
def test_the_result_of_an_earlier_job_is_not_that_of_this_one(
    task: dict[str, str], expected: str, words: str, finished: Path, commands: Path
) -> None:
    executable(commands / "squeue", squeue(**task))
    submitted = hpcq.Job(Submission("7", str(finished), str(finished.parent / "%j.log"), ()))
    status = submitted.status()
    assert (status.state, words in status.reason) == (expected, True)
    if expected == "DONE":
        assert submitted.result().status == "complete"
    elif status.over:
        with pytest.raises(HpcqError, match=f"job 7: {expected}"):
            submitted.result()


@pytest.mark.parametrize(("said", "expected"), [("", "DONE"), ("hpcq: error: no", "ERROR")])
def test_of_a_forgotten_job_its_log_tells(
    said: str, expected: str, finished: Path, commands: Path
) -> None:
    executable(commands / "squeue", "echo 'Invalid job id specified' >&2; exit 1")
    executable(commands / "sacct", "exit 1")
    (finished.parent / "7.log").write_text(said)
    submitted = hpcq.Job(Submission("7", str(finished), str(finished.parent / "%j.log"), ()))
    assert submitted.status().state == expected


@pytest.mark.parametrize(("name", "job"), [("178_scan.h5", "180"), ("local-x.h5", "181")])
def test_an_output_is_no_number(name: str, job: str, tmp_path: Path) -> None:
    save_submission(Submission("178", str(tmp_path / "victim.h5"), "%j.log", ()))
    save_submission(Submission(job, str(tmp_path / name), "%j.log", ()))
    with contextlib.chdir(tmp_path):
        assert hpcq.Job.of(name).id == job
    assert hpcq.Job.of("178").id == "178"
    with pytest.raises(InputError, match="one task of an array, expected 178"):
        hpcq.Job.of("178_0")


def test_what_is_over_is_not_canceled(
    tmp_path: Path, commands: Path, capsys: pytest.CaptureFixture
) -> None:
    executable(commands / "squeue", squeue(state="COMPLETED", code="3"))
    executable(commands / "scancel", f"touch {tmp_path}/canceled")
    save_submission(Submission("7", str(tmp_path / "out.h5"), str(tmp_path / "%j.log"), ()))
    assert main(["cancel", "7"]) == 0
    assert "job 7 was over already: ERROR" in capsys.readouterr().out
    assert not (tmp_path / "canceled").exists()
    assert hpcq.Job.of("7").status().state == "ERROR"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("live", "shared", "words"),
    [(1, (False,), ()), (1, (False, True), ("--array", "2")), (2, (True, False), ())],
)
def test_no_two_jobs_write_one_output(
    live: int,
    shared: tuple[bool, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    commands: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Whichever of its jobs still waits; only those that all share it may."""
    output = tmp_path / "out.h5"
    for number, is_shared in enumerate(shared, 1):
        state = "PENDING" if number == live else "COMPLETED"
        (tmp_path / f"state{number}").write_text(state)
        save_submission(
            Submission(str(number), str(output), "%j.log", ("--shared",) if is_shared else ())
        )
    executable(
        commands / "squeue",
        'for word; do case "$word" in --jobs=*) job=${word#*=};; esac; done; '
        + squeue(job="$job", state=f"$(cat {tmp_path}/state$job)"),
    )
    executable(commands / "sinfo", "echo 'main*|8|16000|infinite|2'")
    asked = ["example:lattices", "--max-qubits", "18", "-o", str(output), *words]
    assert main(["submit", *asked]) == 2
    assert f"is what job {live} writes, which is QUEUED" in capsys.readouterr().err


@pytest.mark.slow
def test_a_refused_submission_leaves_the_circuit_of_another(tmp_path: Path, commands: Path) -> None:
    executable(commands / "sinfo", "echo 'main*|8|16000|infinite|2'")
    executable(commands / "sbatch", "echo 7")
    executable(commands / "squeue", squeue(state="PENDING"))
    first, second = QuantumCircuit(2), QuantumCircuit(2)
    second.x(0)
    output = tmp_path / "out.h5"
    hpcq.submit(first, SparsePauliOp("ZZ"), output=output, cut_labels="AB")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert {path.suffix for path in before} == {".qpy", ".json", ".jobs"}
    with pytest.raises(InputError, match="is what job 7 writes, which is QUEUED"):
        hpcq.submit(second, SparsePauliOp("XX"), output=output, cut_labels="AB")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_the_old_name_of_cut_labels_goes_on_working(
    tmp_path: Path, commands: Path, capsys: pytest.CaptureFixture
) -> None:
    """It was always the circuit's partition that submit passed on to run, and not SLURM's."""
    executable(commands / "sinfo", "echo 'main*|8|16000|infinite|2'")
    executable(commands / "sbatch", "echo 7")
    circuit = tmp_path / "c.qasm"
    circuit.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0],q[1];')
    words = ["submit", str(circuit), "-o", str(tmp_path / "out.h5"), "--dry-run"]
    assert main([*words, "--partition", "AB", "-p", "main"]) == 0
    printed = capsys.readouterr()
    assert "--cut-labels=AB" in printed.out
    assert "#SBATCH --partition=main\n" in printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith("hpcq: note: --partition is now --cut-labels, ")
    assert "--slurm-partition or -p" in line
    assert main([*words, "--cut-labels", "AB", "--slurm-partition", "main"]) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (printed.out, "")
    assert main([*words, "--partition", "gpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'gpu' has 3 labels, expected one for each of the circuit's 2 qubits" in line
    assert line.endswith("; SLURM's partition is --slurm-partition or -p")
    old = {"partition": "AB", "precision": ["single", 0.5]}
    with pytest.warns(DeprecationWarning, match="the old spelling still works") as caught:
        job = hpcq.submit(circuit, output=tmp_path / "out.h5", **old)
    (warning,) = caught
    for new in ("--cut-labels", "--dtype", "--target-error"):
        assert f"is now {new}" in str(warning.message)
    assert warning.filename == __file__
    (record,) = json.loads(record_file(job.output).read_text())["jobs"]
    assert {"--cut-labels=AB", "--dtype=complex64", "--target-error=0.5"} < {*record["command"]}
    with pytest.raises(InputError, match="--cut-labels: not allowed with argument --partition"):
        hpcq.submit(circuit, output=tmp_path / "two.h5", partition="AB", cut_labels="AB")
    assert capsys.readouterr().err == ""


def test_a_result_is_there_without_slurm(
    finished: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    save_submission(replace(RECORD, output=str(finished), submitted=0.0))
    assert main(["result", str(finished), "--json"]) == 0
    assert main(["status", str(finished)]) == 0
    assert capsys.readouterr().out.count("DONE") == 1
    save_submission(replace(RECORD, output=str(finished), submitted=time.time()))
    assert main(["status", str(finished)]) == 1  # that was there before the job: who knows
    assert "no squeue" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "logs", "cancel", "result"])
@pytest.mark.parametrize("name", ["/", "..", "9" * 300, "a" * 5000, "a\nb", "-1", "0_", "local-"])
def test_what_is_no_job_is_one_line(command: str, name: str, capsys: pytest.CaptureFixture) -> None:
    assert main([command, name]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("hpcq: error: ")


def test_links_lead_to_the_output(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "link.h5"
    link.symlink_to("far/out.h5")
    save_submission(replace(RECORD, output=str(tmp_path / "far" / "out.h5")))
    assert hpcq.Job.of(link).id == "7"


@pytest.mark.parametrize(
    ("name", "value"),
    [("job", 5), ("job", "local-z"), ("log", ""), ("submitted", "z"), ("command", [3])],
)
def test_a_damaged_record_is_named(name: str, value: object, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    place = record_file(output)
    save_submission(replace(RECORD, output=str(output)))
    content = json.loads(place.read_text())
    content["jobs"][0][name] = value
    for text in (json.dumps(content), "[" * 100_000, "", "{}", '{"format": "hpcq job 1"}'):
        place.write_text(text)
        with pytest.raises(InputError, match=r"\.out\.h5\.jobs: "):
            hpcq.Job.of(output)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(InputError, match="pipe"):
        hpcq.Job.of(output)


def test_a_moved_folder_has_no_jobs(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What lies there is not what the job writes, which must not be canceled in its place."""
    (tmp_path / "one").mkdir()
    shutil.copy(finished, tmp_path / "one" / "out.h5")
    save_submission(replace(RECORD, output=str(tmp_path / "one" / "out.h5")))
    (tmp_path / "one").rename(tmp_path / "two")
    moved = str(tmp_path / "two" / "out.h5")
    for command in ("cancel", "result", "logs"):
        assert main([command, moved]) == 2
        assert "nothing was submitted for" in capsys.readouterr().err
    assert main(["status", moved]) == 0
    assert "DONE" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (("COMPLETED", "0"), "DONE"),
        (("FAILED", "75"), "STOPPED"),
        (("FAILED", "2"), "ERROR"),
        (("CANCELLED", "0"), "CANCELED"),
    ],
)
def test_what_a_later_job_wrote_is_not_shown(
    task: tuple[str, str], expected: str, finished: Path, tmp_path: Path, commands: Path
) -> None:
    output = tmp_path / "out.h5"
    save_submission(replace(RECORD, output=str(output), submitted=1.0))
    save_submission(replace(RECORD, output=str(output), submitted=2.0, job="8"))
    shutil.copy(finished, output)
    executable(commands / "squeue", squeue(state=task[0], code=task[1]))
    submitted = hpcq.Job.of("7")
    assert submitted.status().state == expected
    with pytest.raises(HpcqError, match="it has no result"):
        submitted.result()
    if expected != "ERROR":
        assert "job 8 has written its output since" in submitted.status().reason


def test_within_its_job_the_file_tells(
    tmp_path: Path,
    commands: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """A job that asks whether anything is saved is told of the run, and not of itself."""
    executable(commands / "squeue", squeue(state="RUNNING"))
    output = tmp_path / "out.h5"
    save_submission(replace(RECORD, output=str(output)))
    assert main(["status", str(output)]) == 0
    assert "RUNNING" in capsys.readouterr().out
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert main(["status", str(output)]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"my thesis"])
def test_a_damaged_output_is_named(content: bytes, tmp_path: Path, commands: Path) -> None:
    executable(commands / "squeue", squeue(state="COMPLETED"))
    output = tmp_path / "out.h5"
    save_submission(replace(RECORD, output=str(output), log=str(tmp_path / "%j.log")))
    output.write_bytes(content)
    status = hpcq.Job.of(output).status()
    assert status.state == "ERROR"
    assert "out.h5" in status.reason


def test_what_must_not_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, commands: Path
) -> None:
    def denied(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    executable(commands / "squeue", squeue(state="FAILED", code="1"))
    (tmp_path / "7.log").write_text("error")
    save_submission(replace(RECORD, output=str(tmp_path / "out.h5"), log=str(tmp_path / "%j.log")))
    monkeypatch.setattr(job, "open_sidecar", denied)
    assert main(["logs", "7"]) == 2
    assert "7.log: Permission denied" in capsys.readouterr().err
    assert main(["status", "7"]) == 0
    assert "ERROR" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said", ["rubbish", "JobId=7 JobState=RUNNING", "7 N/A 0 RUNNING 0 0 c1 None"]
)
def test_rubbish_is_no_answer(said: str, commands: Path) -> None:
    executable(commands / "squeue", f"echo '{said}'")
    with pytest.raises(slurm.SlurmError, match=r"squeue said '.*', expected job 7"):
        slurm.tasks_of("7")


@pytest.mark.parametrize("option", ["--wait", "--test-only", "--chdir=/", "--help", "--wrap=x"])
def test_options_that_hide_the_job_are_refused(option: str) -> None:
    with pytest.raises(InputError, match="is set by hpcq"):
        parse_sbatch_option(option)


@pytest.mark.parametrize("timeout", [float("nan"), -1])
def test_a_wrong_timeout_is_named(timeout: float) -> None:
    with pytest.raises(InputError, match="timeout: "):
        hpcq.Job(RECORD).result(wait=True, timeout=timeout)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    output = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.h5")
    save_submission(replace(RECORD, output=output))
    assert hpcq.Job.of("7").output == Path(output)


def test_a_job_that_said_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_submission(replace(RECORD, output=str(tmp_path / "out.h5"), log=str(tmp_path / "%j.log")))
    assert main(["logs", "7"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "hpcq: job 7 has written no log yet\n")


@pytest.mark.slow
def test_the_result_of_another_run_is_found_before_a_job_is(
    finished: Path, commands: Path, capsys: pytest.CaptureFixture
) -> None:
    executable(commands / "sinfo", "echo 'main*|8|16000|infinite|2'")
    before = finished.read_bytes()
    asked = ["submit", "example:lattices", "--max-qubits", "18", "-o", str(finished)]
    assert main(asked) == 2
    assert "another run (circuit, observables differ: " in capsys.readouterr().err
    assert main([*asked, "--shots", "10000"]) == 2
    assert "holds an exact result" in capsys.readouterr().err
    assert finished.read_bytes() == before


@pytest.mark.parametrize("text", ["9" * 400 + "-1", "1:" + "9" * 5000, "1-" + "1" * 7])
def test_endless_times_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected minutes"):
        parse_time(text)


def test_who_submits_at_once_waits_for_the_other(tmp_path: Path) -> None:
    output, order = tmp_path / "out.h5", []

    def submit(name: str) -> None:
        with locked(output):
            order.append(name)
            time.sleep(0.01)
            order.append(name)

    threads = [threading.Thread(target=submit, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2]
    assert not list(tmp_path.glob(".*"))
