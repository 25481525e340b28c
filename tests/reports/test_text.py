"""What is printed of a result, and of one that is not finished."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import StoppedError
from hpcq.planning.kind import kind_of
from hpcq.reports.text import result_text
from hpcq.results.result import Result
from tests.support.circuits import two_halves


@pytest.mark.slow
def test_what_is_not_known_yet_is_said_in_every_form(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    words = ["run", "example:lattices", "--max-qubits", "18", "--observable", "Z0", "-o", output]
    plan = hpcq.plan(two_halves(), ["Z0 Z5", "X1"], cut_labels="AAABBB")
    with pytest.raises(StoppedError):
        hpcq.run(plan, output=output, time_limit=1e-3)
    assert main(["show", output]) == 0
    shown = capsys.readouterr().out
    assert "nan" not in shown
    assert shown.startswith("Z0 Z5  not yet available\nX1     not yet available\n")
    assert "partial (finished work is saved" in shown
    assert "simulate: 0 of 2 tasks" in shown
    assert main(["show", output, "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["expectation_values"] == told["standard_errors"] == [None, None]
    assert np.isnan(Result.from_json(json.dumps(told)).expectation_values).all()
    assert main(["show", output, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heading = "observable,expectation_value,standard_error,error_bound"
    assert lines == [heading, "Z0 Z5,,,", "X1,,,"]
    result = hpcq.run(plan, output=output)
    assert main(["show", output, "--csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [float(row[1]) for row in rows[1:]] == result.expectation_values.tolist()
    assert main(["show", output, "--csv", "--json"]) == 2
    assert main([*words]) == 2, "it is another run's"
    capsys.readouterr()


def test_numbers_without_an_end_reach_other_ranks_and_no_json() -> None:
    values = np.array([0.5, np.nan])
    result = Result(("a", "b"), values, np.array([np.inf, np.nan]), "partial", {}, {"x": np.inf})
    np.testing.assert_array_equal(Result.from_json(result.to_bytes()).standard_errors[0], np.inf)
    told = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert told["standard_errors"] == [None, None]
    assert told["provenance"] == {"x": None}
    assert str(result) == "a  +0.500000000000 ± unknown\nb  not yet available"


def test_engines_and_predicted_seconds_are_those_of_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = str(tmp_path / "out.h5")
    plan = hpcq.plan(two_halves(), ["Z0 Z5", "X1"], cut_labels="AAABBB")
    planned = kind_of(plan).to_json(plan)
    hpcq.run(plan, output=output, device="cpu")
    assert main(["show", output, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["engine"] == "aer cpu"
    assert told["engines"] == [part["engine"] for part in planned["subcircuits"]]
    assert told["engines"] == ["statevector", "statevector"]
    assert told["reason"] == plan.verdict.reason
    assert told["predicted_seconds"] == planned["predicted_seconds"] > 0
    assert told["taken_seconds"] > 0
    assert main(["show", output]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"method      cut ({plan.verdict.reason})" in lines
    assert "engine      aer cpu" in lines
    assert "subcircuits 2 by statevector" in lines
    seconds = f"{told['predicted_seconds']:.3g} s, taken {told['taken_seconds']:.3g} s"
    assert f"predicted   {seconds}" in lines


def test_engines_of_parts_reach_other_ranks() -> None:
    zero = np.zeros(1)
    engines = ("statevector", None, "stabilizer", "statevector")
    result = Result(("Z0",), zero, zero, "complete", {}, {}, engines=engines, taken_seconds=2.0)
    for text in (result.to_json(), result.to_bytes()):
        copy = Result.from_json(text)
        assert copy.engines == engines
        assert copy.engine is None
        assert copy.reason is None
        assert np.isnan(copy.predicted_seconds)
        assert copy.taken_seconds == 2.0
    assert json.loads(result.to_json())["predicted_seconds"] is None
    shown = result_text(result)
    assert "subcircuits 2 by statevector, 1 by stabilizer" in shown
    assert "predicted" not in shown
