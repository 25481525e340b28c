"""Search for cuts of a whole circuit: one connected component at a time, then combined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcq.cutting.cuts import Cuts
from hpcq.parallel.serial import Farm
from hpcq.planning.search.exhaustive import all_partitions
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition
from hpcq.planning.search.search_tasks import SearchTasks
from hpcq.planning.search.trial_budget import plan_trials
from hpcq.planning.search.trials import evaluate

_MAX_PROPOSALS = 4
"""Proposals for each component that is searched. More: more plans are assembled and costed, and the
cheapest is taken."""

_MAX_EXHAUSTIVE_PROPOSALS = 16
"""Proposals for each component whose cuts were enumerated."""

_MAX_EVALUATED = 400
"""Enumerated partitions whose seconds are predicted: those of least sampling overhead. More: a
better chance to find the quickest, but a slower search."""

_MIN_CUT_SECONDS = 0.02
"""Predicted seconds below which a component that is narrow enough stays uncut."""


def propose(
    graphs: Sequence[EndGraph],
    objective: Objective,
    *,
    seconds: float,
    seed: int,
    farm: Farm,
    quick: bool = False,
    given: Cuts | None = None,
) -> tuple[Cuts, ...]:
    """Propose cuts of a circuit, given its connected components.

    The seconds of the search on one core are converted to a fixed amount of work, so the proposals
    do not depend on the clock; nor on the number of ranks that share the trials. With ``quick``,
    trials are few and short. Cuts that are ``given`` are improved, and others are sought too if the
    budget allows.

    Returns:
        The proposals, best first by the search's estimates. A subcircuit is wider than allowed
        where no trial found a narrower one.
    """
    distinct = {graph.signature: graph for graph in graphs}
    share = seconds / max(1, len(distinct))
    results: dict[object, list[Partition]] = {}
    searched: list[EndGraph] = []
    for signature, graph in distinct.items():
        exact_results = _without_search(graph, objective, share)
        if exact_results is None:
            searched.append(graph)
        else:
            results[signature] = exact_results
    share = seconds / max(1, len(searched))
    trials = [
        plan_trials(
            graph,
            objective,
            share,
            seed,
            quick,
            () if given is None else graph.labels_of_cuts(given),
        )
        for graph in searched
    ]
    tasks = SearchTasks(tuple(searched), tuple(map(tuple, trials)), objective)
    for graph, found_labels in zip(tasks.graphs, tasks.labels(farm), strict=True):
        different = {graph.cuts(labels): labels for labels in found_labels}.values()
        evaluated = (evaluate(graph, objective, labels) for labels in different)
        results[graph.signature] = _best_first(evaluated, objective)[:_MAX_PROPOSALS]
    return _join_proposals(graphs, [results[graph.signature] for graph in graphs])


def _without_search(
    graph: EndGraph, objective: Objective, seconds: float
) -> list[Partition] | None:
    """Return the results for a component whose cuts can be enumerated or left out, else None."""
    uncut = evaluate(graph, objective, [0] * graph.num_ends)
    if (
        uncut.fits
        and not uncut.memory_penalty
        and (objective.kind == "overhead" or uncut.seconds < _MIN_CUT_SECONDS)
    ):
        return [uncut]
    partitions = all_partitions(graph, objective.width, seconds)
    if partitions is None:
        return None
    partitions.sort(key=lambda labels: round(graph.overhead_of(labels), 9))
    if objective.kind == "seconds":
        partitions = partitions[:_MAX_EVALUATED]
        partitions.sort(key=lambda labels: Partition(graph, labels, objective).seconds)
    best = partitions[:_MAX_EXHAUSTIVE_PROPOSALS]
    return _best_first((evaluate(graph, objective, labels) for labels in best), objective)


def _best_first(partitions: Iterable[Partition], objective: Objective) -> list[Partition]:
    """Sort partitions: those that fit first, then by the objective."""

    def rank(partition: Partition) -> tuple[bool, float, float]:
        by_overhead = objective.kind == "overhead"
        cost = round(partition.overhead, 9) if by_overhead else partition.memory_penalty
        return not partition.fits, cost, partition.seconds

    return sorted(partitions, key=rank)


def _join_proposals(
    graphs: Sequence[EndGraph], results: Sequence[Sequence[Partition]]
) -> tuple[Cuts, ...]:
    """Return the best results of all components combined, then their second best, and so on."""
    proposals = []
    for choice in range(max((len(choices) for choices in results), default=1)):
        component_cuts = [
            graph.cuts(choices[min(choice, len(choices) - 1)].labels)
            for graph, choices in zip(graphs, results, strict=True)
        ]
        gates = sorted(cut for cuts in component_cuts for cut in cuts.gates)
        wires = sorted(cut for cuts in component_cuts for cut in cuts.wires)
        proposals.append(Cuts(tuple(gates), tuple(wires)))
    return tuple(dict.fromkeys(proposals))
