"""Folders of many circuits: what is printed of the manifest, and of what is none."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.reports.many_circuits import circuits_csv, circuits_json, circuits_text
from hpcq.runs.many.manifest import NAME, Entry, Manifest, read_manifest

ENTRIES = [
    Entry("a.qasm", "a.h5", "complete", "", "cut", 0.0, 0.25, 1.5),
    Entry("folder/b.qasm", "b.h5", "failed", "it has no gates"),
    Entry("c.qasm", "c.h5", predicted_seconds=20),
]
GHZ = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; h q[0]; cx q[0],q[1]; cx q[1],q[2];'


def test_a_table_of_circuits() -> None:
    assert circuits_text(ENTRIES).splitlines() == [
        "circuit        state     method  error bound  predicted s  taken s  result",
        "a.qasm         complete  cut               0         0.25      1.5  a.h5",
        "folder/b.qasm  failed                                               b.h5",
        "c.qasm         pending                                 20           c.h5",
        "",
        "3 circuits: 1 pending, 1 complete, 1 failed",
        "folder/b.qasm: it has no gates",
    ]


def test_csv_and_json_hold_all_that_is_known() -> None:
    rows = list(csv.DictReader(io.StringIO(circuits_csv(ENTRIES))))
    assert [row["circuit"] for row in rows] == [entry.circuit for entry in ENTRIES]
    assert (rows[0]["taken_seconds"], rows[1]["taken_seconds"]) == ("1.5", "")
    told = json.loads(circuits_json(ENTRIES))["circuits"]
    assert [Entry(**entry) for entry in told] == ENTRIES


def test_what_is_written_is_read(tmp_path: Path) -> None:
    Manifest(ENTRIES, tmp_path).write()
    assert read_manifest(tmp_path) == ENTRIES
    assert read_manifest(tmp_path)[2].predicted_seconds == 20


def test_a_folder_is_shown_as_it_was_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.qasm").write_text(GHZ)
    Path("bad.qasm").write_text("no circuit")
    words = ["run", "good.qasm", "bad.qasm", "--cut-labels", "AAB", "-o", "out", "--device", "cpu"]
    assert main(words) == 1
    capsys.readouterr()
    assert main(["show", "out"]) == 0
    heading, good, bad, _, counts, reason = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["circuit", "state", "method"]
    assert good.split()[:3] == ["good.qasm", "complete", "cut"]
    assert good.split()[-1] == "good.h5"
    assert bad.split()[:2] == ["bad.qasm", "failed"]
    assert counts == "2 circuits: 1 complete, 1 failed"
    assert reason.startswith("bad.qasm: ")
    assert main(["show", "out", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["circuits"] == json.loads(Path("out", NAME).read_text())["circuits"]
    assert main(["show", "out", "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_folder_of_something_else_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(tmp_path)]) == 2
    assert "a folder without manifest.json, expected a result" in capsys.readouterr().err


HEADING = {"format": "hpcq-manifest", "format_version": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", r"format is \[1\]"),
        ("{", "not a valid manifest"),
        ({"format": "other"}, "format is 'other', expected 'hpcq-manifest'"),
        ({**HEADING, "format_version": 2}, "format_version is 2, expected 1"),
        (HEADING, "circuits"),
        ({**HEADING, "circuits": 3}, "not a valid manifest"),
        ({**HEADING, "circuits": ["a.qasm"]}, "a circuit is 'a.qasm', expected an object"),
        ({**HEADING, "circuits": [{}]}, "circuit"),
        ({**HEADING, "circuits": [{"circuit": 3}]}, "circuit is 3"),
        ({**HEADING, "circuits": [{"circuit": "a", "state": "\x1b[2J"}]}, "state is"),
        ({**HEADING, "circuits": [{"circuit": "a", "taken_seconds": "1"}]}, "taken_seconds is '1'"),
    ],
)
def test_what_is_no_manifest_is_refused(content: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=reason) as raised:
        read_manifest(tmp_path)
    assert NAME in str(raised.value)
    assert str(raised.value).isprintable()


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    Manifest([Entry("\x1b[2J", "\n", "failed", "\x07", "\t")], tmp_path).write()
    shown = circuits_text(read_manifest(tmp_path))
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown.splitlines()) == 5


def test_later_versions_may_add_to_an_entry(tmp_path: Path) -> None:
    content = {**HEADING, "circuits": [{"circuit": "a.qasm", "colour": "red"}]}
    (tmp_path / NAME).write_text(json.dumps(content))
    assert read_manifest(tmp_path) == [Entry("a.qasm")]
