from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.core.errors import InputError, NotWrittenError


@pytest.fixture
def result() -> hpcq.Result:
    circuit = QuantumCircuit(6)
    for qubit in range(6):
        circuit.ry(0.3, qubit)
    for qubit in range(5):
        circuit.iswap(qubit, qubit + 1)
    return hpcq.run(
        hpcq.plan(circuit, ["Z0 Z5", "X1 + 0.5 Y2 - 2 I"], cut_labels="AABBCC", threads=1),
        device="cpu",
    )


def test_what_is_saved_is_loaded(result: hpcq.Result, tmp_path: Path) -> None:
    result.save(tmp_path / "out.h5")
    again = hpcq.load(tmp_path / "out.h5")
    assert again.names == result.names
    np.testing.assert_array_equal(again.expectation_values, result.expectation_values)
    assert again.standard_errors.tolist() == [0.0, 0.0]
    assert again.status == "complete"
    assert again.config == result.config
    assert again.provenance == result.provenance
    assert again.details is not None
    assert result.details is not None
    assert again.details.circuit == result.details.circuit
    assert again.details.cuts == result.details.cuts
    assert again.details.observables == result.details.observables
    assert again.details.strings == result.details.strings
    assert again.details.edges == result.details.edges
    for mine, other in zip(again.details.tensors, result.details.tensors, strict=True):
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(again.details.subcircuits, result.details.subcircuits, strict=True):
        assert mine.content == other.content
        assert mine.qubits == other.qubits
    again.save(tmp_path / "again.h5")
    assert hpcq.load(tmp_path / "again.h5").names == result.names


def test_the_layout_is_the_contracts(result: hpcq.Result, tmp_path: Path) -> None:
    result.save(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["format"] == "hpcq"
        assert file.attrs["format_version"] == 1
        assert file.attrs["status"] == "complete"
        assert file.attrs["hpcq_version"] == hpcq.__version__
        assert '"partition"' in file.attrs["config"]
        assert file["circuit"].dtype == np.uint8
        assert file["circuit"].attrs["num_qubits"] == 6
        assert len(file["circuit"].attrs["sha256"]) == 64
        assert hpcq.Cuts.from_json(file["cuts"][()].decode()).gates[0].gate == 1
        assert file["observables/1"].attrs["name"] == "X1 + 0.5 Y2 - 2 I"
        assert file["observables/1/paulis"].asstr()[()].tolist() == ["X1", "Y2", "I"]
        assert file["observables/1/coefficients"][()].tolist() == [1.0, 0.5, -2.0]
        assert file["subcircuits/1"].attrs["num_qubits"] == 2
        assert file["subcircuits/1"].attrs["qubits"].tolist() == [2, 3]
        assert file["subcircuits/1/tensor"].shape[1:] == (16, 16)
        assert file["results/expectation_values"].dtype == np.float64
        assert "versions" in file["provenance"].attrs


def test_a_write_that_fails_leaves_the_old_file(
    result: hpcq.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.h5"
    result.save(output)
    before = output.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(NotWrittenError, match="No space left on device"):
        result.save(output)
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("content", [b"", b"HDF", b"x" * 10_000])
def test_a_foreign_file_is_neither_read_nor_overwritten(
    content: bytes, result: hpcq.Result, tmp_path: Path
) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.txt"):
        hpcq.load(path)
    with pytest.raises(InputError, match="left as it is"):
        result.save(path)
    assert path.read_bytes() == content


def test_no_damaged_byte_goes_unnoticed(result: hpcq.Result, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    result.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [*range(0, 600, 7), *rng.integers(0, len(whole), 60)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"out\.h5: not a valid hpcq result"):
            hpcq.load(path)


def test_a_link_is_followed_and_the_mode_is_kept(result: hpcq.Result, tmp_path: Path) -> None:
    real, link = tmp_path / "real.h5", tmp_path / "link.h5"
    result.save(real)
    real.chmod(0o640)
    link.symlink_to(real)
    result.save(link)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert hpcq.load(real).names == result.names
