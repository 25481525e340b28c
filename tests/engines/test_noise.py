from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    thermal_relaxation_error,
)

from hpcq.core.errors import InputError
from hpcq.engines.noise import Noise, as_noise, read_noise
from tests.support.launch import run


def a_model() -> NoiseModel:
    model = NoiseModel(["rz", "sx", "ecr"])
    model.add_quantum_error(depolarizing_error(0.1, 2), "ecr", [0, 1])
    model.add_quantum_error(amplitude_damping_error(0.3), "sx", [1])
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    model.add_all_qubit_quantum_error(coherent_unitary_error(turn), "x")
    model.add_quantum_error(thermal_relaxation_error(50, 30, 10), "sx", [0])
    model.add_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]), [0])
    return model


def equal(left: NoiseModel, right: NoiseModel) -> bool:
    def errors(model: NoiseModel) -> dict[tuple[str, tuple[int, ...]], QuantumError]:
        errors = {(name, ()): e for name, e in model._default_quantum_errors.items()}
        for name, local in model._local_quantum_errors.items():
            errors |= {(name, tuple(qubits)): e for qubits, e in local.items()}
        return errors

    ours, theirs = errors(left), errors(right)
    return (
        ours.keys() == theirs.keys()
        and all(np.allclose(SuperOp(e), SuperOp(theirs[key])) for key, e in ours.items())
        and left._local_readout_errors == right._local_readout_errors
        and left._default_readout_error == right._default_readout_error
    )


def test_models_survive_serialisation() -> None:
    model = a_model()
    noise = as_noise(model)
    back = Noise.from_json(noise.to_json())
    assert back == noise
    assert as_noise(back) is back
    assert equal(back.model(), model)
    assert set(noise.basis_gates) == {"rz", "sx", "ecr", "x"}
    assert noise.couplings == ((0, 1),)
    assert noise.backend is None


def test_a_file_in_aers_form(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(a_model().to_dict(serializable=True)))
    noise = read_noise(str(path))
    assert noise.name == str(path)
    assert equal(noise.model(), a_model())
    assert set(noise.basis_gates) == {"ecr", "rz", "sx", "x"}
    assert as_noise(path) == noise
    path.write_text('{"errors": []}')
    assert read_noise(str(path)).basis_gates == ("cx", "rz", "sx")
    assert not read_noise(str(path)).couplings


def test_a_restricted_model() -> None:
    part = as_noise(a_model()).restricted({1: 0, 0: 2}, {5: 0}, {"sx", "measure"})
    errors = part.to_dict(serializable=True)["errors"]
    assert [(e["operations"], e.get("gate_qubits")) for e in errors] == [
        (["sx"], [[0]]),
        (["sx"], [[2]]),
        (["measure"], [[2], [5]]),
    ]


def qerror(**changes: object) -> dict[str, object]:
    error = {
        "type": "qerror",
        "operations": ["x"],
        "instructions": [[{"name": "x", "qubits": [0]}], [{"name": "id", "qubits": [0]}]],
        "probabilities": [0.1, 0.9],
    }
    return {"errors": [error | changes]}


def kraus(matrix: object) -> dict[str, object]:
    lists = [[{"name": "kraus", "qubits": [0], "params": [matrix]}]]
    return qerror(instructions=lists, probabilities=[1.0])


BAD: dict[str, object] = {
    "no dictionary": [1, 2],
    "no errors": {"error": []},
    "errors of no list": {"errors": 3},
    "an error of no dictionary": {"errors": ["x"]},
    "no type": {"errors": [{}]},
    "unknown type": {"errors": [{"type": "other"}]},
    "no operations": qerror(operations=[]),
    "no probabilities": {"errors": [{"type": "roerror"}]},
    "negative probability": qerror(probabilities=[-0.1, 1.1]),
    "sum is not 1": qerror(probabilities=[0.1, 0.1]),
    "probabilities as text": qerror(probabilities=["a", "b"]),
    "too few probabilities": qerror(probabilities=[1.0]),
    "instructions of no list": qerror(instructions=7),
    "instructions of numbers": qerror(instructions=[[1], [2]]),
    "empty instructions": qerror(instructions=[[], []]),
    "unknown gate": qerror(instructions=[[{"name": "what", "qubits": [0]}]], probabilities=[1.0]),
    "wide gate": qerror(instructions=[[{"name": "x", "qubits": [10**9]}]], probabilities=[1.0]),
    "qubit as truth": qerror(gate_qubits=[[True]]),
    "negative qubit": qerror(gate_qubits=[[-1]]),
    "same qubit twice": qerror(gate_qubits=[[1, 1]]),
    "too many qubits": qerror(gate_qubits=[[0, 1]]),
    "gates of two sizes": qerror(gate_qubits=[[0], [1, 2]]),
    "matrix of a wrong shape": kraus([[[1, 0]]]),
    "matrix of no pairs": kraus([[1, 0], [0, 1]]),
    "ragged matrix": kraus([[[1, 0]], [[1, 0], [0, 0]]]),
    "matrix that grows": kraus([[[2, 0], [0, 0]], [[0, 0], [2, 0]]]),
    "readout of a wrong shape": {"errors": [{"type": "roerror", "probabilities": [[1, 0, 0]]}]},
    "readout that does not add up": {
        "errors": [{"type": "roerror", "probabilities": [[0.5, 0.4], [0, 1]]}]
    },
    "basis gates of numbers": {"errors": [], "basis_gates": [1]},
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_bad_content_is_refused_in_one_line(content: object, tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"\Anoise: .*expected a JSON file.*\Z") as caught:
        read_noise(str(path))
    assert str(path) in str(caught.value)


RAW: dict[str, bytes] = {
    "no JSON": b"errors: none",
    "pickle": pickle.dumps({"errors": []}),
    "bytes": b"\xff\xfe\x00\x01",
    "empty": b"",
    "nested": b"[" * 200000,
    "nan": b'{"errors": [{"type": "roerror", "probabilities": [[NaN, 1], [0, 1]]}]}',
    "infinity": b'{"errors": [{"type": "roerror", "probabilities": [[1e999, 1], [0, 1]]}]}',
    "long number": b'{"errors": ' + b"9" * 10000 + b"}",
}


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    path.write_text('{"errors": [], "errors": []}')
    with pytest.raises(InputError, match=r"\Anoise: .*'errors' occurs twice in one object.*\Z"):
        read_noise(str(path))


@pytest.mark.parametrize("content", RAW.values(), ids=RAW.keys())
def test_files_that_are_not_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "noise.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"\Anoise: .*expected .*JSON.*\Z"):
        read_noise(str(path))


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, tmp_path / "missing.json", huge, pipe, "", "a\0b"):
        with pytest.raises(InputError, match=r"\Anoise: .*expected .*\Z"):
            read_noise(str(path))


def test_other_objects() -> None:
    with pytest.raises(InputError, match="noise: int, expected a NoiseModel"):
        as_noise(3)


@pytest.mark.slow
def test_fake_backends() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    noise = read_noise("FakeManilaV2")
    assert noise == read_noise("fake_manila")
    assert (noise.name, noise.backend) == ("fake_manila", "fake_manila")
    assert set(noise.basis_gates) >= {"cx", "rz", "sx", "x"}
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    assert equal(noise.model(), NoiseModel.from_backend(FakeManilaV2()))
    with pytest.raises(InputError, match="noise: 'fake_atlantis', expected a fake backend"):
        read_noise("fake_atlantis")


def test_runtime_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("qiskit_ibm_runtime")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "qiskit_ibm_runtime", None)
    with pytest.raises(InputError, match=r"noise: .*pip install 'hpcq\[runtime\]'"):
        read_noise("fake_brisbane")


@pytest.mark.slow
def test_the_noise_of_a_backend_is_the_same_text_in_every_process() -> None:
    """Or a run could not go on from its own file."""
    code = "from hpcq.engines.noise import read_noise; print(read_noise('FakeManilaV2').to_json())"
    here = read_noise("FakeManilaV2").to_json()
    assert len(here) > 1000
    assert run(sys.executable, "-c", code, PYTHONHASHSEED="1").stdout == f"{here}\n"
