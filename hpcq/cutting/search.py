"""Find cuts so that no subcircuit is wider than a limit.

The gate graph has the qubits as nodes and, between two qubits, an edge as heavy as the cut of all
their gates would be. KaHyPar (Schlag et al., ACM J. Exp. Algorithmics 27 (2022)) partitions it,
with as many parts as needed and a few more, and several seeds; single qubits then move wherever
that makes the cut lighter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hpcq.cutting.cuts import Cuts, cuts_from_partition
from hpcq.cutting.gates import pauli_sum
from hpcq.errors import InputError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Graph = dict[int, dict[int, float]]
"""Qubit → its neighbours → bits of the edges' dimensions between them."""

_MORE_PARTS = 2
_SEEDS = 4


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
    graph = gate_graph(circuit)
    parts = _components(graph)
    proposals: dict[tuple[int, ...], float] = {}
    for labels in _joint_proposals(graph, parts, max_qubits, seed):
        canonical = _relabel(labels)
        proposals[canonical] = _weight(graph, canonical)
    ordered = sorted(proposals, key=lambda labels: (proposals[labels], labels))
    return [cuts_from_partition(circuit, labels) for labels in ordered]


def gate_graph(circuit: QuantumCircuit) -> Graph:
    """Return the qubits' graph, an edge's weight the bits of all its gates' dimensions."""
    index = {qubit: position for position, qubit in enumerate(circuit.qubits)}
    graph: Graph = {qubit: {} for qubit in range(circuit.num_qubits)}
    for instruction in circuit.data:
        if len(instruction.qubits) == 2:
            a, b = (index[qubit] for qubit in instruction.qubits)
            bits = math.log2(pauli_sum(instruction.operation).dimension)
            graph[a][b] = graph[a].get(b, 0.0) + bits
            graph[b][a] = graph[b].get(a, 0.0) + bits
    return graph


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
                if gain > 0 and (
                    partner := _partner(graph, component, qubit, target, labels, place)
                ):
                    labels[place[qubit]], labels[place[partner[0]]] = target, home
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
) -> tuple[int] | None:
    """Find a qubit of the target part to swap with, so that the cut gets lighter."""
    home = labels[place[qubit]]
    gain = _attachment(graph, qubit, labels, place, target) - _attachment(
        graph, qubit, labels, place, home
    )
    for other in component:
        if labels[place[other]] == target:
            back = _attachment(graph, other, labels, place, home) - _attachment(
                graph, other, labels, place, target
            )
            if gain + back - 2 * graph[qubit].get(other, 0.0) > 1e-9:
                return (other,)
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


def _relabel(labels: list[int]) -> tuple[int, ...]:
    names: dict[int, int] = {}
    return tuple(names.setdefault(label, len(names)) for label in labels)


def _weight(graph: Graph, labels: tuple[int, ...]) -> float:
    return sum(
        bits
        for a, neighbours in graph.items()
        for b, bits in neighbours.items()
        if a < b and labels[a] != labels[b]
    )
