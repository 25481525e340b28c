from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.core.limits import Limits
from hpcq.cutting.cut_circuit import cut_circuit
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.subcircuits import CutCircuit, Subcircuit
from hpcq.cutting.subexperiments.device_circuits import SampledTensor
from hpcq.cutting.subexperiments.exact_tensors import ExactTensor
from hpcq.engines.aer import Aer
from hpcq.engines.aer_engine import AerEngine
from hpcq.engines.protocol import Cost, Engine, Refusal
from hpcq.engines.requests import (
    NO_PARAMETERS,
    Amplitudes,
    PrefixGrams,
    Request,
    ShotCounts,
    Tensors,
)
from tests.support.strategies import circuits, cuts_of

ENGINE = AerEngine(Limits(1 << 30))


def answer(tensor: ExactTensor, request: Request, engine: Engine = ENGINE) -> np.ndarray:
    """Return what the engine computes for the one row of an exact piece."""
    assert isinstance(engine.supports(tensor, request), Cost)
    rows = engine.prepared(tensor).execute(NO_PARAMETERS, request)
    assert len(rows) == 1
    return np.asarray(rows[0])


def amplitudes_by_port(subcircuit: Subcircuit) -> np.ndarray:
    """Return the amplitudes for the combined index of all ports, shared ones too."""
    tensor = ExactTensor(subcircuit, ((),))
    amplitudes = answer(tensor, Amplitudes())
    ports = subcircuit.ports
    rows = []
    for values in product(*(range(port.dimension) for port in ports)):
        digits = list(values)
        for number, port in enumerate(ports):
            if port.shared_with is not None:
                digits[port.shared_with] ^= digits[number]
        sizes = [ports[p].dimension for p in tensor.open_ports]
        row = [digits[p] for p in tensor.open_ports]
        rows.append(int(np.ravel_multi_index(row, sizes)) if sizes else 0)
    return amplitudes[rows].reshape(*(port.dimension for port in ports), -1)


def contracted(cut: CutCircuit) -> np.ndarray:
    """Return the probabilities of all outcomes, from the amplitudes of the subcircuits."""
    factors = [amplitudes_by_port(subcircuit) for subcircuit in cut.subcircuits]
    total = np.zeros(2**cut.num_qubits, dtype=complex)
    qubits = [q for subcircuit in cut.subcircuits for q in subcircuit.open_wires]
    wires = [w for subcircuit in cut.subcircuits for w in subcircuit.open_wires.values()]
    assert sorted(qubits) == list(range(cut.num_qubits))
    assert len(wires) == cut.num_qubits
    for values in product(*(range(edge.dimension) for edge in cut.edges)):
        weight = np.prod([edge.weights[k] for edge, k in zip(cut.edges, values, strict=True)])
        indices = [[0] * len(subcircuit.ports) for subcircuit in cut.subcircuits]
        for edge, value in zip(cut.edges, values, strict=True):
            for subcircuit_number, port in edge.ends:
                indices[subcircuit_number][port] = value
        state = np.ones(1, dtype=complex)
        for factor, index in zip(factors, indices, strict=True):
            state = np.kron(factor[tuple(index)], state)
        total += weight * state
    # Bit i of the product's index is the i-th qubit of the list.
    axes = [cut.num_qubits - 1 - qubits.index(q) for q in reversed(range(cut.num_qubits))]
    return np.asarray(np.abs(total.reshape([2] * cut.num_qubits).transpose(axes).reshape(-1)) ** 2)


@settings(max_examples=40)
@given(st.data())
def test_amplitudes_of_a_cut_circuit_are_those_of_the_uncut_one(data: st.DataObject) -> None:
    circuit = data.draw(circuits(max_qubits=4, max_gates=8))
    cut = cut_circuit(circuit, data.draw(cuts_of(circuit, max_gates=2)))
    assume(all(subcircuit.tensor_dimension <= 64 for subcircuit in cut.subcircuits))
    np.testing.assert_allclose(contracted(cut), Statevector(circuit).probabilities(), atol=1e-10)


@settings(max_examples=40)
@given(st.data())
def test_prefix_grams_are_the_sums_of_products_of_amplitudes(data: st.DataObject) -> None:
    circuit = data.draw(circuits(max_qubits=4, max_gates=8))
    cut = cut_circuit(circuit, data.draw(cuts_of(circuit, max_gates=2)))
    subcircuit = data.draw(st.sampled_from(cut.subcircuits))
    sliceable = [p for p, port in enumerate(subcircuit.ports) if port.ancillas]
    sliced = data.draw(st.sets(st.sampled_from(sliceable), max_size=1)) if sliceable else ()
    tensor = ExactTensor(subcircuit, ((),), tuple(sliced))
    assume(tensor.shape[1] <= 64)
    block = data.draw(st.integers(0, tensor.num_tasks - 1))
    ket, bra = (answer(tensor, Amplitudes(branch)) for branch in tensor.branches(block))
    identity = answer(tensor, Tensors(((),), block))[0]
    np.testing.assert_allclose(ket @ bra.conj().T, identity, atol=1e-10)
    bits = len(subcircuit.open_wires)
    leaves = np.einsum("pb,qb->bpq", ket, bra.conj())
    for number in reversed(range(bits + 1)):
        grams = answer(tensor, PrefixGrams(number, block))
        np.testing.assert_allclose(grams, leaves, atol=1e-10)
        leaves = leaves[::2] + leaves[1::2] if number else leaves
    np.testing.assert_allclose(leaves[0], identity, atol=1e-10)


def ghz(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(qubits - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit


def test_the_marginal_of_the_last_wires_is_on_the_diagonal_of_the_grams() -> None:
    (subcircuit,) = cut_circuit(ghz(5), Cuts()).subcircuits
    grams = answer(ExactTensor(subcircuit, ((),)), PrefixGrams(2))
    np.testing.assert_allclose(grams[:, 0, 0], [0.5, 0, 0, 0.5], atol=1e-12)


@pytest.mark.parametrize("precision", ["double", "single"])
def test_a_compiled_circuit_gives_the_same_bits_again_and_again(precision: str) -> None:
    """Also where Aer fuses gates, from 15 qubits on."""
    rng = np.random.default_rng(0)
    circuit = QuantumCircuit(15)
    for layer in range(3):
        for qubit in range(15):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(layer % 2, 14, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.rccx(0, 1, 2)  # Aer does not know it
    aer = Aer(Limits(1 << 30, precision=precision))
    simulate = aer.compile_circuit(circuit)
    first = simulate()
    assert first.dtype == (np.complex64 if precision == "single" else np.complex128)
    assert all(np.array_equal(first, simulate()) for _ in range(3))
    assert np.array_equal(first, aer.compile_circuit(circuit)())
    overlap = abs(np.vdot(first, Statevector(circuit).data))
    assert overlap == pytest.approx(1, abs=1e-5 if precision == "single" else 1e-12)


def test_what_the_engine_refuses() -> None:
    (subcircuit,) = cut_circuit(ghz(18), Cuts()).subcircuits
    tensor = ExactTensor(subcircuit, ((),))
    template = SampledTensor(subcircuit, ((), ((0, "Z"),))).template((), deferred=True)
    counts = ShotCounts(np.array([5]), 0)
    small = AerEngine(Limits(1 << 20))
    for engine, piece, request, reason in (
        (ENGINE, tensor, Request(), "not Request of ExactTensor"),
        (ENGINE, tensor, counts, "not ShotCounts of ExactTensor"),
        (ENGINE, tensor, PrefixGrams(19), "a prefix of 19 bits, expected 0 to 18"),
        (ENGINE, template, Amplitudes(), "not Amplitudes"),
        (small, tensor, Tensors(((),)), "18 qubits need 4.0 MiB, a rank has 1.0 MiB"),
        (small, template, counts, "18 qubits need 4.0 MiB, a rank has 1.0 MiB"),
    ):
        refusal = engine.supports(piece, request)
        assert isinstance(refusal, Refusal)
        assert reason in refusal.reason
    assert isinstance(ENGINE.supports(template, counts), Cost)


def test_costs_grow_with_the_state_and_the_shots() -> None:
    (subcircuit,) = cut_circuit(ghz(12), Cuts()).subcircuits
    (wider,) = cut_circuit(ghz(22), Cuts()).subcircuits
    one, more = (ENGINE.supports(ExactTensor(s, ((),)), Amplitudes()) for s in (subcircuit, wider))
    assert isinstance(one, Cost)
    assert isinstance(more, Cost)
    assert more.memory_bytes == one.memory_bytes << 10
    assert more.seconds > 10 * one.seconds
    template = SampledTensor(subcircuit, ((), ((0, "Z"),))).template((), deferred=True)
    few, many = (ENGINE.supports(template, ShotCounts(np.array([n]), 0)) for n in (1, 10**7))
    assert isinstance(few, Cost)
    assert isinstance(many, Cost)
    assert many.seconds > few.seconds + 1


def test_pieces_are_prepared_once_for_all_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    (subcircuit,) = cut_circuit(ghz(3), Cuts()).subcircuits
    built = []
    compile_circuit = Aer.compile_circuit

    def compiled(aer: Aer, circuit: QuantumCircuit) -> object:
        built.append(circuit)
        return compile_circuit(aer, circuit)

    monkeypatch.setattr(Aer, "compile_circuit", compiled)
    engine = AerEngine(Limits(1 << 30))
    tensor = ExactTensor(subcircuit, ((),))
    answer(tensor, Tensors(tensor.strings), engine)
    other = replace(tensor, strings=(((0, "Z"), (2, "Z")),))
    values = answer(other, Tensors(other.strings), engine)
    assert values[0, 0, 0] == pytest.approx(1)
    answer(replace(tensor, subcircuit=replace(subcircuit)), Amplitudes(), engine)
    assert len(built) == 1


def test_a_second_run_builds_no_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    circuit_of = ExactTensor.circuit

    def counted(tensor: ExactTensor, branch: int = 0) -> QuantumCircuit:
        built.append(branch)
        return circuit_of(tensor, branch)

    monkeypatch.setattr(ExactTensor, "circuit", counted)
    circuit = ghz(6)
    circuit.ry(0.123, range(6))  # no other test has it
    values = []
    for observable in ("Z0 Z5", "Z0 Z5", "X0 X5"):
        plan = hpcq.plan(circuit, [observable], cut_labels="AAABBB", threads=1, memory=1 << 30)
        values.append(hpcq.run(plan, device="cpu").expectation_values[0])
        assert len(built) == 2
    exact = [Statevector(circuit).expectation_value(SparsePauliOp(p)) for p in ("ZIIIIZ", "XIIIIX")]
    assert values[:2] == [values[0]] * 2
    assert values[1:] == pytest.approx(np.real(exact), abs=1e-10)
