"""Every job script, submitted with no edit but account and partition, ends with a result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.slurm.conftest import TEMPLATES, Cluster
from tests.support.launch import ROOT, hpcq

RUNS = (
    "one-node",
    "many-nodes",
    "gpus",
    "array",
    "until-done",
    "preemptible",
    "elastic",
    "apptainer",
)
RANKS = {"one-node": 4, "many-nodes": 8, "until-done": 8, "preemptible": 8}
SCALING = ("scaling-strong", "scaling-weak")
TAIL = "# ---- until the run has ended (the same in all templates) ----\n"
CUT = ("--cut-labels", "AAABBB", "--observable", "Z0 Z5", "--observable", "X0 X1 X2 X3 X4 X5")


def values(output: Path) -> list[float]:
    shown = hpcq("show", output, "--json")
    assert shown.returncode == 0, shown.stderr
    result = json.loads(shown.stdout)
    assert result["status"] == "complete"
    return result["expectation_values"]


def edited(name: str, folder: Path, partition: str = "main") -> Path:
    """A template with the one edit that a user makes."""
    text = (TEMPLATES / f"{name}.sbatch").read_text()
    old = "##SBATCH --partition=PARTITION\n"
    assert text.count(old) == 1
    path = folder / f"{name}.sbatch"
    path.write_text(text.replace(old, f"#SBATCH --partition={partition}\n"))
    return path


def test_all_are_known() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.sbatch")} == {*RUNS, *SCALING}
    told = (TEMPLATES / "README.md").read_text()
    assert all(f"({name}.sbatch)" in told for name in (*RUNS, *SCALING))


@pytest.mark.parametrize("name", [*RUNS, *SCALING])
def test_a_template_is_valid_and_explained(name: str) -> None:
    path = TEMPLATES / f"{name}.sbatch"
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    lines = path.read_text().splitlines()
    head = lines[: next(i for i, line in enumerate(lines) if line.startswith("##SBATCH"))]
    assert head[0] == "#!/bin/bash"
    assert f"{name}.sbatch" in head[1]
    assert any(line.startswith("# To change: account") for line in head)
    assert {"##SBATCH --account=ACCOUNT", "##SBATCH --partition=PARTITION"} < {*lines}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [*TEMPLATES.glob("*.sbatch"), ROOT / "tests" / "slurm" / "cluster"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_end_in_the_same_way() -> None:
    tails = {(TEMPLATES / f"{name}.sbatch").read_text().partition(TAIL)[2] for name in RUNS}
    inside = '"${inside[@]}" '  # the container's hpcq
    assert len({tail.replace(inside, "") for tail in tails}) == 1
    assert all("kill -USR1" in tail for tail in tails)


@pytest.mark.parametrize("name", RANKS)
def test_one_edit_is_enough(name: str, cluster: Cluster, circuit: Path, tmp_path: Path) -> None:
    job = cluster.submit(edited(name, tmp_path), circuit, *CUT, cwd=tmp_path)
    said = cluster.finish(job)
    assert values(tmp_path / "ghz.h5") == pytest.approx([1, 1], abs=1e-9)
    assert "state       DONE" in said
    shown = json.loads(hpcq("show", tmp_path / "ghz.h5", "--json").stdout)
    assert shown["provenance"]["ranks"] == RANKS[name]
    assert str(job) in json.dumps(shown["provenance"])


def test_an_array_has_one_job_for_each_line(
    cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    names = ["plain.qasm", "with spaces.qasm", "$(touch harm) 'and' \"quotes\".qasm"]
    for name in names:
        shutil.copy(circuit, tmp_path / name)
    (tmp_path / "list").write_text("\n".join(names) + "\n")
    job = cluster.submit(
        edited("array", tmp_path),
        *("list", *CUT),
        sbatch_options=["--array=1-3", "--ntasks-per-node=2"],
        cwd=tmp_path,
    )
    cluster.finish(job)
    for name in names:
        assert values((tmp_path / name).with_suffix(".h5")) == pytest.approx([1, 1], abs=1e-9)
    assert not (tmp_path / "harm").exists()


def test_several_jobs_share_a_result(cluster: Cluster, circuit: Path, tmp_path: Path) -> None:
    how = ["--array=0-1", "--ntasks-per-node=2"]
    script = edited("elastic", tmp_path)
    job = cluster.submit(script, circuit, *CUT, sbatch_options=how, cwd=tmp_path)
    cluster.finish(job)
    assert values(tmp_path / "ghz.h5") == pytest.approx([1, 1], abs=1e-9)


def stand_in(folder: Path, name: str, *lines: str) -> dict[str, str]:
    """Put a command first on the path; return the environment that has it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join(("#!/bin/bash", *lines, "")))
    path.chmod(0o755)
    beside = Path(sys.executable).parent
    return {"PATH": f"{folder}:{beside}:/usr/local/bin:/usr/bin:/bin"}


def test_a_container_runs_every_rank(cluster: Cluster, circuit: Path, tmp_path: Path) -> None:
    """Apptainer is not to be had here: what stands in for it runs the command as it is."""
    env = stand_in(
        tmp_path / "bin",
        "apptainer",
        'echo "$@" >> calls',
        '[[ $1 == exec && $2 == --bind && $3 == "$PWD" && $4 == "my image.sif" ]] || exit 9',
        'exec "${@:5}"',
    )
    job = cluster.submit(
        edited("apptainer", tmp_path),
        *(circuit, *CUT),
        sbatch_options=["--ntasks-per-node=1"],
        cwd=tmp_path,
        env={**env, "HPCQ_IMAGE": "my image.sif"},
    )
    cluster.finish(job)
    assert values(tmp_path / "ghz.h5") == pytest.approx([1, 1], abs=1e-9)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum(" hpcq run " in call for call in calls) == 2


def test_the_container_holds_all_that_the_package_is_made_of() -> None:
    definition = (TEMPLATES / "hpcq.def").read_text()
    named = [line.split()[0] for line in definition.splitlines() if "/opt/hpcq/" in line]
    sources = [name for name in named if (ROOT / name).exists()]
    assert {"pyproject.toml", "setup.cfg", "README.md", "LICENSE", "hpcq"} <= {*sources}


def gpus_taken(
    cluster: Cluster, circuit: Path, folder: Path, *options: str
) -> list[tuple[int, ...]]:
    """Run gpus.sbatch with a program that prints the GPU of each rank: rank, host, GPU."""
    probe = Path(__file__).parent / "which_gpu.py"
    beside = Path(sys.executable).parent
    env = stand_in(
        folder / "bin",
        "hpcq",
        f"[[ $1 == run ]] && exec '{sys.executable}' '{probe}'",
        f"exec '{beside}/hpcq' \"$@\"",
    )
    job = cluster.submit(
        edited("gpus", folder), circuit, sbatch_options=options, cwd=folder, env=env
    )
    said = cluster.finish(job)
    found = [line.split()[1:] for line in said.splitlines() if line.startswith("gpu ")]
    return sorted((int(rank), host, gpu) for rank, host, gpu in found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["c1 -", "c2 0", "c1 0", "c2 1", "c1 1"]),
        (("--nodes=1",), ["c1 -", "c1 0", "c1 1"]),
        (("--gpus-per-node=1",), ["c1 -", "c2 0", "c1 0"]),
    ],
)
def test_each_gpu_has_a_rank_and_rank_0_has_none(
    options: Sequence[str], expected: list[str], cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    """SLURM hands out stand-ins for devices; which of them a rank takes is hpcq's own choice."""
    found = gpus_taken(cluster, circuit, tmp_path, *options)
    assert [f"{host} {gpu}" for _, host, gpu in found] == expected


def test_gpus_of_another_job_are_left_alone(
    cluster: Cluster, circuit: Path, tmp_path: Path
) -> None:
    holder = tmp_path / "holder.sh"
    holder.write_text("#!/bin/bash\nsleep 60\n")
    held = cluster.submit(holder, sbatch_options=["--nodelist=c1", "--gpus=1"], cwd=tmp_path)
    cluster.wait(held, "RUNNING")
    one = ("--nodes=1", "--nodelist=c1", "--gpus-per-node=1", "--ntasks-per-node=2")
    assert gpus_taken(cluster, circuit, tmp_path, *one) == [(0, "c1", "-"), (1, "c1", "1")]


def test_a_run_on_the_ranks_of_gpus_ends(cluster: Cluster, circuit: Path, tmp_path: Path) -> None:
    """Aer for GPUs is not here, so they compute on cores: the same ranks, to the same answer."""
    script = edited("gpus", tmp_path)
    job = cluster.submit(script, circuit, "--device=cpu", *CUT, cwd=tmp_path)
    cluster.finish(job)
    assert values(tmp_path / "ghz.h5") == pytest.approx([1, 1], abs=1e-9)


def test_scaling_is_measured(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    jobs = [
        cluster.submit(
            edited(name, tmp_path),
            *("--depth", "1"),
            sbatch_options=["--ntasks-per-node=1"],
            cwd=tmp_path,
            env={"HPCQ_SECONDS": "1"},
        )
        for name in SCALING
    ]
    for job in jobs:
        cluster.finish(job)
        assert len([*tmp_path.glob(f"scaling-{job}/*.json")]) == 2
        assert len([*tmp_path.glob(f"scaling-{job}/*.png")]) == 1
