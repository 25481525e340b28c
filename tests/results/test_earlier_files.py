"""Files that version 0.1 wrote at commit 644d7cd are read, and runs go on from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import hpcq
from hpcq.cli.main import main

DATA = Path(__file__).parent / "data"
CIRCUIT = str(DATA / "circuit.qasm")
RUN = ("run", CIRCUIT, "--cut-labels", "AABBCC", "--memory", "1G", "--threads", "1")
ASKED = ("--observable", "Z0 Z5 + 0.5 X2", "--observable", "Y1")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("exact.h5", "shots.h5"):
        shutil.copy(DATA / name, tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_values_and_details_are_read() -> None:
    exact, shots = hpcq.load(DATA / "exact.h5"), hpcq.load(DATA / "shots.h5")
    plan = hpcq.plan(hpcq.read_circuit(CIRCUIT), [ASKED[1], ASKED[3]], cut_labels="AABBCC")
    np.testing.assert_allclose(
        exact.expectation_values, hpcq.run(plan).expectation_values, rtol=0, atol=1e-12
    )
    assert exact.details is not None
    assert any(
        port.shared_with is not None for part in exact.details.subcircuits for port in part.ports
    )
    errors = (shots.expectation_values - exact.expectation_values) / shots.standard_errors
    assert np.abs(errors).max() < 5
    assert shots.details is not None
    assert shots.details.record is not None
    assert sum(r.shots for r in shots.details.record.rounds) == 4000


def _tree(entry: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Return what h5py sees in a file; of QPY, which is not always the same, only its size."""
    name = str(entry.name)
    found = {}
    for key in sorted(set(entry.attrs) - {"hpcq_version", "sha256"}):
        kind = entry.attrs.get_id(key)
        found[f"{name}@{key}"] = (
            f"{kind.dtype} {kind.shape} {np.asarray(entry.attrs[key]).tolist()}"
        )
    if isinstance(entry, h5py.Dataset):
        content = "" if name.endswith(("qpy", "circuit")) else entry[()]
        found[name] = f"{entry.dtype} {entry.shape} {np.asarray(content).tolist()}"
        return found
    for member in entry:
        found |= _tree(entry[member])
    return {name: "a group", **found}


@pytest.mark.parametrize("name", ["exact.h5", "shots.h5"])
def test_what_is_read_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    hpcq.load(DATA / name).save(tmp_path / name)
    with h5py.File(DATA / name) as before, h5py.File(tmp_path / name) as after:
        later = ("projector", "method", "error_bounds", "engine")
        tree = _tree(after).items()
        found = {place: value for place, value in tree if not any(name in place for name in later)}
        assert found == _tree(before)


@pytest.mark.slow
def test_a_complete_run_is_the_same_run(files: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([*RUN, *ASKED, "-o", str(files / "exact.h5")]) == 0
    assert "already complete" in capsys.readouterr().err
    assert (files / "exact.h5").read_bytes() == (DATA / "exact.h5").read_bytes()


@pytest.mark.slow
def test_shots_are_added(files: Path, capsys: pytest.CaptureFixture) -> None:
    output = files / "shots.h5"
    assert main([*RUN, *ASKED, "--shots", "4000", "-o", str(output), "--seed", "1"]) == 2
    assert "seed was 0 and is 1" in capsys.readouterr().err
    assert main([*RUN, *ASKED, "--shots", "4000", "-o", str(output)]) == 0
    refined = hpcq.load(output)
    assert refined.details is not None
    assert refined.details.record is not None
    assert sum(r.shots for r in refined.details.record.rounds) == 8000


@pytest.mark.slow
def test_cuts_are_written_as_they_were(tmp_path: Path) -> None:
    saved = tmp_path / "cuts.json"
    plan = ("plan", CIRCUIT, "--cut-labels", "AABBCC", "--memory", "1G")
    assert main([*plan, "--save", str(saved)]) == 0
    assert json.loads(saved.read_text()) == json.loads((DATA / "cuts.json").read_text())


def test_old_names_of_attributes_go_on_working() -> None:
    result = hpcq.load(DATA / "exact.h5")
    plan = hpcq.plan(hpcq.read_circuit(CIRCUIT), "Z0", cut_labels="AABBCC")
    assert result.details is not None
    with pytest.warns(DeprecationWarning, match="now fingerprint"):
        assert result.details.identity == result.details.fingerprint
    with pytest.warns(DeprecationWarning, match=r"now Plan\.simplified"):
        assert plan.reduced is plan.simplified
