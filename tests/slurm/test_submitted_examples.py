"""An example as a job: stopped by its walltime, put back, and finished by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
