"""The search: its cuts are narrow enough, optimal for small circuits, and the same for a seed."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit.library import iSwapGate
from qiskit.synthesis import synth_qft_full

import hpcq
from hpcq.cli.main import main
from hpcq.core.limits import Limits
from hpcq.cutting.analysis import CircuitAnalysis
from hpcq.cutting.cut_circuit import cut_circuit, subcircuit_segments
from hpcq.cutting.cuts import Cuts, GateCut, WireCut
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.parallel import messages
from hpcq.parallel.serial import SerialFarm
from hpcq.planning.machine_speeds import Speeds
from hpcq.planning.search.gate_ends import end_graphs
from hpcq.planning.search.initial_partitions import initial_labels
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition
from hpcq.planning.search.portfolio import propose
from hpcq.planning.search.search_tasks import SearchTasks
from hpcq.planning.search.trial_budget import plan_trials
from hpcq.planning.search.trials import Trial, run_trial
from tests.support.strategies import circuits, cuts_of

MEMORY = 1 << 34
"""Bytes; more than any plan here needs, so that memory decides nothing."""


def ising(graph: nx.Graph) -> QuantumCircuit:
    circuit = QuantumCircuit(graph.number_of_nodes())
    for a, b in graph.edges:
        circuit.rzz(0.3, a, b)
    circuit.rx(0.4, range(circuit.num_qubits))
    return circuit


def objective_of(objective: str, width: int) -> Objective:
    return Objective(objective, width, Limits(MEMORY), Speeds())


def proposals(
    circuit: QuantumCircuit,
    width: int,
    objective: str = "seconds",
    seed: int = 0,
    seconds: float = 0.2,
) -> list:
    cuts = propose(
        list(end_graphs(CircuitAnalysis(circuit), [1.0] * circuit.num_qubits)),
        objective_of(objective, width),
        seconds=seconds,
        seed=seed,
        farm=SerialFarm(),
    )
    return list(cuts)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["seconds", "overhead"])
@pytest.mark.parametrize(
    "limit",
    [
        1,
        pytest.param(2, marks=pytest.mark.nightly),
        5,
        pytest.param(7, marks=pytest.mark.nightly),
        12,
    ],
)
@pytest.mark.parametrize(
    "graph",
    [nx.path_graph(20), nx.complete_graph(7), nx.star_graph(12), nx.random_regular_graph(3, 16, 1)],
    ids=["chain", "complete", "star", "regular"],
)
def test_the_best_is_no_wider_than_the_limit(graph: nx.Graph, limit: int, objective: str) -> None:
    circuit = ising(graph)
    best = proposals(circuit, limit, objective, seconds=0.02)[0]
    assert max(map(len, subcircuit_segments(circuit, best))) <= limit


@pytest.mark.slow
def test_clusters_are_found_whatever_the_qubits_order() -> None:
    cliques = nx.relabel_nodes(
        nx.disjoint_union_all([nx.complete_graph(6)] * 3), {i: (i * 7) % 18 for i in range(18)}
    )
    graph = nx.Graph()
    graph.add_nodes_from(range(18))
    graph.add_edges_from(cliques.edges)
    links = [(0, (6 * 7) % 18), ((11 * 7) % 18, (12 * 7) % 18)]
    graph.add_edges_from(links)
    best = proposals(ising(graph), 6, "overhead")[0]
    assert {frozenset(cut.qubits) for cut in best.gates} == set(map(frozenset, links))


@pytest.mark.slow
def test_a_trial_starts_where_the_run_and_its_contraction_are_cheapest() -> None:
    circuit, objective = ising(nx.random_regular_graph(3, 60, seed=4)), objective_of("seconds", 30)
    (graph,) = end_graphs(CircuitAnalysis(circuit), [1.0] * circuit.num_qubits)
    starts = []
    for seed in range(0, 8 * 1001, 1001):
        labels = initial_labels(graph, "qubits", 9, "seconds", 30, seed)
        partition = Partition(graph, labels, objective)
        without_contraction = partition.energy
        partition.include_contraction()
        starts.append((partition.energy, without_contraction, graph.cuts(labels)))
    best = min(starts, key=lambda start: start[0])
    assert best[1] > min(energy for _, energy, _ in starts)
    without_annealing = Trial("qubits", 9, steps=0, excess_penalty=1.0, seed=0, starts=8)
    assert graph.cuts(run_trial(graph, objective, without_annealing)) == best[2]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_a_partition_knows_its_cost_after_any_moves(data: st.DataObject) -> None:
    circuit = data.draw(circuits(max_qubits=5, max_gates=10))
    for graph in end_graphs(CircuitAnalysis(circuit), [1.0] * circuit.num_qubits):
        for objective in ("seconds", "overhead"):
            partition = Partition(graph, [0] * graph.num_ends, objective_of(objective, 2))
            for _ in range(12):
                end = data.draw(st.integers(0, graph.num_ends - 1))
                before, after = partition.interval(end)
                moving = [end, *(before if data.draw(st.booleans()) else after)]
                partition.move(moving, data.draw(st.integers(0, 3)))
            fresh = Partition(graph, partition.labels, objective_of(objective, 2))
            assert partition.energy == pytest.approx(fresh.energy, abs=1e-9)
            assert {k: v for k, v in partition.bonds.items() if v} == fresh.bonds
            for each in (partition, fresh):
                each.include_contraction()
            assert partition.seconds == pytest.approx(fresh.seconds, rel=1e-9)
            if graph.num_wires == circuit.num_qubits:
                cut = cut_circuit(circuit, graph.cuts(partition.labels))
                widths = [s.num_qubits for s in cut.subcircuits]
                assert fresh.fits <= (max(widths) <= 2)
                assert sum(math.log2(e.sampling_overhead) for e in cut.edges) == pytest.approx(
                    fresh.overhead, abs=1e-6
                )


def every_cut(circuit: QuantumCircuit, width: int) -> list[tuple[Cuts, CutCircuit]]:
    """Return all sets of cuts in which each cut separates two subcircuits, by brute force."""
    analysis = CircuitAnalysis(circuit)
    count = [0] * circuit.num_qubits
    for pair in analysis.pairs:
        for qubit in pair:
            count[qubit] += 1
    gates = [GateCut(g, pair) for g, pair in enumerate(analysis.pairs)]
    wires = [WireCut(q, a) for q, n in enumerate(count) for a in range(1, n)]
    every = []
    for chosen in itertools.product((False, True), repeat=len(gates) + len(wires)):
        cuts = Cuts(
            tuple(itertools.compress(gates, chosen)),
            tuple(itertools.compress(wires, chosen[len(gates) :])),
        )
        if max(map(len, subcircuit_segments(analysis, cuts))) > width:
            continue
        cut = cut_circuit(analysis, cuts)
        if all(edge.ends[0][0] != edge.ends[1][0] for edge in cut.edges):
            every.append((cuts, cut))
    return every


def small_circuits(gates: int, qubits: int, number: int) -> list[QuantumCircuit]:
    rng = random.Random(gates * 100 + qubits)
    random_circuits = []
    for _ in range(number):
        circuit = QuantumCircuit(qubits)
        for _ in range(gates):
            a, b = rng.sample(range(qubits), 2)
            circuit.rx(rng.random(), a)
            circuit.ry(rng.random(), b)
            kind = rng.randrange(4)
            if kind == 3:
                circuit.append(iSwapGate(), (a, b))
                circuit.rzz(0.3, a, b)
                circuit.ry(0.3, a)
                circuit.rx(0.3, b)
                circuit.cx(a, b)
            elif kind == 2:
                circuit.crx(0.2 + rng.random(), a, b)
            else:
                circuit.cx(a, b)
        circuit.rx(0.3, range(qubits))
        circuit.ry(0.2, range(qubits))
        random_circuits.append(circuit)
    return random_circuits


@pytest.mark.slow
@pytest.mark.parametrize(
    "circuit",
    [
        *small_circuits(3, 3, 3),
        *small_circuits(4, 4, 3),
        *(
            pytest.param(each, marks=pytest.mark.nightly)
            for each in (*small_circuits(6, 4, 1), *small_circuits(6, 6, 2))
        ),
        *small_circuits(5, 5, 1),
    ],
)
def test_small_circuits_get_the_least_overhead_there_is(circuit: QuantumCircuit) -> None:
    everything = "X" * circuit.num_qubits
    width = circuit.num_qubits - 1
    plan = hpcq.plan(circuit, everything, max_qubits=width, objective="overhead", memory=MEMORY)
    least = min(cut.log10_sampling_overhead for _, cut in every_cut(plan.simplified.circuit, width))
    assert plan.cut.log10_sampling_overhead == pytest.approx(least, abs=1e-9)
    assert plan.bound.overhead <= least / math.log10(2) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    "circuit",
    [
        *small_circuits(3, 3, 3),
        *small_circuits(4, 4, 1),
        pytest.param(small_circuits(4, 4, 2)[1], marks=pytest.mark.nightly),
    ],
)
def test_small_circuits_get_the_quickest_plan_there_is(circuit: QuantumCircuit) -> None:
    everything = "X" * circuit.num_qubits
    width = circuit.num_qubits - 1
    plan = hpcq.plan(circuit, everything, max_qubits=width, memory=MEMORY, threads=1)
    quickest = min(
        hpcq.plan(
            plan.simplified.circuit, everything, cuts=cuts, memory=MEMORY, threads=1
        ).cost.predicted_seconds()
        for cuts, _ in every_cut(plan.simplified.circuit, width)
    )
    assert plan.cost.predicted_seconds() <= quickest * (1 + 1e-9)


@pytest.mark.slow
def test_the_same_seed_proposes_the_same_on_any_farm() -> None:
    circuit = ising(nx.random_regular_graph(3, 20, 5))
    assert proposals(circuit, 8, seed=3) == proposals(circuit, 8, seed=3)
    (graph,) = end_graphs(CircuitAnalysis(circuit), [1.0] * 20)
    objective = objective_of("seconds", 8)
    tasks = SearchTasks((graph,), (tuple(plan_trials(graph, objective, 0.1, 7)),), objective)
    again = messages.loads(messages.dumps(tasks))
    assert again.labels(SerialFarm()) == tasks.labels(SerialFarm())


@pytest.mark.nightly
def test_known_bisections_are_found() -> None:
    """3-regular graphs of 50 nodes: 9 cuts, in thousands of runs of three other heuristics."""
    for seed in (1, 2, 3):
        circuit = ising(nx.random_regular_graph(3, 50, seed))
        best = proposals(circuit, 25, "overhead")[0]
        assert len(best.gates) <= 9
        assert best.wires == ()


def test_a_fourier_transform_is_cut_through_one_port_a_qubit() -> None:
    circuit = synth_qft_full(12, do_swaps=False)
    plan = hpcq.plan(circuit, "X" * 12, cut_labels="A" * 6 + "B" * 6, memory=MEMORY)
    assert len(plan.cut.cuts.gates) == 36
    assert len(plan.cut.edges) == 6
    assert [len(s.ports) for s in plan.cut.subcircuits] == [6, 6]


@pytest.mark.slow
def test_a_pareto_front_with_reused_qubits_ends(tmp_path: Path) -> None:
    chain = tmp_path / "chain.qasm"
    gates = "".join(f"cx q[{i}],q[{i + 1}];" for i in range(5))
    chain.write_text(f'OPENQASM 2.0; include "qelib1.inc"; qreg q[6]; h q; {gates}')
    how = ["--max-qubits", "3", "--reuse-qubits", "--objective", "overhead", "--pareto"]
    assert main(["plan", str(chain), "--observable", "XXXXXX", *how]) == 0


@pytest.mark.slow
def test_measured_qubits_are_reused() -> None:
    circuit = QuantumCircuit(12)
    circuit.h(0)
    for qubit in range(11):
        circuit.cx(qubit, qubit + 1)
    assert device_qubits(CircuitAnalysis(circuit), Cuts()) == [2]
    how = {"max_qubits": 2, "objective": "overhead", "memory": MEMORY}
    assert hpcq.plan(circuit, "X" * 12, **how, reuse_qubits=True).cut.edges == ()
    assert len(hpcq.plan(circuit, "X" * 12, **how).cut.edges) >= 5


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_reuse_never_needs_more_qubits_than_wires(data: st.DataObject) -> None:
    circuit = data.draw(circuits())
    analysis, cuts = CircuitAnalysis(circuit), data.draw(cuts_of(circuit))
    widths = [len(piece) for piece in subcircuit_segments(analysis, cuts)]
    needed = device_qubits(analysis, cuts)
    assert all(1 <= qubits <= width for qubits, width in zip(needed, widths, strict=True))


@pytest.mark.slow
def test_the_least_overhead_need_not_fit_into_memory() -> None:
    circuit = ising(nx.random_regular_graph(3, 40, 1))
    how = {"max_qubits": 20, "memory": 1 << 20, "search_seconds": 0.3}
    plan = hpcq.plan(circuit, "X" * 40, **how, objective="overhead")
    assert not plan.fits
    with pytest.raises(hpcq.InputError, match="its exact run needs"):
        hpcq.run(plan)


@pytest.mark.slow
def test_a_width_that_does_not_fit_is_refused_with_one_that_does() -> None:
    circuit = ising(nx.complete_graph(10))
    with pytest.raises(hpcq.InputError, match="is the smallest that was found to work") as caught:
        hpcq.plan(circuit, "X" * 10, max_qubits=3, memory=1 << 20)
    width = int(str(caught.value).split("); ")[1].split()[0])
    assert hpcq.plan(circuit, "X" * 10, max_qubits=width, memory=1 << 20).fits
