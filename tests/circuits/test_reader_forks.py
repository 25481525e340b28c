"""Readers that are forks of one process; that they read as others do is in ``test_reader``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hpcq.circuits import reader
from hpcq.circuits.reader import forked_readers, read_circuit

pytestmark = pytest.mark.slow

QASM2 = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; cx q[0],q[1];'


@pytest.fixture(autouse=True)
def quick_readers() -> None:
    """Start the readers as the package does."""


@pytest.fixture
def circuit(tmp_path: Path) -> Path:
    path = tmp_path / "c.qasm"
    path.write_text(QASM2)
    return path


def test_one_process_is_started_for_many_circuits_and_ended(circuit: Path) -> None:
    with forked_readers():
        forks = reader._forks
        assert forks is not None
        assert forks._process is None, "it is started with the first reader"
        with forked_readers():
            for _ in range(3):
                assert read_circuit(circuit).num_qubits == 2
        process = forks._process
        assert process is not None
        assert process.poll() is None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(process.pid, number)  # as a launcher sends them to all processes
        assert read_circuit(circuit).num_qubits == 2
    assert reader._forks is None
    assert process.poll() == 0


def test_readers_start_from_scratch_where_nothing_can_be_forked(circuit: Path) -> None:
    with forked_readers():
        read_circuit(circuit)
        forks = reader._forks
        assert forks is not None
        assert forks._process is not None
        forks._process.kill()
        forks._process.wait()
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        assert read_circuit(circuit).num_qubits == 2
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_reader_that_is_given_up_is_gone(circuit: Path) -> None:
    with forked_readers():
        with reader.start_reader(circuit) as reading:
            pid = reading._process.pid
        assert reading._process.poll() is not None
        end = time.monotonic() + 10
        while pid is not None and Path(f"/proc/{pid}").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
