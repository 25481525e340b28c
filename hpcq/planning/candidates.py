"""Search for cuts, and choose the proposal whose plan is best by its predicted cost."""

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
"""Default budget of a search, in seconds."""

_SMALL_SECONDS = 0.05
"""Predicted seconds of an uncut circuit below which separate light cones are not tried."""

_QUICK_SECONDS = 1.0
"""Predicted seconds of a plan with separate light cones below which a joint one is not tried."""

_MAX_TRIES = 12
"""Maximum number of wider limits that are tried where nothing fits."""

_MAX_TRIED_GATES = 4_000
"""Maximum number of two-qubit gates in all these tries together: larger circuits get fewer."""

_MAX_REUSE_WORK = 200_000
"""Maximum product of the numbers of cuts and of two-qubit gates for which each cut is dropped on
trial, which takes a pass over the circuit for each."""


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search.

    Attributes:
        max_qubits: Maximum number of qubits of a subcircuit.
        objective: What plans are compared by.
        seconds: About how long to search.
        seed: Seed of the search.
        reuse_qubits: Whether a device can measure a qubit, reset it and use it again.
        ranks: Number of ranks that share the run.
        quick: Whether a few short trials are enough, as for a hint in a message.
    """

    max_qubits: int
    objective: ObjectiveName = "seconds"
    seconds: float = SEARCH_SECONDS
    seed: int = 0
    reuse_qubits: bool = False
    ranks: int = 1
    quick: bool = False


def choose_plan(problem: Problem, options: SearchOptions, farm: Farm | None = None) -> Plan:
    """Search for cuts and return the best plan that fits; call it on rank 0 only.

    Args:
        problem: The problem.
        options: Options of the search.
        farm: The ranks that share the search; by default, this process alone.

    Raises:
        MemoryLimitError: If no plan fits into the memory. The message names the smallest width that
            was found to work, if any.
    """
    farm = farm or SerialFarm()
    refusals: list[MemoryLimitError] = []
    plans = list(_candidate_plans(problem, options, farm, refusals))
    if plans:
        return min(plans, key=score_by(options.objective, options.ranks))
    reason = refusals[0] if refusals else MemoryLimitError("no cuts found")
    num_tries = min(_MAX_TRIES, _MAX_TRIED_GATES // (1 + len(problem.simplifier.joint_cone.pairs)))
    for width in _wider_limits(options.max_qubits, problem.circuit.num_qubits, num_tries):
        quick_options = replace(options, max_qubits=width, seconds=options.seconds / 4, quick=True)
        if any(True for _ in _candidate_plans(problem, quick_options, farm, [])):
            raise MemoryLimitError(
                f"max_qubits: {options.max_qubits} is too small ({reason}); {width} is the "
                "smallest that was found to work"
            )
    raise reason


def _candidate_plans(
    problem: Problem, options: SearchOptions, farm: Farm, refusals: list[MemoryLimitError]
) -> Iterator[Plan]:
    """Yield the best plan with separate light cones, and the best with a joint one."""
    joint = problem.simplifier.joint_cone
    graphs = _graphs_of(joint)
    small = _is_small(
        graphs, _objective(problem, replace(options, objective="seconds"), options.max_qubits)
    )
    separate = None if small else problem.simplifier.separate_cones
    for simplified in (separate, joint):
        if simplified is None:
            continue
        components = graphs if simplified is joint else _graphs_of(simplified)
        plans = list(_plans_that_fit(problem, options, simplified, components, farm, refusals))
        if plans:
            best = min(plans, key=score_by(options.objective, options.ranks))
            yield best
            if simplified is separate and _is_good(best, options.objective):
                return


def _plans_that_fit(
    problem: Problem,
    options: SearchOptions,
    simplified: SimplifiedCircuit,
    graphs: Sequence[EndGraph],
    farm: Farm,
    refusals: list[MemoryLimitError],
) -> Iterator[Plan]:
    """Yield plans of a simplified circuit that are narrow enough and fit into the memory."""
    bound = (
        None if options.reuse_qubits else lower_bound(graphs, simplified.labels, options.max_qubits)
    )
    for width in _widths(options, simplified):
        objective = _objective(problem, options, width)
        proposals = propose(
            graphs,
            objective,
            seconds=options.seconds,
            seed=options.seed,
            farm=farm,
            quick=options.quick,
        )
        narrow = [cuts for cuts in proposals if _is_narrow(simplified, cuts, options)]
        if options.reuse_qubits:
            narrow = list(
                dict.fromkeys(_without_needless_cuts(simplified, cuts, options) for cuts in narrow)
            )
        for cuts in narrow:
            try:
                yield replace(assemble(problem, simplified, cuts), bound=bound)
            except MemoryLimitError as error:
                refusals.append(error)
                # A run with shots needs no exact tensors, so its plan may exceed the memory.
                if options.objective == "overhead":
                    plan = assemble(problem, simplified, cuts, within_memory=False)
                    yield replace(plan, bound=bound)
        if narrow and options.objective == "overhead":
            return


def _widths(options: SearchOptions, simplified: SimplifiedCircuit) -> list[int]:
    """Return the width limits to search with, in wires.

    With qubit reuse a device runs more wires than it has qubits, so wider limits are tried first.
    """
    widest = max(1, len(simplified.labels))
    if not options.reuse_qubits:
        return [min(options.max_qubits, widest)]
    factors = (widest / options.max_qubits, 3.0, 2.0, 1.5, 1.0)
    widths = {min(widest, int(factor * options.max_qubits)) for factor in factors}
    return sorted(widths, reverse=True)


def _is_narrow(simplified: SimplifiedCircuit, cuts: Cuts, options: SearchOptions) -> bool:
    if options.reuse_qubits:
        widths = device_qubits(simplified.analysis, cuts)
    else:
        widths = [len(piece) for piece in subcircuit_segments(simplified.analysis, cuts)]
    return max(widths, default=0) <= options.max_qubits


def _without_needless_cuts(
    simplified: SimplifiedCircuit, cuts: Cuts, options: SearchOptions
) -> Cuts:
    """Return cuts without those that a device with qubit reuse does not need, tried one by one."""
    all_cuts = (*cuts.wires, *cuts.gates)
    for cut in all_cuts if len(all_cuts) * len(simplified.pairs) < _MAX_REUSE_WORK else ():
        fewer = Cuts(
            tuple(other for other in cuts.gates if other != cut),
            tuple(other for other in cuts.wires if other != cut),
        )
        if _is_narrow(simplified, fewer, options):
            cuts = fewer
    return cuts


def _objective(problem: Problem, options: SearchOptions, width: int) -> Objective:
    return Objective(options.objective, width, problem.limits, problem.speeds, options.ranks)


def _graphs_of(simplified: SimplifiedCircuit) -> list[EndGraph]:
    """Return the connected components of a simplified circuit."""
    return list(end_graphs(simplified.analysis, _string_counts(simplified)))


def _is_small(graphs: Sequence[EndGraph], objective: Objective) -> bool:
    """Return whether the uncut circuit fits and is so quick that there is nothing to gain."""
    uncut = [evaluate(graph, objective, [0] * graph.num_ends) for graph in graphs]
    return (
        all(component.fits for component in uncut)
        and sum(component.seconds for component in uncut) < _SMALL_SECONDS
    )


def _is_good(plan: Plan, objective: ObjectiveName) -> bool:
    if objective == "overhead":
        return plan.cut.log10_sampling_overhead == 0
    return plan.cost.predicted_seconds() < _QUICK_SECONDS


def score_by(objective: ObjectiveName, ranks: int) -> Callable[[Plan], tuple[float, ...]]:
    """Return the function by which plans are compared; the least score is best."""
    if objective == "overhead":
        return lambda plan: (
            round(plan.cut.log10_sampling_overhead, 9),
            plan.cost.predicted_seconds(ranks),
        )
    return lambda plan: (plan.cost.predicted_seconds(ranks),)


def _string_counts(simplified: SimplifiedCircuit) -> list[float]:
    """Return about how many Pauli strings are requested on each qubit of the simplified circuit.

    A term counts as one string, spread evenly over its qubits.
    """
    index_of = {label: qubit for qubit, label in enumerate(simplified.labels)}
    counts = [0.0] * len(simplified.labels)
    for term, cone in simplified.cone_of.items():
        for qubit, _ in term:
            counts[index_of[cone, qubit]] += 1 / len(term)
    return counts


def _wider_limits(width: int, widest: int, num_tries: int) -> Iterator[int]:
    """Yield larger widths to try, each about a quarter wider, the smallest first."""
    for _ in range(num_tries):
        if width >= widest:
            return
        width = min(widest, max(width + 1, width * 5 // 4))
        yield width
