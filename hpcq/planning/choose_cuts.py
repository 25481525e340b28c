"""Choose where to cut: the cuts that were given, or the best that a search proposes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from hpcq.core.errors import MemoryLimitError
from hpcq.cutting.passes.simplify import SimplifiedCircuit
from hpcq.cutting.subexperiments.exact_tensors import Simulation
from hpcq.parallel.serial import Farm, SerialFarm
from hpcq.planning.candidates import Candidate, CandidateSearch
from hpcq.planning.cut_request import CutRequest
from hpcq.planning.problem import Problem

_HINT_FRACTION = 0.5
"""Fraction of the budget for the search for a wider limit that works, all tries together."""

_MAX_TRIES = 12
"""Maximum number of wider limits that are tried where nothing fits."""

_MAX_TRIED_GATES = 4_000
"""Maximum number of two-qubit gates in all these tries together: fewer tries for larger
circuits."""


def choose_cuts(problem: Problem, request: CutRequest, farm: Farm | None = None) -> Candidate:
    """Return the cuts that were given, or search for the best; call it on rank 0 only.

    The ranks of ``farm`` share the search; by default, this process searches alone.

    Raises:
        InputError: If the cuts that were given do not fit the circuit.
        MemoryLimitError: If the exact plan of none fits into the memory, which only the objective
            ``seconds`` requires. The message names the smallest width that was found to work.
    """
    if request.max_qubits is None:
        return Candidate(problem, *request.given_cuts(problem))
    search = CandidateSearch(problem, request, farm or SerialFarm())
    found = list(search.candidates())
    if found:
        return search.best(found)
    reason = search.refusals[0] if search.refusals else MemoryLimitError("no cuts found")
    num_tries = min(_MAX_TRIES, _MAX_TRIED_GATES // (1 + len(problem.simplifier.joint_cone.pairs)))
    seconds = _HINT_FRACTION * request.search_seconds / max(1, num_tries)
    for width in _wider_limits(request.max_qubits, problem.circuit.num_qubits, num_tries):
        wider = replace(request, max_qubits=width, search_seconds=seconds)
        if any(True for _ in CandidateSearch(problem, wider, search.farm, quick=True).candidates()):
            raise MemoryLimitError(
                f"max_qubits: {request.max_qubits} is too small ({reason}); {width} is the "
                "smallest that was found to work"
            )
    raise reason


def cut_parts(
    problem: Problem,
    request: CutRequest,
    farm: Farm | None,
    kept: Collection[int],
    simulations: Mapping[str, Simulation],
) -> Candidate | None:
    """Search for the best cuts of the parts of a circuit that no other method answers.

    Args:
        problem: The problem.
        request: The width limit, and the options of the search.
        farm: The ranks that share the search; None for this process alone.
        kept: The qubits of the parts that are not cut, by the names of their wires.
        simulations: How these parts are simulated, by the content of their subcircuit.

    Returns:
        The best candidate; None if nothing fits into the memory.
    """
    search, simplified = _search_of_parts(problem, request, farm, kept, simulations)
    if kept:
        return search.best_of(simplified)
    found = list(search.candidates())
    return search.best(found) if found else None


def natural_seconds(problem: Problem, request: CutRequest, kept: Collection[int]) -> float:
    """Return the predicted seconds of a circuit that is cut between natural groups of qubits.

    This takes far less time than a search, and tells whether one is promising. The arguments are
    those of :func:`cut_parts`.
    """
    search, simplified = _search_of_parts(problem, request, None, kept, {})
    return search.natural_seconds(simplified)


def _search_of_parts(
    problem: Problem,
    request: CutRequest,
    farm: Farm | None,
    kept: Collection[int],
    simulations: Mapping[str, Simulation],
) -> tuple[CandidateSearch, SimplifiedCircuit]:
    """Return the search for cuts of the parts on other qubits, and the circuit to cut."""
    simplifier = problem.simplifier
    if not kept:
        return CandidateSearch(problem, request, farm or SerialFarm()), simplifier.joint_cone
    simplified = simplifier.joint_cone_keeping(frozenset(kept))
    whole = {number for number, (_, name) in enumerate(simplified.labels) if name in kept}
    search = CandidateSearch(
        problem, request, farm or SerialFarm(), whole=frozenset(whole), simulations=simulations
    )
    return search, simplified


def _wider_limits(width: int, widest: int, num_tries: int) -> Iterator[int]:
    """Yield larger widths to try, each about a quarter wider, the smallest first."""
    for _ in range(num_tries):
        if width >= widest:
            return
        width = min(widest, max(width + 1, width * 5 // 4))
        yield width
