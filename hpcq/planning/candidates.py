"""Choose where to cut: the cuts that were given, or the best that a search proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cut_circuit import cut_circuit, subcircuit_segments
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.exact_plan import ExactPlan, assemble
from hpcq.planning.problem import Problem
from hpcq.planning.search.gate_ends import EndGraph, end_graphs
from hpcq.planning.search.lower_bound import LowerBound, lower_bound
from hpcq.planning.search.objective import Objective
from hpcq.planning.search.portfolio import propose
from hpcq.planning.search.trials import evaluate

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


@dataclass(frozen=True, eq=False)
class Candidate:
    """Cuts of a circuit, from which kinds of run make their plans.

    Attributes:
        problem: The problem.
        simplified: Its circuit after all passes.
        cuts: Cuts of that circuit.
        bound: A lower bound on the cuts; None where none is known.
    """

    problem: Problem
    simplified: SimplifiedCircuit
    cuts: Cuts
    bound: LowerBound | None = None

    @cached_property
    def cut(self) -> CutCircuit:
        """The circuit, cut."""
        return cut_circuit(self.simplified.analysis, self.cuts, self.simplified.labels)

    @cached_property
    def plan(self) -> ExactPlan:
        """The exact plan, if it fits into the memory.

        Raises:
            MemoryLimitError: If it does not.
        """
        return assemble(self.problem, self.simplified, self.cut, self.bound)

    @cached_property
    def unlimited_plan(self) -> ExactPlan:
        """The exact plan; if it does not fit, the one for unlimited memory."""
        try:
            return self.plan
        except MemoryLimitError:
            return assemble(
                self.problem, self.simplified, self.cut, self.bound, within_memory=False
            )


def choose_cuts(problem: Problem, request: CutRequest, farm: Farm | None = None) -> Candidate:
    """Return the cuts that were given, or search for the best; call it on rank 0 only.

    Args:
        problem: The problem.
        request: Where to cut, or within which limits to search, with an objective.
        farm: The ranks that share the search; by default, this process alone.

    Raises:
        InputError: If the cuts that were given do not fit the circuit.
        MemoryLimitError: If the exact plan of none fits into the memory, which only the objective
            ``seconds`` requires. The message names the smallest width that was found to work.
    """
    if request.max_qubits is None:
        return Candidate(problem, *request.given_cuts(problem))
    farm = farm or SerialFarm()
    refusals: list[MemoryLimitError] = []
    found = list(_candidates(problem, request, farm, refusals))
    if found:
        return _best(found, request)
    reason = refusals[0] if refusals else MemoryLimitError("no cuts found")
    num_tries = min(_MAX_TRIES, _MAX_TRIED_GATES // (1 + len(problem.simplifier.joint_cone.pairs)))
    for width in _wider_limits(request.max_qubits, problem.circuit.num_qubits, num_tries):
        wider = replace(request, max_qubits=width, search_seconds=request.search_seconds / 4)
        if any(True for _ in _candidates(problem, wider, farm, [], quick=True)):
            raise MemoryLimitError(
                f"max_qubits: {request.max_qubits} is too small ({reason}); {width} is the "
                "smallest that was found to work"
            )
    raise reason


def _candidates(
    problem: Problem,
    request: CutRequest,
    farm: Farm,
    refusals: list[MemoryLimitError],
    *,
    quick: bool = False,
) -> Iterator[Candidate]:
    """Yield the best candidate with separate light cones, and the best with a joint one.

    Args:
        problem: The problem.
        request: Options of the search.
        farm: The ranks that share the search.
        refusals: Why candidates did not fit; more are added.
        quick: Whether a few short trials are enough, as for a hint in a message.
    """
    joint = problem.simplifier.joint_cone
    graphs = _graphs_of(joint)
    assert request.max_qubits is not None, "there is a search"
    seconds_objective = _objective(problem, request.with_seconds(), request.max_qubits)
    separate = None if _is_small(graphs, seconds_objective) else problem.simplifier.separate_cones
    for simplified in (separate, joint):
        if simplified is None:
            continue
        components = graphs if simplified is joint else _graphs_of(simplified)
        found = list(_fitting(problem, request, simplified, components, farm, refusals, quick))
        if found:
            best = _best(found, request)
            yield best
            if simplified is separate and _is_good(best, request):
                return


def _fitting(
    problem: Problem,
    request: CutRequest,
    simplified: SimplifiedCircuit,
    graphs: Sequence[EndGraph],
    farm: Farm,
    refusals: list[MemoryLimitError],
    quick: bool,
) -> Iterator[Candidate]:
    """Yield candidates that are narrow enough and, for exact runs, fit into the memory."""
    assert request.max_qubits is not None, "there is a search"
    bound = (
        None if request.reuse_qubits else lower_bound(graphs, simplified.labels, request.max_qubits)
    )
    for width in _widths(request, request.max_qubits, simplified):
        objective = _objective(problem, request, width)
        proposals = propose(
            graphs,
            objective,
            seconds=request.search_seconds,
            seed=request.seed,
            farm=farm,
            quick=quick,
        )
        narrow = [cuts for cuts in proposals if _is_narrow(simplified, cuts, request)]
        if request.reuse_qubits:
            narrow = list(
                dict.fromkeys(_without_needless_cuts(simplified, cuts, request) for cuts in narrow)
            )
        for cuts in narrow:
            candidate = Candidate(problem, simplified, cuts, bound)
            try:
                # A run with shots needs no exact tensors, so their plan may exceed the memory.
                if request.objective == "seconds":
                    _ = candidate.plan
                yield candidate
            except MemoryLimitError as error:
                refusals.append(error)
        if narrow and request.objective == "overhead":
            return


def _best(candidates: Sequence[Candidate], request: CutRequest) -> Candidate:
    """Return the first of the best candidates.

    Exact plans, which take most of the time, are made only where they decide.
    """
    if request.objective == "overhead":
        overheads = [round(each.cut.log10_sampling_overhead, 9) for each in candidates]
        least = min(overheads)
        candidates = [
            each for each, log10 in zip(candidates, overheads, strict=True) if log10 == least
        ]
    if len(candidates) == 1:
        return candidates[0]
    return min(
        candidates, key=lambda each: each.unlimited_plan.cost.predicted_seconds(request.ranks)
    )


def _widths(request: CutRequest, max_qubits: int, simplified: SimplifiedCircuit) -> list[int]:
    """Return the width limits to search with, in wires.

    With qubit reuse a device runs more wires than it has qubits, so wider limits are tried first.
    """
    widest = max(1, len(simplified.labels))
    if not request.reuse_qubits:
        return [min(max_qubits, widest)]
    factors = (widest / max_qubits, 3.0, 2.0, 1.5, 1.0)
    widths = {min(widest, int(factor * max_qubits)) for factor in factors}
    return sorted(widths, reverse=True)


def _is_narrow(simplified: SimplifiedCircuit, cuts: Cuts, request: CutRequest) -> bool:
    assert request.max_qubits is not None, "there is a search"
    if request.reuse_qubits:
        widths = device_qubits(simplified.analysis, cuts)
    else:
        widths = [len(piece) for piece in subcircuit_segments(simplified.analysis, cuts)]
    return max(widths, default=0) <= request.max_qubits


def _without_needless_cuts(simplified: SimplifiedCircuit, cuts: Cuts, request: CutRequest) -> Cuts:
    """Return cuts without those that a device with qubit reuse does not need, tried one by one."""
    all_cuts = (*cuts.wires, *cuts.gates)
    for cut in all_cuts if len(all_cuts) * len(simplified.pairs) < _MAX_REUSE_WORK else ():
        fewer = Cuts(
            tuple(other for other in cuts.gates if other != cut),
            tuple(other for other in cuts.wires if other != cut),
        )
        if _is_narrow(simplified, fewer, request):
            cuts = fewer
    return cuts


def _objective(problem: Problem, request: CutRequest, width: int) -> Objective:
    assert request.objective is not None, "the kind of run has set it"
    return Objective(request.objective, width, problem.limits, problem.speeds, request.ranks)


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


def _is_good(candidate: Candidate, request: CutRequest) -> bool:
    if request.objective == "overhead":
        return candidate.cut.log10_sampling_overhead == 0
    return candidate.plan.cost.predicted_seconds() < _QUICK_SECONDS


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
