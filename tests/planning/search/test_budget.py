"""A search keeps to its budget: all its work is counted, in numbers that no clock changes."""

from __future__ import annotations

import random
from collections import Counter

import networkx as nx
import pytest
from qiskit import QuantumCircuit

import hpcq
from hpcq.core.limits import Limits
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.search import initial_partitions, portfolio, trial_budget, trials
from hpcq.planning.search.gate_ends import EndGraph, end_graphs
from hpcq.planning.search.objective import Objective, ObjectiveName
from hpcq.planning.search.partition import Partition
from hpcq.planning.search.trial_budget import plan_trials
from hpcq.planning.search.trials import Trial, trial_seconds

MEMORY = 1 << 33
OBJECTIVES = ("seconds", "overhead")


def ising(graph: nx.Graph, layers: int = 1) -> QuantumCircuit:
    circuit = QuantumCircuit(graph.number_of_nodes())
    for layer in range(layers):
        for a, b in graph.edges:
            circuit.rzz(0.3 + 0.1 * layer, a, b)
        circuit.rx(0.4, range(circuit.num_qubits))
    return circuit


def graph_of(circuit: QuantumCircuit) -> EndGraph:
    (graph,) = end_graphs(CircuitAnalysis(circuit), [1.0] * circuit.num_qubits)
    return graph


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 3.0])
def test_the_work_of_all_trials_is_within_the_budget(
    seconds: float, objective: ObjectiveName
) -> None:
    graph = graph_of(ising(nx.random_regular_graph(3, 40, 1), 2))
    limited = Objective(objective, 10, Limits(MEMORY), Speeds())
    planned = plan_trials(graph, limited, seconds, 0)
    assert sum(trial_seconds(graph, limited, trial) for trial in planned) <= seconds
    assert planned[0].kind == "given"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_larger_budget_buys_more_trials_and_more_initial_partitions(
    objective: ObjectiveName,
) -> None:
    graph = graph_of(ising(nx.random_regular_graph(3, 40, 1), 2))
    limited = Objective(objective, 10, Limits(MEMORY), Speeds())
    few, more = (plan_trials(graph, limited, seconds, 0) for seconds in (0.1, 30.0))
    assert len(few) < len(more)
    assert sum(trial.starts for trial in few) < sum(trial.starts for trial in more)


def test_a_trial_makes_as_many_initial_partitions_as_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = graph_of(ising(nx.random_regular_graph(3, 20, 1)))
    objective = Objective("seconds", 8, Limits(MEMORY), Speeds())
    calls: Counter[str] = Counter()
    original, path = initial_partitions.initial_labels, Partition.include_contraction

    def counted_labels(*words: object) -> list[int]:
        calls["labels"] += 1
        return original(*words)  # type: ignore[arg-type]

    def counted_path(partition: Partition) -> None:
        calls["paths"] += 1
        path(partition)

    monkeypatch.setattr(trials, "initial_labels", counted_labels)
    monkeypatch.setattr(Partition, "include_contraction", counted_path)
    trials.run_trial(graph, objective, Trial("qubits", 20, 50, 1.0, seed=0, starts=5, rounds=2))
    assert calls == {"labels": 5, "paths": 2}
    calls.clear()
    given = tuple(wire // 5 for wire in graph.wire)
    trials.run_trial(graph, objective, Trial("given", 4, 50, 1.0, seed=0, labels=given))
    assert calls == {"paths": trials.MAX_ROUNDS}


def test_labels_follow_from_cuts() -> None:
    circuit = ising(nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4)), 2)
    graph = graph_of(circuit)
    labels = graph.split_disconnected(graph.labels_of_wires([wire // 4 for wire in range(12)]))
    assert graph.labels_of_cuts(graph.cuts(labels)) == labels


def dense_blocks() -> QuantumCircuit:
    """Return blocks of random pairs with weak links: wide light cones, none like another."""
    rng = random.Random(1)
    circuit = QuantumCircuit(30)
    for layer in range(6):
        circuit.rx(0.3, range(30))
        circuit.rz(0.2, range(30))
        for block in range(0, 30, 6):
            qubits = rng.sample(range(block, block + 6), 6)
            circuit.cx(qubits[::2], qubits[1::2])
        if layer % 2:
            for block in range(0, 24, 6):
                circuit.cz(block + rng.randrange(6), block + 6 + rng.randrange(6))
    return circuit


@pytest.mark.slow
def test_a_whole_search_counts_no_more_work_than_its_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit, observables = dense_blocks(), [f"X{qubit}" for qubit in range(30)]
    counted: Counter[str] = Counter()
    original_start, original_trials = trial_budget._best_simple_partition, plan_trials

    def simple(*words: object) -> tuple[Partition, float]:
        partition, seconds = original_start(*words)  # type: ignore[arg-type]
        counted["micros"] += round(1e6 * seconds)
        return partition, seconds

    def planned(graph: EndGraph, objective: Objective, *words: object) -> list[Trial]:
        found = original_trials(graph, objective, *words)  # type: ignore[arg-type]
        counted["searches"] += 1
        seconds = sum(trial_seconds(graph, objective, trial) for trial in found)
        counted["micros"] += round(1e6 * seconds)
        return found

    monkeypatch.setattr(trial_budget, "_best_simple_partition", simple)
    monkeypatch.setattr(portfolio, "plan_trials", planned)
    options = {"max_qubits": 6, "memory": MEMORY, "threads": 1, "search_seconds": 1.0}
    plan = hpcq.plan(circuit, observables, **options, objective="overhead")  # searches both
    assert counted["searches"] > 1
    assert 0 < counted["micros"] <= 1.0e6
    again = hpcq.plan(circuit, observables, **options, objective="overhead")
    assert again.cuts == plan.cuts
