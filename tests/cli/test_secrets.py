"""What the environment holds, keys among it, reaches no file, no log and no message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from hpcq.circuits import reader as circuits
from hpcq.core.system import redact_secrets
from tests.doctor.test_srun_mpi import executable
from tests.jobs.stand_ins import squeue
from tests.support.launch import environment, launcher

SECRET = "hunter2-DoNotTell-4711"
NAMES = (
    "AWS_SECRET_ACCESS_KEY",
    "QISKIT_IBM_TOKEN",
    "SLURM_JWT",
    "SLURM_EXPORT_ENV",
    "SLURM_JOB_COMMENT",
    "SBATCH_ACCOUNT_KEY",
    "HPCQ_TOKEN",
    "HPCQ_FIRST_RANKS",
    "HPCQ_IMAGE",
    "PMI_KEY",
    "OMPI_MCA_key",
    "PYTHONSECRET",
    "CUDA_KEY",
    "LC_KEY",
)
CIRCUIT = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[4]; h q[0]; cx q[0],q[1]; cx q[1],q[2];'


class Place:
    """A folder to work in, with commands of SLURM's that keep what they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        self.bin = folder / "bin"
        self.bin.mkdir()
        (folder / "c.qasm").write_text(CIRCUIT)
        executable(self.bin / "sbatch", f"cat > {folder}/script; echo 7")
        executable(self.bin / "squeue", squeue(state="PENDING"))
        executable(self.bin / "sinfo", "echo 'main*|8|16000|infinite|2'")

    def hpcq(self, *words: str, ranks: int = 0, code: int | None = 0, **more: str) -> str:
        """Run a command where every variable is a secret, and note what it says."""
        known = environment(**dict.fromkeys(NAMES, SECRET), XDG_STATE_HOME=f"{self.folder}/state")
        known |= {"XDG_CACHE_HOME": f"{self.folder}/cache", "HPCQ_CALIBRATION": "", **more}
        known["PATH"] = f"{self.bin}:{known['PATH']}"
        launch = [str(launcher()), "-n", str(ranks)] if ranks else []
        done = subprocess.run(
            [*launch, sys.executable, "-m", "hpcq", *words],
            cwd=self.folder,
            env=known,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert code is None or done.returncode == code, done.stderr
        self.said += done.stdout + done.stderr
        return done.stdout

    def check(self) -> None:
        """Make sure that the secret is nowhere."""
        assert SECRET not in self.said
        for place in self.folder.rglob("*"):
            if place.is_file():
                assert SECRET.encode() not in place.read_bytes(), place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


ASKED = ("c.qasm", "--max-qubits", "3", "--observable", "Z0 Z2", "--threads", "1")


@pytest.mark.slow
def test_a_run_and_what_is_asked_of_it(place: Place) -> None:
    place.hpcq("run", *ASKED, "-o", "exact.h5", SLURM_JOB_ID="12", SLURM_JOB_NAME="known")
    place.hpcq("run", *ASKED, "--shots", "1000", "-o", "shots.h5", "--json")
    place.hpcq("status", "exact.h5", "--json")
    with h5py.File(place.folder / "exact.h5") as file:
        assert '"SLURM_JOB_NAME": "known"' in file["provenance"].attrs["slurm"]
    place.check()


@pytest.mark.slow
def test_a_run_under_a_launcher(place: Place) -> None:
    if launcher() is None:
        pytest.skip("no mpirun")
    place.hpcq("run", *ASKED, "--shared", "-o", "shared.h5", ranks=2)
    place.hpcq("run", *ASKED, "--observable", "Z99", ranks=2, code=None)
    place.check()


@pytest.mark.slow
def test_jobs(place: Place) -> None:
    place.hpcq("submit", *ASKED, "-o", "queued.h5", "--time", "10")
    assert "hpcq run" in (place.folder / "script").read_text()
    place.hpcq("submit", *ASKED, "-o", "local.h5", "--local")
    place.hpcq("result", "local.h5", "--wait")
    place.hpcq("logs", "local.h5")
    place.check()


def test_what_a_service_says_of_a_key_is_not_passed_on() -> None:
    text = f"401 for {SECRET} at https://x/?key={SECRET}"
    shown = redact_secrets(text, {"QISKIT_IBM_TOKEN": SECRET, "HOME": "401", "API_KEY": "x"})
    assert shown == "401 for $QISKIT_IBM_TOKEN at https://x/?key=$QISKIT_IBM_TOKEN"


@pytest.mark.slow
def test_the_doctor(place: Place) -> None:
    place.hpcq("doctor", SLURM_JOB_ID="12", code=None)
    assert "in job 12" in place.said
    place.check()


def test_the_reader_of_circuits_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads what others made; what it says goes into messages."""
    for name in NAMES:
        monkeypatch.setenv(name, SECRET)
    assert SECRET not in circuits._environment().values()
