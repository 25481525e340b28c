"""Names with all that a shell minds, two users in one folder, and a launcher that does not fit."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.conftest import Cluster, Commands
from tests.slurm.test_templates import CUT, values
from tests.support.launch import ROOT

NASTY = "a b'c\"d$(touch harm)`touch harm`;touch harm&*é\\.qasm"
SMALL = ("--nodes=1", "--ntasks-per-node=2")


@pytest.mark.parametrize("name", ["one-node", "gpus", "apptainer", "until-done"])
def test_names_do_nothing_but_name_files(
    name: str, cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "it's $(touch harm) here"
    folder.mkdir()
    shutil.copy(circuit, folder / NASTY)
    inside = tmp_path / "apptainer"
    inside.write_text('#!/bin/bash\nexec "${@:5}"\n')
    inside.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"}
    job = cluster.submit(
        name,
        *(NASTY, "--device=cpu", *CUT),
        sbatch_options=["--nodes=1", "--ntasks-per-node=3"],
        cwd=folder,
        env=env,
    )
    cluster.finish(job)
    assert values(folder / f"{NASTY.removesuffix('.qasm')}.h5") == pytest.approx([1, 1], abs=1e-9)
    assert not [*tmp_path.rglob("harm")]


def test_options_are_words_and_no_commands(cluster: Cluster, circuit: Path, tmp_path: Path) -> None:
    harm = "$(touch harm)"
    job = cluster.submit(
        "one-node", circuit, "--observable", harm, sbatch_options=SMALL, cwd=tmp_path
    )
    assert cluster.wait(job) == "FAILED"
    assert cluster.info(job)["ExitCode"] == "2:0"
    assert not [*tmp_path.rglob("harm")]
    output = tmp_path / f"out {harm}.h5"
    job = cluster.submit(
        *("one-node", circuit, *CUT),
        sbatch_options=SMALL,
        cwd=tmp_path,
        env={"HPCQ_OUTPUT": output.name},
    )
    cluster.finish(job)
    assert values(output) == pytest.approx([1, 1], abs=1e-9)
    assert not [*tmp_path.rglob("harm")]


def test_many_worlds_of_one_rank_are_refused(
    cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    job = cluster.submit(
        *("one-node", circuit, *CUT),
        sbatch_options=SMALL,
        cwd=tmp_path,
        env={"HPCQ_SRUN_MPI": "none"},
    )
    assert cluster.wait(job) == "FAILED"
    # The first rank that refuses ends the step, and another one may be killed before it can refuse.
    assert cluster.info(job)["ExitCode"] in ("2:0", "143:0", "0:15")
    assert "each sees an MPI world of size 1" in cluster.log(job)
    assert not (tmp_path / "ghz.h5").exists()


@pytest.fixture
def guest(cluster: Cluster) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Another user, a folder that both may write to, and what the other one needs to run hpcq."""
    name = "hpcq-guest"
    if os.geteuid() != 0:
        pytest.skip("only root can submit another user's jobs")
    try:
        pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--system", "--user-group", name], check=True)
    folder = Path(tempfile.mkdtemp(prefix="hpcq-two-users-"))
    folder.chmod(0o777)
    beside = folder / "bin"
    beside.mkdir()
    packages = sysconfig.get_paths()["purelib"]
    for python in (sys.executable, "/usr/bin/python3"):
        command = beside / "hpcq"
        command.write_text(f'#!/bin/sh\nexec {python} -m hpcq "$@"\n')
        command.chmod(0o755)
        env = {"PATH": f"{beside}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": packages}
        env["PYTHONPATH"] += f":{ROOT}"
        env["LD_LIBRARY_PATH"] = f"{sys.prefix}/lib"  # where wheels of MPI are
        if cluster.run("hpcq", "--version", env=env, user=name, cwd=folder).returncode == 0:
            break
    else:
        pytest.skip("no Python with hpcq that another user may run")
    yield name, folder, env
    shutil.rmtree(folder)


def test_two_users_jobs_in_one_folder_do_not_mix(
    cluster: Cluster, circuit: Path, guest: tuple[str, Path, dict[str, str]]
) -> None:
    user, folder, env = guest
    shared = folder / "ghz.qasm"
    shutil.copy(circuit, shared)
    shared.chmod(0o644)
    asked = {"root": ("--observable", "Z0 Z5"), user: ("--observable", "Z0")}
    jobs = {
        owner: cluster.submit(
            *("one-node", "ghz.qasm", "--cut-labels", "AAABBB", *words),
            sbatch_options=SMALL,
            cwd=folder,
            env={**env, "HPCQ_OUTPUT": f"of {owner}.h5"},
            user=owner,
        )
        for owner, words in asked.items()
    }
    for owner, expected in (("root", 1.0), (user, 0.0)):
        cluster.finish(jobs[owner])
        assert values(folder / f"of {owner}.h5") == pytest.approx([expected], abs=1e-9)
        assert (folder / f"of {owner}.h5").owner() == owner
    again = cluster.submit(
        *("one-node", "ghz.qasm", "--cut-labels", "AAABBB", *asked[user]),
        sbatch_options=SMALL,
        cwd=folder,
        env={**env, "HPCQ_OUTPUT": "of root.h5"},
        user=user,
    )
    assert cluster.wait(again) == "FAILED"
    assert cluster.info(again)["ExitCode"] == "2:0"
    assert values(folder / "of root.h5") == pytest.approx([1], abs=1e-9)


def test_submitted_names_do_nothing_but_name_files(
    cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "it's\n$(touch harm) %j"
    folder.mkdir()
    shutil.copy(circuit, folder / NASTY)
    asked = folder / "`touch harm`;'touch harm' %j.json"
    asked.write_text(json.dumps([{"name": "$(touch harm)", "terms": [["Z0 Z5", 1.0]]}]))
    command = Commands(cluster, folder)
    words = (NASTY, "--cut-labels", "AAABBB", "--nodes=1", "--ranks-per-node=1", "--time=10")
    for more in (
        ("--observable", "$(touch harm)"),
        ("--job-name", "$(touch harm)"),
        ("--account", "`touch harm`"),
        ("--sbatch=--comment=$(touch harm)",),
        ("--time", "$(touch harm)"),
    ):
        command("submit", *words, *more, code=2)
    (folder / "back\\slash").mkdir()
    assert "backslash" in command("submit", *words, "-o", "back\\slash/out.h5", code=2)
    job = command.submit(*words, "--observables", asked, "-o", f"{NASTY}.h5")
    command.until(job, "DONE")
    assert values(folder / f"{NASTY}.h5") == pytest.approx([1], abs=1e-9)
    assert "wrote" in command("logs", f"{NASTY}.h5")
    assert not [*tmp_path.rglob("harm")]
    assert {path.parent for path in tmp_path.rglob("*.log")} == {folder}


def test_two_users_submit_in_one_folder(
    cluster: Cluster, circuit: Path, guest: tuple[str, Path, dict[str, str]]
) -> None:
    user, folder, env = guest
    shutil.copy(circuit, folder / "ghz.qasm")
    (folder / "ghz.qasm").chmod(0o644)
    homes = {
        owner: {**env, "XDG_STATE_HOME": f"{folder}/state of {owner}"} for owner in ("root", user)
    }
    commands = {owner: Commands(cluster, folder, owner, ["hpcq"], homes[owner]) for owner in homes}
    asked = {"root": ("--observable", "Z0 Z5"), user: ("--observable", "Z0")}
    words = ("ghz.qasm", "--cut-labels", "AAABBB", "--nodes=1", "--ranks-per-node=1", "--time=10")
    jobs = {
        owner: commands[owner].submit(*words, *asked[owner], "-o", f"of {owner}.h5")
        for owner in commands
    }
    for owner, other in (("root", user), (user, "root")):
        assert "submitted from here" in commands[owner]("status", jobs[other], code=2)
    for owner, expected in (("root", 1.0), (user, 0.0)):
        assert commands[owner].until(jobs[owner], "DONE")["job"] == jobs[owner]
        assert values(folder / f"of {owner}.h5") == pytest.approx([expected], abs=1e-9)
        assert (folder / f"of {owner}.h5").owner() == owner
        assert (folder / f".of {owner}.h5.jobs").owner() == owner
    assert "that you may read and write" in commands[user](
        "submit", *words, "-o", "of root.h5", code=2
    )
    held = commands["root"].submit(*words, "-o", "held.h5", "--sbatch=--hold")
    before = (folder / ".held.h5.jobs").read_bytes()
    assert "not known to be yours" in commands[user]("cancel", "held.h5", code=2)
    assert "is what job" in commands[user]("submit", *words, "-o", "held.h5", code=2)
    assert (folder / ".held.h5.jobs").read_bytes() == before
    assert commands["root"]("status", held, "--json")["state"] == "QUEUED"
