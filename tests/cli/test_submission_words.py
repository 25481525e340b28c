"""``hpcq submit ... -- COMMAND ...``: what is submitted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcq.cli.main import main
from hpcq.cli.submission_words import join_submission
from hpcq.cli.submit_flags import SUBMITTED
from hpcq.core.errors import InputError
from hpcq.loop.script import Script

CIRCUIT = """OPENQASM 2.0; include "qelib1.inc"; qreg q[4];
h q[0]; cx q[0],q[1]; cx q[1],q[2]; cx q[2],q[3];
"""


@pytest.mark.slow
def test_a_command_after_dashes_is_what_the_job_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.qasm").write_text(CIRCUIT)
    Path("site.toml").write_text('memory = "1G"\naccount = "mine"')
    monkeypatch.setenv("HPCQ_SITE", "site.toml")
    job, run = ["--local", "--dry-run", "--nodes=2"], ["c.qasm", "--cut-labels", "AABB"]
    scripts = []
    for words in (["--", "run", *run], run, [*run[1:], "--", run[0]]):
        assert main(["submit", *job, *words]) == 0
        scripts.append(capsys.readouterr().out)
    assert scripts[0] == scripts[1] == scripts[2]
    assert " -n 2 " in scripts[0]
    assert "hpcq run c.qasm" in scripts[0]
    assert "--memory=1G" in scripts[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--nodes 2 -- smaple c.qasm", "'smaple' after --, expected one of run"),
        ("c.qasm -- run c.qasm", "unrecognized arguments: c.qasm (see: hpcq submit --help)"),
        ("--max-qubits 3 -- run c.qasm", "--max-qubits 3 (see: hpcq submit --help)"),
        ("-- run c.qasm --nodes 3", "--nodes 3 (see: hpcq run --help)"),
        ("--node 3 -- run c.qasm", "--node: did you mean --nodes?"),
        ("-- run", "required: CIRCUIT (see: hpcq run --help)"),
    ],
)
def test_options_belong_to_the_job_or_to_the_command(line: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        join_submission(["submit", *line.split()])
    assert said in str(refused.value)


def test_other_lines_stay_as_they_are() -> None:
    default = next(iter(SUBMITTED))
    for line in ("run -- -odd.qasm", "submit c.qasm", "submit --nodes 2 -- -odd.qasm", "submit --"):
        assert join_submission(line.split()) == (default, line.split())


def test_what_follows_a_script_is_for_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.py").write_text("print(1)\n")
    Path("site.toml").write_text('memory = "1G"\naccount = "mine"')
    monkeypatch.setenv("HPCQ_SITE", "site.toml")
    words = ["--local", "--dry-run", "--nodes=1", "--ranks-per-node=1", "--", "exec", "loop.py"]
    of_script = ["--observable", "-Z0", "--nodes", "3", "--", "--json"]
    assert main(["submit", *words, *of_script]) == 0
    script = capsys.readouterr().out.split()
    assert script[-6:] == of_script
    assert (script[-9], script[-7]) == ("exec", "loop.py")
    copy = Path(script[-8].removeprefix("--source="))
    assert copy.parent == tmp_path
    assert not copy.exists(), "nothing is submitted"
    Path("loop.py").write_text("print(\n")
    assert main(["submit", *words]) == 2
    assert "script: 'loop.py', line 1: '(' was never closed" in capsys.readouterr().err


def test_a_copy_is_run_as_if_it_were_the_script(tmp_path: Path) -> None:
    script = Script("some/loop.py", (), b"1 / 0\n")
    copy = script.path_of_copy(tmp_path)
    copy.write_bytes(script.source)
    assert Script.read("some/loop.py", copy=str(copy)) == script
    assert copy.name.startswith(".loop.py.")
    assert Script("some/loop.py", (), b"1\n").path_of_copy(tmp_path) != copy
