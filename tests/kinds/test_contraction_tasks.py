"""Contractions in parts: the same values, bit for bit wherever the parts are done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

import hpcq
from hpcq.kinds.exact import run as exact_run
from hpcq.kinds.exact.contraction_tasks import ContractionTasks
from hpcq.parallel import messages
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.cost import Cost
from hpcq.reconstruction import contraction, network
from hpcq.reconstruction.contraction import Contraction
from hpcq.reconstruction.matrix_product import product, product_threads
from hpcq.runs.arguments import RunArguments
from hpcq.runs.options import RunOptions
from hpcq.runs.run import run_on_farm


def ring(seed: int = 1) -> QuantumCircuit:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(8)
    for _ in range(2):
        for qubit in range(8):
            circuit.u(*rng.uniform(0, 6, 3), qubit)
        for qubit in range(8):
            circuit.rzz(rng.uniform(0, 3), qubit, (qubit + 1) % 8)
    return circuit


def terms() -> list[str]:
    return [f"{a}{p} {b}{q}" for p in range(8) for q in range(p) for a in "XZ" for b in "YZ"]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide small contractions too."""
    monkeypatch.setattr(network, "_MIN_SPREAD_FLOPS", 0.0)
    monkeypatch.setattr(network, "_MAX_SPREAD_COST", 50.0)
    monkeypatch.setattr(contraction, "_MIN_SPREAD_FLOPS", 0.0)
    monkeypatch.setattr(contraction, "_MAX_SPREAD_COST", 50.0)
    monkeypatch.setattr(exact_run, "LONG_CONTRACTION", 0.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("observables", [["Z0 Z4"], terms()], ids=["one", "many"])
def test_parts_give_the_values_of_the_uncut_circuit(observables: list[str]) -> None:
    circuit = ring()
    plan = hpcq.plan(circuit, observables, cut_labels="AABBCCDD")
    parts = Contraction.within(plan.network, plan.terms.picks, 1 << 30).subdivided(1.0)
    assert parts.num_parts >= 16
    result = hpcq.run(plan, device="cpu")
    state = Statevector(circuit)
    for text, value in zip(observables, result.expectation_values, strict=True):
        pauli = [(word[0], [int(word[1:])]) for word in text.split()]
        label = "".join(letter for letter, _ in pauli)
        qubits = [qubit for _, indices in pauli for qubit in indices]
        operator = SparsePauliOp.from_sparse_list([(label, qubits, 1.0)], 8)
        assert value == pytest.approx(state.expectation_value(operator).real, abs=1e-10)


@pytest.mark.usefixtures("eager")
def test_contraction_tasks_come_back_from_their_bytes() -> None:
    plan = hpcq.plan(ring(), terms(), cut_labels="AABBCCDD")
    recorded: list[ContractionTasks] = []
    tasks_of = ContractionTasks.of

    def record(*arguments: Any) -> ContractionTasks:
        recorded.append(tasks_of(*arguments))
        return recorded[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContractionTasks, "of", record)
        run_on_farm(plan, SerialFarm(), RunOptions(RunArguments("cpu")))
    contraction_tasks = recorded[-1]
    again = messages.loads(messages.dumps(contraction_tasks))
    assert len(contraction_tasks.farm_tasks().costs) == again.contraction.num_parts
    first, second = contraction_tasks.task_function(), again.task_function()
    for task in range(again.contraction.num_parts):
        np.testing.assert_array_equal(first(task, b""), second(task, b""))


def test_a_rank_that_contracts_needs_the_tensors_too(monkeypatch: pytest.MonkeyPatch) -> None:
    small = hpcq.plan(ring(), "Z0", cut_labels="AABBCCDD")
    assert small.cost.contraction_bytes == 0
    monkeypatch.setattr("hpcq.planning.cost.LONG_CONTRACTION", 0.0)
    large: Cost = hpcq.plan(ring(), "Z0", cut_labels="AABBCCDD").cost
    assert large.contraction_bytes > 0
    assert large.rank_bytes == max(large.task_bytes, large.contraction_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 4, 5), (700, 300, 200), (1000, 900, 40), (65, 1, 90_000)])
def test_products_are_the_same_on_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    rows, inner, columns = shape
    left = rng.normal(size=(rows, inner)) + 1j * rng.normal(size=(rows, inner))
    right = rng.normal(size=(inner, columns)) + 1j * rng.normal(size=(inner, columns))
    alone = product(left, right)
    np.testing.assert_allclose(alone, left @ right, atol=1e-9)
    for threads in (2, 3):
        with product_threads(threads):
            np.testing.assert_array_equal(product(left, right), alone)
            stacked = product(left, np.stack([right, right]))
    np.testing.assert_array_equal(stacked[1], alone)
