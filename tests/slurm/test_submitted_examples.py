"""An example as a job: stopped by its walltime, put back, and finished by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from qiskit import qpy
from qiskit.circuit.library import efficient_su2

import hpcq
from tests.slurm.conftest import Commands
from tests.support.launch import ROOT

EXAMPLE = ROOT / "examples" / "minimize_and_resume.py"


@pytest.mark.nightly
def test_an_example_is_stopped_by_its_walltime_and_finishes_by_itself(
    command: Commands, tmp_path: Path
) -> None:
    """It has work for more than the minute of its walltime."""
    words = ("--size", "28", "--reps", "5", "--iterations", "400")
    output = tmp_path / "loop.h5"
    size = ("--nodes", "2", "--ranks-per-node", "1", "--time", "1", "--until-done")
    script = ("exec", EXAMPLE, *words, "--output", output)
    job: str = command("submit", "--json", *size, "--", *script)["job"]
    command.until(job, "DONE", seconds=900)
    log = command("logs", job)
    assert re.search(r"stopped, because .*: \d+ evaluations are saved in", log)
    (energy,) = re.findall(r"energy  (\S+)", log)
    result = hpcq.load(output)
    assert result.status == "complete"
    assert f"{result.expectation_values.item():.9f}" == energy
    assert len(result.provenance["starts"]) > 1


@pytest.mark.nightly
def test_a_loop_by_the_command_finishes_by_itself_too(command: Commands, tmp_path: Path) -> None:
    ansatz = efficient_su2(28, reps=5, entanglement="linear")
    circuit, output = tmp_path / "ansatz.qpy", tmp_path / "loop.h5"
    with circuit.open("wb") as file:
        qpy.dump(ansatz, file)
    energy = " + ".join(f"X{q} X{q + 1} + 1.5 Z{q} Z{q + 1}" for q in range(27))
    size = ("--nodes", "2", "--ranks-per-node", "1", "--time", "1", "--until-done")
    how = ("--observable", energy, "--max-qubits", "14", "--initial", "0.2", "--seed", "3")
    loop = ("minimize", circuit, *how, "--max-evaluations", "500", "-o", output)
    job: str = command("submit", "--json", *size, "--", *loop)["job"]
    command.until(job, "DONE", seconds=600)
    log = command("logs", job)
    assert re.search(r"stopped, because .*: \d+ evaluations are saved in", log)
    result = hpcq.load(output)
    assert result.status == "complete"
    assert len(result.provenance["starts"]) > 1
