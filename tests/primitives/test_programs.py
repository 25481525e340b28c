"""Plans are compiled once for each structure and set of observables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

import hpcq
from hpcq.primitives import Estimator, evaluators, programs
from tests.primitives.pubs import ANSATZ, HAMILTONIAN, ROWS

HOW = {"threads": 1, "memory": 1 << 28, "device": "cpu"}
MEMORY = 1 << 20
"""Bytes in which a statevector of 20 qubits does not fit."""


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of free parameters of each circuit that is planned."""
    numbers: list[int] = []

    def counted(circuit: QuantumCircuit, *arguments: Any, **options: Any) -> hpcq.Plan:
        numbers.append(circuit.num_parameters)
        return hpcq.plan(circuit, *arguments, **options)

    monkeypatch.setattr(programs, "plan", counted)
    return numbers


def value(estimator: Estimator, *pub: Any) -> Any:
    return estimator.run([pub]).result()[0].data.evs


def test_a_parametrised_circuit_is_planned_once(planned: list[int]) -> None:
    estimator = Estimator(**HOW)
    for row in ROWS:
        value(estimator, ANSATZ.copy(), HAMILTONIAN, row)
    value(estimator, ANSATZ, [[HAMILTONIAN], [HAMILTONIAN]], ROWS)
    assert planned == [ANSATZ.num_parameters]
    value(estimator, ANSATZ, "ZZZ", ROWS)
    assert len(planned) == 2


def test_circuits_that_are_bound_anew_are_planned_once(planned: list[int]) -> None:
    estimator = Estimator(**HOW)
    found = [value(estimator, ANSATZ.assign_parameters(row), HAMILTONIAN) for row in ROWS]
    assert planned == [ANSATZ.num_parameters]
    np.testing.assert_allclose(found, value(estimator, ANSATZ, HAMILTONIAN, ROWS), atol=1e-10)


def test_the_first_circuit_with_special_angles_has_a_plan_of_its_own(planned: list[int]) -> None:
    estimator = Estimator(**HOW)
    rows = ROWS.copy()
    rows[0, 1] = -np.pi / 2
    found = [value(estimator, ANSATZ.assign_parameters(row), HAMILTONIAN) for row in rows]
    assert planned == [0, ANSATZ.num_parameters]
    np.testing.assert_allclose(found, value(estimator, ANSATZ, HAMILTONIAN, rows), atol=1e-10)


def test_a_circuit_that_is_slow_with_free_angles_has_a_plan_of_its_own(
    planned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluators, "_QUICK_SECONDS", 0.0)
    estimator = Estimator(**HOW)
    found = [value(estimator, ANSATZ.assign_parameters(row), HAMILTONIAN) for row in ROWS]
    assert planned == [ANSATZ.num_parameters, 0]  # the first plan serves all others
    np.testing.assert_allclose(found, value(estimator, ANSATZ, HAMILTONIAN, ROWS), atol=1e-10)


def test_bound_circuits_of_one_call_are_planned_once(planned: list[int]) -> None:
    pubs = [(ANSATZ.assign_parameters(row), HAMILTONIAN) for row in ROWS]
    result = Estimator(**HOW).run(pubs).result()
    assert planned == [ANSATZ.num_parameters]
    expected = Estimator(**HOW).run([(ANSATZ, HAMILTONIAN, ROWS)]).result()[0].data.evs
    np.testing.assert_allclose([each.data.evs for each in result], expected, atol=1e-10)


def test_the_same_bound_circuit_is_planned_once(planned: list[int]) -> None:
    estimator = Estimator(**HOW)
    for _ in range(3):
        value(estimator, ANSATZ.assign_parameters(0 * ROWS[0]), HAMILTONIAN)
    assert planned == [0]


def test_only_so_many_programs_are_kept(
    planned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_MAX_KEPT", 2)
    estimator = Estimator(**HOW)
    for label in ("ZZZ", "XXX", "ZZZ", "YYY", "ZZZ", "XXX"):
        value(estimator, ANSATZ, label, ROWS[0])
    assert len(planned) == 4  # XXX went before YYY, because ZZZ was used after it


WIDTH = 20


def tangled(angles: Sequence[Any]) -> QuantumCircuit:
    """Return a wide circuit that is Clifford for multiples of pi/2."""
    rng = np.random.default_rng(0)
    circuit = QuantumCircuit(WIDTH)
    for angle in angles:
        if rng.random() < 0.1:
            circuit.h(range(WIDTH))
        first, second = rng.permutation(WIDTH)[:2].tolist()
        circuit.rzz(angle, first, second)
    return circuit


def there_and_back(angles: Sequence[Any]) -> QuantumCircuit:
    """Return a circuit to the first half of the angles, and back from the second half."""
    half = len(angles) // 2
    return tangled(angles[:half]).compose(tangled(angles[half:]).inverse())


def clifford_rows() -> np.ndarray:
    """Return three rows of 240 angles, the first two of which lead back to where they began."""
    there, other = np.random.default_rng(1).integers(0, 4, (2, 120)) * np.pi / 2
    return np.array([[*there, *there], [*other, *other], [*there, *other]])


@pytest.mark.slow
def test_a_circuit_that_is_possible_with_its_angles_only(planned: list[int]) -> None:
    estimator = Estimator(threads=1, memory=MEMORY, search_seconds=0.1)
    rows, operator = clifford_rows(), "Z" * WIDTH
    found = [float(value(estimator, there_and_back(row), operator)) for row in rows]
    last = hpcq.run(hpcq.plan(there_and_back(rows[2]), operator)).expectation_values[0]
    assert found == pytest.approx([1.0, 1.0, last])
    assert planned == [0, 240, 0, 0]


def test_a_parametrised_circuit_that_is_possible_with_its_values_only() -> None:
    circuit = there_and_back(list(ParameterVector("t", 240)))
    estimator = Estimator(threads=1, memory=MEMORY, search_seconds=0.1)
    rows = clifford_rows()[:2]
    found = value(estimator, circuit, ["Z" * WIDTH, "I" * (WIDTH - 1) + "X"], rows)
    assert found == pytest.approx([1.0, 0.0])


def test_a_program_that_is_far_slower_is_not_used(
    planned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_QUICK_SECONDS", "_SLOW_SECONDS", "_MAX_SLOWDOWN"):
        monkeypatch.setattr(evaluators, name, 0.0)
    estimator = Estimator(**HOW)
    found = [value(estimator, ANSATZ.assign_parameters(row), HAMILTONIAN) for row in ROWS]
    assert planned == [ANSATZ.num_parameters, 0, 0, 0, 0]
    np.testing.assert_allclose(found, value(estimator, ANSATZ, HAMILTONIAN, ROWS), atol=1e-10)


def test_each_pub_by_the_method_that_suits_it() -> None:
    wide = QuantumCircuit(60)
    wide.h(0)
    for qubit in range(59):
        wide.cx(qubit, qubit + 1)
    operator = SparsePauliOp.from_sparse_list([("ZZ", [0, 59], 2.0)], 60)
    result = Estimator(**HOW).run([(wide, operator), (ANSATZ, HAMILTONIAN, ROWS[0])]).result()
    assert float(result[0].data.evs) == pytest.approx(2.0)
    assert result[1].data.evs == pytest.approx(
        float(value(Estimator(**HOW), ANSATZ, HAMILTONIAN, ROWS[0]))
    )
