"""QPY that runs code when it is loaded is never loaded, wherever it comes from."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.circuits import qpy, stored_circuits
from hpcq.core.errors import InputError
from tests.support.hostile import qpy_of, resealed, symengine_pickle
from tests.support.launch import run

_FAKE = """
import pickle
def load_basic(payload):
    return pickle.loads(payload[payload.index(b"\\x80\\x04"):])
"""
_LOAD = "import sys, qiskit.qpy; print(qiskit.qpy.load(open(sys.argv[1], 'rb')))"
_OPEN = "import sys, hpcq; hpcq.load(sys.argv[1])"


@pytest.fixture(params=["fake", "real"])
def symengine(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, str]:
    """A symengine that unpickles: its minor version, and the path that has it."""
    if request.param == "real":
        found = pytest.importorskip("symengine")
        return int(found.__version__.split(".")[1]), ""
    library = tmp_path / "path" / "symengine" / "lib"
    library.mkdir(parents=True)
    (library.parent / "__init__.py").write_text("__version__ = '0.13.0'")
    (library / "__init__.py").write_text("")
    (library / "symengine_wrapper.py").write_text(_FAKE)
    return 13, str(tmp_path / "path")


def saved(path: Path) -> Path:
    circuit = QuantumCircuit(2)
    circuit.rz(0.3, 0)
    circuit.cz(0, 1)
    hpcq.run(hpcq.plan(circuit, "Z0", cut_labels="AB", threads=1), output=path, device="cpu")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["circuit", pytest.param("subcircuits/0/qpy", marks=pytest.mark.nightly)]
)
def test_a_result_file_runs_no_code(place: str, symengine: tuple[int, str], tmp_path: Path) -> None:
    minor, path = symengine
    mark, bare = tmp_path / "mark", tmp_path / "bare.qpy"
    content = qpy_of(symengine_pickle(mark, minor))
    bare.write_bytes(content)
    run(sys.executable, "-c", _LOAD, bare, PYTHONPATH=path)
    assert mark.exists(), "it does run code where Qiskit loads it"
    mark.rmdir()
    output = saved(tmp_path / "out.h5")

    def put(file: h5py.File) -> None:
        del file[place]
        file[place] = np.frombuffer(content, dtype=np.uint8)

    resealed(output, put)
    before = output.read_bytes()
    circuit = tmp_path / "c.qasm"
    circuit.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; rz(0.3) q[0]; cz q[0],q[1];')
    hpcq_run = (sys.executable, "-m", "hpcq", "run", circuit, "--cut-labels", "AB")
    for command in (
        (sys.executable, "-c", _OPEN, output),
        (*hpcq_run, "--observable", "Z0", "-o", output),
        (sys.executable, "-m", "hpcq", "plan", bare),
    ):
        done = run(*command, PYTHONPATH=f"{Path(hpcq.__file__).parents[1]}:{path}")
        assert done.returncode
        assert "symengine" in done.stderr.splitlines()[-1]
        assert not mark.exists()
    assert done.returncode == 2
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "encoding", "plain"),
    [(13, b"p", True), (18, b"p", True), (12, b"p", False), (13, b"e", False), (10, b"e", False)],
)
def test_only_headers_without_pickles_are_plain(version: int, encoding: bytes, plain: bool) -> None:
    data = qpy_of(struct.pack("<d", 0.5), b"f", version=version, encoding=encoding)
    assert qpy.is_pickle_free(data) is plain
    if not plain:
        with pytest.raises(InputError, match="never loaded"):
            qpy.load(data, "x")


@pytest.mark.parametrize("data", [b"", b"QISKIT", b"QISKIT\x0d", b"NOTQPY" + bytes(30)])
def test_what_is_no_header_is_not_plain(data: bytes) -> None:
    assert not qpy.is_pickle_free(data)
    with pytest.raises(InputError, match="x: "):
        stored_circuits.load_circuits([("x", data)])


def test_a_header_that_lies_is_refused() -> None:
    """A later version than it is: its pickle is not looked for, and it is not valid."""
    data = qpy_of(symengine_pickle(Path("/nowhere/mark"), 13), version=18, encoding=b"p")
    with pytest.raises(InputError, match="x: not a valid QPY file"):
        stored_circuits.load_circuits([("x", data)])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [b"p", b"e"])
def test_old_qpy_without_pickles_is_read_in_the_sandbox(encoding: bytes) -> None:
    data = qpy_of(struct.pack("<d", 0.5), b"f", encoding=encoding)
    (gate,) = stored_circuits.load_circuits([("x", data)])[0].data
    assert (gate.name, gate.operation.params) == ("rz", [0.5])


def gate_qpy(name: str, number: float, *, kind: bytes = b"i") -> bytes:
    """Return plain QPY, as this process did not write it, of a class called with a number."""
    value = struct.pack("<q" if kind == b"i" else "<d", number)
    return qpy_of(value, kind, version=13, encoding=b"p", gate=name.encode())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number", "kind", "said"),
    [
        ("QuantumCircuit", 10**6, b"i", "MiB set for reading"),
        ("QuantumVolume", 3000, b"i", "MiB set for reading|broke down"),
        ("Delay", -5, b"i", "x: (not a valid QPY file|holds 'delay')"),
        ("Delay", 5, b"i", "x: holds 'delay', expected only gates of a cut circuit"),
        ("RZGate", math.nan, b"f", "x: 'rz' has nan, expected finite numbers"),
    ],
)
def test_a_gate_of_a_result_harms_only_the_reader(
    name: str, number: float, kind: bytes, said: str
) -> None:
    data = gate_qpy(name, number, kind=kind)
    assert qpy.is_pickle_free(data)
    with pytest.raises(InputError, match=said):
        stored_circuits.load_circuits([("x", data)])


@pytest.mark.slow
def test_one_reader_reads_all_that_is_new_and_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def read(contents: list[tuple[str, bytes]]) -> list[QuantumCircuit]:
        asked.append([name for name, _ in contents])
        return whole(contents)

    whole = stored_circuits.read_qpys
    monkeypatch.setattr(stored_circuits, "read_qpys", read)
    data = [gate_qpy("RZGate", angle, kind=b"f") for angle in (0.5, 0.25)]
    mine = QuantumCircuit(1)
    mine.rz(0.75, 0)
    contents = [("a", data[0]), ("b", data[1]), ("c", data[0]), ("d", qpy.dump(mine))]
    for _ in range(2):
        found = stored_circuits.load_circuits(contents)
        assert [circuit.data[0].params for circuit in found] == [[0.5], [0.25], [0.5], [0.75]]
        assert found[0] is not found[2]
    assert asked == [["a", "b"]]
    with pytest.raises(InputError, match="b: not a valid QPY file"):
        stored_circuits.load_circuits([("a", data[0]), ("b", data[1][:-9]), ("c", b"")][:2])


def test_what_hpcq_writes_is_plain() -> None:
    circuit = QuantumCircuit(1)
    circuit.rz(0.5, 0)
    data = qpy.dump([circuit, circuit])
    assert qpy.is_pickle_free(data)
    assert qpy.load(data, "x") == [circuit, circuit]
    with pytest.raises(InputError, match="holds 2 circuits"):
        stored_circuits.load_circuits([("x", data)])
    for length in (20, len(data) // 2):
        with pytest.raises(InputError, match="x: not valid QPY: "):
            qpy.load(data[:length], "x")
