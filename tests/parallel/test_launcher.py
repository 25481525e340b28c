"""Checks that a process is the rank of the launcher's variables, and errors if it is not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hpcq.core.errors import InputError
from hpcq.parallel.launcher import check_not_inherited, inherited, without_stray_rank
from tests.doctor.test_srun_mpi import executable
from tests.support.launch import environment, hpcq, is_open_mpi, launcher, run

RANK = {"PMI_RANK": "1", "PMI_SIZE": "2"}
CIRCUIT = ("run", "example:lattices", "--max-qubits", "18", "--observable", "Z0")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A parent of this process, which has the same variables, and a grandparent: the launcher."""
    monkeypatch.setattr(os, "getppid", lambda: 4242)  # where the tests run it may be init
    for pid, parent, variables in ((os.getppid(), 77, RANK), (77, 1, {})):
        folder = tmp_path / str(pid)
        folder.mkdir()
        content = "\0".join(f"{name}={value}" for name, value in variables.items())
        (folder / "environ").write_text(content)
        (folder / "stat").write_text(f"{pid} (a) name) S {parent} 0 0")
        (folder / "maps").write_text("7f00-7f01 r-xp 0 08:01 5   /usr/lib/libc.so.6\n")
    return tmp_path


def test_a_parent_with_mpi_is_the_rank(proc: Path) -> None:
    parent = proc / str(os.getppid())
    assert not inherited(RANK, proc), "a parent without MPI, such as a shell"
    with (parent / "maps").open("a") as maps:
        maps.write("7f02-7f03 r-xp 0 08:01 6   /opt/lib/libmpi.so.12.3.1\n")
    with pytest.raises(InputError, match=r"PMI_RANK=1 is inherited: process .*env -u PMI_RANK -u"):
        check_not_inherited(RANK, proc)
    assert not inherited({"PMI_RANK": "0", "PMI_SIZE": "2"}, proc), "a launcher of another job"
    assert not inherited({}, proc)
    preloaded = (parent / "environ").read_text() + "\0LD_PRELOAD=libdarshan.so"
    (parent / "environ").write_text(preloaded)
    assert not inherited(RANK, proc), "a tool loads MPI into every shell"


def test_a_closed_channel_is_inherited(proc: Path) -> None:
    reader, writer = os.pipe()
    assert not inherited({**RANK, "PMI_FD": str(reader)}, proc)
    os.close(reader)
    assert f"PMI_FD={reader} is closed" in inherited({**RANK, "PMI_FD": str(reader)}, proc)
    os.close(writer)


def test_a_channel_that_is_no_socket_is_refused(proc: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        check_not_inherited({**RANK, "PMI_FD": str(ours.fileno())}, proc)
        check_not_inherited({**RANK, "PMI_FD": str(ours.fileno()), "PMI_PORT": "x"}, proc)
    check_not_inherited({**RANK, "PMI_PORT": "127.0.0.1:9"}, proc)
    with (proc / "file").open("w") as file, pytest.raises(InputError, match="is not a socket here"):
        check_not_inherited({**RANK, "PMI_FD": str(file.fileno())}, proc)
    for channel in ("abc", "", "-1", "1.5", "9" * 30):
        with pytest.raises(InputError, match=rf"PMI_FD={channel} is not a number.* -u PMI_RANK -u"):
            check_not_inherited({**RANK, "PMI_FD": channel}, proc)
    for port in ("", "host", ":9", "host:", "host:x", "host:123456"):
        with pytest.raises(
            InputError, match=f"PMI_PORT={port} is not an address, expected HOST:PORT"
        ):
            check_not_inherited({**RANK, "PMI_PORT": port}, proc)
    with pytest.raises(InputError, match="names a host that is not known here"):
        check_not_inherited({**RANK, "PMI_PORT": "no such host:9"}, proc)


def test_a_stray_rank_is_hidden_from_mpi_while_it_starts() -> None:
    stray = {"PMIX_RANK": "1", "PMI_RANK": "0"}
    with without_stray_rank(stray):
        assert stray == {"PMI_RANK": "0"}
    assert stray["PMIX_RANK"] == "1"
    served = {"PMIX_RANK": "1", "PMIX_SERVER_URI41": "a;tcp4://127.0.0.1:9"}
    with without_stray_rank(served):
        assert served["PMIX_RANK"] == "1"


ALONE = [
    {"PMI_RANK": "1"},
    *(
        pytest.param({name: "1"}, marks=pytest.mark.nightly)
        for name in ("PALS_RANKID", "FLUX_TASK_RANK", "PMIX_RANK")
    ),
    {"PMI_RANK": "1", "SLURM_PROCID": "0", "PMIX_RANK": "1"},
    {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "1"},
]


@pytest.mark.mpi
@pytest.mark.parametrize("variables", ALONE, ids=" ".join)
def test_one_process_with_a_rank_number_is_no_rank_and_prints_its_errors(
    variables: dict[str, str],
) -> None:
    missing = hpcq("plan", "missing.qasm", seconds=60, **variables)
    assert missing.returncode == 2
    (line,) = missing.stderr.splitlines()
    assert line == "hpcq: error: missing.qasm: cannot be opened: No such file or directory"
    shown = hpcq("show", "missing.h5", seconds=60, **variables)
    assert shown.returncode == 2
    assert "missing.h5: cannot be opened" in shown.stderr


@pytest.mark.mpi
def test_one_process_with_a_rank_number_runs_alone() -> None:
    done = hpcq(*CIRCUIT, "--json", PMI_RANK="1", PMIX_RANK="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["expectation_values"][0] == pytest.approx(-0.19, abs=1e-2)
    assert found["provenance"]["ranks"] == 1


@pytest.mark.mpi
@pytest.mark.parametrize("variables", [{"PMI_FD": "abc"}, {"HYDI_CONTROL_FD": "1", "PMI_FD": "1"}])
def test_mpi_is_not_started_where_it_would_abort(variables: dict[str, str]) -> None:
    done = hpcq(*CIRCUIT, PMI_RANK="0", PMI_SIZE="1", seconds=60, **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"PMI_FD={variables['PMI_FD']} is not a " in line
    assert "env -u PMI_RANK -u PMI_SIZE" in line
    assert done.stdout == ""


@pytest.mark.mpi
def test_mpi_s_rank_0_prints_the_error_if_variables_differ() -> None:
    script = (
        'v="PMI_RANK OMPI_COMM_WORLD_RANK"; for n in $v; do if [ -n "${!n}" ]; then r=${!n}; fi; '
        'done; export OMPI_COMM_WORLD_RANK=$((1 - r)) OMPI_COMM_WORLD_SIZE=2; exec "$@"'
    )
    done = run("bash", "-c", script, "-", sys.executable, "-m", "hpcq", *CIRCUIT, ranks=2)
    errors = [line for line in done.stderr.splitlines() if "error: launcher: its variables" in line]
    assert len(errors) == 1, done.stderr
    assert done.returncode == 2


@pytest.mark.mpi
@pytest.mark.parametrize("first", ["", "from mpi4py import MPI; "])
def test_a_program_started_by_a_rank_is_told_what_to_unset(first: str) -> None:
    if is_open_mpi() and not first:
        pytest.skip("Open MPI takes such programs for the ranks that they are, all together")
    script = (
        f"{first}import subprocess, sys; "
        f"command = [sys.executable, '-m', 'hpcq', *{CIRCUIT!r}]; "
        "done = subprocess.run(command, capture_output=True, text=True, timeout=60); "
        "lines = done.stderr.splitlines(); "
        "print(done.returncode, len(lines), 'is inherited' in lines[0])"
    )
    done = run(sys.executable, "-c", script, ranks=2, seconds=120)
    assert done.stdout.splitlines() == ["2 1 True"] * 2, done.stderr


@pytest.mark.slow
def test_a_task_of_a_slurm_step_runs_alone_or_is_refused(tmp_path: Path) -> None:
    executable(tmp_path / "squeue", "exit 1")  # SLURM's would wait for a controller
    task = {"SLURM_JOB_ID": "5", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}
    task["PATH"] = os.pathsep.join((str(tmp_path), environment()["PATH"]))
    alone = hpcq(*CIRCUIT, "--json", **task)
    assert alone.returncode == 0, alone.stderr
    value = json.loads(alone.stdout)["expectation_values"][0]
    assert value == pytest.approx(-0.19, abs=1e-2)
    if launcher() is None:
        return
    one_of_two = hpcq(*CIRCUIT, SLURM_STEP_NUM_TASKS="2", **task)
    assert one_of_two.returncode == 2
    (line,) = one_of_two.stderr.splitlines()
    assert "error: rank 1 of 2 on " in line
    assert "to run alone, unset SLURM_STEP_NUM_TASKS" in line
    shown = hpcq("show", "out.h5", SLURM_STEP_NUM_TASKS="2", **task)
    assert shown.returncode == 0
    assert "rank 1 leaves this to rank 0" in shown.stderr


@pytest.mark.slow
@pytest.mark.skipif(launcher() is None or is_open_mpi(), reason="it is Hydra's ways")
def test_a_rank_without_mpi_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    """Hydra lets the others wait in MPI_Init for a rank that has ended."""
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('no libmpi.so.12')")
    script = f'[ "$PMI_RANK" = 0 ] || export PYTHONPATH="{tmp_path}:$PYTHONPATH"; exec "$@"'
    words = ["bash", "-c", script, "-", sys.executable, "-m", "hpcq", *CIRCUIT]
    done = subprocess.run(
        [str(launcher()), "-n", "3", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "MPI is not usable here" in line]
    assert [line.split(" on ")[0] for line in sorted(errors)] == [
        f"hpcq: error: rank {rank} of 3" for rank in (1, 2)
    ]
    assert all("(no libmpi.so.12)" in line for line in errors)
