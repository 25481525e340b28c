"""The parametrised circuits of the benchmark of programs."""

from __future__ import annotations

import numpy as np
import pytest
from program_circuits import ANSATZES, Ansatz, coupled_cluster, cut_cost, hubbard, linked_halves
from qiskit.quantum_info import SparsePauliOp, Statevector

_BY_NAME = {ansatz.name: ansatz for ansatz in ANSATZES}


@pytest.mark.slow
@pytest.mark.parametrize("ansatz", ANSATZES, ids=_BY_NAME)
def test_every_call_builds_the_same_circuit(ansatz: Ansatz) -> None:
    row = ansatz.rows(1, ansatz.build().num_parameters)[0]
    assert ansatz.build().assign_parameters(row) == ansatz.build().assign_parameters(row)


@pytest.mark.parametrize("ansatz", ANSATZES, ids=_BY_NAME)
def test_labels_and_energy_fit_the_circuit(ansatz: Ansatz) -> None:
    circuit = ansatz.build()
    assert circuit.num_qubits == ansatz.num_qubits == ansatz.energy().num_qubits
    assert circuit.num_parameters > 0


@pytest.mark.parametrize(
    ("name", "parameters", "cut"),
    [
        ("vqe-24-3x8", 144, 6),
        ("vqe-24-2x12", 144, 3),
        ("vqe-60-6x10", 360, 15),
        ("qaoa-20", 4, 4),
        ("heavy-hex-27", 162, 4),
        ("su4-2x12", 20, 4),
    ],
)
def test_sizes(name: str, parameters: int, cut: int) -> None:
    ansatz = _BY_NAME[name]
    circuit = ansatz.build()
    labels = [
        {ansatz.cut_labels[circuit.find_bit(qubit).index] for qubit in instruction.qubits}
        for instruction in circuit.data
    ]
    assert circuit.num_parameters == parameters
    assert sum(len(each) == 2 for each in labels) == cut


def test_rows_of_different_turns_have_nothing_in_common() -> None:
    ansatz = ANSATZES[0]
    rows = np.concatenate([ansatz.rows(4, 3, turn) for turn in range(3)])
    assert len(np.unique(rows)) == rows.size
    assert (ansatz.rows(4, 3, 1) == rows[4:8]).all()


def test_halves_of_the_graph_are_linked_by_so_many_edges() -> None:
    edges = linked_halves(6, 3, 2, seed=1)
    assert sum(a < 6 <= b for a, b in edges) == 2
    assert len(set(edges)) == len(edges) == 2 * (6 + 3) + 2


def test_cost_is_the_number_of_edges_less_twice_the_cut() -> None:
    edges = [(0, 1), (1, 2), (0, 2)]
    cost = SparsePauliOp.from_sparse_list(cut_cost(edges), 3)
    assert Statevector.from_label("001").expectation_value(cost) == pytest.approx((3 - 2 * 2) / 2)


def test_lowest_energy_of_two_sites_with_two_electrons() -> None:
    matrix = SparsePauliOp.from_sparse_list(hubbard(2), 4).to_matrix()
    number = np.array([f"{state:04b}".count("1") for state in range(16)])
    two = np.flatnonzero(number == 2)
    lowest = np.linalg.eigvalsh(matrix[np.ix_(two, two)])[0]
    # (U - sqrt(U^2 + 16 t^2)) / 2 for U n n', and U/2 less for U (n - 1/2) (n' - 1/2)
    assert lowest == pytest.approx((4 - np.sqrt(16 + 16)) / 2 - 2)


def test_excitations_keep_the_number_of_electrons_in_real_states() -> None:
    circuit = coupled_cluster(4)
    angles = np.random.default_rng(0).uniform(-1, 1, circuit.num_parameters)
    state = Statevector(circuit.assign_parameters(angles)).data
    number = np.array([f"{basis:08b}".count("1") for basis in range(256)])
    assert np.abs(state[number != 4]).max() < 1e-12
    assert np.abs(state).max() < 0.99
    phase = state[np.abs(state).argmax()] / np.abs(state).max()
    assert np.abs((state / phase).imag).max() < 1e-12
