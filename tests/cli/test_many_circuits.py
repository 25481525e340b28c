"""``hpcq run`` of several circuits: what it prints and writes, and what stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpcq.results import load_summary
from tests.kill_and_resume import write_circuit
from tests.support.launch import environment, hpcq_here

HEAD = 'OPENQASM 2.0; include "qelib1.inc";'
LIMITS = ("--memory", "1G", "--threads", "1")


def write(folder: Path, name: str, angle: float, qubits: int = 3) -> str:
    path = folder / name
    chain = "".join(f"cx q[{q}],q[{q + 1}];" for q in range(qubits - 1))
    path.write_text(f"{HEAD} qreg q[{qubits}]; ry({angle}) q[0]; {chain}")
    return str(path)


def manifest_of(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "manifest.json").read_text())
    assert content["format"] == "hpcq-manifest"
    return list(content["circuits"])


@pytest.fixture
def circuits(tmp_path: Path) -> list[str]:
    sizes = {"a.qasm": 3, "b.qasm": 4, "c.qasm": 5}
    return [write(tmp_path, name, 0.1 * n, n) for name, n in sizes.items()]


def test_each_circuit_gets_what_its_own_run_would_give(circuits: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = hpcq_here("run", *circuits, *LIMITS, "-o", folder, "--json")
    assert done.returncode == 0, done.stderr
    lines = {(line := json.loads(text))["circuit"]: line for text in done.stdout.splitlines()}
    assert list(lines) == circuits
    for circuit in circuits:
        alone = json.loads(hpcq_here("run", circuit, *LIMITS, "--json").stdout)
        assert lines[circuit]["expectation_values"] == alone["expectation_values"]
        held = load_summary(folder / f"{Path(circuit).stem}.h5")
        assert held.expectation_values.tolist() == alone["expectation_values"]
    entries = manifest_of(folder)
    assert [entry["circuit"] for entry in entries] == circuits
    assert [entry["file"] for entry in entries] == ["a.h5", "b.h5", "c.h5"]
    for entry in entries:
        assert (entry["state"], entry["reason"], entry["method"]) == ("complete", "", "statevector")
        assert entry["max_error_bound"] < 1e-8
        assert entry["predicted_seconds"] > 0
        assert entry["taken_seconds"] > 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *("a.h5", "b.h5", "c.h5"),
        "manifest.json",
    ]


def test_text_has_a_heading_for_each_circuit(circuits: list[str]) -> None:
    done = hpcq_here("run", *circuits[:2], "--observable", "Z0", *LIMITS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *(circuits[0], "Z0  +0.955336489126", ""),
        *(circuits[1], "Z0  +0.921060994003"),
    ]


def test_a_bad_circuit_stops_no_other(circuits: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    bad, missing = tmp_path / "bad.qasm", tmp_path / "missing.qasm"
    bad.write_text("nonsense")
    narrow = write(tmp_path, "narrow.qasm", 0.3, 1)
    asked = ("--observable", "Z0 Z2", *LIMITS)
    done = hpcq_here("run", bad, circuits[0], missing, narrow, circuits[1], *asked, "-o", folder)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    for path in (bad, missing, Path(narrow)):
        said = [line for line in lines if line.startswith(f"hpcq: error: {path}: ")]
        assert len(said) == 1, lines
    assert lines[-1].startswith("hpcq: error: 3 of 5 circuits failed: ")
    states = {Path(entry["circuit"]).stem: entry for entry in manifest_of(folder)}
    failed = {name for name, entry in states.items() if entry["state"] == "failed"}
    assert failed == {"bad", "missing", "narrow"}
    assert all(states[name]["reason"] for name in failed)
    assert load_summary(folder / "a.h5").status == load_summary(folder / "b.h5").status
    assert not (folder / "bad.h5").exists()
    bad.write_text(f"{HEAD} qreg q[3]; h q[0];")
    done = hpcq_here("run", bad, *circuits[:2], *asked, "-o", folder)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 circuits were complete already" in done.stderr


def test_complete_files_are_kept_and_those_of_other_runs_refused(
    circuits: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert hpcq_here("run", circuits[0], circuits[1], *LIMITS, "-o", folder).returncode == 0
    kept = (folder / "a.h5").read_bytes()
    again = hpcq_here("run", *circuits, *LIMITS, "-o", folder)
    assert again.returncode == 0
    assert again.stderr.count("2 of 3 circuits were complete already") == 1
    assert again.stdout.count("Z0") == 3
    assert (folder / "a.h5").read_bytes() == kept
    write(tmp_path, "a.qasm", 0.7)
    other = hpcq_here("run", *circuits, *LIMITS, "-o", folder)
    assert other.returncode == 1
    assert (folder / "a.h5").read_bytes() == kept
    assert [entry["state"] for entry in manifest_of(folder)] == ["failed", "complete", "complete"]
    (folder / "c.h5").write_text("mine")
    foreign = hpcq_here("run", *circuits[1:], *LIMITS, "-o", folder)
    assert foreign.returncode == 1
    assert (folder / "c.h5").read_text() == "mine"


def test_wrong_usage_is_one_line_before_anything_runs(circuits: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = write(tmp_path / "other", "a.qasm", 0.2)
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "manifest.json").write_text("{}")
    job = tmp_path / "job.toml"
    job.write_text('circuit = "a.qasm"')
    out = ("-o", str(tmp_path / "out"))
    wrong = {
        (*circuits, twin, *out): ("a.qasm", "other/a.qasm", "a.h5"),
        (*circuits, "-o", str(tmp_path / "file")): ("is a file", "a folder"),
        (*circuits, "-o", str(tmp_path / "new.h5")): ("new.h5", "a folder"),
        (*circuits, "-o", str(tmp_path / "no" / "out")): ("cannot make the folder",),
        (*circuits, "-o", "o" * 300): ("cannot make the folder",),
        (*circuits, "-o", f"{'o' * 300}.h5"): ("cannot make the folder",),
        (*circuits, "-o", str(tmp_path / "taken")): ("manifest.json", "is left as it is"),
        (*circuits, *out, "--shared"): ("shared", "expected one circuit"),
        (*circuits, *out, "--noise", "fake_brisbane"): ("noise",),
        (*circuits, *out, "--observables", str(tmp_path / "no.json")): ("no.json",),
        (*circuits, str(job), *out): ("job.toml", "expected it alone"),
    }
    for arguments, words in wrong.items():
        done = hpcq_here("run", *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        (line,) = done.stderr.splitlines()
        assert all(word in line for word in words), line
        assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    submitted = hpcq_here("submit", *circuits, "--local", *out)
    assert submitted.returncode == 2
    assert "3 circuits, expected one" in submitted.stderr


def test_one_circuit_and_a_folder(circuits: list[str], tmp_path: Path) -> None:
    """A pattern of the shell that matches one circuit means the same as one that matches two."""
    folder = tmp_path / "out"
    folder.mkdir()
    assert hpcq_here("run", circuits[0], *LIMITS, "-o", folder).returncode == 0
    assert load_summary(folder / "a.h5").status == "complete"
    assert len(manifest_of(folder)) == 1


def test_a_job_file_with_a_list_of_circuits(circuits: list[str], tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text('circuit = ["a.qasm", "b.qasm"]\noutput = "out"\nobservable = "Z1"\n')
    done = hpcq_here("run", job, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["circuit"] for line in done.stdout.splitlines()] == circuits[:2]
    assert len(manifest_of(tmp_path / "out")) == 2
    planned = hpcq_here("plan", job)
    assert planned.returncode == 2
    assert "2 circuits, expected one" in planned.stderr
    job.write_text('circuit = ["a.qasm", 3]')
    assert hpcq_here("run", job).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("noise", [(), ("--noise", "fake_manila")], ids=["ideal", "noisy"])
def test_shots_are_those_of_single_runs(
    noise: tuple[str, ...], circuits: list[str], tmp_path: Path
) -> None:
    asked = ("--shots", "2000", "--seed", "5", "--json", *noise, *LIMITS)
    done = hpcq_here("run", *circuits[:2], *asked, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for line, circuit in zip(map(json.loads, done.stdout.splitlines()), circuits, strict=False):
        alone = json.loads(hpcq_here("run", circuit, *asked).stdout)
        assert line["expectation_values"] == alone["expectation_values"]
        assert line["standard_errors"] == alone["standard_errors"]
    again = hpcq_here("run", *circuits[:2], *asked, "-o", tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert "already" not in again.stderr  # shots are added, as in single runs
    for before, after in zip(done.stdout.splitlines(), again.stdout.splitlines(), strict=True):
        errors = [json.loads(line)["standard_errors"][0] for line in (before, after)]
        assert errors[1] < errors[0]


@pytest.fixture
def long_circuits(tmp_path: Path) -> tuple[list[str], list[str]]:
    """Two small circuits and two of seconds, and the options for all of them."""
    path, *options = write_circuit(tmp_path, layers=40, qubits=13)
    for name in ("long1.qasm", "long2.qasm"):
        (tmp_path / name).write_text(Path(path).read_text())
    small = [write(tmp_path, f"small{n}.qasm", 0.2 * n, 26) for n in (1, 2)]
    names = [str(tmp_path / "long1.qasm"), small[0], str(tmp_path / "long2.qasm"), small[1]]
    return names, options


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [
        signal.SIGUSR1,
        pytest.param(signal.SIGTERM, marks=pytest.mark.nightly),
        # On several ranks a kill is in the default suite.
        pytest.param(signal.SIGKILL, marks=pytest.mark.nightly),
    ],
)
def test_stops_and_kills_lose_nothing_that_is_finished(
    number: signal.Signals, long_circuits: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    """The small circuits are finished before the first large one, which is stopped half way."""
    (circuits, options), folder = long_circuits, tmp_path / "out"
    words = ["run", *circuits, *options, "-o", str(folder), "--checkpoint-seconds", "0.1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "hpcq", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    end = time.monotonic() + 120
    while not (folder / "long1.h5").exists():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    running.send_signal(number)
    said = running.communicate(timeout=120)[1]
    assert load_summary(folder / "small1.h5").status == "complete"
    assert load_summary(folder / "small2.h5").status == "complete"
    if number != signal.SIGKILL:
        assert running.returncode == 75, said
        assert "2 of 4 circuits are complete; run the same command again" in said
        states = [entry["state"] for entry in manifest_of(folder)]
        assert states == ["partial", "complete", "pending", "complete"]
    assert load_summary(folder / "long1.h5").status == "partial"
    done = hpcq_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert "2 of 4 circuits were complete already" in done.stderr
    assert {entry["state"] for entry in manifest_of(folder)} == {"complete"}
    lines = {(line := json.loads(text))["circuit"]: line for text in done.stdout.splitlines()}
    assert len(lines[circuits[0]]["provenance"]["starts"]) == 2
    values = [lines[circuits[index]]["expectation_values"] for index in (0, 2)]
    assert values[0] == values[1]


@pytest.mark.slow
def test_a_time_limit_stops_with_all_that_is_finished(
    long_circuits: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    (circuits, options), folder = long_circuits, tmp_path / "out"
    stopped = hpcq_here("run", *circuits, *options, "-o", folder, "--time-limit", "2.5")
    assert stopped.returncode == 75, stopped.stderr
    complete = [entry for entry in manifest_of(folder) if entry["state"] == "complete"]
    assert len(complete) < 4
    for entry in complete:
        assert load_summary(folder / entry["file"]).status == "complete"
    assert hpcq_here("run", *circuits, *options, "-o", folder).returncode == 0
