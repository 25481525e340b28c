"""The search for a whole circuit: every connected part for itself, then put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcq.cutting.cuts import Cuts
from hpcq.parallel.serial import Farm
from hpcq.planning.search.exhaustive import all_partitions
from hpcq.planning.search.gate_ends import EndGraph
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.partition import Partition
from hpcq.planning.search.search_tasks import SearchTasks
from hpcq.planning.search.trials import TrialResult, trials, weigh

_KEPT = 4
"""Proposals for each connected part."""

_KEPT_OF_ALL = 16
"""The same where every way to cut was looked at."""

_LOOKED_AT = 400
"""Of all ways to cut a small part, those with the least overhead whose seconds are predicted."""

_WORTH_CUTTING = 0.02
"""Predicted seconds below which a part that is narrow enough is left whole."""


def propose(
    graphs: Sequence[EndGraph],
    objective: Objective,
    *,
    seconds: float,
    seed: int,
    farm: Farm,
    quick: bool = False,
) -> tuple[Cuts, ...]:
    """Propose cuts of a circuit.

    Args:
        graphs: Its connected parts.
        objective: What to look for.
        seconds: About how long to search on one core; it is turned into a fixed amount of work, so
            that the proposals depend on the seed alone.
        seed: Seed of the search.
        farm: Ranks to spread the attempts over; the proposals are the same on any number.
        quick: Whether a few short attempts are enough.

    Returns:
        The proposals, the best of them first as far as the search can tell; parts that could not
        be made narrow enough are as narrow as was found.
    """
    ways: dict[object, list[TrialResult]] = {}
    searched: dict[object, EndGraph] = {}
    for graph in graphs:
        if graph.likeness in ways or graph.likeness in searched:
            continue
        known = _without_search(graph, objective)
        if known is None:
            searched[graph.likeness] = graph
        else:
            ways[graph.likeness] = known
    share = seconds / max(1, len(searched))
    order = SearchTasks(
        tuple(searched.values()),
        tuple(tuple(trials(graph, objective, share, seed, quick)) for graph in searched.values()),
        objective,
    )
    for graph, labels in zip(order.graphs, order.labels(farm), strict=True):
        distinct = {graph.cuts(own): own for own in labels}.values()
        weighed = (weigh(graph, objective, own) for own in distinct)
        ways[graph.likeness] = _best_first(weighed, objective)[:_KEPT]
    return _together(graphs, [ways[graph.likeness] for graph in graphs])


def _without_search(graph: EndGraph, objective: Objective) -> list[TrialResult] | None:
    """Return what is worth knowing of a part that needs no search; None if it does."""
    whole = weigh(graph, objective, [0] * graph.num_ends)
    if (
        whole.fits
        and not whole.beyond
        and (objective.kind == "overhead" or whole.seconds < _WORTH_CUTTING)
    ):
        return [whole]
    every = all_partitions(graph, objective.width)
    if every is None:
        return None
    every.sort(key=lambda labels: round(graph.overhead_of(labels), 9))
    if objective.kind == "seconds":
        every = every[:_LOOKED_AT]
        every.sort(key=lambda labels: Partition(graph, labels, objective).seconds)
    found = (weigh(graph, objective, labels) for labels in every[:_KEPT_OF_ALL])
    return _best_first(found, objective)


def _best_first(found: Iterable[TrialResult], objective: Objective) -> list[TrialResult]:
    """Sort what was found: what fits, then what the objective asks for."""
    if objective.kind == "overhead":
        return sorted(found, key=lambda own: (not own.fits, round(own.bits, 9), own.seconds))
    return sorted(found, key=lambda own: (not own.fits, own.beyond, own.seconds))


def _together(
    graphs: Sequence[EndGraph], ways: Sequence[Sequence[TrialResult]]
) -> tuple[Cuts, ...]:
    """Join the parts' best proposals, their second best, and so on."""
    proposals = []
    for rank in range(max((len(own) for own in ways), default=1)):
        cuts = [
            graph.cuts(own[min(rank, len(own) - 1)].labels)
            for graph, own in zip(graphs, ways, strict=True)
        ]
        proposals.append(
            Cuts(
                tuple(sorted(cut for own in cuts for cut in own.gates)),
                tuple(sorted(cut for own in cuts for cut in own.wires)),
            )
        )
    return tuple(dict.fromkeys(proposals))
