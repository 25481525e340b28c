"""Find cuts so that no subcircuit is wider than a limit.

Two graphs are partitioned by KaHyPar (Schlag et al., ACM J. Exp. Algorithmics 27 (2022)), with as
many parts as needed and a few more, and several seeds. In the graph of qubits, an edge is as heavy
as the cut of all gates between two qubits would be, and single qubits then move wherever that
makes the cut lighter. In the graph of gate ends, the two ends of a gate are joined by what its cut
would weigh, and a wire joins the ends that follow each other on a qubit: its partitions mix gate
and wire cuts. Weights are bits of the edges' dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hpcq.cutting.cuts import Cuts, GateCut, WireCut, cuts_from_partition
from hpcq.cutting.cutter import pieces
from hpcq.cutting.gates import WeightedGates, weighted_gates
from hpcq.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Graph = dict[int, dict[int, float]]
"""Node → its neighbours → weight of the edge between them."""

_MORE_PARTS = 2
_SEEDS = 4
_MOST_GATES = 2000
"""Gates up to which the graph of gate ends is tried too."""


def candidate_cuts(circuit: QuantumCircuit, max_qubits: int, seed: int = 0) -> list[Cuts]:
    """Propose cuts whose subcircuits have at most ``max_qubits`` qubits each.

    Args:
        circuit: The normalised circuit.
        max_qubits: The width limit.
        seed: Seed of the search; the same seed gives the same proposals.

    Returns:
        Distinct proposals, the lightest cut first; never empty.

    Raises:
        InputError: If ``max_qubits`` is less than 1.
    """
    if max_qubits < 1:
        raise InputError(f"max_qubits: {max_qubits} is too small, expected at least 1")
    gates = weighted_gates(circuit)
    graph = _qubit_graph(circuit.num_qubits, gates)
    proposals: dict[Cuts, float] = {}
    for labels in _joint_proposals(graph, _components(graph), max_qubits, seed):
        proposals[cuts_from_partition(circuit, labels)] = _weight(graph, labels)
    if len(gates) <= _MOST_GATES and circuit.num_qubits > max_qubits:
        for cuts, weight in _mixed_proposals(circuit, gates, max_qubits, seed):
            proposals.setdefault(cuts, weight)
    return sorted(proposals, key=lambda cuts: (proposals[cuts], len(cuts.wires), cuts.gates))


def _qubit_graph(num_qubits: int, gates: WeightedGates) -> Graph:
    """Return the qubits' graph, an edge's weight the bits of all its gates' dimensions."""
    graph: Graph = {qubit: {} for qubit in range(num_qubits)}
    for a, b, bits in gates:
        _join(graph, a, b, bits)
    return graph


def _mixed_proposals(
    circuit: QuantumCircuit, gates: WeightedGates, limit: int, seed: int
) -> Iterator[tuple[Cuts, float]]:
    """Partition the gate ends; yield what is narrow enough, with its weight.

    End 2 g + side belongs to gate g. A part's width is the number of its wires, which no balance
    of ends can promise, so a partition may have to be thrown away.
    """
    graph: Graph = {end: {} for end in range(2 * len(gates))}
    wires: list[tuple[int, int, WireCut]] = []
    passed = [0] * circuit.num_qubits
    last = [-1] * circuit.num_qubits
    for number, (a, b, bits) in enumerate(gates):
        _join(graph, 2 * number, 2 * number + 1, bits)
        for side, qubit in enumerate((a, b)):
            end = 2 * number + side
            if last[qubit] >= 0:
                _join(graph, last[qubit], end, 1.0)
                wires.append((last[qubit], end, WireCut(qubit, passed[qubit])))
            passed[qubit] += 1
            last[qubit] = end
    ends = sorted(graph)
    fewest = max(2, -(-circuit.num_qubits // limit))
    for parts in range(fewest, min(fewest + _MORE_PARTS, len(ends)) + 1):
        for trial in range(_SEEDS):
            labels = _kahypar(graph, ends, parts, -(-len(ends) // parts) * 5 // 4, seed + trial)
            cuts = Cuts(
                tuple(
                    GateCut(number, (a, b))
                    for number, (a, b, _) in enumerate(gates)
                    if labels[2 * number] != labels[2 * number + 1]
                ),
                tuple(sorted(cut for end, after, cut in wires if labels[end] != labels[after])),
            )
            if max([len(p) for p in pieces(circuit, cuts)]) <= limit:
                yield cuts, sum(gates[cut.gate][2] for cut in cuts.gates) + len(cuts.wires)


def _join(graph: Graph, a: int, b: int, bits: float) -> None:
    graph[a][b] = graph[b][a] = graph[a].get(b, 0.0) + bits


def _components(graph: Graph) -> list[list[int]]:
    seen: set[int] = set()
    components = []
    for start in graph:
        if start in seen:
            continue
        seen.add(start)
        component, todo = [], [start]
        while todo:
            node = todo.pop()
            component.append(node)
            for neighbour in graph[node]:
                if neighbour not in seen:
                    seen.add(neighbour)
                    todo.append(neighbour)
        components.append(sorted(component))
    return components


def _joint_proposals(
    graph: Graph, components: list[list[int]], limit: int, seed: int
) -> Iterator[list[int]]:
    """Partition every component that is too wide, in several ways; join way by way."""
    ways = [
        [[0] * len(component)]
        if len(component) <= limit
        else list(_proposals(graph, component, limit, seed))
        for component in components
    ]
    for way in range(max(map(len, ways))):
        labels = [0] * len(graph)
        first = 0
        for component, own in zip(components, ways, strict=True):
            chosen = own[min(way, len(own) - 1)]
            for qubit, label in zip(component, chosen, strict=True):
                labels[qubit] = first + label
            first += max(chosen) + 1
        yield labels


def _proposals(graph: Graph, component: list[int], limit: int, seed: int) -> Iterator[list[int]]:
    yield _refine(graph, component, [place // limit for place in range(len(component))], limit)
    fewest = -(-len(component) // limit)
    for parts in range(fewest, min(fewest + _MORE_PARTS, len(component)) + 1):
        for trial in range(_SEEDS):
            labels = _kahypar(graph, component, parts, limit, seed + trial)
            yield _refine(graph, component, _fit(graph, component, labels, limit), limit)


def _kahypar(graph: Graph, component: list[int], parts: int, limit: int, seed: int) -> list[int]:
    from cotengra.pathfinders.path_kahypar import kahypar_subgraph_find_membership

    edges = [(a, b, bits) for a in component for b, bits in graph[a].items() if a < b and bits > 0]
    inputs: dict[int, list[int]] = {qubit: [] for qubit in component}
    for number, (a, b, _) in enumerate(edges):
        inputs[a].append(number)
        inputs[b].append(number)
    labels: list[int] = kahypar_subgraph_find_membership(
        [inputs[qubit] for qubit in component],
        [],
        {number: 2 ** min(int(bits), 500) for number, (_, _, bits) in enumerate(edges)},
        parts=parts,
        imbalance=max(0.0, limit / -(-len(component) // parts) - 1),
        seed=seed,
    )
    return labels


def _fit(graph: Graph, component: list[int], labels: list[int], limit: int) -> list[int]:
    """Move qubits out of parts that are wider than the limit, the least attached first."""
    labels = list(labels)
    place = {qubit: position for position, qubit in enumerate(component)}
    sizes = _sizes(labels)
    for label in [label for label, size in sizes.items() if size > limit]:
        while sizes[label] > limit:
            members = [q for q in component if labels[place[q]] == label]
            qubit = min(members, key=lambda q: (_attachment(graph, q, labels, place, label), q))
            open_labels = [other for other, size in sizes.items() if size < limit]
            if open_labels:
                target = max(
                    open_labels,
                    key=lambda other: (_attachment(graph, qubit, labels, place, other), -other),
                )
            else:
                target = max(sizes) + 1
            labels[place[qubit]] = target
            sizes[label] -= 1
            sizes[target] = sizes.get(target, 0) + 1
    return labels


def _refine(graph: Graph, component: list[int], labels: list[int], limit: int) -> list[int]:
    """Move single qubits, and swap pairs across a cut edge, while that makes the cut lighter."""
    labels = list(labels)
    place = {qubit: position for position, qubit in enumerate(component)}
    sizes = _sizes(labels)
    improved = True
    while improved:
        improved = False
        for qubit in component:
            home = labels[place[qubit]]
            stay = _attachment(graph, qubit, labels, place, home)
            others = {labels[place[n]] for n in graph[qubit]} - {home}
            for target in sorted(others):
                gain = _attachment(graph, qubit, labels, place, target) - stay
                if gain > 0 and sizes[target] < limit:
                    labels[place[qubit]] = target
                    sizes[home] -= 1
                    sizes[target] += 1
                    improved = True
                    break
                if gain > 0:
                    partner = _partner(graph, component, qubit, target, labels, place, gain)
                    if partner is not None:
                        labels[place[qubit]], labels[place[partner]] = target, home
                        improved = True
                        break
    return labels


def _partner(
    graph: Graph,
    component: list[int],
    qubit: int,
    target: int,
    labels: list[int],
    place: dict[int, int],
    gain: float,
) -> int | None:
    """Find a qubit of the target part to swap with, so that the cut gets lighter."""
    home = labels[place[qubit]]
    for other in component:
        if labels[place[other]] == target:
            back = _attachment(graph, other, labels, place, home) - _attachment(
                graph, other, labels, place, target
            )
            if gain + back - 2 * graph[qubit].get(other, 0.0) > 1e-9:
                return other
    return None


def _attachment(
    graph: Graph, qubit: int, labels: list[int], place: dict[int, int], label: int
) -> float:
    return sum(bits for n, bits in graph[qubit].items() if labels[place[n]] == label)


def _sizes(labels: Iterable[int]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for label in labels:
        sizes[label] = sizes.get(label, 0) + 1
    return sizes


def _weight(graph: Graph, labels: list[int]) -> float:
    return sum(
        bits
        for a, neighbours in graph.items()
        for b, bits in neighbours.items()
        if a < b and labels[a] != labels[b]
    )
