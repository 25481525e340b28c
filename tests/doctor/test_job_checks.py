from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcq.doctor import filesystem_checks as filesystem
from hpcq.doctor import job_checks as job
from hpcq.doctor import srun_mpi as mpi_plugins
from hpcq.doctor.finding import Finding
from hpcq.doctor.job_checks import RankResources, examine_batch
from tests.doctor.test_srun_mpi import MPICH, NEW, OPEN_MPI, executable

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_END_TIME": "99999999999"}


def place(
    host: str = "n1",
    cores: Sequence[int] = (0, 1),
    threads: int = 2,
    gpus: Sequence[str] = (),
    computes: bool = True,
    faults: Sequence[str] = (),
) -> RankResources:
    return RankResources(host, cores, threads, gpus, computes, faults)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins for SLURM's commands, and nothing else on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    listed = NEW.replace("\n", "\\n")
    executable(folder / "srun", f'[ "$1" = --version ] && echo slurm 23.02.7 || printf "{listed}"')
    executable(folder / "sbatch", "echo slurm 23.02.7")
    executable(folder / "sinfo", "echo short; echo 'long*'")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(job, "sys", type("sys", (), {"modules": {}}))
    monkeypatch.setattr(mpi_plugins, "library_version", lambda: MPICH)
    monkeypatch.chdir(tmp_path)
    return folder


def examined(
    monkeypatch: pytest.MonkeyPatch, places: Sequence[RankResources], **variables: str
) -> dict[str, Finding]:
    monkeypatch.setattr(job, "_gather_resources", lambda *_: (list(places), ()))
    found = examine_batch({**JOB, **variables})
    assert all("\n" not in str(finding) for finding in found)
    return {finding.name: finding for finding in found}


def step(ranks: int, **variables: str) -> dict[str, str]:
    return {
        "SLURM_STEP_NUM_TASKS": str(ranks),
        "SLURM_NTASKS": str(ranks),
        "SLURM_MPI_TYPE": "pmi2",
        **variables,
    }


def test_outside_slurm_only_the_file_system_is_looked_at(slurm: Path) -> None:
    for name in ("srun", "sbatch", "sinfo"):
        (slurm / name).unlink()
    none, files = examine_batch({})
    assert str(none) == "ok    slurm     none"
    assert files.ok
    assert not files.advice
    assert "exclusive create, rename and flock work" in files.text
    assert not list(slurm.parent.glob(".hpcq*"))


@pytest.mark.usefixtures("slurm")
def test_on_a_login_node_slurm_has_one_line() -> None:
    assert examine_batch({})[0].text == "SLURM 23.02.7, default partition long"


def test_a_silent_controller_is_said(slurm: Path) -> None:
    executable(slurm / "sinfo", "exit 1")
    assert "its controller is silent" in examine_batch({})[0].text


@pytest.mark.usefixtures("slurm")
def test_a_job_script_hears_how_to_start_its_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, [place()], SLURM_NTASKS="8", SLURM_CPUS_PER_TASK="2")
    assert found["slurm"].text == "SLURM 23.02.7, in job 7 on n[1-2]"
    assert "room for 8, with `srun --mpi=pmi2 --cpus-per-task=$SLURM" in found["launch"].text
    assert found["launch"].ok
    assert not any(finding.advice for finding in found.values())


@pytest.mark.usefixtures("slurm")
def test_worlds_of_one_fail_with_the_word_for_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi_plugins, "library_version", lambda: OPEN_MPI)
    found = examined(monkeypatch, [place()], **step(4))
    assert not found["launch"].ok
    assert "Open MPI 5.0.11, srun --mpi=pmi2: 4 worlds" in found["launch"].text
    assert "srun --mpi=pmix hpcq" in found["launch"].text


@pytest.mark.usefixtures("slurm")
def test_ranks_are_counted_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [place("n1"), place("n1"), place("n2")]
    found = examined(monkeypatch, places, **step(3))
    assert found["launch"].text == "MPICH 5.0.2, srun --mpi=pmi2: 3 ranks, 2 on n1, 1 on n2"


@pytest.mark.usefixtures("slurm")
def test_a_rank_bound_to_too_few_cores_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [place(cores=range(4), threads=4), place(cores=(4, 6), threads=2)]
    found = examined(monkeypatch, places, **step(2, SLURM_CPUS_PER_TASK="4"))["binding"]
    assert str(found).startswith(
        "warn  binding   rank 0 may run on cores 0-3, asked for 4 per rank"
    )
    assert "rank 1 only on 4,6" in found.text
    assert "srun --cpus-per-task=$SLURM_CPUS_PER_TASK (not inherited" in found.advice
    under_mpirun = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_CPUS_PER_TASK": "4", "PMI_SIZE": "2"}
    assert "--bind-to none" in examined(monkeypatch, places, **under_mpirun)["binding"].advice


@pytest.mark.usefixtures("slurm")
def test_ranks_that_share_cores_and_idle_cores_are_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = [place(cores=range(4), threads=1)] * 4
    variables = step(4, SLURM_CPUS_PER_TASK="2", SLURM_CPUS_ON_NODE="4")
    assert "ranks share cores" in examined(monkeypatch, places, **variables)["threads"].advice
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    idle = [place(cores=(0,), threads=1)] * 2
    found = examined(monkeypatch, idle, **step(2, SLURM_CPUS_ON_NODE="64"))["threads"]
    assert "the job's 64 cores" in found.advice


@pytest.mark.parametrize(
    ("gpus", "on_node", "advice"),
    [
        ([("0",), ("1",)], 2, ""),
        ([("0", "1"), ("0", "1")], 2, ""),
        ([("0",), ("0",)], 2, "2 share one: expected --gpus-per-node=2, without --gpu-bind"),
        ([("0", "1")] * 4, 2, "2 share one: --ntasks-per-node=2 gives each its own"),
        ([("0", "1", "2", "3")] * 2, 4, "2 idle: expected --ntasks-per-node=4"),
        ([("0",), ()], 1, "expected srun --gpus-per-node=N"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_ranks_and_gpus_that_do_not_match_are_warned_of(
    gpus: list[tuple[str, ...]], on_node: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "is_gpu_build", lambda: True)
    places = [place(gpus=gpu_names) for gpu_names in gpus]
    found = examined(monkeypatch, places, **step(len(gpus), SLURM_GPUS_ON_NODE=str(on_node)))
    assert found["gpus"].advice.startswith(advice)
    assert bool(found["gpus"].advice) == bool(advice)


@pytest.mark.usefixtures("slurm")
def test_gpus_are_not_mentioned_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "gpus" not in examined(monkeypatch, [place()], **step(1))


def test_the_same_number_on_two_ranks_may_be_two_gpus(slurm: Path) -> None:
    executable(slurm / "nvidia-smi", "echo GPU-a; echo GPU-b")
    assert job._comparable_gpus(("1", "0", "7", "GPU-x"), {}) == [
        "GPU-b",
        "GPU-a",
        "7",
        "GPU-x",
    ]


@pytest.mark.usefixtures("slurm")
def test_a_job_about_to_end_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = examined(monkeypatch, [place()], SLURM_JOB_END_TIME=str(int(time.time()) + 30))
    assert "longer --time" in soon["time"].advice
    unknown = examined(monkeypatch, [place()], SLURM_JOB_END_TIME="")
    assert "no end of the job is known" in unknown["time"].text


@pytest.mark.usefixtures("slurm")
def test_a_folder_that_another_node_does_not_see_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = [place(), place("n2", faults=["the folder is not shared"])]
    found = examined(monkeypatch, places, **step(2))["files"]
    assert "rank 1 on n2: the folder is not shared" in found.text
    assert found.advice


@pytest.mark.usefixtures("slurm")
def test_flock_that_is_refused_or_keeps_nobody_out_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = examine_batch({})[-1]
    assert "flock fails (Function not implemented)" in found.text
    assert "HDF5_USE_FILE_LOCKING" in found.advice
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert "flock does not keep others out" in examine_batch({})[-1].text
    assert not list(Path.cwd().glob(".hpcq*"))


def test_a_file_server_that_is_gone_holds_nobody_up() -> None:
    assert filesystem.call_within(lambda: time.sleep(2) or 1, 0, 0.05) == 0
    assert filesystem.call_within(lambda: Path("/nowhere").read_text(), "") == ""


def test_a_folder_that_is_gone_is_no_error(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = slurm / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert examine_batch({})[-1].advice


NAMES = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_END_TIME",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
    "SLURM_GPUS_ON_NODE",
    "SLURM_GPUS",
    "SLURM_GPUS_PER_TASK",
    "SLURM_GPUS_PER_NODE",
    "SLURM_JOB_GPUS",
    "SLURM_LOCALID",
    "SLURM_MPI_TYPE",
    "SLURM_TASK_PID",
    "SLURMD_NODENAME",
    "CUDA_VISIBLE_DEVICES",
    "PMI_SIZE",
)
VALUES = st.one_of(
    st.integers(-3, 10**12).map(str),
    st.sampled_from(["", "0", "4(x2)", "0,1", "²", "9" * 5000, str(os.getpid()), "\udc80\n"]),
    st.text(max_size=20),
)


@pytest.mark.slow
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(environment=st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_it_never_raises_whatever_slurm_says(
    environment: dict[str, str], slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(slurm / "nvidia-smi", "exit 1")
    monkeypatch.setattr(mpi_plugins, "command_output", lambda *_, **__: "GPU-a")
    for finding in examine_batch(environment):
        assert len(str(finding).splitlines()) == 1
