from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator

import hpcq
from hpcq.core.errors import InputError
from hpcq.core.limits import Device, Limits
from hpcq.engines.protocol import Cost, Engine, Piece, PreparedPiece, Refusal
from hpcq.engines.registry import EngineSpec, open_engine, register
from hpcq.engines.requests import Request
from hpcq.engines.statevectors import StatevectorPiece, statevector_cost
from hpcq.parallel.serial import SerialFarm
from hpcq.results.result import Result
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.run import run_on_farm
from tests.support.launch import ROOT


def simulate(circuit: QuantumCircuit) -> np.ndarray:
    """Multiply a state by one gate after the other."""
    state = np.zeros(2**circuit.num_qubits, dtype=complex)
    state[0] = 1
    tensor = state.reshape([2] * circuit.num_qubits)  # qubit 0 is the last axis
    for instruction in circuit.data:
        size = len(instruction.qubits)
        gate = Operator(instruction.operation).data.reshape([2] * (2 * size))
        axes = [circuit.num_qubits - 1 - circuit.find_bit(q).index for q in instruction.qubits]
        # The first qubit of a gate is the lowest bit of its matrix, the last axis of its tensor.
        tensor = np.tensordot(gate, tensor, (range(2 * size - 1, size - 1, -1), axes))
        tensor = np.moveaxis(tensor, range(size - 1, -1, -1), axes)
    return np.ascontiguousarray(tensor).reshape(-1)


@dataclass(frozen=True, eq=False)
class ToyEngine(Engine):
    """Statevectors by NumPy, of up to six qubits."""

    limits: Limits
    device: Device
    name = "toy"

    def supports(self, piece: Piece, request: Request) -> Cost | Refusal:
        qubits = getattr(piece, "simulated_qubits", 0)
        return (
            Refusal(f"{qubits} qubits, expected at most 6")
            if qubits > 6
            else statevector_cost(piece, request, self.limits)
        )

    def prepare(self, piece: Piece) -> PreparedPiece:
        return StatevectorPiece(piece, lambda circuit: partial(simulate, circuit))


register("toy", ToyEngine)


def circuit_of_six() -> QuantumCircuit:
    rng = np.random.default_rng(1)
    circuit = QuantumCircuit(6)
    for layer in range(2):
        for qubit in range(6):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(5):
            (circuit.crx if layer else circuit.rzz)(rng.uniform(0, 6), qubit, qubit + 1)
    return circuit


def run(plan: hpcq.Plan, engine: str | None = None) -> Result:
    return run_on_farm(plan, SerialFarm(), RunOptions(RunArguments("cpu", engine=engine)))


@pytest.mark.parametrize("memory", [1 << 30, 1 << 20])
def test_a_toy_engine_computes_a_cut_run(memory: int) -> None:
    circuit = circuit_of_six()
    observables = ["Z0 Z5 + 0.3 Y2", "X1 X3", "label:00+-rl"]
    for cuts in ({"cut_labels": "AABBCC"}, {"max_qubits": 4}):
        plan = hpcq.plan(circuit, observables, threads=1, memory=memory, **cuts)
        toy, aer = run(plan, "toy"), run(plan)
        np.testing.assert_allclose(toy.expectation_values, aer.expectation_values, atol=1e-10)
        assert toy.provenance["devices"] == ["toy"]
        assert aer.provenance["devices"] == ["aer cpu"]


def test_an_engine_that_refuses_says_why_before_the_run() -> None:
    plan = hpcq.plan(QuantumCircuit(8), ["Z0 Z7"], threads=1, memory=1 << 30)
    with pytest.raises(InputError, match=r"\Aengine: toy refuses subcircuit 0: .* at most 6"):
        run(hpcq.plan(ladder(8), ["Z0 Z7"], threads=1, memory=1 << 30), "toy")
    assert run(plan, "toy").expectation_values == pytest.approx([1])
    with_shots = hpcq.plan(ladder(4), ["Z0 Z3"], shots=1000, threads=1, memory=1 << 30)
    with pytest.raises(InputError, match=r"toy refuses subcircuit 0: .*not ShotCounts of Template"):
        run(with_shots, "toy")


def ladder(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
        circuit.ry(0.3, qubit + 1)
    return circuit


def test_wrong_names_and_combinations() -> None:
    with pytest.raises(InputError, match=r"\Aengine: 'toi', expected one of aer, .*toy"):
        EngineSpec.of(engine="toi")
    with pytest.raises(InputError, match="noise: given with engine toy, expected engine aer"):
        EngineSpec.of(noise="fake_manila", engine="toy")
    with pytest.raises(InputError, match="engine: given with a backend, expected only one"):
        EngineSpec.of(backend="generic:2", engine="aer")
    texts = EngineSpec.argument_texts(None, None, "toy")
    EngineSpec.check_same(None, None, texts)
    EngineSpec.check_same(None, None, texts, "toy")
    with pytest.raises(InputError, match="engine: 'aer', and rank 0 has toy; expected the same"):
        EngineSpec.check_same(None, None, texts, "aer")


def test_an_engine_is_opened_once() -> None:
    limits = Limits(1 << 30)
    spec = EngineSpec.of(engine="aer")
    assert spec == EngineSpec.of() == EngineSpec()
    assert open_engine(spec, limits, "cpu") is open_engine(EngineSpec(), Limits(1 << 30), "cpu")
    assert open_engine(spec, Limits(1 << 29), "cpu") is not open_engine(spec, limits, "cpu")


PACKAGE = """
from tests.engines.test_registry import ToyEngine

class OtherEngine(ToyEngine):
    name = "other"
"""

PROGRAM = """
import sys
import hpcq.engines.registry as registry
from hpcq.core.errors import InputError
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.core.limits import Limits

open_engine(EngineSpec.of(engine="aer"), Limits(1 << 30), "cpu")
assert registry._installed.cache_info().misses == 0
for name in ("other", "broken", "nothing"):
    try:
        print(open_engine(EngineSpec.of(engine=name), Limits(1 << 30), "cpu").name)
    except InputError as error:
        print(error)
assert registry._installed.cache_info().misses == 1
"""


@pytest.mark.slow
def test_engines_of_other_packages(tmp_path: Path) -> None:
    (tmp_path / "other_package.py").write_text(PACKAGE)
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[hpcq.engines]\nother = other_package:OtherEngine\nbroken = other_package:Nothing\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "HPCQ_CALIBRATION": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found, broken, unknown = ran.stdout.splitlines()
    assert found == "other"
    assert broken.startswith("engine: 'broken' (other_package:Nothing) cannot be loaded: ")
    assert (
        unknown == "engine: 'nothing', expected one of aer, batched, broken, mps, other, pauli, "
        "stabilizer, toy"
    )


def test_a_class_that_is_no_engine_is_refused_in_one_line() -> None:
    def unlicensed(_limits: Limits, _device: Device) -> Engine:
        sys.exit("no licence\non this host")

    register("unlicensed", unlicensed)
    with pytest.raises(InputError, match=r"engine: 'unlicensed' cannot be opened: no licence on"):
        open_engine(EngineSpec.of(engine="unlicensed"), Limits(1 << 30), "cpu")
    register("number", lambda _limits, _device: 3)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match=r"engine: 'number' opens a int, expected a subclass of"):
        open_engine(EngineSpec.of(engine="number"), Limits(1 << 30), "cpu")


IMPORTS = """
import sys
import hpcq.kinds
from hpcq.engines.registry import EngineSpec

print([name for name in ("stim", "hpcq.engines.mps_engine") if name in sys.modules])
EngineSpec.of(engine="mps")
print("hpcq.engines.mps_engine" in sys.modules)
"""


@pytest.mark.slow
def test_engines_are_imported_when_they_are_asked_for() -> None:
    words = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]
