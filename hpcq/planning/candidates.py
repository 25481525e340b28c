"""From proposals of the search to the plan that is best by its own predicted cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cut_circuit import subcircuit_segments
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.planning.assembly import Plan, Problem, assemble
from hpcq.planning.search.gate_ends import EndGraph, end_graphs
from hpcq.planning.search.lower_bound import lower_bound
from hpcq.planning.search.objective import Objective, ObjectiveName
from hpcq.planning.search.portfolio import propose
from hpcq.planning.search.trials import evaluate

SEARCH_SECONDS = 3.0
"""About how long to search where nothing else is said."""

_SMALL = 0.05
"""Predicted seconds of a whole circuit below which light cones are not looked for."""

_QUICK = 1.0
"""Predicted seconds of a plan with light cones below which nothing else is looked for."""

_MAX_TRIES = 12
_TRIED_CUTS = 200_000
_TRIED_GATES = 4_000
"""Where nothing fits, so many wider limits are tried, fewer the larger the circuit is."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        max_qubits: The most qubits a device has for a subcircuit.
        objective: What plans are chosen by.
        seconds: About how long to search.
        seed: Seed of the search.
        reuse: Whether a device can measure a qubit, reset it and use it again.
        ranks: How many ranks share the run.
        quick: Whether a few short attempts are enough, as for a hint in a message.
    """

    max_qubits: int
    objective: ObjectiveName = "seconds"
    seconds: float = SEARCH_SECONDS
    seed: int = 0
    reuse: bool = False
    ranks: int = 1
    quick: bool = False


def choose(job: Problem, options: SearchOptions, farm: Farm | None = None) -> Plan:
    """Search, and return the best plan that fits.

    Args:
        job: The job.
        options: How to search.
        farm: Ranks to search on; called on rank 0 only.

    Raises:
        MemoryLimitError: If no plan fits into the memory; with the smallest width that was found
            to work, if any was.
    """
    farm = farm or SerialFarm()
    refusals: list[MemoryLimitError] = []
    plans = list(_plans(job, options, farm, refusals))
    if plans:
        return min(plans, key=score_by(options.objective, options.ranks))
    reason = refusals[0] if refusals else MemoryLimitError("no cuts found")
    tries = min(_MAX_TRIES, _TRIED_GATES // (1 + len(job.simplifier.joint_cone.pairs)))
    for width in _wider(options.max_qubits, job.circuit.num_qubits, tries):
        trial = replace(options, max_qubits=width, seconds=options.seconds / 4, quick=True)
        if any(True for _ in _plans(job, trial, farm, [])):
            raise MemoryLimitError(
                f"max_qubits: {options.max_qubits} is too small ({reason}); {width} is the "
                "smallest that was found to work"
            )
    raise reason


def _plans(
    job: Problem, options: SearchOptions, farm: Farm, refusals: list[MemoryLimitError]
) -> Iterator[Plan]:
    """Yield the best plan with one light cone for all terms, and with several."""
    together = job.simplifier.joint_cone
    graphs = _graphs(together)
    small = _is_small(
        graphs, _objective(job, replace(options, objective="seconds"), options.max_qubits)
    )
    apart = None if small else job.simplifier.separate_cones
    for simplified in (apart, together):
        if simplified is None:
            continue
        parts = graphs if simplified is together else _graphs(simplified)
        found = list(_fitting(job, options, simplified, parts, farm, refusals))
        if found:
            best = min(found, key=score_by(options.objective, options.ranks))
            yield best
            if simplified is apart and _is_good(best, options.objective):
                return


def _fitting(
    job: Problem,
    options: SearchOptions,
    simplified: SimplifiedCircuit,
    graphs: Sequence[EndGraph],
    farm: Farm,
    refusals: list[MemoryLimitError],
) -> Iterator[Plan]:
    """Yield plans of one reduced circuit that are narrow enough and fit into the memory."""
    bound = None if options.reuse else lower_bound(graphs, simplified.labels, options.max_qubits)
    for width in _widths(options, simplified):
        objective = _objective(job, options, width)
        proposals = propose(
            graphs,
            objective,
            seconds=options.seconds,
            seed=options.seed,
            farm=farm,
            quick=options.quick,
        )
        narrow = [cuts for cuts in proposals if _is_narrow(simplified, cuts, options)]
        if options.reuse:
            narrow = list(
                dict.fromkeys(_without_needless(simplified, cuts, options) for cuts in narrow)
            )
        for cuts in narrow:
            try:
                yield replace(assemble(job, simplified, cuts), bound=bound)
            except MemoryLimitError as error:
                refusals.append(error)
                if options.objective == "overhead":  # for devices, which do without an exact run
                    found = assemble(job, simplified, cuts, within_memory=False)
                    yield replace(found, bound=bound)
        if narrow and options.objective == "overhead":
            return


def _widths(options: SearchOptions, simplified: SimplifiedCircuit) -> list[int]:
    """Numbers of wires to search with; with reuse, a device runs more wires than it has qubits."""
    widest = max(1, len(simplified.labels))
    if not options.reuse:
        return [min(options.max_qubits, widest)]
    factors = (widest / options.max_qubits, 3.0, 2.0, 1.5, 1.0)
    widths = {min(widest, int(factor * options.max_qubits)) for factor in factors}
    return sorted(widths, reverse=True)


def _is_narrow(simplified: SimplifiedCircuit, cuts: Cuts, options: SearchOptions) -> bool:
    if options.reuse:
        widths = device_qubits(simplified.analysis, cuts)
    else:
        widths = [len(piece) for piece in subcircuit_segments(simplified.analysis, cuts)]
    return max(widths, default=0) <= options.max_qubits


def _without_needless(simplified: SimplifiedCircuit, cuts: Cuts, options: SearchOptions) -> Cuts:
    """Leave out the cuts that a device with reused qubits can do without, one by one."""
    every = (*cuts.wires, *cuts.gates)
    for cut in every if len(every) * len(simplified.pairs) < _TRIED_CUTS else ():
        fewer = Cuts(
            tuple(own for own in cuts.gates if own != cut),
            tuple(own for own in cuts.wires if own != cut),
        )
        if _is_narrow(simplified, fewer, options):
            cuts = fewer
    return cuts


def _objective(job: Problem, options: SearchOptions, width: int) -> Objective:
    return Objective(options.objective, width, job.limits, job.speeds, options.ranks)


def _graphs(simplified: SimplifiedCircuit) -> list[EndGraph]:
    """Return the connected parts of a reduced circuit."""
    return list(end_graphs(simplified.analysis, _strings(simplified)))


def _is_small(graphs: Sequence[EndGraph], objective: Objective) -> bool:
    """Say whether the whole circuit is so quick that there is nothing to gain."""
    found = [evaluate(graph, objective, [0] * graph.num_ends) for graph in graphs]
    return all(own.fits for own in found) and sum(own.seconds for own in found) < _SMALL


def _is_good(plan: Plan, objective: ObjectiveName) -> bool:
    if objective == "overhead":
        return plan.cut.log10_sampling_overhead == 0
    return plan.cost.predicted_seconds() < _QUICK


def score_by(objective: ObjectiveName, ranks: int) -> Callable[[Plan], tuple[float, ...]]:
    """Return what plans are compared by; less is better."""
    if objective == "overhead":
        return lambda plan: (
            round(plan.cut.log10_sampling_overhead, 9),
            plan.cost.predicted_seconds(ranks),
        )
    return lambda plan: (plan.cost.predicted_seconds(ranks),)


def _strings(simplified: SimplifiedCircuit) -> list[float]:
    """Estimate how many Pauli strings are asked for on each qubit of the reduced circuit.

    A term counts as one string, spread over its qubits.
    """
    place = {label: qubit for qubit, label in enumerate(simplified.labels)}
    strings = [0.0] * len(simplified.labels)
    for term, cone in simplified.cone_of.items():
        for qubit, _ in term:
            strings[place[cone, qubit]] += 1 / len(term)
    return strings


def _wider(width: int, widest: int, tries: int) -> Iterator[int]:
    """Yield larger widths to try, the smallest first."""
    for _ in range(tries):
        if width >= widest:
            return
        width = min(widest, max(width + 1, width * 5 // 4))
        yield width
