"""What a job's log says of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcq.jobs.job import Job
from hpcq.jobs.submissions import Submission

OURS = "hpcq: error: circuit.qasm: cannot be opened"
SRUN = "srun: error: c1: task 0: Exited with exit code 2"
SHELL = "slurm_script: line 61: apptainer: command not found"
KILLED = "slurmstepd: error: Detected 1 oom-kill event(s)"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([OURS, SRUN], OURS),
        ([SRUN, OURS, KILLED], OURS),
        (["ValueError: 3", SRUN], "ValueError: 3"),
        ([SRUN, KILLED], KILLED),
        (["hpcq: simulate: 3/4 tasks"], ""),
        ([SHELL, SRUN], SHELL),
        (["/opt/openmpi/help-pmix.txt: No such file or directory.", SRUN], SRUN),
    ],
)
def test_the_reason_is_the_runs_own_word(lines: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "out-7.log").write_text("\n".join(lines))
    record = Submission("7", str(tmp_path / "out.h5"), str(tmp_path / "out-%j.log"), ())
    assert Job(record)._error_line() == expected


def test_logs_are_found_in_folders_with_signs_of_slurm(tmp_path: Path) -> None:
    folder = tmp_path / "50% %j\n100%%"
    folder.mkdir()
    pattern = str(folder).replace("%", "%%")
    for name in ("out-7.log", "out-7_0.log", "out-7_1.log"):
        (folder / name).write_text(name)
    for end, expected in (("%j", "out-7.log"), ("%A_%a", "out-7_0.logout-7_1.log")):
        record = Submission("7", str(folder / "out.h5"), f"{pattern}/out-{end}.log", ())
        assert Job(record).logs() == expected
