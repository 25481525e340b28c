"""Candidates: proposed cuts with the plans that follow from them, and the search for the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.cut_circuit import cut_circuit, subcircuit_segments
from hpcq.cutting.cuts import Cuts
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.qubit_reuse import device_qubits
from hpcq.cutting.subcircuits import CutCircuit
from hpcq.cutting.subexperiments.exact_tensors import Simulation
from hpcq.parallel.serial import Farm
from hpcq.planning.cut_request import DEFAULT_SEARCH_SECONDS, CutRequest
from hpcq.planning.exact_plan import ExactPlan, assemble
from hpcq.planning.problem import Problem
from hpcq.planning.search.gate_ends import EndGraph, end_graphs
from hpcq.planning.search.initial_partitions import natural_groups
from hpcq.planning.search.lower_bound import LowerBound, lower_bound
from hpcq.planning.search.objective import Objective, ObjectiveName
from hpcq.planning.search.portfolio import propose
from hpcq.planning.search.trials import evaluate

_SMALL_SECONDS = 0.05
"""Predicted seconds of an uncut circuit below which separate light cones are not tried."""

_JOINT_FRACTION = 0.5
"""Fraction of the budget for a joint light cone, if there are separate ones too."""

_PROMISING = 0.9
"""Predicted seconds of separate light cones with the cuts of the joint one, as a fraction of the
seconds of the joint one, below which cuts of separate ones are searched. On ten circuits of 25 to
100 qubits, that search changed the predicted seconds by factors of 0.9 to 1.4."""

_QUICK_SECONDS = 1.0
"""Predicted seconds of a plan with narrow light cones below which a joint one is not tried."""

_FIRST_FRACTION = 0.05
"""Fraction of the budget for a first, short search. Larger: it finds better cuts, and the longer
search of a circuit with a quick run ends sooner; smaller: less is lost where the whole budget is
needed."""

_MIN_FRACTION = 0.15
"""Fraction of the budget that the longer search gets at least, however short the run is. Larger:
better cuts for runs that are repeated; smaller: quicker plans."""

_MIN_FIRST_GATES = 40
"""Number of two-qubit gates below which there is no first search: the whole search is quick."""

_MAX_NATURAL_GROUPS = 64
"""Maximum number of natural groups of qubits for which seconds are predicted without a search: it
takes about 5 ms for 10 groups, and more for many."""

_MAX_REUSE_WORK = 200_000
"""Maximum product of the numbers of cuts and of two-qubit gates up to which needless cuts are
sought: each cut takes a pass over the circuit."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """Cuts of a problem's circuit after all passes, from which kinds of run make their plans.

    The bound is a lower bound on the cuts; None where none is known. The simulations are those of
    parts that are not cut, by the content of their subcircuit.
    """

    problem: Problem
    simplified: SimplifiedCircuit
    cuts: Cuts
    bound: LowerBound | None = None
    simulations: Mapping[str, Simulation] = field(default_factory=dict)

    @cached_property
    def cut(self) -> CutCircuit:
        """The circuit, cut."""
        return cut_circuit(self.simplified.analysis, self.cuts, self.simplified.labels)

    @cached_property
    def plan(self) -> ExactPlan:
        """The exact plan; a MemoryLimitError if it does not fit."""
        return self._assembled(within_memory=True)

    @cached_property
    def unlimited_plan(self) -> ExactPlan:
        """The exact plan; if it does not fit, the one for unlimited memory."""
        try:
            return self.plan
        except MemoryLimitError:
            return self._assembled(within_memory=False)

    def _assembled(self, *, within_memory: bool) -> ExactPlan:
        return assemble(
            self.problem,
            self.simplified,
            self.cut,
            self.bound,
            within_memory=within_memory,
            simulations=self.simulations,
        )


class CandidateSearch:
    """A search for cuts within a width limit.

    Args:
        problem: The problem.
        request: The width limit, and the options of the search.
        farm: The ranks that share the search.
        quick: Whether a few short trials are enough, as for a hint in an error message.
        whole: Qubits of the parts that are not cut, whose width is not limited.
        simulations: How these parts are simulated, by the content of their subcircuit.

    Attributes:
        farm: The ranks that share the search.
        refusals: Why candidates did not fit into the memory.
    """

    def __init__(
        self,
        problem: Problem,
        request: CutRequest,
        farm: Farm,
        *,
        quick: bool = False,
        whole: Collection[int] = frozenset(),
        simulations: Mapping[str, Simulation] = {},
    ) -> None:
        assert request.max_qubits is not None, "there is a search"
        assert request.objective is not None, "the kind of run has set it"
        self.farm = farm
        self.refusals: list[MemoryLimitError] = []
        self._problem = problem
        self._request = request
        self._max_qubits: int = request.max_qubits
        self._objective: ObjectiveName = request.objective
        self._quick = quick
        self._whole, self._simulations = whole, simulations

    def candidates(self) -> Iterator[Candidate]:
        """Yield the best candidate with a joint light cone, and the best with separate ones.

        Narrow cones come first, as they need few cuts, and may end the search. Otherwise the cuts
        of the joint cone, restricted to each separate one, tell whether separate cones are
        promising, and the search continues from them: the budget is too short to start anew in each
        of many unlike cones.
        """
        joint = self._problem.simplifier.joint_cone
        graphs = _graphs_of(joint)
        separate = None if self._is_small(graphs) else self._problem.simplifier.separate_cones
        cones = [] if separate is None else _graphs_of(separate)
        narrow = bool(cones) and all(cone.num_wires <= self._max_qubits for cone in cones)
        first = (separate, cones) if separate is not None and narrow else (joint, graphs)
        found, seconds = self._search_first(*first)
        yield from found
        if separate is None:
            yield from self._fitting(joint, graphs, self._proposals(joint, graphs, seconds))
            return
        joint_seconds = _JOINT_FRACTION * seconds
        if narrow:
            proposals = self._proposals(separate, cones, seconds - joint_seconds)
            for best in self._fitting(separate, cones, proposals):
                yield best
                if self._is_good(best):
                    return
            proposals = self._proposals(joint, graphs, joint_seconds)
            yield from self._fitting(joint, graphs, proposals)
            return
        proposals = self._proposals(joint, graphs, joint_seconds)
        given = separate.from_original(joint.to_original(proposals[0])) if proposals else None
        for best in self._fitting(joint, graphs, proposals):
            yield best
            if given is not None and not self._is_promising(cones, given, best):
                return
        proposals = self._proposals(separate, cones, seconds - joint_seconds, given)
        yield from self._fitting(separate, cones, proposals)

    def best_of(self, simplified: SimplifiedCircuit) -> Candidate | None:
        """Return the best candidate for one simplified circuit, if any fits."""
        graphs = [g for g in _graphs_of(simplified) if g.qubits[0] not in self._whole]
        found, seconds = self._search_first(simplified, graphs)
        proposals = self._proposals(simplified, graphs, seconds)
        found += self._fitting(simplified, graphs, proposals)
        return self.best(found) if found else None

    def natural_seconds(self, simplified: SimplifiedCircuit) -> float:
        """Return the predicted seconds with cuts between natural groups of qubits, not searched.

        They are infinite if such groups do not fit into the memory.
        """
        objective = self._objective_within(self._max_qubits, self._objective)
        seconds = 0.0
        for graph in _graphs_of(simplified):
            if graph.qubits[0] in self._whole:
                continue
            groups = natural_groups(graph, objective.kind, objective.width, _MAX_NATURAL_GROUPS)
            partitions = [evaluate(graph, objective, labels) for _, labels in groups]
            seconds += min((each.seconds for each in partitions if each.fits), default=math.inf)
        return seconds

    def _search_first(
        self, simplified: SimplifiedCircuit, graphs: Sequence[EndGraph]
    ) -> tuple[list[Candidate], float]:
        """Return the best candidate of a short search, if any fits, and the budget of a longer one.

        With the default budget, the longer search takes no more seconds than the run that the short
        one found, since it cannot save more. Other budgets are reduced in proportion.
        """
        seconds = self._request.search_seconds
        num_gates = sum(len(graph.gates) for graph in graphs)
        if self._objective != "seconds" or self._quick or num_gates < _MIN_FIRST_GATES:
            return [], seconds
        proposals = self._proposals(simplified, graphs, _FIRST_FRACTION * seconds)
        found = list(self._fitting(simplified, graphs, proposals))
        if found:
            run_seconds = found[0].plan.cost.predicted_seconds(self._request.ranks)
            seconds *= min(1.0, max(_MIN_FRACTION, run_seconds / DEFAULT_SEARCH_SECONDS))
        return found, seconds

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the first of the best candidates.

        Exact plans, which take most of the time, are made only where they decide.
        """
        if self._objective == "overhead":
            overheads = [round(each.cut.log10_sampling_overhead, 9) for each in candidates]
            least = min(overheads)
            candidates = [
                each for each, log10 in zip(candidates, overheads, strict=True) if log10 == least
            ]
        if len(candidates) == 1:
            return candidates[0]
        ranks = self._request.ranks
        return min(candidates, key=lambda each: each.unlimited_plan.cost.predicted_seconds(ranks))

    def _proposals(
        self,
        simplified: SimplifiedCircuit,
        graphs: Sequence[EndGraph],
        seconds: float,
        given: Cuts | None = None,
    ) -> list[Cuts]:
        """Return proposed cuts that are narrow enough, the search's best first.

        Cuts that are ``given`` are improved; other arguments are those of :func:`propose`.
        """
        request = self._request
        narrow: list[Cuts] = []
        widths = self._widths(simplified)
        for width in widths:
            proposals = propose(
                graphs,
                self._objective_within(width, self._objective),
                seconds=seconds / len(widths),
                seed=request.seed,
                farm=self.farm,
                quick=self._quick,
                given=given,
            )
            narrow += [cuts for cuts in proposals if self._is_narrow(simplified, cuts)]
            if narrow and self._objective == "overhead":
                break
        if request.reuse_qubits:
            narrow = [self._without_needless_cuts(simplified, cuts) for cuts in narrow]
        return list(dict.fromkeys(narrow))

    def _fitting(
        self,
        simplified: SimplifiedCircuit,
        graphs: Sequence[EndGraph],
        proposals: Sequence[Cuts],
    ) -> Iterator[Candidate]:
        """Yield the best candidate that, for exact runs, fits into the memory, if any does."""
        bound = None
        if not self._request.reuse_qubits:
            bound = lower_bound(graphs, simplified.labels, self._max_qubits)
        found = []
        for cuts in proposals:
            candidate = Candidate(self._problem, simplified, cuts, bound, self._simulations)
            try:
                # A run with shots needs no exact tensors, so their plan may exceed the memory.
                if self._objective == "seconds":
                    _ = candidate.plan
                found.append(candidate)
            except MemoryLimitError as error:
                self.refusals.append(error)
        if found:
            yield self.best(found)

    def _widths(self, simplified: SimplifiedCircuit) -> list[int]:
        """Return the width limits to search with, in wires.

        With qubit reuse a device runs more wires than it has qubits, so wider limits are tried
        first.
        """
        widest = max(1, len(simplified.labels))
        if not self._request.reuse_qubits:
            return [min(self._max_qubits, widest)]
        factors = (widest / self._max_qubits, 3.0, 2.0, 1.5, 1.0)
        widths = {min(widest, int(factor * self._max_qubits)) for factor in factors}
        return sorted(widths, reverse=True)

    def _is_narrow(self, simplified: SimplifiedCircuit, cuts: Cuts) -> bool:
        if self._request.reuse_qubits:
            widths = device_qubits(simplified.analysis, cuts)
        else:
            segments = subcircuit_segments(simplified.analysis, cuts)
            widths = [len(piece) for piece in segments if piece[0][0] not in self._whole]
        return max(widths, default=0) <= self._max_qubits

    def _without_needless_cuts(self, simplified: SimplifiedCircuit, cuts: Cuts) -> Cuts:
        """Return cuts without those that a device with qubit reuse does not need, one by one."""
        all_cuts = (*cuts.wires, *cuts.gates)
        for cut in all_cuts if len(all_cuts) * len(simplified.pairs) < _MAX_REUSE_WORK else ():
            fewer = Cuts(
                tuple(other for other in cuts.gates if other != cut),
                tuple(other for other in cuts.wires if other != cut),
            )
            if self._is_narrow(simplified, fewer):
                cuts = fewer
        return cuts

    def _objective_within(self, width: int, kind: ObjectiveName) -> Objective:
        problem = self._problem
        return Objective(kind, width, problem.limits, problem.speeds, self._request.ranks)

    def _is_small(self, graphs: Sequence[EndGraph]) -> bool:
        """Return whether the uncut circuit fits and is so quick that there is nothing to gain."""
        objective = self._objective_within(self._max_qubits, "seconds")
        uncut = [evaluate(graph, objective, [0] * graph.num_ends) for graph in graphs]
        seconds = sum(component.seconds for component in uncut)
        return all(component.fits for component in uncut) and seconds < _SMALL_SECONDS

    def _is_promising(self, cones: Sequence[EndGraph], cuts: Cuts, joint: Candidate) -> bool:
        """Return whether separate light cones with these cuts may be better than a joint one."""
        if self._objective == "overhead":
            return joint.cut.log10_sampling_overhead > 0
        objective = self._objective_within(self._max_qubits, "seconds")
        seconds: dict[object, float] = {}
        total = 0.0
        for cone in cones:
            if cone.signature not in seconds:
                starts = [cone.labels_of_cuts(cuts)]
                if cone.num_wires <= self._max_qubits:
                    starts.append([0] * cone.num_ends)
                costs = [evaluate(cone, objective, labels).seconds for labels in starts]
                seconds[cone.signature] = min(costs)
            total += seconds[cone.signature]
        return total < _PROMISING * joint.plan.cost.predicted_seconds()

    def _is_good(self, candidate: Candidate) -> bool:
        if self._objective == "overhead":
            return candidate.cut.log10_sampling_overhead == 0
        return candidate.plan.cost.predicted_seconds() < _QUICK_SECONDS


def _graphs_of(simplified: SimplifiedCircuit) -> list[EndGraph]:
    """Return the connected components of a simplified circuit."""
    return list(end_graphs(simplified.analysis, _string_counts(simplified)))


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
