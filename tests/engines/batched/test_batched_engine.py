from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit

from hpcq.core.limits import Limits
from hpcq.engines.batched import engine as module
from hpcq.engines.batched.engine import MAX_WIRES, BatchedEngine
from hpcq.engines.batched.kept_states import KeptStates
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import Derivatives, OperatorTensors, Tensors
from tests.engines.batched.pieces import cut_pieces, slot_gate

IDENTITY = ((((), 1.0),),)


def chain(wires: int, layers: int = 2):
    circuit = QuantumCircuit(wires)
    for layer in range(layers):
        for wire in range(wires):
            slot_gate(circuit, "ry", layer * wires + wire, 1, [wire])
        for wire in range(wires - 1):
            circuit.cx(wire, wire + 1)
    (piece,) = cut_pieces(circuit, "A" * wires)
    return piece


def test_the_registry_opens_it():
    engine = open_engine(EngineSpec("batched"), Limits(1 << 30), "cpu")
    assert isinstance(engine, BatchedEngine)
    assert engine.name == "batched numpy"


def test_what_it_refuses():
    engine = BatchedEngine(Limits(1 << 20))
    refusal = engine.supports(chain(3), Tensors(((),)))
    assert isinstance(refusal, Refusal)
    assert "Tensors of ExactTensor" in refusal.reason
    refusal = engine.supports(chain(MAX_WIRES + 1), OperatorTensors(IDENTITY))
    assert isinstance(refusal, Refusal)
    assert "its 17 wires are more than 16" in refusal.reason
    refusal = engine.supports(chain(MAX_WIRES), OperatorTensors(IDENTITY))
    assert isinstance(refusal, Refusal)
    assert "a rank has 1.0 MiB" in refusal.reason


def test_costs_grow_with_the_piece_and_with_what_is_asked():
    engine = BatchedEngine(Limits(1 << 30))
    tensors = OperatorTensors(IDENTITY)
    narrow, wide = (engine.supports(chain(n), tensors) for n in (6, 14))
    deep = engine.supports(chain(14, 8), tensors)
    environments = np.ones((1, 1, 1, 1, 1), dtype=complex)
    gradient = engine.supports(chain(14), Derivatives(IDENTITY, environments))
    assert all(isinstance(cost, Cost) for cost in (narrow, wide, deep, gradient))
    assert narrow.seconds < wide.seconds < deep.seconds
    assert 2 * wide.seconds < gradient.seconds < 5 * wide.seconds
    assert narrow.memory_bytes < wide.memory_bytes < deep.memory_bytes


def test_without_cupy_a_gpu_is_not_used(monkeypatch):
    asked = []

    def only_numpy(name):
        asked.append(name)
        if name == "cupy":
            raise ImportError
        return np

    monkeypatch.setattr(module, "import_module", only_numpy)
    assert BatchedEngine(Limits(1 << 30), "gpu").name == "batched numpy"
    assert asked == ["cupy", "numpy"]


def test_kept_states_are_bounded():
    kept = KeptStates(100)
    kept.put(("a", b"1"), "one", 40)
    kept.put(("a", b"2"), "two", 40)
    kept.put(("b", b"1"), "three", 40)
    assert kept.get(("a", b"1")) is None
    assert kept.get(("a", b"2")) == "two"
    kept.put(("a", b"2"), "two again", 60)
    assert (kept.get(("a", b"2")), kept.get(("b", b"1"))) == ("two again", "three")
    kept.keep_only("a", {b"3"})
    assert (kept.get(("a", b"2")), kept.get(("b", b"1"))) == (None, "three")
    kept.put(("c", b"1"), "too large", 101)
    assert kept.get(("c", b"1")) is None
    kept.clear()
    assert kept.get(("b", b"1")) is None
