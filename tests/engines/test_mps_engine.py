from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit

from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts, GateCut
from hpcq.cutting.subcircuits import Subcircuit
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.mps_engine import DEFAULT_CAP, WORK_SECONDS, MpsEngine, MpsPiece
from hpcq.engines.protocol import Cost, Refusal
from hpcq.engines.registry import EngineSpec, open_engine
from hpcq.engines.requests import NO_PARAMETERS, PrefixGrams, Tensors, Values

LIMITS = Limits(1 << 30)
STRINGS = ((), ((0, "Z"), (29, "Z")), ((3, "1"),))


def piece_of(circuit: QuantumCircuit) -> ExactTensor:
    return ExactTensor(Subcircuit(circuit, tuple(range(circuit.num_qubits)), ()), STRINGS)


def ghz() -> QuantumCircuit:
    circuit = QuantumCircuit(30)
    circuit.h(0)
    for q in range(29):
        circuit.cx(q, q + 1)
    return circuit


def scrambled() -> QuantumCircuit:
    circuit = QuantumCircuit(30)
    for layer in range(12):
        for q in range(30):
            circuit.u(0.3 + q, 0.7 * layer, 0.9, q)
        for q in range(29):
            circuit.rzz(0.9, q, q + 1)
    return circuit


def test_it_answers_requests_for_values() -> None:
    engine = open_engine(EngineSpec.of(engine="mps"), LIMITS, "cpu")
    piece, request = piece_of(ghz()), Values(STRINGS, tolerance=1e-8)
    cost = engine.supports(piece, request)
    assert isinstance(cost, Cost)
    assert 0 < cost.seconds < 0.1
    answer = engine.prepared(piece).execute(NO_PARAMETERS, request)
    assert answer.shape == (1, 2, 3)
    assert answer.dtype == np.float64
    np.testing.assert_allclose(answer[0, 0], [1, 1, 0.5], atol=1e-12)
    assert answer[0, 1].max() < 1e-12
    assert engine.prepared(piece).memory_bytes > 0


def test_it_gives_up() -> None:
    engine, piece = MpsEngine(LIMITS), piece_of(scrambled())
    prepared = engine.prepared(piece)
    for request in (
        Values(STRINGS, cap=4, tolerance=1e-8),
        Values(STRINGS, max_work=0.001 / WORK_SECONDS),
    ):
        values, bounds = prepared.execute(NO_PARAMETERS, request)[0]
        assert np.isnan(values).all()
        assert np.isinf(bounds).all()
    values, bounds = prepared.execute(NO_PARAMETERS, Values(STRINGS, cap=4))[0]
    assert np.isfinite(values).all()
    assert bounds[0] == 0  # the identity
    assert 1e-3 < bounds[1] <= 2
    limited = engine.supports(piece, Values(STRINGS, max_work=0.001 / WORK_SECONDS))
    assert isinstance(limited, Cost)
    assert limited.seconds <= 0.0011


def test_it_refuses_other_requests_and_ports() -> None:
    engine, piece = MpsEngine(LIMITS), piece_of(ghz())
    for request in (Tensors(STRINGS), PrefixGrams(2)):
        refusal = engine.supports(piece, request)
        assert isinstance(refusal, Refusal)
        assert "values" in refusal.reason
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    half = cut_circuit(circuit, Cuts(gates=(GateCut(0),))).subcircuits[0]
    refusal = engine.supports(ExactTensor(half, ((),)), Values(((),)))
    assert isinstance(refusal, Refusal)
    assert "1 ports" in refusal.reason
    wide = QuantumCircuit(3)
    wide.ccx(0, 1, 2)
    refusal = engine.supports(piece_of(wide), Values(((),)))
    assert isinstance(refusal, Refusal)
    assert "ccx on 3 qubits" in refusal.reason


def test_the_cap_fits_in_the_memory() -> None:
    piece = piece_of(scrambled())
    for memory in (1 << 30, 80 << 20):
        engine = MpsEngine(Limits(memory))
        cost = engine.supports(piece, Values(STRINGS))
        assert isinstance(cost, Cost)
        assert cost.memory_bytes <= memory
        prepared = engine.prepared(piece)
        assert isinstance(prepared, MpsPiece)
        assert (prepared.cap == DEFAULT_CAP) == (memory == 1 << 30)
    refusal = engine.supports(piece, Values(STRINGS, cap=1024))
    assert isinstance(refusal, Refusal)
    assert refusal.reason.endswith("a rank has 80.0 MiB")


def test_steps_that_exceed_the_memory_are_not_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = QuantumCircuit(2)
    for _ in range(2000):
        circuit.cz(0, 1)
    monkeypatch.setattr(MpsEngine, "prepare", None)
    refusal = MpsEngine(Limits(1 << 20)).supports(piece_of(circuit), Values(((),)))
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("the steps of its gates need 1.9 MiB")
