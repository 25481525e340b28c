"""Many circuits in one job under a real launcher; skipped only where there is none."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from hpcq.results import load_summary
from tests.kill_and_resume import Job, write_circuit
from tests.support.launch import hpcq, hpcq_here

pytestmark = pytest.mark.mpi

LIMITS = ("--memory", "1G", "--threads", "1")


def lines_of(text: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    found = {line["circuit"]: line for line in lines}
    assert len(found) == len(lines), "a circuit was printed twice"
    return found


def test_tiny_circuits_are_packed_and_computed_once(tmp_path: Path) -> None:
    circuits = []
    for number in range(20):
        path = tmp_path / f"c{number}.qasm"
        path.write_text(
            'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; h q[0];'
            f"ry(0.{number + 1}) q[1]; cx q[0],q[1]; cx q[1],q[2]; rzz(0.3) q[2],q[3];"
        )
        circuits.append(str(path))
    bad = tmp_path / "bad.qasm"
    bad.write_text("nonsense")
    words = ("run", *circuits[:7], bad, *circuits[7:], *LIMITS, "--json")
    many = hpcq(*words, "-o", tmp_path / "out", ranks=3)
    assert many.returncode == 1, many.stderr
    assert many.stderr.count(f"hpcq: error: {bad}: ") == 1
    assert "1 of 21 circuits failed" in many.stderr
    alone = hpcq_here(*words)
    found = lines_of(many.stdout)
    assert found.keys() == set(circuits)
    for circuit, line in lines_of(alone.stdout).items():
        assert found[circuit]["expectation_values"] == line["expectation_values"]
        assert len(found[circuit]["provenance"]["starts"]) == 1
        assert load_summary(tmp_path / "out" / f"{Path(circuit).stem}.h5").status == "complete"
    written = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.h5")}
    assert len(written) == 20
    again = hpcq(*words, "-o", tmp_path / "out", ranks=2)
    assert "20 of 21 circuits were complete already" in again.stderr
    assert {path: path.read_bytes() for path in written} == written


def test_wrong_usage_is_one_line_from_rank_0(tmp_path: Path) -> None:
    path = tmp_path / "a.qasm"
    path.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0];')
    done = hpcq("run", path, path, "-o", tmp_path / "out", ranks=3, seconds=60)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("hpcq: error:")]
    assert len(said) == 1, done.stderr
    assert "a.h5" in said[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGUSR1, marks=pytest.mark.nightly), signal.SIGKILL]
)
def test_the_same_command_goes_on_after_a_stop_and_a_kill(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Large circuits use all ranks, one after the other, and resume on another number of them."""
    path, *options = write_circuit(tmp_path, layers=48, qubits=13)
    for name in ("long1", "long2"):
        (tmp_path / f"{name}.qasm").write_text(Path(path).read_text())
    small = tmp_path / "small.qasm"
    small.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[26]; h q[0]; cx q[0],q[1];')
    circuits = [str(tmp_path / "long1.qasm"), str(tmp_path / "long2.qasm"), str(small)]
    folder = tmp_path / "out"
    words = [*circuits, *options, "-o", str(folder), "--checkpoint-seconds", "0.1"]
    running = Job(words, 3, tmp_path, "process")
    end = time.monotonic() + 120
    while not (folder / "long1.h5").exists():
        assert running.process.poll() is None, running.log.read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    running.process.send_signal(number)
    running.gone()
    assert load_summary(folder / "small.h5").status == "complete"
    assert load_summary(folder / "long1.h5").status == "partial"
    if number == signal.SIGUSR1:
        assert "1 of 3 circuits are complete" in running.log.read_text()
    done = hpcq("run", *words, "--json", ranks=2)
    assert done.returncode == 0, done.stderr
    found = lines_of(done.stdout)
    assert len(found[circuits[0]]["provenance"]["starts"]) == 2
    values = [found[circuit]["expectation_values"] for circuit in circuits[:2]]
    assert values[0] == values[1]
    entries = json.loads((folder / "manifest.json").read_text())["circuits"]
    assert {entry["state"] for entry in entries} == {"complete"}
