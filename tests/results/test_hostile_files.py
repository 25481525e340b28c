"""Result files that lead elsewhere, or say what is not so: one line, and nothing leaks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import hpcq
from hpcq.circuits import qpy
from hpcq.cli.main import main
from hpcq.core.errors import InputError
from hpcq.results.hdf5_plain import PlainGroup
from tests.support.circuits import joined_pair
from tests.support.hostile import resealed

SECRET = "a key of somebody's, as long as it takes"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out.h5"
    plan = hpcq.plan(joined_pair(), "Z0", cut_labels="AB", threads=1)
    hpcq.run(plan, output=output, device="cpu")
    return output


@pytest.fixture
def output(whole: Path, tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["values"] = np.arange(1.0)
    return Path(shutil.copy(whole, tmp_path / "out.h5"))


def _external_storage(file: h5py.File, folder: Path, name: str) -> None:
    where = [(str(folder / "key"), 0, 8)]
    file.create_dataset(name, (1,), "f8", external=where)


def _external_link(file: h5py.File, folder: Path, name: str) -> None:
    file[name] = h5py.ExternalLink(str(folder / "other.h5"), "/values")


def _soft_link(file: h5py.File, _folder: Path, name: str) -> None:
    file["far"] = np.zeros(1)
    file[name] = h5py.SoftLink("/far")


def _virtual(file: h5py.File, folder: Path, name: str) -> None:
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "values", (1,))
    file.create_virtual_dataset(name, layout)


def _huge(file: h5py.File, _folder: Path, name: str) -> None:
    file.create_dataset(name, (1 << 45,), "f8")


def _bomb(file: h5py.File, _folder: Path, name: str) -> None:
    file.create_dataset(name, data=np.zeros(1 << 20), compression="gzip")


def _reference(file: h5py.File, _folder: Path, name: str) -> None:
    file[name] = np.array([file.ref], dtype=h5py.ref_dtype)


def _folder(file: h5py.File, _folder: Path, name: str) -> None:
    file.create_group(name)


@pytest.mark.parametrize("name", ["results/expectation_values", "circuit", "subcircuits/0/tensor"])
@pytest.mark.parametrize(
    "put", [_external_storage, _external_link, _soft_link, _virtual, _huge, _bomb]
)
def test_what_is_not_in_the_file_is_not_read(
    put: Callable[[h5py.File, Path, str], None],
    name: str,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(file: h5py.File) -> None:
        del file[name]
        put(file, tmp_path, name)

    resealed(output, change)
    with pytest.raises(InputError, match=r"in the file itself|than the file has room"):
        hpcq.load(output)
    if name.startswith("results"):
        assert main(["show", str(output)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_whole_group_may_not_be_elsewhere_either(output: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "a") as file:
        file["results/expectation_values"] = file["results/standard_errors"] = np.zeros(1)

    def change(file: h5py.File) -> None:
        del file["results"]
        file["results"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/results")

    resealed(output, change)
    with pytest.raises(InputError, match="results is not in the file itself"):
        hpcq.load(output)


def _attribute(name: str, value: Any, place: str = "/") -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[place].attrs[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _attribute("config", "[" * 100_000),
        _attribute("config", "[]"),
        _attribute("config", 5),
        _attribute("format", "x\x1b[31m" * 50),
        _attribute("ports", '[{"x": 1}]', "subcircuits/0"),
        _attribute("qubits", "text", "subcircuits/0"),
        _attribute("status", h5py.Empty("f8"), "observables/0"),
        lambda file: _reference(file, Path(), "timelines/9"),
        lambda file: file.move("circuit", "elsewhere"),
        lambda file: _folder(file, Path(), "observables/1"),
    ],
)
def test_nonsense_is_one_line(
    change: Callable[[h5py.File], None], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resealed(output, change)
    with suppress(InputError):
        hpcq.load(output)
    code = main(["show", str(output)])
    told = capsys.readouterr()
    assert told.err.count("\n") == (code != 0)
    assert "\x1b" not in told.err + told.out


def _with_parameter(path: str) -> Callable[[h5py.File], None]:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a") / 2, 0)

    def change(file: h5py.File) -> None:
        attributes = dict(file[path].attrs)
        del file[path]
        file[path] = np.frombuffer(qpy.dump(circuit), dtype=np.uint8)
        file[path].attrs.update(attributes)

    return change


def test_subcircuits_have_no_free_parameters(output: Path) -> None:
    resealed(output, _with_parameter("subcircuits/0/qpy"))
    with pytest.raises(InputError, match="subcircuits/0 has free parameters"):
        hpcq.load(output)


def test_the_circuit_may_have_free_parameters(output: Path) -> None:
    """Nothing is computed from it again, and it is read in the sandbox."""
    resealed(output, _with_parameter("circuit"))
    details = hpcq.load(output).details
    assert details is not None
    assert [parameter.name for parameter in details.circuit.parameters] == ["a"]


def test_a_text_does_nothing_to_a_terminal(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resealed(output, _attribute("name", "\x1b]0;evil\x07", "observables/0"))
    assert main(["show", str(output)]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        _attribute("name", "\x1b]0;evil\x07", "observables/0"),
        _attribute("hosts", json.dumps(["a\x1b[2J", "b\nstatus      complete"]), "provenance"),
        _attribute("seconds", json.dumps({"\x1b[31m\x9b2J": 1.0}), "provenance"),
        lambda file: _stage(file, "\x1b[31m\nstatus      complete"),
    ],
)
def test_no_text_of_a_file_does_anything_to_a_terminal(
    change: Callable[[h5py.File], None], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {}
    for when in ("before", "after"):
        for words in (["show"], ["show", "--csv"], ["show", "--json"], ["status"]):
            assert main([words[0], str(output), *words[1:]]) == 0
            told = capsys.readouterr().out
            assert not set(told) & {"\x1b", "\x07", "\x9b"}
            lines[when, *words] = told.count("\n")
        if when == "before":
            resealed(output, change)
    for words in (("show",), ("show", "--csv"), ("show", "--json")):
        assert lines["after", *words] - lines["before", *words] <= 1


def _stage(file: h5py.File, name: str) -> None:
    file.create_group("unfinished").attrs["rounds_before"] = 0
    stage = file.create_group("unfinished/stages/0")
    stage.attrs.update({"name": name, "total": 2, "done": 0, "dtype": "<f8"})


def test_status_of_what_says_nonsense(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resealed(output, _attribute("account", '{"core_seconds": "x"}', "provenance"))
    assert main(["status", str(output)]) == 0
    told = [
        {"pid": -1, "host": "x", "time": 1.0},
        {"pid": "1", "phase": [], "time": float("inf")},
        {"pid": 10**40, "phase": "\x1b[31m", "done": 10**400, "time": "now"},
        [1],
    ]
    for said in told:
        (output.parent / ".out.h5.status").write_text(json.dumps(said))
        assert main(["status", str(output)]) == 0
    (output.parent / ".out.h5.status").write_text("[" * 100_000)
    assert main(["status", str(output)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_plain_groups_are_as_usual(output: Path) -> None:
    with h5py.File(output) as file:
        plain = PlainGroup(file)
        assert plain["results/expectation_values"].shape == (1,)
        assert isinstance(plain["results"], PlainGroup)
        assert "results/standard_errors" in plain
        for name in ("nothing", "results/nothing", "nothing/else"):
            with pytest.raises(KeyError):
                plain[name]


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_an_output_that_is_no_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    place = tmp_path / "o.h5"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        socket.socket(socket.AF_UNIX).bind(str(place))
    for command in ("status", "show"):
        assert main([command, str(place)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def _put(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = value

    return change


def _configured(**values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs["config"] = json.dumps(json.loads(file.attrs["config"]) | values)

    return change


VALUES, ERRORS = "results/expectation_values", "results/standard_errors"
DEEP: dict[str, Any] = {}
for _ in range(400):
    DEEP = {"x": DEEP}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(
            (_put(place, value), "expected 1 numbers")
            for place in (VALUES, ERRORS)
            for value in (
                np.array(["0.5"], dtype=h5py.string_dtype()),
                np.zeros((1, 1)),
                0.5,
                np.zeros(1, [("a", "f8")]),
                np.zeros(1, complex),
                np.zeros(2),
                np.zeros(0),
                np.zeros(1, int),
            )
        ),
        (_put(ERRORS, [-1.0]), "negative"),
        (_put(VALUES + "/x", [1.0]), "not a dataset"),
        (_attribute("name", 5, "observables/0"), "name is .*, expected text"),
        (_attribute("status", "done\x1b[31m"), "expected complete or partial"),
        (_attribute("status", 5), "expected text"),
        (_configured(mode="\x1b[31mexact"), "mode is .*, expected a kind of run"),
        (_configured(mode="e" * 33), "mode is 'eeee.*, expected a kind of run"),
        (_configured(mode=["exact"]), "expected a kind of run"),
        (_configured(memory_bytes=10**30), "memory_bytes is 10*, expected 1048576 to"),
        (_configured(memory_bytes="1G"), "memory_bytes is '1G'"),
        (_configured(threads=1.5), "threads is 1.5"),
        (_configured(partition=[1]), "partition is "),
        (_configured(speeds=[1]), "speeds is "),
        (_configured(more=DEEP), "more is not a plain value"),
        (_attribute("seconds", '{"share": "x"}', "provenance"), "seconds is "),
        (_attribute("seconds", "x", "provenance"), "seconds is "),
        (_attribute("hosts", "[1]", "provenance"), "hosts is "),
        (_attribute("devices", 5, "provenance"), "devices is "),
        (_attribute("ranks", "x", "provenance"), "ranks is "),
        (_attribute("shots", 5, "provenance"), "there is no rounds"),
        (_attribute("norm_error", "x", "provenance"), "norm_error is "),
        (_attribute("starts", '[{"core_seconds": "x"}]', "provenance"), "starts is "),
        (_attribute("tasks", np.zeros(3), "provenance"), "tasks is not a plain value"),
    ],
)
def test_what_no_run_writes_is_one_line_wherever_it_is_read(
    change: Callable[[h5py.File], None],
    said: str,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if said == "not a dataset":
        resealed(output, lambda file: file.move(VALUES, "elsewhere"))
    resealed(output, change)
    with pytest.raises(InputError, match=said):
        hpcq.load(output)
    before = output.read_bytes()
    for words in (["show"], ["show", "--json"], ["show", "--csv"], ["status"]):
        assert main([words[0], str(output), *words[1:]]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "\x1b" not in told
    circuit = output.with_name("c.qasm")
    circuit.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cz q[0],q[1];')
    again = ["run", str(circuit), "--cut-labels", "AB", "--observable", "Z0", "--device", "cpu"]
    assert main([*again, "-o", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert output.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_attribute("identity", "[1]"), "identity is .*, expected texts by name"),
        (_attribute("identity", '{"circuit": 5}'), "identity is .*, expected texts by name"),
        (_put("circuit", np.zeros(400)), "not a row of bytes"),
        (_put("circuit", "QISKIT"), "not a row of bytes"),
        (_put("subcircuits/0/tensor", np.zeros((1, 2, 3), complex)), "numbers"),
        (_put("subcircuits/0/tensor", np.zeros(4)), "numbers"),
        (_put("timelines/0", np.zeros((2, 4))), "numbers"),
        (_put("observables/0/coefficients", np.array(["x"], dtype="S1")), "numbers"),
        (
            _attribute(
                "ports", '[{"kind": "gate", "wire": 0, "dimension": 1000000}]', "subcircuits/0"
            ),
            "dimension is 1000000",
        ),
        (
            _attribute("ports", '[{"kind": "gate", "wire": "0", "dimension": 2}]', "subcircuits/0"),
            "a port is ",
        ),
    ],
)
def test_details_that_no_run_writes_are_one_line(
    change: Callable[[h5py.File], None],
    said: str,
    output: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    resealed(output, change)
    with pytest.raises(InputError, match=said):
        hpcq.load(output)
    circuit = output.with_name("c.qasm")
    circuit.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cz q[0],q[1];')
    again = ["run", str(circuit), "--cut-labels", "AB", "--observable", "Z0", "--device", "cpu"]
    assert main([*again, "-o", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("measured") / "out.h5"
    plan = hpcq.plan(joined_pair(), "Z0", cut_labels="AB", threads=1, shots=100, seed=1)
    hpcq.run(plan, output=output, device="cpu")
    return output


COUNTS = "sampling/rounds/0/sources/0"


def _lengthened(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        _put(name, np.append(file[name][()], file[name][-1:], axis=0))(file)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_lengthened(f"{COUNTS}/outcomes"), "do not fit together"),
        (_lengthened(f"{COUNTS}/times"), "do not fit together"),
        (_put(f"{COUNTS}/starts", np.array([0, 10**12])), "do not fit together"),
        (_put(f"{COUNTS}/starts", np.zeros(0, int)), "do not fit together"),
        (_put(f"{COUNTS}/times", np.array([0.5])), "numbers"),
        (_attribute("identity", "[]", "sampling"), "expected texts by name"),
        (_attribute("recipes", [100], COUNTS), "not those of the subcircuit"),
        (_attribute("recipes", [-1], COUNTS), "not those of the subcircuit"),
        (_attribute("recipes", [0, 0, 0], COUNTS), "not those of the subcircuit"),
        (_attribute("weight", float("nan"), "sampling/rounds/0"), "expected a number above 0"),
        (_attribute("source", 7, "subcircuits/0"), "not a valid hpcq result"),
    ],
)
def test_shots_that_no_run_measured_are_one_line(
    change: Callable[[h5py.File], None], said: str, measured: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copy(measured, tmp_path / "out.h5"))
    assert hpcq.load(output).details is not None
    resealed(output, change)
    with pytest.raises(InputError, match=said):
        hpcq.load(output)


def _without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("drawn") / "out.h5"
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.cz(0, 1)
    how = {"cut_labels": "AB", "threads": 1, "shots": 100, "max_variants": 2}
    hpcq.run(hpcq.plan(circuit, "Z0 X1", seed=1, **how), output=output, device="cpu")
    return output


DRAWN = "sampling/rounds/0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without(f"{DRAWN}/factors"), "factors"),
        (_lengthened(f"{DRAWN}/factors/0"), "expected"),
        (_lengthened(f"{DRAWN}/readings/1"), "expected"),
        (_put(f"{DRAWN}/readings/0", np.full((2, 1), 99)), "readings that no port gives"),
        (_put(f"{DRAWN}/readings/0", np.full((2, 1), -1)), "readings that no port gives"),
        (_put(f"{DRAWN}/factors/0", np.full(2, np.inf)), "do not fit together"),
    ],
)
def test_samples_that_no_run_drew_are_one_line(
    change: Callable[[h5py.File], None], said: str, drawn: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copy(drawn, tmp_path / "out.h5"))
    assert hpcq.load(output).details is not None
    resealed(output, change)
    with pytest.raises(InputError, match=said):
        hpcq.load(output)


@pytest.mark.parametrize("total", [-1, 10**15])
def test_as_many_tasks_as_nobody_has_are_one_line(
    total: int, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(file: h5py.File) -> None:
        file.create_group("unfinished").attrs["rounds_before"] = 0
        stage = file.create_group("unfinished/stages/0")
        stage.attrs.update({"name": "simulate", "total": total, "done": 0, "dtype": "<f8"})
        stage["tasks"] = stage["sizes"] = np.zeros(0, np.int64)
        stage["data"] = np.zeros(0)

    resealed(output, change)
    with pytest.raises(InputError, match=f"has {total} tasks"):
        hpcq.load(output)
    assert main(["show", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
