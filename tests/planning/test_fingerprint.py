"""What a run differs in from the one that a file holds is named, causes first."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpcq
from hpcq.core.errors import InputError
from hpcq.planning.fingerprint import RequestSummary, check_same_run
from tests.support.circuits import two_halves

BASE = {"cut_labels": "AAABBB", "memory": 1 << 30, "threads": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = {"exact": folder / "exact.h5", "shots": folder / "shots.h5"}
    hpcq.run(hpcq.plan(two_halves(), ["Z0 Z5", "X1"], **BASE), output=paths["exact"])
    plan = hpcq.plan(two_halves(), ["Z0 Z5", "X1"], shots=1000, **BASE)
    hpcq.run(plan, output=paths["shots"])
    return paths


@pytest.mark.parametrize(
    ("observables", "changes", "message"),
    [
        (["Z0 Z5", "X2"], {}, "(observables differ: only asked for: 'X2'; only there: 'X1')"),
        (["Z0 Z5"], {}, "(observables differ: only there: 'X1')"),
        (["X1", "Z0 Z5"], {}, "(observables differ: they are the same in another order)"),
        (None, {"dtype": "complex64"}, "(precision differs: precision was double and is single)"),
        (
            None,
            {"cut_labels": "AABBBB"},
            "(cuts differ: --cut-labels was AAABBB and is AABBBB)",
        ),
        (
            ["Z3"],
            {"cut_labels": "AABBBB"},
            "(observables, cuts differ: only asked for: 'Z3'; only there: 'Z0 Z5', 'X1'; "
            "--cut-labels was AAABBB and is AABBBB)",
        ),
    ],
)
def test_what_differs_is_named(
    observables: list[str] | None, changes: dict, message: str, files: dict[str, Path]
) -> None:
    plan = hpcq.plan(two_halves(), observables or ["Z0 Z5", "X1"], **{**BASE, **changes})
    with pytest.raises(InputError) as caught:
        hpcq.run(plan, output=files["exact"])
    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "run_options", "message"),
    [
        ({"seed": 3}, {}, "(seed differs: seed was 0 and is 3)"),
        ({}, {"backend": "generic:6"}, "(backend differs: backend was aer and is generic:6)"),
        ({}, {"noise": "FakeManilaV2"}, "(noise differs)"),
    ],
)
def test_what_measures_is_named(
    changes: dict, run_options: dict, message: str, files: dict[str, Path]
) -> None:
    plan = hpcq.plan(two_halves(), ["Z0 Z5", "X1"], shots=1000, **{**BASE, **changes})
    with pytest.raises(InputError) as caught:
        hpcq.run(plan, output=files["shots"], **run_options)
    assert message in str(caught.value)


def test_terms_behind_a_name_are_named() -> None:
    stored = {"circuit": "a" * 64, "observables": "b" * 64, "slices": "c" * 64}
    request = RequestSummary(("energy",), {})
    with pytest.raises(InputError, match="observables differ: the names are the same, the terms"):
        check_same_run(
            stored, {**stored, "observables": "d" * 64, "slices": ""}, "", request, request
        )


def test_what_only_follows_is_left_out() -> None:
    stored = {"circuit": "a", "observables": "b", "cuts": "c", "precision": "d", "slices": "e"}
    for key, parts in (("circuit", "circuit"), ("precision", "precision"), ("cuts", "cuts")):
        other = {**stored, "slices": "other", key: "other"}
        if key == "circuit":
            other["cuts"] = "other"
        with pytest.raises(InputError, match=rf"of another run \({parts} differ"):
            check_same_run(stored, other, "a result")
    with pytest.raises(InputError, match="slices, which follow from --memory, differ"):
        check_same_run(stored, {**stored, "slices": "other"}, "a result")
    stored_request, current_request = (
        RequestSummary(config={"memory_bytes": size}) for size in (1 << 30, 64 << 20)
    )
    with pytest.raises(InputError, match=r"--memory was 1\.0 GiB and is 64\.0 MiB"):
        check_same_run(
            stored, {**stored, "slices": "other"}, "a result", stored_request, current_request
        )
    requests = (RequestSummary(config={"mode": mode}) for mode in ("exact", "shots"))
    with pytest.raises(InputError, match="modes differ: exact there, shots here"):
        check_same_run(stored, {"circuit": "a", "seed": "0"}, "a shared result", *requests)


def test_what_was_asked_is_told_in_a_few_bytes() -> None:
    plan = hpcq.plan(two_halves(), [f"Z{q}" for q in range(6)], **BASE)
    saved = RequestSummary.of(plan).to_json()
    assert RequestSummary.from_json(saved).observables == tuple(f"Z{q}" for q in range(6))
    assert saved["config"]["partition"] == list("AAABBB")
    assert RequestSummary.from_json("another version") == RequestSummary()
