from __future__ import annotations

import networkx as nx
import pytest
from qiskit import QuantumCircuit

from hpcq.cutting.cuts import two_qubit_gates
from hpcq.cutting.search import candidate_cuts
from hpcq.cutting.cutter import cut_circuit
from hpcq.errors import InputError


def ising(graph: nx.Graph) -> QuantumCircuit:
    circuit = QuantumCircuit(graph.number_of_nodes())
    for a, b in graph.edges:
        circuit.rzz(0.3, a, b)
    return circuit


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 20])
@pytest.mark.parametrize(
    "graph",
    [nx.path_graph(20), nx.complete_graph(7), nx.star_graph(12), nx.random_regular_graph(3, 24, 1)],
    ids=["chain", "complete", "star", "regular"],
)
def test_no_subcircuit_is_wider_than_the_limit(graph: nx.Graph, limit: int) -> None:
    circuit = ising(graph)
    for cuts in candidate_cuts(circuit, limit):
        assert max(s.num_qubits for s in cut_circuit(circuit, cuts).subcircuits) <= limit


def test_clusters_are_found_whatever_the_qubits_order() -> None:
    cliques = nx.relabel_nodes(
        nx.disjoint_union_all([nx.complete_graph(6)] * 3), {i: (i * 7) % 18 for i in range(18)}
    )
    graph = nx.Graph()
    graph.add_nodes_from(range(18))
    graph.add_edges_from(cliques.edges)
    links = [(0, (6 * 7) % 18), ((11 * 7) % 18, (12 * 7) % 18)]
    graph.add_edges_from(links)
    circuit = ising(graph)
    best = candidate_cuts(circuit, 6)[0]
    pairs = two_qubit_gates(circuit)
    assert {frozenset(pairs[cut.gate]) for cut in best.gates} == set(map(frozenset, links))


def test_a_star_is_cut_through_the_wire_of_its_middle() -> None:
    circuit = QuantumCircuit(21)
    for qubit in range(1, 21):
        circuit.cx(0, qubit)
    best = candidate_cuts(circuit, 11)[0]
    assert best.gates == ()
    assert [wire.qubit for wire in best.wires] == [0]


def test_the_same_seed_proposes_the_same() -> None:
    circuit = ising(nx.random_regular_graph(3, 30, 5))
    assert candidate_cuts(circuit, 12, seed=3) == candidate_cuts(circuit, 12, seed=3)


def test_a_limit_below_one_qubit_is_refused() -> None:
    with pytest.raises(InputError, match="max_qubits: 0"):
        candidate_cuts(QuantumCircuit(2), 0)
