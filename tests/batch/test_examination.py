"""What doctor says inside a SLURM job."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcq.batch.examination import Rank, ending, files, placing, ranks_of
from hpcq.batch.launching import word_for
from hpcq.farm.serial import SerialFarm

_LIST = "MPI plugin types are...\n\tpmix\n\tnone\n\tcray_shasta\n\tpmi2\nspecific: pmix_v4\n"


def rank(host: str, cores: range, *cards: str) -> Rank:
    return Rank(host, tuple(cores), cards)


def found(*ranks: Rank, **environment: str) -> dict[str, str]:
    return dict(placing(ranks, environment))


@pytest.mark.parametrize(
    ("library", "offered", "word"),
    [
        ("Open MPI v5.0.11, package: x", _LIST, "pmix"),
        ("Open MPI v4.1", "none pmi2 pmix_v3 pmix_v4", "pmix_v4"),
        ("Open MPI v4.1", "none pmi2", ""),
        ("MPICH Version: 5.0.2", _LIST, "pmi2"),
        ("MPI VERSION    : CRAY MPICH version 8.1.28\nMPICH", _LIST, "cray_shasta"),
        ("MPI VERSION    : CRAY MPICH version 8.1.28", "none pmi2", "pmi2"),
        ("Intel(R) MPI Library 2021.13", None, "pmi2"),
        ("MVAPICH Version: 4.0", _LIST, "pmi2"),
        ("", _LIST, ""),
        ("something else", None, ""),
    ],
)
def test_which_word_starts_an_mpi(library: str, offered: str | None, word: str) -> None:
    assert word_for(library, offered) == word


def test_ranks_that_are_well_placed() -> None:
    said = found(
        *(rank(host, range(4 * n, 4 * n + 4)) for host in "ab" for n in range(2)),
        SLURM_CPUS_PER_TASK="4",
    )
    assert said == {"ranks": "4 on 2 hosts, 2 each", "binding": "4 cores a rank"}


def test_cores_that_srun_did_not_hand_on() -> None:
    said = found(rank("a", range(1)), rank("a", range(1, 2)), SLURM_CPUS_PER_TASK="8")
    assert "8 were asked for: srun --cpus-per-task" in said["binding"]
    crowd = found(*(rank("a", range(2)) for _ in range(3)))
    assert "3 ranks on 2 cores of a: fewer --ntasks-per-node" in crowd["binding"]
    shared = found(rank("a", range(4)), rank("a", range(4)))
    assert "srun --cpu-bind=cores" in shared["binding"]


def test_cards() -> None:
    two = {"SLURM_GPUS_ON_NODE": "2"}
    well = found(*(rank(host, range(1), "0", "1") for host in "aaabb"), **two)
    assert well["cards"] == "2 of 2 seen on each node, 2 ranks take them in turn"
    hidden = found(rank("a", range(1)), **two)
    assert "no --gpu-bind=none" in hidden["cards"]
    crowd = found(*(rank("a", range(1), "0", "1") for _ in range(5)), **two)
    assert "at most 2 ranks a node" in crowd["cards"]
    left = found(rank("a", range(1), "0", "1"), **two)
    assert "1 are left over" in left["cards"]


def test_the_end() -> None:
    assert "--time-limit" in ending({})
    soon = {"SLURM_JOB_END_TIME": str(int(time.time()) + 30)}
    assert "give the job more --time" in ending(soon)


@given(st.dictionaries(st.sampled_from(["SLURM_CPUS_PER_TASK", "SLURM_GPUS_ON_NODE"]), st.text()))
def test_whatever_the_variables_hold(environment: dict[str, str]) -> None:
    for _, text in placing(ranks_of(SerialFarm()), environment):
        assert "\n" not in text


def test_a_folder(tmp_path: Path) -> None:
    text, ok = files(tmp_path)
    assert ok
    assert "exclusive creation" in text
    assert not list(tmp_path.iterdir())
    assert "cannot be written" in files(tmp_path / "nowhere")[0]
