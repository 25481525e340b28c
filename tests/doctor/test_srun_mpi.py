from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.cli.main import main
from hpcq.doctor import srun_mpi as launching
from hpcq.doctor.srun_mpi import (
    command_output,
    mpi_flavour,
    parse_plugins,
    suitable_plugin,
    suitable_plugin_here,
)

OPEN_MPI = "Open MPI v5.0.11, package: Open MPI user@localhost Distribution, ident: 5.0.11"
MPICH = "MPICH Version:      5.0.2\nMPICH Release date: Fri Sep 25\nMPICH ABI:          18:2:6"
INTEL = "Intel(R) MPI Library 2021.11 for Linux* OS\n\x00"
MVAPICH = "MVAPICH2 Version      :\t2.3.7\nMVAPICH2 Release date : Wed March 02"
CRAY = "MPI VERSION    : CRAY MPICH version 8.1.28.29 (ANL base 3.4a2)\nMPI BUILD INFO : x"

NEW = (
    "MPI plugin types are...\n\tpmix\n\tnone\n\tcray_shasta\n\tpmi2\n"
    "specific pmix plugin versions available: pmix_v4,pmix_v5\n"
)
OLD = "srun: MPI types are...\nsrun: none\nsrun: pmi2\nsrun: pmix_v2\nsrun: pmix_v10\n"
POOR = "MPI plugin types are...\n\tnone\n"


def executable(place: Path, text: str) -> None:
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        (OPEN_MPI, "Open MPI", "5.0.11"),
        (MPICH, "MPICH", "5.0.2"),
        (INTEL, "Intel MPI", "2021.11"),
        (MVAPICH, "MVAPICH", "2.3.7"),
        (CRAY, "Cray MPICH", "8.1.28.29"),
        ("something else 1.0", "", ""),
        ("", "", ""),
    ],
)
def test_an_mpi_is_known_by_its_version_text(text: str, name: str, version: str) -> None:
    assert mpi_flavour(text) == (name, version)


def test_lists_of_new_and_old_sruns_are_read() -> None:
    assert parse_plugins(NEW) == {"pmix", "none", "cray_shasta", "pmi2", "pmix_v4", "pmix_v5"}
    assert parse_plugins(OLD) == {"none", "pmi2", "pmix_v2", "pmix_v10"}
    assert parse_plugins("srun: error: no such thing: pmix") == frozenset()


@pytest.mark.parametrize(
    ("version", "listed", "word"),
    [
        (OPEN_MPI, NEW, "pmix"),
        (OPEN_MPI, OLD, "pmix_v10"),
        (OPEN_MPI, "", "pmix"),
        (OPEN_MPI, POOR, ""),
        (MPICH, NEW, "pmi2"),
        (MPICH, "", "pmi2"),
        (MPICH, POOR, ""),
        (INTEL, OLD, "pmi2"),
        (MVAPICH, NEW, "pmi2"),
        (CRAY, NEW, "cray_shasta"),
        (CRAY, OLD, "pmi2"),
        (CRAY, "", "pmi2"),
        ("another", NEW, ""),
        ("", NEW, ""),
    ],
)
def test_the_word_fits_the_mpi_and_what_srun_lists(version: str, listed: str, word: str) -> None:
    assert suitable_plugin(version, listed) == word


@pytest.mark.slow
@given(st.text(), st.text())
def test_no_text_is_too_odd(version: str, listed: str) -> None:
    word = suitable_plugin(version, listed)
    assert word in ("", "pmi2", "cray_shasta") or word.startswith("pmix")


def test_the_list_is_read_from_stderr_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "srun", f"printf '{OLD}' >&2".replace("\n", "\\n"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launching, "library_version", lambda: OPEN_MPI)
    assert suitable_plugin_here() == "pmix_v10"


def test_a_command_that_hangs_fails_or_is_not_there_says_nothing(tmp_path: Path) -> None:
    executable(tmp_path / "hangs", "exec sleep 30")
    executable(tmp_path / "fails", "echo pmix; exit 1")
    begun = time.monotonic()
    assert command_output([str(tmp_path / "hangs")], 0.2) == ""
    assert command_output([str(tmp_path / "fails")]) == ""
    assert command_output([str(tmp_path / "nowhere")]) == ""
    assert time.monotonic() - begun < 5


def test_without_mpi4py_the_line_is_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(launching, "_VERSION_PROGRAM", "import no_mpi4py_of_this_name")
    assert main(["doctor", "--srun-mpi"]) == 0
    assert capsys.readouterr().out == "\n"


def test_the_command_prints_one_word_without_starting_mpi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mpi4py")
    executable(tmp_path / "srun", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command = [sys.executable, "-m", "hpcq", "doctor", "--srun-mpi"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout in ("pmi2\n", "pmix\n")
