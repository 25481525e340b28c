"""Job scripts: the templates themselves, and what is filled in, whatever it is called."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcq.core.errors import HpcqError, InputError
from hpcq.jobs.job_command import JobCommand
from hpcq.jobs.resource_request import (
    ResourceRequest,
    format_time,
    parse_nodes,
    parse_sbatch_option,
    parse_time,
    parse_word,
)
from hpcq.jobs.script import for_command, read_template, render
from tests.support.launch import ROOT

SCRIPTS = sorted((ROOT / "jobscripts").glob("*.sbatch"))
RUNS = [
    script
    for script in SCRIPTS
    if "hpcq run" in script.read_text() and "benchmarks" not in script.read_text()
]
_TAIL = "# ---- until the run has ended (the same in all templates) ----\n"


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_shell(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    if shutil.which("shellcheck") is not None:
        done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_one_edit_is_enough(script: Path) -> None:
    text = script.read_text()
    assert "##SBATCH --account=ACCOUNT\n##SBATCH --partition=PARTITION\n" in text
    assert "To change:" in text
    assert "hpcq doctor --srun-mpi" in text


def test_all_end_in_the_same_way() -> None:
    assert len(RUNS) >= 8
    tails = {
        script.read_text().partition(_TAIL)[2].replace('"${inside[@]}" ', "") for script in RUNS
    }
    assert len(tails) == 1
    assert all(" --cpus-per-task=" in script.read_text() for script in RUNS)


def said_by(script: str, folder: Path) -> list[str]:
    """Run the first parts of a script, and return its variables and arguments."""
    head = script.partition("\nmpi=")[0].partition("inside=")[0]
    end = 'printf "%s\\0" "$circuit" "$output" "$restarts" "$@"'
    command = ["bash", "-c", f"{head}\n{end}"]
    done = subprocess.run(command, capture_output=True, cwd=folder, check=True)
    assert list(folder.iterdir()) == []
    return done.stdout.decode().split("\0")[:-1]


_HOSTILE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.mark.slow
@settings(max_examples=40)
@given(_HOSTILE, _HOSTILE, st.lists(_HOSTILE, max_size=3))
def test_whatever_names_are_they_only_name(
    tmp_path_factory: pytest.TempPathFactory, circuit: str, output: str, words: list[str]
) -> None:
    variables = {"circuit": circuit, "output": output, "restarts": "3"}
    script = render(read_template("many-nodes"), {}, variables, words)
    folder = tmp_path_factory.mktemp("empty")
    assert said_by(script, folder) == [circuit, output, "3", *words]


@pytest.mark.parametrize("name", ["$(touch x)", "`touch x`", "a; touch x", "'\"\\", "a\nb", "%j"])
def test_names_that_shells_would_read(name: str, tmp_path: Path) -> None:
    script = render(
        read_template("gpus"), {}, {"circuit": name, "output": name, "restarts": "0"}, [name]
    )
    assert said_by(script, tmp_path) == [name, name, "0", name]


def test_options_of_sbatch_replace_those_of_the_template() -> None:
    request = ResourceRequest((8, 8), 4, 2, 0, 3 << 30, "20", (("account", "me"),), 3, 5, "name")
    script = render(read_template("many-nodes"), request.directives("x-%A_%a.log"), {}, [])
    found = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    for wanted in ("nodes=8", "ntasks-per-node=4", "cpus-per-task=2", "mem-per-cpu=1536M"):
        assert found.count(f"#SBATCH --{wanted}") == 1
    for wanted in ("time=20", "account=me", "array=0-2", "job-name=name", "requeue"):
        assert found.count(f"#SBATCH --{wanted}") == 1
    assert len({line.partition("=")[0] for line in found}) == len(found)
    assert "##SBATCH --account" not in script
    assert request.setup() == []


@pytest.mark.parametrize(("gpus", "tasks"), [(0, 4), (3, 5)])
def test_slurm_does_not_know_the_ranks_of_what_comes_back_on_any_nodes(
    gpus: int, tasks: int
) -> None:
    request = ResourceRequest((1, 8), 4, 2, gpus, 3 << 30, restarts=5)
    asked = request.directives("log")
    assert asked["ntasks-per-node"] is None
    assert (asked["cpus-per-task"], asked["mem-per-cpu"]) == (str(tasks * 2), "1536M")
    assert f"export SLURM_NTASKS_PER_NODE={tasks} SLURM_CPUS_PER_TASK=2" in request.setup()
    assert replace(request, restarts=0).directives("log")["ntasks-per-node"] == str(tasks)


def test_a_short_job_is_not_warned_too_soon() -> None:
    for time, warned in {
        "5": False,
        "00:09:59": False,
        "10": True,
        "1-00": True,
        "5:00": False,
    }.items():
        assert (ResourceRequest(time=time).directives("log")["signal"] is not None) == warned, time


def test_a_template_starts_any_command() -> None:
    for name in ("many-nodes", "gpus", "apptainer"):
        text = read_template(name)
        options = frozenset({"--output"})
        sampling = for_command(text, JobCommand("sample", "c.qasm", (), options))
        assert sampling == text.replace('hpcq run "$circuit"', 'hpcq sample "$circuit"')
        (call,) = re.findall(
            "hpcq exec.*", for_command(text, JobCommand("exec", "x", (), options - options))
        )
        assert call == 'hpcq exec "$circuit" "$@" &'
        assert for_command(text, JobCommand("run", "c.qasm", (), options)) == text


def test_jobs_share_only_what_can_be_shared() -> None:
    options = frozenset({"--output", "--shared", "--memory"})
    run = JobCommand("run", "c.qasm", ("--seed=1",), options)
    assert run.completed(2, "1G", 1) == ("--seed=1", "--memory=1G")
    assert run.completed(2, "1G", 3) == ("--seed=1", "--memory=1G", "--shared")
    script = JobCommand("exec", "x.py", ("a", "--threads=9"), frozenset())
    assert script.completed(2, "1G", 1) == script.arguments
    with pytest.raises(InputError, match="array: 3, but jobs cannot share"):
        script.completed(2, "1G", 3)


def test_a_template_that_is_not_there() -> None:
    with pytest.raises(HpcqError, match=r"no nothing\.sbatch"):
        read_template("nothing")


def test_sizes() -> None:
    assert parse_nodes("4") == (4, 4)
    assert parse_nodes("1-8") == (1, 8)
    assert [format_time(seconds) for seconds in (1, 61, 3600, 90000)] == [
        "00:01:00",
        "00:02:00",
        "01:00:00",
        "1-01:00:00",
    ]
    assert parse_sbatch_option("--exclusive") == ("exclusive", "")
    assert parse_sbatch_option("licenses=a:3") == ("licenses", "a:3")


@pytest.mark.parametrize("text", ["0", "8-1", "x", "1-", "-1", "1-8-9", "", "1 2"])
def test_nodes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="nodes: "):
        parse_nodes(text)


@pytest.mark.parametrize("text", ["", "1h", "01:00:00\n#SBATCH --x", "$(x)", "-1"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="time: "):
        parse_time(text)


@pytest.mark.parametrize("text", ["a b", "x\n#SBATCH --wrap=y", "$(x)", "", '"', "`x`"])
def test_words_that_are_more(text: str) -> None:
    with pytest.raises(InputError, match="account: "):
        parse_word("account", text)
    with pytest.raises(InputError, match="sbatch: "):
        parse_sbatch_option(f"--mail-user={text}" if text else "")
