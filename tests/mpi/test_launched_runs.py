"""What happens under a real launcher; skipped only where there is none."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.support.launch import ROOT, hpcq, hpcq_here, run

pytestmark = pytest.mark.mpi

CIRCUIT = """OPENQASM 2.0; include "qelib1.inc"; qreg q[6];
h q[0]; cx q[0],q[1]; cx q[1],q[2]; cz q[2],q[3]; ry(0.4) q[3]; cx q[3],q[4]; cx q[4],q[5];
"""


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    path = tmp_path / "circuit.qasm"
    path.write_text(CIRCUIT)
    return path


@pytest.mark.parametrize(
    "name",
    ["farm", "programs", "primitives", "outcomes", "minimize"],
)
@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.nightly), 3])
def test_the_mpi_tests_pass(ranks: int, name: str) -> None:
    done = run(
        *(sys.executable, "-m", "mpi4py", "-m", "pytest", "-x", "--with-mpi", "-q"),
        *("-p", "no:cacheprovider", ROOT / "tests" / "mpi" / f"test_mpi_{name}.py"),
        ranks=ranks,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("[0-9]+ passed", done.stdout)) == ranks, done.stdout


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.nightly), 3])
def test_a_run_gives_the_same_bits_on_any_number_of_ranks(
    ranks: int, circuit: Path, tmp_path: Path
) -> None:
    arguments = ("run", circuit, "--cut-labels", "AAABBB", "--observable", "Z0 X4", "--json")
    alone = hpcq_here(*arguments, "--memory", "1G", "--threads", "1")
    output = tmp_path / "out.h5"
    many = hpcq(*arguments, "--memory", "1G", "--threads", "1", "-o", output, ranks=ranks)
    assert many.returncode == 0, many.stderr
    one, more = json.loads(alone.stdout), json.loads(many.stdout)
    assert one["expectation_values"] == more["expectation_values"]
    assert more["provenance"]["ranks"] == ranks
    shown = hpcq_here("show", output, "--json")
    assert json.loads(shown.stdout)["expectation_values"] == more["expectation_values"]


def test_a_start_without_all_ranks_ends(circuit: Path) -> None:
    """MPI_Init waits for ever for a rank that does not come."""
    words = ("run", circuit, "--cut-labels", "AAABBB", "--observable", "Z0")
    late = (":", "-n", "1", "sleep", "60")
    start = time.monotonic()
    done = hpcq(*words, *late, ranks=1, HPCQ_START_SECONDS="2")
    assert time.monotonic() - start < 30
    assert done.returncode != 0
    assert "in open_farm" in done.stderr


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_raising_rank_ends_the_job(ranks: int) -> None:
    start = time.monotonic()
    done = run(sys.executable, ROOT / "tests" / "mpi" / "raising_rank.py", ranks=ranks, seconds=60)
    assert time.monotonic() - start < 30
    assert done.returncode != 0
    assert f"rank {ranks - 1} of {ranks} on {socket.gethostname()} failed" in done.stderr
    assert "RuntimeError: the dog ate my amplitudes" in done.stderr


def test_bad_input_is_one_line_from_rank_0(tmp_path: Path) -> None:
    done = hpcq("run", tmp_path / "missing.qasm", ranks=3, seconds=60)
    said = [line for line in done.stderr.splitlines() if line.startswith("hpcq: error:")]
    assert len(said) == 1, done.stderr
    assert "missing.qasm" in said[0]
    assert "Traceback" not in done.stderr
    assert done.returncode != 0


def test_worlds_of_one_are_refused_with_the_cure(circuit: Path) -> None:
    done = hpcq("run", circuit, seconds=60, SLURM_STEP_NUM_TASKS="4", SLURM_PROCID="0")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "4 processes" in line
    assert "--mpi=pmi2" in line


def test_a_plan_is_printed_once(circuit: Path) -> None:
    done = hpcq("plan", circuit, "--cut-labels", "AAABBB", "--json", ranks=3, seconds=60)
    assert done.returncode == 0
    assert json.loads(done.stdout)["num_gate_cuts"] == 1


def test_a_shared_search_finds_the_same_cuts(tmp_path: Path) -> None:
    """The attempts are spread over the ranks, and the answer is the same bit for bit."""
    lattice = tmp_path / "lattice.qasm"
    pairs = [(4 * r + c, 4 * r + c + 1) for r in range(4) for c in range(3)]
    pairs += [(4 * r + c, 4 * r + c + 4) for r in range(3) for c in range(4)]
    layer = "".join(f"rzz(0.3) q[{a}],q[{b}];" for a, b in pairs)
    lattice.write_text(
        f'OPENQASM 2.0; include "qelib1.inc"; qreg q[16]; h q; {layer} ry(0.4) q; {layer}'
    )
    how = ("--max-qubits", "8", "--observable", "X" * 16, "--memory", "4G", "--threads", "1")
    how += ("--search-seconds", "0.2")
    words = ("plan", lattice, *how, "--json")
    plans = [hpcq_here(*words), hpcq(*words, ranks=3)]
    assert [plan.returncode for plan in plans] == [0, 0], plans
    assert len({plan.stdout for plan in plans}) == 1
    words = ("run", *words[1:])
    runs = [hpcq_here(*words), hpcq(*words, ranks=2)]
    values = {tuple(json.loads(done.stdout)["expectation_values"]) for done in runs}
    assert len(values) == 1


def test_a_gpu_is_asked_for_before_the_search(circuit: Path) -> None:
    words = ("run", circuit, "--max-qubits", "3", "--search-seconds", "1000", "--device", "gpu")
    done = hpcq(*words, ranks=2, seconds=60, CUDA_VISIBLE_DEVICES="")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hpcq: error:")]
    assert "device: 'gpu', but no GPU" in line
    assert "(all 2 ranks)" in line


def test_far_too_many_threads_are_refused(circuit: Path) -> None:
    done = hpcq("run", circuit, "--cut-labels", "AAABBB", "--threads", "100000", ranks=2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("hpcq: error:")]
    assert "threads: 100000, expected at most" in line
