"""A new kind of run stores what it likes: one declaration for each field, one line to register."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import hpcq
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.results import load_summary
from hpcq.results.details import SECTIONS, register_section
from hpcq.results.hdf5_codecs import INTEGER, NUMBER, TEXT, numbers
from hpcq.results.hdf5_fields import Layout, Place, stored, stored_class
from tests.support.circuits import joined_pair
from tests.support.hostile import resealed


@stored_class
class Method:
    name: str = stored("@name", TEXT)
    seconds: float = stored("@seconds", NUMBER)


def _positive(samples: int, at: Place) -> str:
    return "" if samples > 0 else f"{at.attribute} is {samples}, expected at least 1"


@stored_class
class Toy:
    samples: int = stored("@samples", INTEGER, check=_positive)
    words: tuple[str, ...] = stored("words/*", TEXT)
    rows: Any = stored("rows", numbers("f", lambda at: (None, len(at.names))))
    bits: Any = stored("bits", numbers("u", read_as=np.uint8), default=None)
    method: Method | None = stored("method", Layout(Method), default=None)


register_section("toy", Toy)


ROWS = np.arange(6.0).reshape(3, 2)


@pytest.fixture(scope="module")
def result() -> hpcq.Result:
    plan = hpcq.plan(joined_pair(), ["Z0", "X1"], cut_labels="AB", threads=1)
    exact = hpcq.run(plan, device="cpu")
    assert exact.details is not None
    toy = Toy(4, ("one", "two"), ROWS, np.array([1, 5], np.uint8), Method("mps", 0.5))
    details = replace(exact.details, sections=(toy,))
    return replace(exact, config={**exact.config, "mode": "toy"}, details=details)


@pytest.fixture
def output(result: hpcq.Result, tmp_path: Path) -> Path:
    result.save(tmp_path / "toy.h5")
    return tmp_path / "toy.h5"


def test_a_section_is_stored_where_it_says(output: Path) -> None:
    with h5py.File(output) as file:
        assert file["toy"].attrs["samples"] == 4
        assert file["toy/words/1"].asstr()[()] == "two"
        assert file["toy/rows"].dtype == np.float64
        assert file["toy/bits"].dtype == np.uint8
        assert dict(file["toy/method"].attrs) == {"name": "mps", "seconds": 0.5}


def test_a_section_is_loaded(output: Path) -> None:
    details = hpcq.load(output).details
    assert details is not None
    toy = details.section(Toy)
    assert toy is not None
    assert (toy.samples, toy.words, toy.method.name) == (4, ("one", "two"), "mps")
    np.testing.assert_array_equal(toy.rows, ROWS)
    assert toy.bits.tolist() == [1, 5]
    assert details.record is None


def test_what_may_be_absent_is_absent(result: hpcq.Result, tmp_path: Path) -> None:
    details = replace(result.details, sections=(Toy(1, (), ROWS),))
    replace(result, details=details).save(tmp_path / "small.h5")
    loaded = hpcq.load(tmp_path / "small.h5").details
    assert loaded is not None
    toy = loaded.section(Toy)
    assert toy is not None
    assert (toy.words, toy.bits, toy.method) == ((), None, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["toy"].attrs.update(samples=0), "samples is 0, expected at least 1"),
        (lambda file: file["toy"].attrs.pop("samples"), "samples"),
        (lambda file: file["toy/method"].attrs.update(name=5), "name is .*, expected text"),
        (lambda file: file.pop("toy/words/0"), r"there is no words/0 in /toy"),
        (lambda file: file.pop("toy/words"), r"there is no words in /toy"),
        (
            lambda file: (file.pop("toy/rows"), file.update({"toy/rows": np.zeros((2, 3))})),
            "expected any x 2 numbers",
        ),
    ],
)
def test_a_section_that_no_run_writes_is_one_line(change: Any, said: str, output: Path) -> None:
    resealed(output, lambda file: change(file))
    with pytest.raises(InputError, match=said) as refused:
        hpcq.load(output)
    assert "\n" not in str(refused.value)


def test_a_section_of_an_unknown_kind_is_no_obstacle(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resealed(output, lambda file: file.create_dataset("toy/more", (1 << 45,), "f4"))
    monkeypatch.delitem(SECTIONS.layouts, Toy)
    loaded = hpcq.load(output)
    assert loaded.details is not None
    assert loaded.details.sections == ()
    assert loaded.config["mode"] == load_summary(output).config["mode"] == "toy"
    assert main(["show", str(output)]) == 0
    assert str(loaded) in capsys.readouterr().out
