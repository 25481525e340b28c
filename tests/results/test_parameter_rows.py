"""Results with rows of parameters, in every form in which a result is kept or shown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.results import load_summary
from hpcq.results.parameter_rows import _MAX_ARRAY_NAMES, ParameterRows
from hpcq.results.result import Result
from tests.support.circuits import joined_pair
from tests.support.hostile import resealed

NAMES = ("phi", "theta[0]", "theta[1]")


def rows_of(number: int, names: tuple[str, ...] = NAMES) -> ParameterRows:
    return ParameterRows(names, np.random.default_rng(1).uniform(-3, 3, (number, len(names))))


@pytest.fixture(scope="module")
def exact() -> Result:
    plan = hpcq.plan(joined_pair(), ["Z0", "X1"], cut_labels="AB", threads=1)
    return hpcq.run(plan, device="cpu")


def with_rows(exact: Result, rows: ParameterRows) -> Result:
    values = np.random.default_rng(2).uniform(-1, 1, (len(rows), 2))
    return replace(
        exact,
        expectation_values=values,
        standard_errors=np.zeros_like(values),
        error_bounds=np.full_like(values, 1e-9),
        parameters=rows,
    )


@pytest.fixture
def result(exact: Result) -> Result:
    return with_rows(exact, rows_of(3))


def check_same(one: Result, other: Result) -> None:
    for name in ("expectation_values", "standard_errors", "error_bounds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.parameters is not None
    assert other.parameters is not None
    assert one.parameters.names == other.parameters.names
    np.testing.assert_array_equal(one.parameters.values, other.parameters.values)


def test_files_and_json_keep_all_rows(result: Result, tmp_path: Path) -> None:
    result.save(tmp_path / "out.h5")
    for again in (hpcq.load(tmp_path / "out.h5"), load_summary(tmp_path / "out.h5")):
        check_same(again, result)
    check_same(Result.from_json(result.to_json()), result)
    check_same(Result.from_json(result.to_bytes()), result)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["parameters"].attrs["names"].tolist() == list(NAMES)
        assert file["parameters"].shape == (3, 3)
        assert file["results/expectation_values"].shape == (3, 2)
        assert file["results/error_bounds"].shape == (3, 2)
    plain = json.loads(result.to_json())
    assert plain["parameters"]["names"] == list(NAMES)
    assert plain["parameters"]["values"][2] == result.parameters.values[2].tolist()
    assert plain["expectation_values"] == result.expectation_values.tolist()


def test_any_number_of_names_is_stored(exact: Result, tmp_path: Path) -> None:
    names = tuple(f"theta[{number}]" for number in range(_MAX_ARRAY_NAMES + 1))
    result = with_rows(exact, rows_of(2, names))
    result.save(tmp_path / "out.h5")
    check_same(hpcq.load(tmp_path / "out.h5"), result)


def test_an_ordinary_result_says_nothing_of_rows(exact: Result, tmp_path: Path) -> None:
    exact.save(tmp_path / "out.h5")
    assert hpcq.load(tmp_path / "out.h5").parameters is None
    assert "parameters" not in json.loads(exact.to_json())
    assert Result.from_json(exact.to_json()).parameters is None
    with h5py.File(tmp_path / "out.h5") as file:
        assert "parameters" not in file


def test_csv_has_a_line_for_each_row_and_observable(
    result: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result.save(tmp_path / "out.h5")
    assert main(["show", str(tmp_path / "out.h5"), "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["observable"] for line in table] == ["Z0", "X1"] * 3
    assert [int(line["row"]) for line in table] == [0, 0, 1, 1, 2, 2]
    values = [float(line["expectation_value"]) for line in table]
    assert values == result.expectation_values.reshape(-1).tolist()
    last = [float(line["theta[1]"]) for line in table[::2]]
    assert last == result.parameters.values[:, 2].tolist()


def test_text_shows_the_first_rows(exact: Result) -> None:
    lines = str(with_rows(exact, rows_of(12))).splitlines()
    values = rows_of(12).values[0]
    assert lines[0] == (
        f"row 0: phi = {values[0]:.6g}, theta[0] = {values[1]:.6g}, theta[1] = {values[2]:.6g}"
    )
    assert lines[1].startswith("  Z0  ")
    assert len(lines) == 10 * 3 + 1
    assert lines[-1] == "... and 2 more rows"


def test_values_that_a_partial_run_does_not_know(result: Result, tmp_path: Path) -> None:
    values = result.expectation_values.copy()
    values[1:] = np.nan
    partial = replace(result, expectation_values=values, status="partial")
    partial.save(tmp_path / "out.h5")
    again = hpcq.load(tmp_path / "out.h5")
    check_same(again, partial)
    assert str(again).count("not yet available") == 4
    plain = json.loads(again.to_json(), parse_constant=pytest.fail)
    assert plain["expectation_values"][1:] == [[None, None]] * 2
    np.testing.assert_array_equal(Result.from_json(again.to_json()).expectation_values, values)


def _names(file: h5py.File, names: object) -> None:
    file["parameters"].attrs["names"] = names


def _replaced(path: str, values: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        names = file[path].attrs.get("names")
        del file[path]
        file[path] = values
        if names is not None:
            file[path].attrs["names"] = names

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda file: _names(file, ["a", "b"]),
        lambda file: _names(file, 3),
        lambda file: _names(file, '{"a": 1}'),
        lambda file: _names(file, "[[1], 2, 3]"),
        lambda file: _names(file, np.arange(3)),
        lambda file: file["parameters"].attrs.__delitem__("names"),
        lambda file: file.__delitem__("parameters"),
        _replaced("parameters", np.zeros((2, 3))),
        _replaced("parameters", np.zeros(3)),
        _replaced("parameters", np.zeros((3, 3), dtype=complex)),
        _replaced("parameters", np.full((3, 3), np.nan)),
        _replaced("parameters", 1.0),
        _replaced("parameters", "text"),
        _replaced("results/expectation_values", np.zeros(2)),
        _replaced("results/standard_errors", np.zeros((3, 1))),
        _replaced("results/error_bounds", np.zeros((2, 2))),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    change: Callable[[h5py.File], None],
    result: Result,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.h5"
    result.save(output)
    resealed(output, change)
    with pytest.raises(InputError, match=r"out\.h5: not a valid hpcq result"):
        hpcq.load(output)
    assert main(["show", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
