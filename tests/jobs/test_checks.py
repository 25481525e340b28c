"""What a job's ranks import is looked for before it is queued."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hpcq.cli.main import main
from hpcq.jobs import checks
from hpcq.jobs import slurm_backend as slurm

ASKED = ("submit", "example:lattices", "--max-qubits", "18", "--nodes=1", "--ranks-per-node=2")


@pytest.fixture
def lacks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Packages that are not installed."""
    names: list[str] = []

    def find(name: str) -> object:
        return None if name in names else importlib.util.find_spec(name)

    monkeypatch.setattr(checks, "find_spec", find)
    monkeypatch.setattr(slurm, "nodes_of", lambda _: None)  # there may be no SLURM here
    return names


def submit(*more: str, tmp_path: Path) -> int:
    output = f"--output={tmp_path / 'out.h5'}"
    return main([*ASKED, "--memory=1G", "--time=10", "--dry-run", output, *more])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "more", "code", "said"),
    [
        ("mpi4py", (), 1, "error: submit: mpi4py is not installed here"),
        ("mpi4py", ("--local",), 1, "error: submit: mpi4py is not installed here"),
        ("mpi4py", ("--setup=module load x",), 0, "warning: submit: mpi4py is not installed"),
        ("mpi4py", ("--container=x.sif",), 0, ""),
        ("qiskit_aer", (), 1, "error: submit: qiskit-aer is not installed here"),
        ("", ("--device=gpu",), 2, "error: device: 'gpu', but this qiskit-aer is built without"),
        ("", ("--gpus-per-node=2",), 2, "error: device: 'gpu', but this qiskit-aer is built with"),
        ("", ("--gpus-per-node=2", "--device=cpu"), 0, ""),
        ("", ("--device=gpu", "--container=x.sif"), 0, ""),
        ("", (), 0, ""),
    ],
)
def test_what_is_missing_is_said_before(
    package: str,
    more: tuple[str, ...],
    code: int,
    said: str,
    lacks: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    lacks.append(package)
    monkeypatch.setattr(checks, "has_gpu_support", lambda: False)
    assert submit(*more, tmp_path=tmp_path) == code
    told = capsys.readouterr().err
    assert (said in told) if said else not told
    assert told.count("\n") == bool(said)


@pytest.mark.slow
def test_one_process_in_the_background_needs_no_mpi(lacks: list[str], tmp_path: Path) -> None:
    lacks.append("mpi4py")
    assert submit("--local", "--ranks-per-node=1", tmp_path=tmp_path) == 0
