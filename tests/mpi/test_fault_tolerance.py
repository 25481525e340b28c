"""A lost rank is done without under Open MPI's ``mpirun --with-ft ulfm``."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.kill_and_resume import Job, value_of, write_circuit
from tests.support.launch import is_open_mpi, launcher

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(
        launcher() is None or not is_open_mpi(), reason="it takes Open MPI (.ci/run has it too)"
    ),
]


@pytest.mark.parametrize("victims", [[2], [1, 3]])
@pytest.mark.parametrize("workers", ["thread", "process"])
def test_the_job_goes_on_without_lost_ranks(
    victims: list[int], workers: str, tmp_path: Path
) -> None:
    arguments = write_circuit(tmp_path)
    reference = tmp_path / "reference.h5"
    assert Job([*arguments, "-o", str(reference)], 1, tmp_path, "thread").process.wait(120) == 0
    output = tmp_path / "out.h5"
    job = Job([*arguments, "-o", str(output)], 4, tmp_path, workers, "--with-ft", "ulfm")
    status = tmp_path / ".out.h5.status"
    begun = time.monotonic()
    while not status.exists():
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    chance = random.Random(len(victims))
    for victim in victims:
        time.sleep(chance.uniform(0, 0.5))
        pid = next(pid for pid, rank in job.members().items() if rank == victim)
        os.kill(pid, signal.SIGKILL)
    assert job.process.wait(120) is not None
    said = job.log.read_text()
    for victim in victims:
        assert f"rank {victim} on " in said
    assert "is lost" in said
    assert value_of(output) == value_of(reference), "the file decides, whatever mpirun's code is"
    assert job.gone() < 10
